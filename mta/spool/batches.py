"""Batches: operations on a store, many to a commit, and what to do when one of them or the disk fails.

An operation that fails harms nobody else: the batch is rolled back, and each is done alone. After an error of the disk
nothing is trusted that the connection wrote: all of the batch fails, the file is opened and checked anew, and what the
failed commit may have left is undone.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

import apsw
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.interfaces import SpoolBroken, SpoolFull
from mta.spool.content import full_or_broken
from mta.spool.store import Store

Result = TypeVar("Result")

# Errors after which all is as it was before the transaction.
HARMLESS = (apsw.FullError, apsw.BusyError, apsw.ConstraintError, apsw.MismatchError, apsw.SQLError, apsw.TooBigError)

_log = Logger()


class Operation(Generic[Result]):
    """Something asked of the store.

    run: does it; again, in a new transaction, where the first one was rolled back. undo: takes it back, given its
    result (None if it was not reached), where a commit has failed and nobody knows what of it is on the disk. brief:
    it takes some ten microseconds, and touches what is in memory anyway.
    """

    __slots__ = ("brief", "deferred", "error", "result", "run", "undo")

    def __init__(
        self,
        run: Callable[[Store], Result],
        undo: Callable[[Store, Result | None], None] | None = None,
        brief: bool = False,
    ) -> None:
        self.run = run
        self.undo = undo
        self.brief = brief
        self.deferred: Deferred[Result] = Deferred()
        self.result: Result | None = None
        self.error: Exception | None = None

    def answer(self) -> None:
        """Tell whoever asked."""
        if self.error is None:
            self.deferred.callback(self.result)  # type: ignore[arg-type]
        else:
            self.deferred.errback(Failure(self.error))


Batch = list[Operation[Any]]


class Committer:
    """Does batches on a store, one at a time, in whatever thread it is called.

    trouble: how the file failed last, if nothing could be written since; "" while all is well.
    """

    def __init__(self, store: Store, reopen: Callable[[], Store]) -> None:
        """reopen: opens the file anew and checks it; raises `SpoolBroken`."""
        self.trouble = ""
        self._store: Store | None = store
        self._written = 0  # by the store, when it was opened after an error
        self._reopen = reopen
        self._doubtful: Batch = []
        self._log_is_doubtful = False  # a commit has failed, and may have left a hole in the log

    def prepare(self, batch: Batch) -> bool:
        """Do all of it but the commit, for which `commit` is to be called, in whatever thread.

        False: nothing was done, since somebody has to be waited for or something is wrong; `perform` sees to that.
        """
        store = self._store
        if store is None:
            return False
        try:
            if not store.begin_at_once():
                return False
        except (apsw.Error, OSError):
            return False
        try:
            for operation in batch:
                operation.result = operation.run(store)
            store.settle()
        except Exception:
            with suppress(apsw.Error):  # if it cannot be rolled back, it cannot be begun anew either
                store.roll_back()
            return False
        return True

    def commit(self, batch: Batch) -> None:
        """Commit what was prepared. Afterwards each operation has its result or its error."""
        store = self._store
        assert store is not None, "something was prepared"
        try:
            try:
                store.commit()
            except BaseException:
                store.roll_back()
                raise
            self._did_well(store)
        except Exception as error:
            self._failed(store, batch, error)

    def perform(self, batch: Batch) -> None:
        """Do all of it in one commit. Afterwards each operation has its result or its error."""
        try:
            store = self._sound_store()
        except SpoolBroken as error:
            self.trouble = str(error)
            for operation in batch:
                operation.error = error
            return
        try:
            with store.transaction():
                for operation in batch:
                    operation.result = operation.run(store)
            self._did_well(store)
        except Exception as error:
            self._failed(store, batch, error)

    def _did_well(self, store: Store) -> None:
        """Something was committed. That the file can be read shows little: what fails is written to, perhaps."""
        if self.trouble and store.written > self._written:
            self.trouble = ""

    def _failed(self, store: Store, batch: Batch, error: Exception) -> None:
        """A batch was rolled back: who is to blame, and what of it can be done all the same."""
        if isinstance(error, apsw.Error) and not isinstance(error, HARMLESS):
            self._distrust(store, batch, error)
        elif len(batch) == 1 or isinstance(error, apsw.BusyError):  # it has been waited for long enough
            for operation in batch:
                operation.error = _translated(error)
        else:
            for operation in batch:
                self.perform([operation])

    @property
    def has_long_log(self) -> bool:
        """As `Store.has_long_log`."""
        return self._store is not None and self._store.has_long_log

    def checkpoint(self) -> None:
        """As `Store.checkpoint`; for the time when everybody has been answered."""
        self._care(Store.checkpoint, commits=False)

    def tidy(self, is_idle: bool) -> bool:
        """As `Store.tidy`."""
        return bool(self._care(partial(Store.tidy, is_idle=is_idle), commits=True))

    def take_removable(self) -> list[int]:
        """As `Store.take_removable`."""
        return self._store.take_removable() if self._store is not None else []

    def close(self) -> None:
        """Let go of the file."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _care(self, what: Callable[[Store], bool | None], commits: bool) -> bool | None:
        if self._store is None:
            return None
        try:
            return what(self._store)
        except apsw.FullError:
            return None  # it is retried, and whoever wants something kept is told
        except (apsw.Error, OSError) as error:
            self._log_is_doubtful = self._log_is_doubtful or commits
            self._distrust(self._store, [], error)
            return None

    def _distrust(self, store: Store, batch: Batch, error: Exception) -> None:
        _log.error("the queue file failed and is opened anew: {error}", error=error)
        self.trouble = str(error)
        self._log_is_doubtful = self._log_is_doubtful or bool(batch)
        for operation in batch:
            operation.error = SpoolBroken(f"the queue file could not be written: {error}")
            if operation.undo is not None:
                self._doubtful.append(operation)
        self._store = None
        store.close()
        try:
            self._sound_store()
        except SpoolBroken as broken:
            _log.error("the queue file cannot be used, which is tried again: {error}", error=broken)

    def _sound_store(self) -> Store:
        """The store; after an error a new one, with what is doubtful undone. Raises `SpoolBroken`."""
        if self._store is None:
            try:
                store = self._reopen()
            except (apsw.Error, OSError) as error:
                raise SpoolBroken(f"the queue file cannot be opened anew: {error}") from error
            try:
                with store.transaction():
                    for operation in self._doubtful:
                        if operation.undo is not None:
                            operation.undo(store, operation.result)
                if self._log_is_doubtful:
                    renew_log(store)
            except Exception as error:
                store.close()
                raise SpoolBroken(f"the queue file cannot be written: {error}") from error
            self._doubtful = []
            self._log_is_doubtful = False
            self._written = store.written
            self._store = store
        return self._store


def renew_log(store: Store) -> None:
    """Begin the write-ahead log anew. Raises `SpoolBroken` or an error of the disk; nothing may be kept then.

    What a failed sync has not written counts as written afterwards, for the system tells the error once. The log reads
    as it should, but it may have a hole on the disk, and behind that nothing would be found after a power cut.
    """
    if not store.empty_log():
        raise SpoolBroken("another program reads the queue file")


def _translated(error: Exception) -> Exception:
    if isinstance(error, apsw.FullError):
        return SpoolFull("the disk of the spool is full")
    if isinstance(error, apsw.BusyError):
        return SpoolBroken("another program keeps the queue file locked")
    if isinstance(error, apsw.Error):
        return SpoolBroken(f"the queue file could not be written: {error}")
    return full_or_broken(error) if isinstance(error, OSError) else error
