"""A long queue made in a moment, and a steady pulse of mail that tells how long each 250 took."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock

from mta.interfaces import NewDelivery
from mta.message.envelope import Client, Envelope, Recipient
from mta.message.timeline import Event
from mta.spool.sqlite import SqliteSpool

from .clients import Place, Talk

CONTENT = b"Subject: crowd\r\n\r\n".ljust(1022, b"x") + b"\r\n"
CLIENT = Client("192.0.2.7", "client.test", "ESMTP")
BATCH = 250
WEEK = 7 * 86400.0


def fill(folder: Path, count: int, destinations: int) -> None:
    """Put messages into the spool of a relay that does not run, due in a week, in turn for so many destinations."""
    clock = Clock()
    clock.advance(time.time())
    spool = SqliteSpool(folder, clock, clock.seconds, inline=True, floor=0)
    spool.start()
    for first in range(0, count, BATCH):
        clock.advance(0.001)
        kept = []
        for number in range(first, min(first + BATCH, count)):
            now, name = clock.seconds(), f"d{number % destinations}.test"
            to = (Recipient(f"user{number}@{name}"),)
            reception = spool.receive(now)
            reception.write(CONTENT)
            envelope = Envelope("crowd@sender.test", to, now, len(CONTENT), CLIENT)
            delivery = NewDelivery(name, to, now + WEEK, now + WEEK)
            kept.append(
                reception.commit(envelope, [delivery], (Event(now, "received", {"recipients": [to[0].address]}),))
            )
        stored = gatherResults(kept)
        while not stored.called:
            clock.advance(0)
        stored.addErrback(lambda failure: failure.raiseException())
    stopped = spool.stop()
    while not stopped.called:
        clock.advance(0)


class Pulse:
    """waits: for each message the seconds from its last dot to its 250."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.errors: list[str] = []

    def at_most(self, share: float) -> float:
        """How long that share of the messages waited at most, in milliseconds."""
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000

    def __str__(self) -> str:
        return (
            f"{len(self.waits):,} messages; 250 after {self.at_most(0.5):.1f} ms in the middle, "
            f"99 % {self.at_most(0.99):.1f}, 99.9 % {self.at_most(0.999):.1f}, at most {max(self.waits) * 1000:.1f}"
        )


@contextmanager
def pulse(place: Place, recipient: str, sessions: int = 4, rest: float = 0.01) -> Iterator[Pulse]:
    """Send mail all the time. rest: seconds of a session between two messages."""
    going = threading.Event()
    going.set()
    told = Pulse()

    def send() -> None:
        with Talk(place.address, place.port) as talk:
            talk.reply()
            talk.say("EHLO client.test")
            while going.is_set():
                talk.send(f"MAIL FROM:<pulse@sender.test>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
                replies = [talk.reply() for _ in range(3)]
                begun = time.perf_counter()
                talk.send(CONTENT + b".\r\n")
                replies.append(talk.reply())
                told.waits.append(time.perf_counter() - begun)
                if [reply[:3] for reply in replies] != ["250", "250", "354", "250"]:
                    told.errors.append("; ".join(replies))
                    return
                time.sleep(rest)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(sessions)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        going.clear()
        for thread in threads:
            thread.join(60)
