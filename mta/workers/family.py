"""Family: the workers and the parent that they are forked from, as the supervisor sees them."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

from twisted.logger import Logger

from mta.net.early import blocked
from mta.workers.lines import WEBHOOKS, Words, adopt
from mta.workers.worker import Worker

_FAREWELL: Final = 2.0  # seconds that the parent has to end

_logger = Logger()


class Family:
    """The parent, started, and how to have it start workers."""

    def __init__(self, has_webhooks: bool = False) -> None:
        """Start the parent, with all rights that we have now. Raises `OSError`.

        has_webhooks: workers will need what webhooks are told with.
        """
        words = [WEBHOOKS] if has_webhooks else []
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._workers: dict[int, Worker] = {}
        self._is_lost = False
        with theirs, blocked():
            self._process = subprocess.Popen(  # noqa: S603  ourselves
                [sys.executable, "-P", "-m", "mta.workers.parent", str(theirs.fileno()), *words],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # the same program as ours
            )

    def inherit(self) -> None:
        """Have the parent, and so the workers, give away the rights that we have given away."""
        rights = {"groups": os.getgroups(), "group": os.getresgid(), "user": os.getresuid()}
        self._ask({"do": "become", **rights}, ())

    def start(self, number: int, descriptors: Sequence[int], log: int | None) -> Worker:
        """Start a worker. descriptors: what it is given, see `process.run`. log: a file that it may write to; None to
        have its lines handed to us. Raises `OSError`.
        """
        with ExitStack() as ours, ExitStack() as theirs:

            def pair() -> tuple[socket.socket, int]:
                one, other = socket.socketpair()
                theirs.enter_context(other)
                return ours.enter_context(one), other.fileno()

            line, end = pair()
            lines, written = pair() if log is None else (None, log)
            self._ask({"do": "start", "number": number}, (end, written, *descriptors))
            ours.pop_all()
        worker = self._workers[number] = Worker(number, line, lines)
        return worker

    def kill(self, worker: Worker) -> None:
        """Have a worker end at once."""
        if not self._is_lost:
            self._ask({"do": "kill", "number": worker.number}, ())
        elif worker.pid:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)

    def wait(self, done: Callable[[], bool]) -> None:
        """Listen until something is so, or there is no parent any more. Only while the reactor does not run."""
        while not done() and (told := self._line.recv(65536)):
            self._hear(told)

    def watch(self, reactor: Any, lost: Callable[[], None]) -> None:
        """Listen from now on. lost: is called when there is no parent any more."""

        def gone() -> None:
            self._is_lost = True
            lost()

        adopt(reactor, socket.socket(fileno=os.dup(self._line.fileno())), Words(self._hear, gone))

    def close(self) -> None:
        """Let the parent go; the workers have. Waits for its end: it could outlive our program, see `restarting`."""
        with suppress(OSError):  # it has gone
            self._line.shutdown(socket.SHUT_WR)  # the reactor has the line as well
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_FAREWELL)
        self._line.close()

    def _ask(self, what: dict[str, object], descriptors: Sequence[int]) -> None:
        with suppress(ConnectionError):  # there is no parent any more, which is noticed where it is listened to
            socket.send_fds(self._line, [json.dumps(what).encode()], descriptors)

    def _hear(self, line: bytes) -> None:
        try:
            self._take(line)
        except Exception:  # or the line would be closed, and the parent taken for dead
            _logger.failure("what the parent of the workers has said could not be dealt with")

    def _take(self, line: bytes) -> None:
        told = json.loads(line)
        if "born" in told:
            self._workers[told["born"]].pid = told["pid"]
        else:
            self._workers.pop(told["gone"]).gone(told.get("status"), told.get("why", ""))
