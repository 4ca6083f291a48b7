"""Threads: where work is done that would keep the reactor waiting, a few pieces at a time."""

import os
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

Result = TypeVar("Result")

_CORES = os.sched_getaffinity(0)  # of the program, before its reactor keeps to one of them


class Busy(Exception):
    """Too much waits already, or nothing is begun any more."""


class Threads(Protocol):
    """Who does such work."""

    def run(self, work: Callable[[], Result]) -> "Deferred[Result]":
        """Do this, which touches nothing that others use, as soon as may be. Fails with `Busy`, or as `work` does."""

    def stop(self) -> "Deferred[None]":
        """Begin nothing more; whoever waits gets `Busy`. Fires when nothing is being done."""


class PooledThreads:
    """Threads that start with the first thing to do. name: of the pool. at_once: how many there are at most.

    line: how many pieces of work may wait for one; None for any number.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str, at_once: int, line: int | None = None) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=at_once, name=name)
        self._pool.threadFactory = _Roaming
        self._most = None if line is None else at_once + line
        self._busy = 0
        self._stopping: Deferred[None] | None = None

    def run(self, work: Callable[[], Result]) -> "Deferred[Result]":
        """As `Threads`."""
        if self._stopping is not None or self._busy == self._most:
            return fail(Busy())
        if not self._pool.started:
            self._pool.start()
        self._busy += 1
        return deferToThreadPool(self._reactor, self._pool, self._unless_stopping, work).addBoth(self._done)

    def stop(self) -> "Deferred[None]":
        """As `Threads`; no thread is left then."""
        if self._stopping is None:
            self._stopping = Deferred()
            self._end_if_idle()
        return self._stopping

    def _unless_stopping(self, work: Callable[[], Result]) -> Result:
        """In a thread."""
        if self._stopping is not None:
            raise Busy
        return work()

    def _done(self, result: Result) -> Result:
        self._busy -= 1
        self._end_if_idle()
        return result

    def _end_if_idle(self) -> None:
        if self._stopping is not None and not self._busy and not self._stopping.called:
            if self._pool.started:
                self._pool.stop()
            self._stopping.callback(None)


class _Roaming(Thread):
    """Works on any core of the program's: on the reactor's, if that keeps to one, each would hold up the other."""

    def run(self) -> None:
        with suppress(OSError):  # where that is forbidden it works where it is
            os.sched_setaffinity(0, _CORES)
        super().run()


class NoThreads:
    """Does everything at once, while the caller waits."""

    def run(self, work: Callable[[], Result]) -> "Deferred[Result]":
        """As `Threads`; never `Busy`."""
        return execute(work)

    def stop(self) -> "Deferred[None]":
        """As `Threads`."""
        return succeed(None)
