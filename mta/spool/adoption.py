"""Adoption: queue files whose workers there are no more are moved, message by message, into the file of one that lives.

A message is copied, that is committed, it is removed from the old file, and that is committed; both with the old file
locked, and between two batches of the worker's own. So after a crash what was being copied may be in both files, and is
the first in the old one: `forget_copied` removes it there before anything is claimed. Messages are only ever moved into
a file of a lower number, so of two copies the one in the lower file is the message.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import NamedTuple, TypeVar

import apsw
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.interfaces import SpoolBroken
from mta.message.envelope import recipients_from_json
from mta.spool import database, listing, settling
from mta.spool.batches import HARMLESS, Committer, Operation
from mta.spool.folder import Folder
from mta.spool.keeping import ADD_EVENT, ADD_MESSAGE, unkeep
from mta.spool.ledger import KNOWN
from mta.spool.store import LAST_MESSAGE, Row, Store
from mta.spool.writer import Writer

BATCH = 100  # messages that are moved at once, at most
OCTETS = 1024 * 1024  # of their bodies, at most, but for a single one
STORIES = 250  # timelines, and what webhooks are owed, likewise
REST = 0.03  # seconds between two batches, for the worker's own work
AGAIN = 10.0  # seconds until it is tried again where a batch could not be moved

FIRST = "SELECT id, size, file FROM message ORDER BY id LIMIT ?"
READ_MESSAGE = "SELECT id, received, size, file, envelope, events, body FROM message WHERE id = ?"
READ_DELIVERIES = """
    SELECT id, message, destination, state, priority, due, deadline, attempts, fence, warned, wish, last_reply, sender,
        recipients, reverse_path FROM delivery WHERE message = ? ORDER BY id
"""
ADD_DELIVERY = """
    INSERT INTO delivery (id, message, destination, state, priority, due, deadline, attempts, fence, warned, wish,
        last_reply, sender, recipients, reverse_path) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
READ_EVENTS = "SELECT message, ends, events FROM event WHERE message = ? ORDER BY id"
READ_DESTINATION = "SELECT name, paused_until, failures, last_reply FROM destination WHERE name = ?"
ADD_DESTINATION = """
    INSERT OR IGNORE INTO destination (name, next_due, paused_until, failures, last_reply) VALUES (?, NULL, ?, ?, ?)
"""
READ_OWED = "SELECT id, url, message, sender, destination, event FROM owed ORDER BY id LIMIT ?"
ADD_OWED = "INSERT OR IGNORE INTO owed (id, url, message, sender, destination, event) VALUES (?, ?, ?, ?, ?, ?)"
REMOVE_OWED = "DELETE FROM owed WHERE id = ?"
READ_STORIES = "SELECT message, received, ended, sender, result, events FROM timeline ORDER BY message LIMIT ?"
ADD_STORY = "INSERT INTO timeline (message, received, ended, sender, result, events) VALUES (?, ?, ?, ?, ?, ?)"
IS_TAKEN = "SELECT EXISTS (SELECT 1 FROM delivery WHERE id = ?)"
IS_EMPTY = """
    SELECT NOT EXISTS (SELECT 1 FROM message) AND NOT EXISTS (SELECT 1 FROM timeline)
        AND NOT EXISTS (SELECT 1 FROM owed)
"""

Answer = TypeVar("Answer")

_log = Logger()


class _Batch(NamedTuple):
    """What is moved at once: rows. A message comes with its deliveries and events, a story with its events, and when
    all of these have been moved comes what webhooks are owed."""

    messages: Sequence[Row]
    deliveries: Sequence[Row]
    events: Sequence[Row]
    destinations: Sequence[Row]
    stories: Sequence[Row]
    owed: Sequence[Row]

    @property
    def is_empty(self) -> bool:
        return not self.messages and not self.stories and not self.owed


class Leftover:
    """The queue file of a worker that there is no more. messages, unknown: what was in it, see `Recovered`."""

    def __init__(self, folder: Folder, number: int, now: Callable[[], float], worker: int) -> None:
        """Take it, for the worker of another number. Raises `SpoolBroken`."""
        self.number = number
        self._folder = folder
        self._files = folder.contents(number)
        self._into = folder.contents(worker)
        self._locks = [folder.hold(number)]
        self._open = ExitStack()
        try:
            self._locks.append(folder.write_lock(number))
            db = database.open_queue(folder.queue(number), folder.disk, folder.vfs)
            self._store = Store(db, self._locks[1], worker, now)
            with self._store.transaction():
                forget_copied(self._store, number, folder)
                self.unknown = settling.recover(self._store)
            self.messages = listing.totals(self._store).messages
        except apsw.Error as error:
            self._let_go()
            raise SpoolBroken(f"the queue file {folder.queue(number)} cannot be used: {error}") from error
        except BaseException:
            self._let_go()
            raise

    def move(self, committer: Committer) -> bool | None:
        """Move what comes next into the worker's file. True: there may be more. False: that was all, and the file has
        been removed. None: that was all, but somebody reads it.
        """
        batch = self._begin()
        if batch.is_empty:
            return False if self._discard() else None
        copy = Operation(partial(_copy, batch), _take_back)
        is_copied = False
        try:
            with self._open:
                committer.perform([copy])
                if copy.error is not None:
                    raise copy.error
                is_copied = True
                self._forget(batch)
        except HARMLESS:
            if is_copied:  # it is in both files, and before anybody claims it, it has to be in one
                _do(committer, partial(_take_back, added=copy.result))
            raise
        except Exception as error:
            if is_copied:  # nobody knows whether it is in both
                raise _end_of_process() from error
            raise
        self._clean(batch)
        return True

    def close(self) -> None:
        """Let go of it."""
        self._store.close()
        self._let_go()

    def _let_go(self) -> None:
        for lock in self._locks:
            lock.close()

    def _begin(self) -> _Batch:
        """Lock the file, unless nothing is left, and read what comes next."""
        with ExitStack() as stack:
            stack.enter_context(self._store.transaction())
            batch = self._read()
            if not batch.is_empty:
                self._take_files(batch)
                self._open = stack.pop_all()
        return batch

    def _read(self) -> _Batch:
        ids: list[int] = []
        octets = 0
        for number, size, file in self._store.rows(FIRST, (BATCH,)):
            octets += 0 if file else size
            if ids and octets > OCTETS:
                break
            ids.append(number)
        stories = [] if ids else self._store.rows(READ_STORIES, (STORIES,))
        deliveries = self._each(READ_DELIVERIES, ids)
        return _Batch(
            self._each(READ_MESSAGE, ids),
            deliveries,
            self._each(READ_EVENTS, [*ids, *(row[0] for row in stories)]),
            self._each(READ_DESTINATION, dict.fromkeys(row[2] for row in deliveries)),
            stories,
            [] if ids or stories else self._store.rows(READ_OWED, (STORIES,)),
        )

    def _each(self, query: str, keys: Iterable[int | str]) -> list[Row]:
        return [row for key in keys for row in self._store.rows(query, (key,))]

    def _take_files(self, batch: _Batch) -> None:
        """Give the content files a second name, where they will be looked for, before a row says so."""
        moved = [row[0] for row in batch.messages if row[3]]
        for message in moved:
            with suppress(FileNotFoundError):  # it can be read in neither place, and whoever tries to will say so
                self._into.disk.link(self._files.path(message), self._into.path(message))
        if moved:
            self._into.sync_names()

    def _forget(self, batch: _Batch) -> None:
        """Remove what was copied."""
        for row in (*batch.messages, *batch.stories):
            unkeep(self._store, row[0])
        self._store.db.executemany(REMOVE_OWED, [row[:1] for row in batch.owed])

    def _clean(self, batch: _Batch) -> None:
        for row in batch.messages:
            if row[3]:
                with suppress(OSError):  # it goes with the file
                    self._files.remove(row[0])
        self._store.checkpoint()

    def _discard(self) -> bool:
        """Remove the empty file, into which nobody puts anything any more. False: not now."""
        if not self._store.value(IS_EMPTY) or not self._store.empty_log():
            return False
        self._store.close()
        self._files.clear()  # before the file goes, without which nobody would know of them
        self._folder.remove(self.number)
        return True


class Adoption:
    """Moves what is left over, file by file, as long as the worker lives."""

    def __init__(
        self, reactor: IReactorTime, writer: Writer, leftovers: Sequence[Leftover], moved: Callable[[], None]
    ) -> None:
        """moved: is called when something may have come into the queue."""
        self._reactor = reactor
        self._writer = writer
        self._left = list(leftovers)
        self._moved = moved
        self._call: IDelayedCall | None = None
        self._busy = False
        self._stopped: Deferred[None] | None = None
        self._go_on(REST)

    def stop(self) -> "Deferred[None]":
        """Move nothing more; fires when nothing is being moved."""
        self._stopped = Deferred() if self._busy else succeed(None)
        if self._call is not None:
            self._call.cancel()
            self._call = None
        return self._stopped.addCallback(self._let_go)

    def _let_go(self, _: None) -> None:
        for one in self._left:
            one.close()
        self._left = []

    def _go_on(self, pause: float) -> None:
        self._call = self._reactor.callLater(pause, self._step) if self._left else None

    def _step(self) -> None:
        self._call = None
        self._busy = True
        self._writer.alone(self._left[0].move).addCallbacks(self._stepped, self._failed)

    def _stepped(self, more: bool | None) -> None:
        if more is False:
            one = self._left.pop(0)
            one.close()
            _log.info("queue {number}, whose worker there is no more, has been taken over", number=one.number)
        self._ended(AGAIN if more is None else REST)

    def _failed(self, failure: Failure) -> None:
        _log.error(
            "queue {number}, whose worker there is no more, cannot be taken over, which is tried again: {error}",
            number=self._left[0].number,
            error=failure.getErrorMessage(),
        )
        self._ended(AGAIN)

    def _ended(self, pause: float) -> None:
        self._busy = False
        self._moved()
        if self._stopped is not None:
            self._stopped.callback(None)
        else:
            self._go_on(pause)


def forget_copied(store: Store, number: int, folder: Folder) -> None:
    """Remove, inside a transaction, what a crash has left in this file after it had been copied into another one."""
    messages = [row[0] for row in store.rows(FIRST, (BATCH,))]
    first = messages + [row[0] for row in store.rows(READ_STORIES, (STORIES,))]
    for other in folder.workers() if first else ():
        if other < number:
            copied = _look(
                folder, other, lambda db: [message for message in first if db.execute(KNOWN, (message,)).get]
            )
            for message in copied or ():
                unkeep(store, message)
            if copied:
                text = "{count} messages of queue {number} were in queue {other} already"
                _log.info(text, count=len(copied), number=number, other=other)


def last_id_elsewhere(folder: Folder, number: int) -> int:
    """The largest queue id in the other files: a new file must not begin with one that was there before it."""
    others = (other for other in folder.workers() if other != number)
    return max((_look(folder, other, lambda db: db.execute(LAST_MESSAGE).get) or 0 for other in others), default=0)


def _look(folder: Folder, number: int, what: Callable[[apsw.Connection], Answer]) -> Answer | None:
    """Ask the file of another worker something. None where it is damaged, which is for its own worker to say."""
    path = folder.queue(number)
    try:
        db = database.peek(path, folder.vfs)
        try:
            return what(db)
        finally:
            db.close()
    except (*database.DAMAGE, database.Damaged):
        return None
    except apsw.Error as error:
        if not folder.disk.exists(path):
            return None  # it has been removed meanwhile
        raise SpoolBroken(f"the queue file {path} cannot be read: {error}") from error


def _copy(batch: _Batch, target: Store) -> list[int]:
    """Add it to the file of the worker, but for what is there already. The messages that were added, gone or not."""
    known = {row[0] for row in (*batch.messages, *batch.stories) if target.value(KNOWN, (row[0],))}
    messages = [row for row in batch.messages if row[0] not in known]
    stories = [row for row in batch.stories if row[0] not in known]
    target.db.executemany(ADD_MESSAGE, messages)
    target.counts["messages"] += len(messages)
    target.counts["octets"] += sum(row[2] for row in messages)
    target.db.executemany(ADD_DESTINATION, batch.destinations)
    for number, message, *columns in batch.deliveries:
        if message not in known:
            key = target.next_id() if target.value(IS_TAKEN, (number,)) else number
            target.db.execute(ADD_DELIVERY, (key, message, *columns))
            destination, state, recipients = columns[0], columns[1], columns[-2]
            target.counts[state] += len(recipients_from_json(recipients))
            target.stale[destination] = None
    target.db.executemany(ADD_STORY, stories)
    target.db.executemany(ADD_EVENT, [row for row in batch.events if row[0] not in known])
    target.db.executemany(ADD_OWED, batch.owed)  # after a crash it is told twice, at most
    return [row[0] for row in (*messages, *stories)]


def _take_back(target: Store, added: Sequence[int] | None = None) -> None:
    """Undo that."""
    for message in added or ():
        unkeep(target, message)


def _do(committer: Committer, what: Callable[[Store], None]) -> None:
    """Do something to the file of the worker that has to be done."""
    operation = Operation(what, lambda store, _: what(store))
    committer.perform([operation])
    if operation.error is not None:
        raise _end_of_process() from operation.error


def _end_of_process() -> BaseException:
    """Raised in the writer's thread it ends the process, and the next start puts things right."""
    return SystemExit("a queue file that is being taken over cannot be written")
