"""Pulse: a worker whose reactor does not turn any more is found, so that it can be killed, and started again.

The kernel goes on giving it its share of new clients, who would wait for ever. Each worker is asked now and then if it
is there, and answers as soon as its reactor turns, whatever its disk does. How long it has been silent is counted in
looks that we have taken, and not in time: a machine that has slept, a clock that was set, or a supervisor that could
not run itself, is one look, and no reason to kill anybody.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mta.workers.worker import Worker

OFTEN: Final = 5.0  # seconds from one look to the next, at least
MOST: Final = 12  # looks without an answer
_EXCUSED: Final = frozenset("Dt")  # it waits for a disk, when it could not be killed either, or is being debugged


class Pulse:
    """Looks after the workers that are ready, while it runs."""

    def __init__(
        self,
        clock: IReactorTime,
        workers: Callable[[], Iterable[Worker]],
        hung: Callable[[Worker, float], None],
        state: Callable[[int], str] | None = None,
    ) -> None:
        """workers: those that should answer now; what the others do meanwhile is not counted. hung: is told of each
        that has not for so many seconds at least, and after as many again if it is still there. state: of a process, by
        its id, as proc(5) has it."""
        self._clock = clock
        self._workers = workers
        self._hung = hung
        self._state = state or state_of
        self._silent: dict[Worker, int] = {}  # looks since it was asked, for which there was no answer
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Look from now on."""
        self._next = self._clock.callLater(OFTEN, self._look)

    def stop(self) -> None:
        """Do not look any more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        self._next = self._clock.callLater(OFTEN, self._look)
        for worker in self._workers():
            if worker not in self._silent:
                self._silent[worker] = 0
                worker.ask({"do": "here"}).addBoth(self._answered, worker)
            elif self._state(worker.pid) not in _EXCUSED:
                self._silent[worker] += 1
                if self._silent[worker] % MOST == 0:
                    self._hung(worker, self._silent[worker] * OFTEN)

    def _answered(self, _: object, worker: Worker) -> None:
        del self._silent[worker]


def state_of(pid: int) -> str:
    """What a process does, as one letter (proc(5)); "" where that cannot be told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return stat.rpartition(b") ")[2][:1].decode()
