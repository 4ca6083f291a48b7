"""Store: one queue file, its transactions, and what they gather until they commit.

The verbs (`keeping`, `claims`, `settling`, `verbs`, `listing`) are functions over a store. All of it is synchronous:
the worker's writer thread uses it, and so does the `mta` command, beside a running relay or alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import apsw

from mta.message.envelope import QueueIds
from mta.spool.copying import copy_log
from mta.spool.database import BUSY_MS
from mta.spool.disk import Lock
from mta.spool.pace import Pace

if TYPE_CHECKING:  # the `mta` command lists a queue without loading Twisted
    from mta.spool.copier import Copier

CHECKPOINT_PAGES = 2_000  # pages in the write-ahead log after which they are copied into the file: 8 MiB
SPARE_PAGES = 1_000  # free pages that are left for what comes next
VACUUM_PAGES = 500  # given back in one step, at most
CROWDED = 4  # of so many pages one may be free while it is busy; what comes next takes those

HIGHEST_PRIORITY = "SELECT max(priority) FROM delivery WHERE destination = ? AND state = 'waiting'"
NEXT_PRIORITY = "SELECT max(priority) FROM delivery WHERE destination = ? AND state = 'waiting' AND priority < ?"
EARLIEST_DUE = "SELECT min(due) FROM delivery WHERE destination = ? AND state = 'waiting' AND priority = ?"
SET_DUE = """
    INSERT INTO destination (name, next_due, paused_until, failures, last_reply) VALUES (?, ?, 0, 0, '')
    ON CONFLICT (name) DO UPDATE SET next_due = max(excluded.next_due, paused_until)
    WHERE next_due IS NOT max(excluded.next_due, paused_until)
"""
REST = "UPDATE destination SET next_due = NULL WHERE name = ? AND next_due IS NOT NULL"
FORGET = "DELETE FROM destination WHERE name = ? AND paused_until <= ? AND failures = 0"
ADD_TOTALS = """
    UPDATE totals SET messages = messages + ?, octets = octets + ?,
        waiting = waiting + ?, active = active + ?, held = held + ?
"""
VERSION = "PRAGMA data_version"  # changes with each commit of another connection
LAST_DELIVERY = "SELECT coalesce(max(id), 0) FROM delivery"
LAST_ID = """
    SELECT max((SELECT coalesce(max(id), 0) FROM delivery), (SELECT coalesce(max(id), 0) FROM owed))
"""
HOOKS = "SELECT url, kinds FROM webhook"
LAST_MESSAGE = """
    SELECT max((SELECT coalesce(max(id), 0) FROM message), (SELECT coalesce(max(message), 0) FROM timeline))
"""

_NOTHING = dict.fromkeys(("messages", "octets", "waiting", "active", "held"), 0)  # in the order of ADD_TOTALS

Row = tuple[Any, ...]
Value = None | int | float | str | bytes
Values = Sequence[Value] | Mapping[str, Value]


class Store:
    """A queue file. Whatever changes it happens inside `transaction`.

    counts: what the transaction adds to the totals. stale: destinations (in order) whose next_due has to be worked
    out anew. gone: messages whose content file no row will name after the commit. hooks: the URLs that are told of what
    happens, and of which kinds of events. patience: milliseconds for which a program that knows nothing of our lock is
    waited for. held: for how long the last transaction had the lock, in seconds.
    """

    def __init__(
        self,
        db: apsw.Connection,
        lock: Lock,
        worker: int,
        now: Callable[[], float],
        copier: "Copier | None" = None,
    ) -> None:
        """lock: what every transaction of every process is made under. worker: whose number the ids made here bear.
        copier: copies the write-ahead log beside us; without one we do it ourselves.
        """
        self.db = db
        self.now = now
        self.counts = _NOTHING.copy()
        self.stale: dict[str, None] = {}
        self.gone: list[int] = []
        self.hooks: dict[str, frozenset[str]] = {}
        self.patience = BUSY_MS
        self.held = 0.0
        self._since = 0.0
        self._removable: list[int] = []
        self._lock = lock
        self._worker = worker
        self._copier = copier
        self._logged_pages = 0
        self._is_copied = False
        self._vacuuming = Pace(VACUUM_PAGES, VACUUM_PAGES // 10)
        self.renew_ids()
        db.set_wal_hook(self._committed)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on stable storage at the end. An error inside leaves the file as it was."""
        self.begin()
        try:
            yield
            self.settle()
            self.commit()
        except BaseException:
            self.roll_back()
            raise

    def begin(self) -> None:
        """Begin a transaction; `settle` and `commit` end it, or `roll_back`."""
        self._lock.acquire()
        self._begin()

    def begin_at_once(self) -> bool:
        """Likewise, unless somebody would have to be waited for: then it is not begun."""
        if not self._lock.try_acquire():
            return False
        self.db.set_busy_timeout(0)
        try:
            self._begin()
        except apsw.BusyError:
            return False
        finally:
            self.db.set_busy_timeout(self.patience)
        return True

    def settle(self) -> None:
        """Write what the transaction has gathered. Only the commit is left to be done."""
        if self.stale:
            self.refresh_destinations()
        if any(self.counts.values()):
            self.db.execute(ADD_TOTALS, tuple(self.counts.values()))

    def commit(self) -> None:
        """All that was done since `begin` is on stable storage afterwards. In one call that lets other threads run."""
        self.db.execute("COMMIT")
        self._removable += self.gone
        self._end()

    @property
    def written(self) -> int:
        """How many rows were changed since the file was opened."""
        return self.db.total_changes()

    def roll_back(self) -> None:
        """Nothing was done since `begin`."""
        try:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        finally:
            self._end()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read inside is of one moment. Not for long: it keeps the log from being emptied."""
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            if self.db.in_transaction:  # an error may have ended it
                self.db.execute("COMMIT")

    def rows(self, query: str, values: Values = ()) -> list[Row]:
        """All rows of an answer."""
        return self.db.execute(query, values).fetchall()

    def row(self, query: str, values: Values = ()) -> Row | None:
        """The only row of an answer, or the first; None where there is none."""
        found = self.db.execute(query, values).fetchall()
        return found[0] if found else None

    def value(self, query: str, values: Values = ()) -> Any:
        """The one value of an answer."""
        ((value,),) = self.db.execute(query, values).fetchall()
        return value

    def take_removable(self) -> list[int]:
        """The messages whose content file can be removed, now that no row on stable storage names it."""
        removable, self._removable = self._removable, []
        return removable

    def next_id(self) -> int:
        """A new id for a delivery."""
        return self._ids.next(self.now())

    def renew_ids(self) -> None:
        """Go on behind the last id in the file: for who shares its number with others, inside a transaction.

        And see who is told of what is done.
        """
        self._ids = QueueIds(self._worker, self.value(LAST_ID))
        self.hooks = {url: frozenset(kinds.split()) for url, kinds in self.rows(HOOKS)}

    def last_message(self) -> int:
        """The largest queue id in the file."""
        return int(self.value(LAST_MESSAGE))

    def refresh_destinations(self) -> None:
        """Bring next_due of the destinations up to date with what waits for them."""
        now = self.now()
        for name in self.stale:
            earliest = self._earliest(name)
            if earliest is not None:
                self.db.execute(SET_DUE, (name, earliest))
            else:
                self.db.execute(FORGET, (name, now))
                self.db.execute(REST, (name,))
        self.stale = {}

    def priorities(self, destination: str) -> Iterator[int]:
        """The priorities of what waits for a destination, the highest first, each found by one look at the index."""
        priority = self.value(HIGHEST_PRIORITY, (destination,))
        while priority is not None:
            yield priority
            priority = self.value(NEXT_PRIORITY, (destination, priority))

    def version(self) -> int:
        """A number that is another one once another connection has written to the file."""
        return int(self.value(VERSION))

    @property
    def has_long_log(self) -> bool:
        """Is it time for a checkpoint?"""
        pages = self._logged_pages
        return pages >= CHECKPOINT_PAGES and (self._copier is None or self._copier.is_due(pages))

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file once it is long enough, so that it begins again at its start."""
        if self.has_long_log:
            if self._copier is None or not self._copier.copy(self._logged_pages):
                copy_log(self.db, self._lock)
            self._logged_pages = 0

    def tidy(self, is_idle: bool) -> bool:
        """Give back some free pages, or else, in an idle moment, empty the log. True: there is more to do.

        Whoever is never idle gives back what a longer queue has left behind, so that the file does not stay as it is.
        """
        free = self.value("PRAGMA freelist_count")
        spare = SPARE_PAGES if is_idle else max(SPARE_PAGES, self.value("PRAGMA page_count") // CROWDED)
        if free > spare:
            pages = min(VACUUM_PAGES, self._vacuuming.size, free - spare)
            with self.transaction():
                self.db.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
            self._vacuuming.took(self.held)
            return True
        if not is_idle:
            return False
        if self._logged_pages and self._copier is not None:
            if not self._is_copied and self._copier.copy(self._logged_pages):
                self._is_copied = True
            if self._copier.is_busy:
                return True
        if self._logged_pages:
            self.empty_log()
        return False

    def close(self) -> None:
        """Let go of the file. The lock stays with who made it.

        The last one to close it has the log copied into it. That this fails is no harm: the log stays.
        """
        if self._copier is not None:
            self._copier.wait()
        with suppress(apsw.Error):
            self.db.close()

    def _begin(self) -> None:
        self._since = self.now()
        try:
            self.db.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._lock.release()
            raise

    def _end(self) -> None:
        """Nothing of the transaction is left in memory."""
        self.counts = _NOTHING.copy()
        self.stale = {}
        self.gone = []
        self._lock.release()
        self.held = self.now() - self._since

    def _earliest(self, destination: str) -> float | None:
        dues = (self.value(EARLIEST_DUE, (destination, priority)) for priority in self.priorities(destination))
        return min(dues, default=None)

    def _committed(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._logged_pages = pages
        return apsw.SQLITE_OK

    def empty_log(self) -> bool:
        """Checkpoint, and cut the log to nothing. A reader in the way is not waited for: False."""
        with self._locked():
            self.db.set_busy_timeout(0)
            try:
                self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                self._logged_pages = 0
                self._is_copied = False
            except apsw.BusyError:
                return False  # it is emptied another time
            finally:
                self.db.set_busy_timeout(self.patience)
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()
