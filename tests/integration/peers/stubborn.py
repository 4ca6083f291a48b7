"""Clients that go on whatever happens to the relay, and remember what they were told."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from .clients import QUEUED, Place, Talk


class Letter(NamedTuple):
    """A message to be sent. content: CRLF at the end of lines, without transparency."""

    sender: str
    recipients: Sequence[str]
    content: bytes


class Told(Protocol):
    """What clients know of their messages, each by its mark. accepted: queue ids, of those whose 250 was read. unsure:
    those whose last dot was sent and had no reply. refused: other replies to that."""

    accepted: dict[str, str]
    unsure: set[str]
    refused: list[str]


class Client(threading.Thread):
    """Sends one message after another until `enough` of all clients are accepted, and connects again when it is cut
    off. letter: what stands for a mark. patience: seconds, after which it gives up."""

    def __init__(
        self,
        place: Place,
        told: Told,
        letter: Callable[[str], Letter],
        number: int,
        enough: int,
        patience: float = float("inf"),
    ) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self._place = place
        self._told = told
        self._letter = letter
        self._enough = enough
        self._marks = (f"{number}x{n}" for n in itertools.count())
        self._give_up = time.monotonic() + patience

    @property
    def _is_done(self) -> bool:
        return len(self._told.accepted) >= self._enough or time.monotonic() > self._give_up

    def stop(self) -> None:
        """Send no more, however many there are."""
        self._enough = 0

    def run(self) -> None:
        while not self._is_done:
            try:
                with Talk(self._place.address, self._place.port) as talk:
                    if talk.reply().startswith("220") and talk.say("EHLO client.test"):
                        while not self._is_done and self._send(talk):
                            pass
            except OSError:
                time.sleep(0.02)

    def _send(self, talk: Talk) -> bool:
        """Send one message. False when the connection has ended."""
        mark = next(self._marks)
        letter = self._letter(mark)
        commands = [f"MAIL FROM:<{letter.sender}>", *(f"RCPT TO:<{one}>" for one in letter.recipients), "DATA"]
        talk.send("".join(f"{command}\r\n" for command in commands).encode())
        if [talk.reply()[:3] for _ in commands] != [*["250"] * (len(commands) - 1), "354"]:
            return False
        dotted = letter.content.replace(b"\r\n.", b"\r\n..")
        try:
            talk.send(dotted + b".\r\n")
            reply = talk.reply()
        except OSError:
            reply = ""
        if not reply:
            self._told.unsure.add(mark)
        elif found := QUEUED.match(reply):
            self._told.accepted[mark] = found[1]
        else:
            self._told.refused.append(reply)
        return bool(reply)
