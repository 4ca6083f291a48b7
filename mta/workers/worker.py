"""Worker: one worker as the supervisor sees it, from its start to its end."""

import json
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred

from mta.workers.lines import GO, LogLines, Words, adopt

Answer = dict[str, Any]


class Worker:
    """A process, or what is to become one.

    pid: 0 until it is known. is_ready: it has said that it can let clients in. why: what it has said where it cannot.
    is_damaged: and that is because its queue file is. is_gone: it has ended, or nobody will tell us when it does.
    """

    def __init__(self, number: int, line: socket.socket, lines: socket.socket | None) -> None:
        """line: to talk to it. lines: where those of its log come from; None where it writes them itself."""
        self.number = number
        self.pid = 0
        self.is_ready = False
        self.is_damaged = False
        self.is_gone = False
        self.why = ""
        self.fate = ""
        self._line = line
        self._lines = lines
        self._words: Words | None = None
        self._asking: socket.socket | None = None  # the same line, for what we say: descriptors can go over it
        self._asked: dict[int, Deferred[Answer | None]] = {}
        self._questions = count()
        self._left = 1  # ends that are still to come: of the process, and of what is heard of it
        self._ended: Callable[[Worker], None] | None = None

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.pid})"

    def wait_until_ready(self) -> None:
        """Wait for its first word, or its end. Only while the reactor does not run."""
        told = b""
        while not told.endswith(b"\n") and (octets := self._line.recv(65536)):
            told += octets
        if told:
            self._hear(told)

    def watch(
        self,
        reactor: Any,
        log: Callable[[str], None],
        heard: Callable[["Worker"], None],
        ended: Callable[["Worker"], None],
    ) -> None:
        """Listen to it from now on. log: takes lines of its log. heard: is called when it is ready, or has said why it
        is not. ended: when it is no more, and nothing of it is left to be heard.
        """

        def told(line: bytes) -> None:
            if self._hear(line):
                heard(self)

        self._ended = ended
        self._left += 1
        self._words = Words(told, self._one_end)
        self._asking = self._line.dup()
        adopt(reactor, self._line, self._words)
        if self._lines is not None:
            self._left += 1
            adopt(reactor, self._lines, LogLines(log, self._one_end))

    def let_in(self) -> None:
        """Have it accept connections; only while it is watched."""
        if self._asking is not None:
            with suppress(OSError):  # it has gone, which is noticed where it is listened to
                self._asking.send(GO)

    def ask(self, what: Mapping[str, Any], descriptors: Sequence[int] = ()) -> "Deferred[Answer | None]":
        """Have it do something. Fires with its answer, or with None when it has ended; only while it is watched."""
        number, answer = next(self._questions), Deferred[Answer | None]()
        self._asked[number] = answer
        try:
            if self._asking is None:
                raise OSError
            socket.send_fds(self._asking, [json.dumps({**what, "number": number}).encode() + b"\n"], descriptors)
        except OSError:  # it has gone, or hears nothing any more, and then is as good as gone
            self._answer(number, None)
        return answer

    def hand_on(self, log: Callable[[str], None]) -> None:
        """Lines of its log that are left, once it has ended. Only where it is not watched."""
        if self._lines is not None:
            with self._lines, self._lines.makefile(encoding="utf-8", errors="backslashreplace") as lines:
                for line in lines:
                    log(line.rstrip("\n"))

    def stop(self) -> None:
        """Have it stop: it hears of the end of the line."""
        if self._words is not None:
            self._words.end()
        else:
            self._line.shutdown(socket.SHUT_WR)

    def gone(self, status: int | None, why: str) -> None:
        """The process has ended. status: as `subprocess` has it; None where nobody knows it, or where it never began,
        for which `why` has the reason.
        """
        if self.is_gone:
            return
        self.is_gone = True
        if self._asking is not None:
            self._asking.close()
            self._asking = None
        for number in list(self._asked):
            self._answer(number, None)
        if status is None:
            self.fate = f"could not be started: {why}" if why else "has ended"
        elif status < 0:
            self.fate = f"was ended by {signal.Signals(-status).name}"
        else:
            self.fate = f"has ended with status {status}"
        self._one_end()

    def _one_end(self) -> None:
        self._left -= 1
        if not self._left and self._ended is not None:
            self._ended(self)

    def _hear(self, line: bytes) -> bool:
        """Is this something about itself?"""
        said = json.loads(line)
        if "answer" in said:
            self._answer(said["answer"], said)
            return False
        self.is_ready = "ready" in said
        self.why = said.get("cannot", "")
        self.is_damaged = said.get("damaged", False)
        return True

    def _answer(self, number: int, said: Answer | None) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.callback(said)
