"""Family: the workers and the parent that they are forked from, as the supervisor sees them."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mta.workers.lines import Words, adopt
from mta.workers.worker import Worker


class Family:
    """The parent, started, and how to have it start workers."""

    def __init__(self) -> None:
        """Start the parent, with all rights that we have now. Raises `OSError`."""
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._workers: dict[int, Worker] = {}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  ourselves
                [sys.executable, "-P", "-m", "mta.workers.parent", str(theirs.fileno())],
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
        have its lines handed to us.
        """
        line, theirs = socket.socketpair()
        lines, output = socket.socketpair() if log is None else (None, None)
        worker = self._workers[number] = Worker(number, line, lines)
        try:
            written = output.fileno() if output is not None else log
            self._ask({"do": "start", "number": number}, (theirs.fileno(), written, *descriptors))
        finally:
            theirs.close()
            if output is not None:
                output.close()
        return worker

    def kill(self, worker: Worker) -> None:
        """Have a worker end at once."""
        self._ask({"do": "kill", "number": worker.number}, ())

    def wait(self, done: Callable[[], bool]) -> None:
        """Listen until something is so, or there is no parent any more. Only while the reactor does not run."""
        while not done() and (told := self._line.recv(65536)):
            self._hear(told)

    def watch(self, reactor: Any, lost: Callable[[], None]) -> None:
        """Listen from now on. lost: is called when there is no parent any more."""
        adopt(reactor, socket.socket(fileno=os.dup(self._line.fileno())), Words(self._hear, lost))

    def close(self) -> None:
        """Let the parent go; the workers have."""
        self._line.close()

    def _ask(self, what: dict[str, object], descriptors: Sequence[int | None]) -> None:
        try:
            socket.send_fds(self._line, [json.dumps(what).encode()], [one for one in descriptors if one is not None])
        except OSError:
            return  # there is no parent any more, which is noticed where it is listened to

    def _hear(self, line: bytes) -> None:
        told = json.loads(line)
        if "born" in told:
            self._workers[told["born"]].pid = told["pid"]
        else:
            self._workers.pop(told["gone"]).gone(told.get("status"), told.get("why", ""))
