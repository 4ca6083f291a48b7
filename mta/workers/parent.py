"""Parent: the process that workers are forked from. `python -m mta.workers.parent`, which the supervisor starts.

It has all of the program in memory and nothing else: no reactor, no thread, no socket but the one to the supervisor. So
a worker is there in a moment and is the same program as the others, whatever has become of its files since, and whether
or not the user that it runs as may read them. What a worker is to have comes with the request to start it.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from mta.net.early import WAITING
from mta.spool.sqlite import SqliteSpool
from mta.workers.lines import MOST_DESCRIPTORS, MOST_OCTETS, WEBHOOKS
from mta.workers.process import run

_CHILD_GONE: Final = signal.SIGCHLD


def main(words: Sequence[str]) -> int:
    """Do what the supervisor asks for until it is no more.

    words: the descriptor of the socket to it, and `WEBHOOKS` where what they need is to be loaded while it can be.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, for the supervisor, too, who tells us
    SqliteSpool.prepare()
    if WEBHOOKS in words:
        import_module("mta.webhooks.post")
    gc.collect()
    gc.freeze()  # what workers share stays shared
    with socket.socket(fileno=int(words[0])) as supervisor:
        _Parent(supervisor).serve()
    return 0


class _Parent:
    """workers: their numbers, by process id."""

    def __init__(self, supervisor: socket.socket) -> None:
        self._supervisor = supervisor
        self._supervisors_id = os.getppid()
        self._workers: dict[int, int] = {}
        self._woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        # What ends the relay may be sent to all of its processes. The workers have to be listened to until they have
        # ended, so the parent stays until the supervisor is no more.
        self._was = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for one in WAITING:
            signal.signal(one, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITING)  # who has started us has blocked them
        signal.signal(_CHILD_GONE, lambda *_: None)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._woken, self._supervisor], [], [])
            if self._woken in ready:
                self._woken.recv(4096)
                self._reap()
            if self._supervisor in ready:
                octets, descriptors, _, _ = socket.recv_fds(self._supervisor, MOST_OCTETS, MOST_DESCRIPTORS)
                if not octets:
                    return
                self._do(json.loads(octets), descriptors)

    def _do(self, asked: dict[str, Any], descriptors: list[int]) -> None:
        match asked["do"]:
            case "become":
                _become(asked["groups"], asked["group"], asked["user"])
            case "kill":
                for pid, number in self._workers.items():
                    if number == asked["number"]:
                        os.kill(pid, signal.SIGKILL)
            case "start":
                self._start(asked["number"], descriptors)

    def _start(self, number: int, descriptors: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._tell({"gone": number, "why": str(error)})
        else:
            if not pid:
                self._be_worker(number, descriptors)
            self._workers[pid] = number
            self._tell({"born": number, "pid": pid})
        for one in descriptors:
            os.close(one)

    def _be_worker(self, number: int, descriptors: list[int]) -> None:
        """Never returns."""
        status = 70  # EX_SOFTWARE of sysexits.h
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(_CHILD_GONE, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, self._was)  # not the others, or one that comes early would end it
            for line in (self._supervisor, self._woken, self._wakes):
                line.close()
            status = run(number, self._supervisors_id, descriptors)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._tell({"gone": self._workers.pop(pid), "status": os.waitstatus_to_exitcode(status)})

    def _tell(self, what: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # it is no more, which is noticed where it is listened to
            self._supervisor.send(json.dumps(what).encode() + b"\n")


def _become(groups: list[int], group: list[int], user: list[int]) -> None:
    """Have the rights that the supervisor has."""
    if sorted(os.getgroups()) != sorted(groups):
        os.setgroups(groups)
    if list(os.getresgid()) != group:
        os.setresgid(*group)
    if list(os.getresuid()) != user:
        os.setresuid(*user)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
