"""Threads: where passwords are checked, a few at a time, with a short line before the door."""

from collections.abc import Callable
from typing import Final, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

Result = TypeVar("Result")

AT_ONCE: Final = 2
LONGEST_LINE: Final = 20


class Busy(Exception):
    """The line is full, or there is no line any more."""


class Threads:
    """Two threads, which start with the first thing to do. What is done in them must not touch anything else."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=AT_ONCE, name="passwords")
        self._free = DeferredSemaphore(AT_ONCE)
        self._busy = 0
        self._stopping: Deferred[None] | None = None

    def run(self, work: Callable[[], Result]) -> "Deferred[Result]":
        """Do this as soon as a thread is free. Raises `Busy` where too many wait already."""
        if self._stopping is not None or len(self._free.waiting) >= LONGEST_LINE:
            raise Busy
        self._busy += 1
        return self._free.run(self._start, work).addBoth(self._done)

    def stop(self) -> "Deferred[None]":
        """Begin nothing more; whoever waits gets `Busy`. Fires when no thread is left."""
        if self._stopping is None:
            self._stopping = Deferred()
            self._end_if_idle()
        return self._stopping

    def _start(self, work: Callable[[], Result]) -> "Deferred[Result]":
        if self._stopping is not None:
            raise Busy
        if not self._pool.started:
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, work)

    def _done(self, result: Result) -> Result:
        self._busy -= 1
        self._end_if_idle()
        return result

    def _end_if_idle(self) -> None:
        if self._stopping is not None and not self._busy and not self._stopping.called:
            if self._pool.started:
                self._pool.stop()
            self._stopping.callback(None)
