"""SQLite: the spool on the disk of this machine, one queue file for each worker. See the package for what it promises.

`ISpool` is translated here into operations for the writer; what they do is in `keeping`, `claims` and `settling`.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import apsw
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mta.interfaces import Anew, Claim, Due, IContent, ISpool, Record, Recovered, SpoolBroken, SpoolFull
from mta.message.envelope import QueueIds, format_queue_id
from mta.net.measures import Measures
from mta.spool import claims, database, hastening, history, listing, rushing, settling
from mta.spool.adoption import Adoption, Leftover, forget_copied, last_id_elsewhere
from mta.spool.batches import Committer
from mta.spool.copier import Copier
from mta.spool.custody import examine
from mta.spool.disk import Disk, Lock
from mta.spool.folder import Folder
from mta.spool.keeping import Kept, keep, unkeep
from mta.spool.outbox import Outbox
from mta.spool.owing import disown
from mta.spool.reception import Reception
from mta.spool.store import Store
from mta.spool.writer import Task, Writer, exit_process

FLOOR = 100 * 1024 * 1024  # octets of free disk below which nothing more is received
FREE_HOLDS = 1.0  # seconds for which a look at the free disk is good
FILE_THREADS = 4
# What the reactor may spend a moment on: no more octets in a row, no more deliveries, of one message.
SMALL_BODY = 64 * 1024
FEW_DELIVERIES = 8

DESTINATIONS = "SELECT count(*) FROM destination WHERE next_due IS NOT NULL"
NAMES_FILE = "SELECT 1 FROM message WHERE id = ? AND file = 1"

_log = Logger()


@implementer(ISpool)
class SqliteSpool:
    """See `ISpool`. outbox: what webhooks are owed, once it is started."""

    def __init__(
        self,
        folder: Path,
        reactor: IReactorTime,
        now: Callable[[], float],
        *,
        worker: int = 0,
        workers: int = 1,
        holder: int | None = None,
        disk: Disk | None = None,
        vfs: str | None = None,
        inline: bool = False,
        floor: int = FLOOR,
        on_fatal: Task = exit_process,
        measures: Measures | None = None,
    ) -> None:
        """now: seconds since 1970, asked from any thread. vfs: the name of the SQLite VFS to use, None for its own.

        worker: which of so many workers we are. holder: the process that a second relay is told of; None for this one.
        inline: no threads; all work is done in the reactor's turns. Else the reactor is an `IReactorFromThreads` too.
        on_fatal: called by the writer's thread when it cannot go on; it must end the process.
        """
        self._folder = Folder(folder.resolve(), disk or Disk(), vfs)
        self._reactor = reactor
        self._now = now
        self._worker = worker
        self._workers = workers
        self._holder = holder
        self._inline = inline
        self._floor = floor
        self._on_fatal = on_fatal
        self._measures = measures or Measures()
        self._files = self._folder.contents(worker)
        self._pool: ThreadPool | None = None
        self._running = 0  # things that may block and have not ended
        self._locks: list[Lock] = []
        self._free = 0
        self._free_since = float("-inf")
        self._seen = -1  # the version of the file at the last look for changes
        self._ids = QueueIds(worker)
        self._leftovers: list[Leftover] = []
        self._adoption: Adoption
        self.outbox: Outbox
        self._committer: Committer
        self._writer: Writer
        self._write_lock: Lock

    @staticmethod
    def prepare() -> None:
        """Read what the program's own files have for us, for as long as privileges let us read them."""
        database.schema()

    def start(self, pauses: int = 0) -> Recovered:
        """As in `ISpool`."""
        try:
            return self._start(pauses)
        except OSError as error:
            self._let_go()
            raise SpoolBroken(f"the spool {self._folder.path} cannot be used: {error}") from error
        except BaseException:
            self._let_go()
            raise

    def stop(self) -> "Deferred[None]":
        """As in `ISpool`."""
        return Deferred.fromCoroutine(self._stop()) if self._locks else succeed(None)

    def new_id(self, now: float) -> int:
        """As in `ISpool`."""
        return self._ids.next(now)

    def has_room(self, size: int) -> bool:
        """As in `ISpool`."""
        try:
            return self._free_octets() >= self._floor + size
        except SpoolBroken:
            return True  # nobody knows; whoever receives it is told

    def writing_for(self) -> float:
        """For how many seconds what is being written now has been under way; 0.0 where nothing is."""
        return self._writer.busy_for() if self._locks else 0.0

    def trouble(self) -> str:
        """How the queue file failed last, if nothing could be written since; "" while all is well."""
        return self._committer.trouble if self._locks else ""

    def receive(self, now: float) -> Reception:
        """As in `ISpool`."""
        if self._free_octets() < self._floor:
            raise SpoolFull(f"less than {self._floor} octets are free on the disk of the spool")
        return Reception(self._ids.next(now), self._keep, self._files, self._run)

    def due(self, now: float, limit: int, skip: frozenset[str]) -> "Deferred[list[Due]]":
        """As in `ISpool`."""
        return self._writer.submit(lambda store: claims.due(store, now, limit, skip))

    def claim(self, destination: str, limit: int, now: float) -> "Deferred[list[Claim]]":
        """As in `ISpool`."""
        return self._writer.submit(lambda store: claims.claim(store, destination, limit, now), undo=_unclaim)

    def overdue(self, now: float, limit: int) -> "Deferred[list[Claim]]":
        """As in `ISpool`."""
        return self._writer.submit(lambda store: claims.overdue(store, now, limit), undo=_unclaim)

    def next_deadline(self) -> "Deferred[float | None]":
        """As in `ISpool`."""
        return self._writer.submit(claims.next_deadline)

    def content(self, claim: Claim) -> "Deferred[IContent]":
        """As in `ISpool`."""
        return self._writer.submit(lambda store: self._content(store, claim.message))

    def record(self, record: Record) -> "Deferred[bool]":
        """As in `ISpool`."""
        is_brief = not record.notices and len(record.waiting) <= FEW_DELIVERIES
        return self._writer.submit(lambda store: settling.record(store, record), urgent=False, brief=is_brief)

    def release(self, claims: Sequence[Claim]) -> "Deferred[None]":
        """As in `ISpool`."""
        return self._writer.submit(lambda store: settling.release(store, claims))

    def rush(self, domain: str, destination: str) -> "Deferred[int]":
        """As in `ISpool`."""
        return Deferred.fromCoroutine(self._rush(rushing.Target(domain, destination)))

    async def _rush(self, target: rushing.Target) -> int:
        now = self._now()
        messages = await rushing.rush(target, now, self._writer.submit)
        others = [number for number in self._folder.workers() if number != self._worker]
        if others:
            elsewhere = rushing.Elsewhere(self._folder, others, self._now, None if self._inline else time.sleep)
            await self._run(partial(elsewhere.rush, target, now))
            messages += elsewhere.messages
        return messages

    def hasten(self, due: float, pause: float, anew: Anew) -> "Deferred[int]":
        """As in `ISpool`."""
        late = hastening.Late(due, pause, anew)
        return Deferred.fromCoroutine(hastening.hasten(late, self._writer.submit))

    def changes(self) -> "Deferred[bool]":
        """As in `ISpool`."""
        return self._writer.submit(Store.version).addCallback(self._is_news)

    def _is_news(self, version: int) -> bool:
        # Compared here, not in the operation: that may be done twice, and must answer the same both times.
        before, self._seen = self._seen, version
        return before != version

    def purge(self, before: float) -> "Deferred[int]":
        """As in `ISpool`."""
        return self._writer.submit(lambda store: history.purge(store, before))

    def _start(self, pauses: int) -> Recovered:
        folder, worker = self._folder, self._worker
        folder.disk.make_folder(folder.path)
        unwise = examine(folder.path, folder.disk)
        self._locks.append(folder.hold(worker, self._holder))
        self._write_lock = folder.write_lock(worker)
        self._locks.append(self._write_lock)
        path = folder.queue(worker)
        is_new = not folder.disk.exists(path)
        store = self._store(database.open_queue(path, folder.disk, folder.vfs))
        try:
            with store.transaction():
                forget_copied(store, worker, folder)
                unknown = settling.recover(store)
            store.empty_log()  # see `renew_log`: the process before us may have ended for a sync that failed
            kept = listing.totals(store)
            destinations = store.value(DESTINATIONS)
            failing = claims.pauses(store, pauses)
            newest = hastening.newest(store)
            self._files.make_folder()
            removed = self._files.sweep(lambda message: bool(store.rows(NAMES_FILE, (message,))))
            self._ids = QueueIds(worker, last_id_elsewhere(folder, worker) if is_new else store.last_message())
            self._seen = store.version()
        except apsw.Error as error:
            store.close()
            if isinstance(error, database.DAMAGE):
                raise database.set_aside(path, folder.disk, str(error)) from error
            raise SpoolBroken(f"the queue file {path} cannot be used: {error}") from error
        except BaseException:
            store.close()
            raise
        self._take_leftovers(store)
        self._begin(store)
        messages = kept.messages + sum(one.messages for one in self._leftovers)
        unknown += sum(one.unknown for one in self._leftovers)
        return Recovered(messages, unknown, removed, destinations, tuple(unwise), failing, newest)

    def _take_leftovers(self, store: Store) -> None:
        """The files of workers that there are no more are shared out among those that there are."""
        try:
            for number in self._folder.workers():
                if number >= self._workers and number % self._workers == self._worker:
                    self._leftovers.append(Leftover(self._folder, number, self._now, self._worker))
        except BaseException:
            store.close()
            raise

    def _begin(self, store: Store) -> None:
        if not self._inline:
            self._pool = ThreadPool(0, FILE_THREADS, "spool files")
            self._pool.start()
        self._committer = committer = Committer(store, self._reopened)
        fatal = None if self._inline else self._on_fatal
        self._writer = Writer(self._reactor, committer, self._remove, fatal, self._measures)
        self.outbox = Outbox(self._writer, store.hooks)
        leftovers, self._leftovers = self._leftovers, []
        self._adoption = Adoption(self._reactor, self._writer, leftovers, self._adopted)

    def _store(self, db: apsw.Connection) -> Store:
        return Store(db, self._write_lock, self._worker, self._now, None if self._inline else self._copier())

    def _copier(self) -> Copier:
        folder, worker = self._folder, self._worker
        return Copier(partial(database.attach, folder.queue(worker), folder.vfs), partial(folder.write_lock, worker))

    def _reopened(self) -> Store:
        store = self._store(database.reopen(self._folder.queue(self._worker), self._folder.vfs))
        self._seen = -1  # who knows what others have written meanwhile
        return store

    def _adopted(self) -> None:
        self._seen = -1  # as if another process had written, which is where it comes from

    async def _stop(self) -> None:
        await self._adoption.stop()
        await self._writer.stop(settling.release_all)
        while self._running:
            await deferLater(self._reactor, 0.0)
        if self._pool is not None:
            self._pool.stop()
        self._let_go()

    def _let_go(self) -> None:
        leftovers, self._leftovers = self._leftovers, []
        for leftover in leftovers:
            leftover.close()
        locks, self._locks = self._locks, []
        for lock in locks:
            lock.close()

    def _keep(self, kept: Kept) -> "Deferred[list[Claim]]":
        is_brief = kept.size <= SMALL_BODY and len(kept.deliveries) <= FEW_DELIVERIES
        return self._writer.submit(
            lambda store: keep(store, kept), undo=lambda store, _: _unkeep(store, kept.id), brief=is_brief
        )

    def _content(self, store: Store, message: int) -> IContent:
        content = history.content(store, self._files, message)
        if content is None:
            raise LookupError(f"message {format_queue_id(message)} is not in the queue")
        return content

    def _remove(self, messages: list[int]) -> None:
        """Remove content files. What fails is found by the next sweep."""

        def remove() -> None:
            for message in messages:
                self._files.remove(message)

        self._run(remove).addErrback(lambda failure: _log.failure("content files cannot be removed", failure))

    def _run(self, what: Task) -> "Deferred[None]":
        """Do what may block."""

        def done(result: object) -> object:
            self._running -= 1
            return result

        self._running += 1
        if self._pool is None:
            return deferLater(self._reactor, 0.0, what).addBoth(done)
        return deferToThreadPool(IReactorFromThreads(self._reactor), self._pool, what).addBoth(done)

    def _free_octets(self) -> int:
        now = self._reactor.seconds()
        if not 0 <= now - self._free_since < FREE_HOLDS:
            try:
                self._free = self._folder.disk.free_octets(self._folder.path)
            except OSError as error:
                raise SpoolBroken(f"the disk of the spool does not answer: {error}") from error
            self._free_since = now
        return self._free


def _unkeep(store: Store, message: int) -> None:
    unkeep(store, message)
    disown(store, message)


def _unclaim(store: Store, claimed: list[Claim] | None) -> None:
    settling.release(store, claimed or ())
