"""Writer: gathers what is asked of the queue file and has it done in batches, committed by a thread of its own.

What is asked for until the reactor has nothing else to do is one batch. While the thread is busy the next one gathers,
so a slower disk makes larger batches. Results come back with one call per batch.

A batch of brief operations, as ordinary mail makes them, is done by the reactor in that moment, and the thread is
left with the commit: one call into SQLite, which writes and syncs while the reactor goes on. Where the disk is so quick
that waking the thread would take longer than the sync, the reactor commits too. The thread does the whole of a batch
that may read what is not in memory, or is long, or must wait for the `mta` command. Statements in the thread contend
with the reactor for Python's lock, each time anew, and each hand-over wakes another core: 14 % of a relay's CPU.
"""

import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.interfaces import SpoolBroken
from mta.net.measures import Measures
from mta.net.poller import when_idle
from mta.spool.batches import Batch, Committer, Operation
from mta.spool.store import Store

PATIENCE = 0.02  # seconds that what is not urgent waits for something urgent to share a commit with
PATIENT = 32  # as many of them are urgent together
FEW = 64  # operations at most that the reactor itself does in one turn
QUICK = 0.001  # seconds that a commit may take where the reactor makes it itself
FORGIVING = 0.9  # how much of a slow commit's time still counts after the next one
IDLE = 1.0  # seconds between two looks whether there is time to tidy up
QUIET = 0.3  # of the time since the last look, at most, that it was busy with what was asked for, while there is
MOMENT = 0.005  # seconds until it is looked again where it is quiet, but for this moment
STEP = 0.05  # seconds between two steps of tidying up, while there is time; else each look is a step
EXIT_STATUS = 70  # EX_SOFTWARE of sysexits.h

Result = TypeVar("Result")
Task = Callable[[], None]

_log = Logger()


def exit_process() -> None:
    """End the process at once: without its writer it could only pretend to work."""
    traceback.print_exc(file=sys.__stderr__)  # sys.stderr is the log by now, which nobody writes any more
    os._exit(EXIT_STATUS)


class Writer:
    """The one who writes to a queue file. All methods are called in the reactor's thread."""

    def __init__(
        self,
        reactor: IReactorTime,
        committer: Committer,
        remove: Callable[[list[int]], None],
        fatal: Task | None,
        measures: Measures,
    ) -> None:
        """remove: what to do, in the reactor's thread, with messages whose content file may go.

        fatal: called where the writing fails, in whichever thread; it should not return. None: there is no thread, and
        each batch is done in the turn of the reactor that it is handed over in, which a simulation can repeat.
        """
        self._reactor = reactor
        self._committer = committer
        self._remove = remove
        self._measures = measures
        self._gathered: Batch = []
        self._lengthy = False  # some of it is not brief
        self._commit_time = QUICK  # seconds that a commit is to be expected to take: until it is known, not quick
        self._alone: list[Task] = []
        self._urgent = False
        self._called = False
        self._patience: IDelayedCall | None = None
        self._busy = False
        self._stopped = False
        self._since = 0.0  # when it became busy
        self._served = 0.0  # seconds that it was busy since the last look
        self._looked = 0.0
        self._look: IDelayedCall | None = None
        self._when_idle = when_idle(reactor)
        self._thread: _Thread | _NoThread = _NoThread() if fatal is None else _Thread(reactor, fatal)

    def submit(
        self,
        run: Callable[[Store], Result],
        urgent: bool = True,
        undo: Callable[[Store, Result | None], None] | None = None,
        brief: bool = False,
    ) -> "Deferred[Result]":
        """Have something done to the store. What is not urgent may wait a little to share a commit.

        brief: see `Operation`.
        """
        if self._stopped:
            return fail(SpoolBroken("the spool has been stopped"))
        operation = Operation(run, undo, brief)
        self._gathered.append(operation)
        self._urgent = self._urgent or urgent or len(self._gathered) >= PATIENT
        self._lengthy = self._lengthy or not brief or len(self._gathered) > FEW
        if not self._busy:
            self._arrange()
        return operation.deferred

    def alone(self, task: "Callable[[Committer], Result]") -> "Deferred[Result]":
        """Have something done between two batches, which makes its own commits."""
        if self._stopped:
            return fail(SpoolBroken("the spool has been stopped"))
        done: Deferred[Result] = Deferred()
        self._alone.append(partial(self._perform_alone, task, done))
        self._arrange()
        return done

    def busy_for(self) -> float:
        """Seconds since the batch that is being done was handed over; 0.0 where none is."""
        return max(0.0, self._reactor.seconds() - self._since) if self._busy else 0.0

    def stop(self, last: Callable[[Store], None]) -> "Deferred[None]":
        """Do what was asked for, then this, and close the file."""
        if self._stopped:
            return succeed(None)
        done = self.submit(last)
        self._stopped = True
        return done.addErrback(self._last_failed).addCallback(self._close)

    def _arrange(self) -> None:
        """See to it that what has gathered is handed over in time."""
        if self._busy:
            return
        if self._alone:
            self._busy = True
            self._thread.do(self._alone.pop(0))
            return
        if not self._gathered:
            return
        if self._urgent:
            if not self._called:
                self._called = True
                self._when_idle(self._hand_over)
        elif self._patience is None:
            self._patience = self._reactor.callLater(PATIENCE, self._patience_ends)

    def _patience_ends(self) -> None:
        self._patience = None
        self._hand_over()

    def _hand_over(self) -> None:
        self._called = False
        if self._busy or not self._gathered:
            return
        batch, self._gathered = self._gathered, []
        is_brief, self._lengthy = not self._lengthy, False
        self._urgent = False
        self._busy = True
        self._since = self._reactor.seconds()
        is_done = False
        try:
            is_prepared = is_brief and self._committer.prepare(batch)
            if is_prepared and self._is_quick:
                self._commit(batch)
                is_done = True
        except BaseException:
            self._thread.failed()  # nobody would ever be answered again
            raise
        if is_done:
            self._answer(batch, self._committer.take_removable())
        else:
            self._thread.do(partial(self._perform, batch, is_prepared))

    @property
    def _is_quick(self) -> bool:
        """Is the disk so quick that the reactor commits?"""
        return self._commit_time < QUICK

    def _answer(self, batch: Batch, removable: list[int]) -> None:
        """A batch is done, by the thread or here."""
        self._busy = False
        self._served += self._reactor.seconds() - self._since
        if self._committer.has_long_log:
            self._busy = True
            self._thread.do(self._checkpoint)
        if self._urgent and not self._alone and (self._lengthy or not self._is_quick):
            self._hand_over()  # first, so that the disk works while the answers are being used
        for operation in batch:
            operation.answer()
        if removable:
            self._remove(removable)
        self._arrange()
        if self._look is None and not self._stopped:
            self._look = self._reactor.callLater(IDLE, self._look_around)

    def _checkpointed(self) -> None:
        self._busy = False
        self._arrange()

    def _look_around(self) -> None:
        self._look = None
        now = self._reactor.seconds()
        is_quiet = self._served <= QUIET * (now - self._looked)
        if is_quiet and (self._busy or self._gathered):
            self._look = self._reactor.callLater(MOMENT, self._look_around)
            return
        self._served, self._looked = 0.0, now
        self._alone.append(partial(self._tidy, is_quiet))
        self._arrange()

    def _tidied(self, is_quiet: bool, has_more: bool) -> None:
        self._busy = False
        self._arrange()
        if (has_more or not is_quiet) and self._look is None and not self._stopped:
            self._look = self._reactor.callLater(STEP if is_quiet else IDLE, self._look_around)

    def _done_alone(self, done: "Deferred[Any]", result: object) -> None:
        self._busy = False
        self._arrange()
        done.callback(result)  # a Failure too

    def _last_failed(self, failure: Failure) -> None:
        _log.error("claims could not be put back: {error}", error=failure.getErrorMessage())

    def _close(self, _: None) -> "Deferred[None]":
        for call in (self._look, self._patience):
            if call is not None:
                call.cancel()
        self._look = self._patience = None
        closed: Deferred[None] = Deferred()
        self._thread.do(partial(self._close_file, closed))
        self._thread.end()
        return closed

    def _commit(self, batch: Batch) -> None:
        """Commit what is prepared, in whichever thread, and see how long that takes."""
        begun = monotonic()
        self._committer.commit(batch)
        took = monotonic() - begun
        self._commit_time = max(took, FORGIVING * self._commit_time)
        self._measures.committed(took)

    # What follows runs in the writer's thread.

    def _perform(self, batch: Batch, is_prepared: bool) -> None:
        if is_prepared:
            self._commit(batch)
        else:
            begun = monotonic()
            self._committer.perform(batch)
            self._measures.committed(monotonic() - begun)
        self._thread.tell(self._answer, batch, self._committer.take_removable())

    def _checkpoint(self) -> None:
        self._committer.checkpoint()
        self._thread.tell(self._checkpointed)

    def _perform_alone(self, task: Callable[[Committer], object], done: "Deferred[Any]") -> None:
        try:
            result = task(self._committer)
        except Exception:
            result = Failure()
        self._committer.checkpoint()
        self._thread.tell(self._done_alone, done, result)

    def _tidy(self, is_quiet: bool) -> None:
        has_more = self._committer.tidy(is_quiet)
        self._committer.checkpoint()
        self._thread.tell(self._tidied, is_quiet, has_more)

    def _close_file(self, closed: "Deferred[None]") -> None:
        self._committer.close()
        self._thread.tell(closed.callback, None)


class _Thread:
    """A thread that does one task after the other. If one of them raises, so much is lost that all is."""

    def __init__(self, reactor: IReactorTime, fatal: Task) -> None:
        self.tell: Callable[..., object] = IReactorFromThreads(reactor).callFromThread
        self._fatal = fatal
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.do: Callable[[Task], None] = self._tasks.put
        Thread(target=self._serve, name="spool writer", daemon=True).start()

    def end(self) -> None:
        """No more tasks will follow."""
        self._tasks.put(None)

    def failed(self) -> None:
        """In an exception: the writing has failed in a way that nothing can be made of."""
        _log.failure("the writer of the spool failed")
        self._fatal()

    def _serve(self) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                task()
        except BaseException:
            self.failed()


class _NoThread:
    """Does each task where it is asked for."""

    def do(self, task: Task) -> None:
        """As in `_Thread`."""
        task()

    def tell(self, what: Callable[..., Any], *values: object) -> None:
        """As in `_Thread`."""
        what(*values)

    def failed(self) -> None:
        """As in `_Thread`; whoever runs the reactor finds out by the exception."""

    def end(self) -> None:
        """As in `_Thread`."""
