"""The write-ahead log is copied into the queue file, and no commit waits for it, however slow the disk."""

import time
from pathlib import Path
from typing import Any

import apsw
import pytest
from faults import FaultyVFS
from spools import SqliteWorld, clock_at_start, folder_of, kill
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.trial.unittest import TestCase

from mta.interfaces import NewDelivery
from mta.message.envelope import Envelope, Recipient
from mta.spool import copier, copying, database
from mta.spool import store as store_module
from mta.spool.copying import copy_log
from mta.spool.disk import Disk, Lock
from mta.spool.matching import EVERYTHING
from mta.spool.sqlite import SqliteSpool

PAGE = 4096 + 24  # octets of a page in the log


@pytest.fixture
def world(tmp_path: Path):
    made = SqliteWorld(clock_at_start(), tmp_path / "spool")
    yield made
    made.close()


def log_of(world: SqliteWorld) -> int:
    """Octets of the log."""
    return (world.folder / "queue-0.db-wal").stat().st_size


def connect(world: SqliteWorld) -> apsw.Connection:
    return database.attach(world.folder / "queue-0.db", None)


class Interrupted(Lock):
    """A lock that is given only after somebody else has committed once more."""

    def __init__(self, before: Any) -> None:
        self.before = before
        self.held = 0

    def acquire(self) -> None:
        self.before()
        self.held += 1

    def release(self) -> None:
        self.held -= 1


def test_what_is_committed_meanwhile_is_copied_under_the_lock_so_that_the_log_begins_again(world: SqliteWorld) -> None:
    for _ in range(5):
        world.commit(content=b"x" * 20_000)
    lock = Interrupted(world.commit)
    db = connect(world)
    copy_log(db, lock)
    db.close()
    assert lock.held == 0
    long = log_of(world)
    for _ in range(3):
        world.commit()
    assert log_of(world) == long, "it is written from its start again"


def test_where_another_one_copies_nothing_happens(tmp_path: Path) -> None:
    vfs = FaultyVFS("watched")
    world = SqliteWorld(clock_at_start(), tmp_path / "spool", vfs="watched")
    world.commit()
    mine, other = database.attach(world.folder / "queue-0.db", "watched"), connect(world)
    asked: list[str] = []

    class Watching(list[str]):
        def append(self, name: str) -> None:
            if name.endswith("queue-0.db"):
                asked.append(name)
                copy_log(other, Interrupted(lambda: pytest.fail("it goes on, although it has copied nothing")))

    vfs.syncs = Watching()
    copy_log(mine, Interrupted(lambda: None))
    vfs.syncs = []
    assert len(asked) == 1
    mine.close()
    other.close()
    world.close()
    vfs.unregister()


def test_an_operators_copy_lets_the_worker_commit(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command copies between its own transactions, and has no lock while it does."""
    monkeypatch.setattr(store_module, "CHECKPOINT_PAGES", 1)
    for _ in range(3):
        world.commit()
    probe = Disk().lock(world.folder / "queue-0.write")
    free: list[bool] = []
    real = copying.copy_log

    def watched(db: apsw.Connection, lock: Lock) -> None:
        free.append(probe.try_acquire())
        probe.release()
        real(db, lock)

    monkeypatch.setattr(store_module, "copy_log", watched)
    with world.desk() as desk:
        assert desk.hold(EVERYTHING) == 3
    probe.close()
    assert free == [True]


@pytest.mark.alone
class OnASlowDisk(TestCase):
    """With the real thread, on a disk that takes its time for each page of the queue file, and none for the log."""

    def setUp(self) -> None:
        self.vfs = FaultyVFS("slow")
        self.addCleanup(self.vfs.unregister)
        self.patch(store_module, "CHECKPOINT_PAGES", 1_000)
        self.folder = folder_of(self)
        self.spool = SqliteSpool(self.folder, reactor, time.time, floor=0, vfs="slow")
        self.spool.start()
        self.waits: list[float] = []

    async def commit(self, size: int = 1_000) -> None:
        now = time.time()
        to = (Recipient("a@example.net"),)
        reception = self.spool.receive(now)
        reception.write(b"x" * size)
        begun = time.perf_counter()
        delivery = NewDelivery("example.net", to, now + 900, now + 900)
        await reception.commit(Envelope("s@example.org", to, now, size), [delivery], ())
        self.waits.append(time.perf_counter() - begun)

    async def produce(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await self.commit()
            rest: Deferred[None] = Deferred()
            reactor.callLater(0.03, rest.callback, None)
            await rest

    async def test_no_commit_waits_for_the_copy(self) -> None:
        self.vfs.slow["queue-0.db"] = 0.001
        await gatherResults([ensureDeferred(self.commit(100_000)) for _ in range(60)])  # 1,500 pages
        self.waits = []
        self.vfs.syncs = []
        await gatherResults([ensureDeferred(self.produce(2.5)) for _ in range(2)])
        copies = [name for name in self.vfs.syncs if name.endswith("queue-0.db")]
        self.assertTrue(copies, "it has been copied meanwhile")
        self.vfs.slow.clear()
        await self.spool.stop()
        self.assertGreater(len(self.waits), 30)
        self.assertLess(max(self.waits), 0.75)  # half of what it would have taken to copy all of it at once

    async def test_the_log_stays_short_nevertheless(self) -> None:
        self.vfs.slow["queue-0.db"] = 0.00005
        self.patch(copier, "PAUSE", 0.0)
        for _ in range(400):
            await self.commit(100_000)
        longest = (self.folder / "queue-0.db-wal").stat().st_size
        self.vfs.slow.clear()
        await self.spool.stop()
        self.assertLess(longest, 6_000 * PAGE)  # 10,000 pages have gone through it

    async def test_commits_wait_where_the_log_would_grow_for_ever(self) -> None:
        self.vfs.slow["queue-0.db"] = 0.002
        self.patch(copier, "LONGEST_LOG", 1_500)
        for _ in range(100):
            await self.commit(100_000)
        longest = (self.folder / "queue-0.db-wal").stat().st_size
        self.vfs.slow.clear()
        await self.spool.stop()
        self.assertLess(longest, 2_000 * PAGE)  # 2,500 pages have gone through it

    async def test_a_copy_that_fails_is_made_by_the_writer_who_finds_out(self) -> None:
        self.vfs.sync_fails.add("queue-0.db")
        for _ in range(60):
            await self.commit(100_000)
        self.vfs.sync_fails.clear()
        await self.commit()
        await self.spool.stop()
        kept = len(self.waits)
        again = SqliteWorld(clock_at_start(), self.folder)
        with again.desk() as desk:
            self.assertEqual(desk.totals().messages, kept)
        kill(again.spool)
