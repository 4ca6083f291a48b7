"""When commits are made, what shares one, and the thread that makes them."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spools import DEADLINE, SqliteWorld, clock_at_start, folder_of
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from mta.interfaces import Claim, NewDelivery, Record, SpoolBroken
from mta.message.envelope import Envelope, Recipient
from mta.spool import copier
from mta.spool import store as store_module
from mta.spool import writer as writer_module
from mta.spool.batches import Committer
from mta.spool.sqlite import SqliteSpool
from mta.spool.store import Store
from mta.spool.writer import FEW, PATIENCE, PATIENT


@pytest.fixture
def world(tmp_path: Path):
    made = SqliteWorld(clock_at_start(), tmp_path / "spool")
    yield made
    made.close()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every batch that is committed."""
    sizes: list[int] = []
    real = {name: getattr(Committer, name) for name in ("commit", "perform")}

    def watch(name: str) -> Callable[[Committer, list[Any]], None]:
        def watched(committer: Committer, batch: list[Any]) -> None:
            sizes.append(len(batch))
            real[name](committer, batch)

        return watched

    for name in real:
        monkeypatch.setattr(Committer, name, watch(name))
    return sizes


def ask(world: SqliteWorld, eager: bool = True) -> "Deferred[list[Claim]]":
    to = (Recipient("a@example.net"),)
    delivery = NewDelivery("example.net", to, world.now, world.now + DEADLINE, eager)
    return world.spool.receive(world.now).commit(Envelope("s@example.org", to, world.now), [delivery], ())


def test_what_is_asked_in_one_turn_is_one_commit(world: SqliteWorld, batches: list[int]) -> None:
    asked = [ask(world) for _ in range(10)]
    assert batches == [], "not before the turn has ended"
    assert len(world.wait(gatherResults(asked))) == 10
    assert batches == [10]


def test_records_wait_for_company(world: SqliteWorld, batches: list[int]) -> None:
    [first], [second] = world.wait(gatherResults([ask(world), ask(world)]))
    recorded = world.spool.record(Record(first, world.now))
    world.clock.advance(PATIENCE / 2)
    assert not recorded.called
    world.wait(ask(world))
    assert recorded.called, "it rode along"
    assert batches == [2, 2]
    recorded = world.spool.record(Record(second, world.now))
    world.clock.advance(PATIENCE)
    assert recorded.called, "nobody came"
    assert batches == [2, 2, 1]


def test_many_records_are_company_enough(world: SqliteWorld) -> None:
    claims = world.wait(gatherResults([ask(world) for _ in range(PATIENT)]))
    recorded = [world.spool.record(Record(claim, world.now)) for [claim] in claims]
    assert world.wait(gatherResults(recorded)) == [True] * PATIENT
    assert world.now == clock_at_start().seconds()


def test_operations_are_done_in_the_order_in_which_they_were_asked(world: SqliteWorld) -> None:
    [claim] = world.wait(ask(world))
    recorded = world.spool.record(Record(claim, world.now, (world.waiting(claim, due=0),)))
    claimed = world.spool.claim("example.net", 1, world.now)
    assert [one.message for one in world.wait(claimed)] == [claim.message]
    assert world.wait(recorded)


def test_after_the_stop_nothing_is_taken(tmp_path: Path) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    last = ask(world)
    world.wait(world.spool.stop())
    assert last.called
    with pytest.raises(SpoolBroken, match="stopped"):
        world.wait(ask(world))
    world.wait(world.spool.stop())
    assert world.clock.getDelayedCalls() == []


def pages(world: SqliteWorld) -> tuple[int, int]:
    store = world.spool._writer._committer._store
    return store.value("PRAGMA page_count"), store.value("PRAGMA freelist_count")


def test_idle_moments_give_back_the_space_of_what_has_gone(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SPARE_PAGES", 10)
    monkeypatch.setattr(store_module, "VACUUM_PAGES", 40)
    claims = [world.commit(content=b"x" * 50_000, eager=True)[1][0] for _ in range(20)]
    full, _ = pages(world)
    for claim in claims:
        world.record(claim)
    assert pages(world)[1] > 200
    world.clock.pump([0.05] * 60)
    count, free = pages(world)
    assert free <= 10
    assert count < full - 200
    assert (world.folder / "queue-0.db-wal").stat().st_size == 0
    assert (world.folder / "queue-0.db").stat().st_size == count * 4096
    assert world.clock.getDelayedCalls() == [], "and then there is peace"


def test_giving_back_space_makes_no_long_log(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SPARE_PAGES", 10)
    monkeypatch.setattr(store_module, "VACUUM_PAGES", 20)
    claims = [world.commit(content=b"x" * 50_000, eager=True)[1][0] for _ in range(40)]
    for claim in claims[:20]:  # what comes behind them in the file moves to their place
        world.record(claim)
    full, _ = pages(world)
    world.spool._writer._committer._store.empty_log()
    monkeypatch.setattr(store_module, "CHECKPOINT_PAGES", 50)
    log = world.folder / "queue-0.db-wal"
    longest = 0
    for _ in range(100):
        world.clock.advance(0.05)
        longest = max(longest, log.stat().st_size)
    assert pages(world)[0] < full - 200
    assert longest < 100 * 4120


def test_who_is_never_idle_gives_back_the_space_of_a_longer_queue_all_the_same(
    world: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SPARE_PAGES", 2)
    monkeypatch.setattr(store_module, "VACUUM_PAGES", 40)
    monkeypatch.setattr(writer_module, "QUIET", -1.0)
    claims = [world.commit(content=b"x" * 50_000, eager=True)[1][0] for _ in range(20)]
    for claim in claims:
        world.record(claim)
    full, free = pages(world)
    assert free > full / 2
    world.clock.pump([0.05] * 19)
    assert pages(world) == (full, free), "not before a second is over"
    world.clock.pump([0.05] * 3)
    once = pages(world)[1]
    assert free - 40 <= once < free, "one step"
    world.clock.pump([0.5] * 40)
    count, left = pages(world)
    assert 2 < left <= count / 4, "what comes next takes these"


def test_the_log_is_copied_before_it_is_long(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CHECKPOINT_PAGES", 50)
    for _ in range(40):
        world.commit(content=b"x" * 20_000)
    assert (world.folder / "queue-0.db-wal").stat().st_size < 70 * 4200
    assert (world.folder / "queue-0.db").stat().st_size > 40 * 20_000


class InAThread(TestCase):
    """With the real reactor and the real thread."""

    def setUp(self) -> None:
        self.ended: list[int] = []
        self.spool = SqliteSpool(
            folder_of(self),
            reactor,
            reactor.seconds,
            floor=0,
            on_fatal=lambda: self.ended.append(threading.get_ident()),
        )
        self.spool.start()

    async def commit(self, size: int = 100) -> list[Claim]:
        now = reactor.seconds()
        to = (Recipient("a@example.net"),)
        reception = self.spool.receive(now)
        for _ in range(0, size, 50_000):
            behind = reception.write(b"x" * min(size, 50_000))
            if behind is not None:
                await behind
        delivery = NewDelivery("example.net", to, now, now + 9, eager=True)
        return await reception.commit(Envelope("s@example.org", to, now, size), [delivery], ())

    async def test_answers_come_in_the_reactors_thread(self) -> None:
        seen: list[int] = []
        self.spool._writer.submit(lambda store: seen.append(threading.get_ident()))
        await self.spool.next_deadline()
        self.assertNotEqual(seen, [threading.get_ident()])
        asked = self.spool.next_deadline().addCallback(lambda _: threading.get_ident())
        self.assertEqual(await asked, threading.get_ident())
        await self.spool.stop()

    async def test_many_at_once(self) -> None:
        claims = await gatherResults([Deferred.fromCoroutine(self.commit()) for _ in range(200)])
        recorded = await gatherResults([self.spool.record(Record(claim, 1.0)) for [claim] in claims])
        self.assertEqual(recorded, [True] * 200)
        self.assertEqual(await self.spool.due(reactor.seconds(), 1, frozenset()), [])
        await self.spool.stop()

    async def test_nobody_touches_the_file_while_the_log_is_copied(self) -> None:
        """The reactor writes at the end of its turn, and the thread copies the log when it has answered."""
        self.patch(store_module, "CHECKPOINT_PAGES", 10)
        self.patch(copier, "PAUSE", 0.0)
        committer = self.spool._writer._committer
        store = committer._store
        copied = 0
        real = Store.checkpoint

        def checkpoint(store: Store) -> None:
            nonlocal copied
            time.sleep(0.005)
            real(store)
            copied += 1

        self.patch(Store, "checkpoint", checkpoint)

        async def produce() -> None:
            for _ in range(25):
                [claim] = await self.commit(5_000)
                self.assertTrue(await self.spool.record(Record(claim, 1.0)))

        await gatherResults([Deferred.fromCoroutine(produce()) for _ in range(8)])
        self.assertIs(committer._store, store, "it was never opened anew, as after an error")
        self.assertGreater(copied, 10)
        await self.spool.stop()

    async def test_large_contents_go_through_the_files_threads(self) -> None:
        claims = await gatherResults([Deferred.fromCoroutine(self.commit(3_000_000)) for _ in range(5)])
        for [claim] in claims:
            content = await self.spool.content(claim)
            self.assertEqual(sum(len(block) for block in content.blocks()), 3_000_000)
            self.assertTrue(await self.spool.record(Record(claim, 1.0)))
        await self.spool.stop()
        folder = self.spool._folder.path / "content" / "0"
        self.assertEqual(list(folder.iterdir()), [])

    async def test_a_fast_writer_is_told_to_wait(self) -> None:
        reception = self.spool.receive(reactor.seconds())
        waits = [reception.write(b"x" * 65536) for _ in range(40)]
        behind = [one for one in waits if one is not None]
        self.assertTrue(behind)
        await gatherResults(behind)
        reception.discard()
        reception.write(b"late")
        await self.spool.stop()
        self.assertEqual(list((self.spool._folder.path / "content" / "0").iterdir()), [])

    async def test_if_the_writer_fails_the_process_ends(self) -> None:
        def fail(store: Store) -> None:
            raise SystemExit("not an Exception, so nobody expects it")

        self.spool._writer.submit(fail)
        while not self.ended:
            waiting: Deferred[None] = Deferred()
            reactor.callLater(0.01, waiting.callback, None)
            await waiting
        self.assertNotEqual(self.ended, [threading.get_ident()])
        self.flushLoggedErrors(SystemExit)
        self.spool._pool.stop()
        self.spool._let_go()
        self.spool._writer._committer.close()


def test_brief_operations_are_done_in_the_turn_and_what_may_read_the_disk_is_not(
    world: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []
    real = Committer.prepare

    def prepare(committer: Committer, batch: list[Any]) -> bool:
        done = real(committer, batch)
        prepared.append(len(batch) if done else -1)
        return done

    monkeypatch.setattr(Committer, "prepare", prepare)
    [claim] = world.wait(ask(world))
    world.record(claim)
    assert prepared == [1], "what rode along with something lengthy was not"
    world.wait(gatherResults([ask(world) for _ in range(FEW + 1)]))
    assert prepared == [1], "nor are many"
    store = world.spool._writer._committer._store
    monkeypatch.setattr(store._lock, "try_acquire", lambda: False)
    assert world.wait(ask(world)), "somebody else has the lock, who is waited for in the thread"
    assert prepared == [1, -1]


def test_what_fails_in_the_turn_harms_nobody_else(world: SqliteWorld) -> None:
    def fail(store: Store) -> None:
        store.db.execute("DELETE FROM message")
        raise ValueError("a bug")

    before, kept = ask(world), world.spool._writer.submit(fail, brief=True)
    after = ask(world)
    with pytest.raises(ValueError, match="a bug"):
        world.wait(kept)
    assert len(world.wait(gatherResults([before, after]))) == 2
    with world.desk() as desk:
        assert desk.totals().messages == 2


class Slowly:
    """A thread that does nothing before it is told to."""

    def __init__(self) -> None:
        self.tasks: list[Callable[[], None]] = []
        self.do = self.tasks.append

    def tell(self, what: Callable[..., Any], *values: object) -> None:
        what(*values)


def test_batches_are_answered_in_the_order_in_which_they_were_made(world: SqliteWorld) -> None:
    writer, order = world.spool._writer, []
    world.wait(ask(world))
    writer._thread, real = Slowly(), writer._thread
    writer._commit_time = 0.0
    world.spool.due(world.now, 1, frozenset()).addCallback(lambda _: order.append("in the thread"))
    world.clock.advance(0)
    ask(world).addCallback(lambda _: order.append("in the reactor"))
    world.clock.advance(0)
    assert order == []
    writer._thread.tasks.pop()()
    world.clock.advance(0)
    assert order == ["in the thread", "in the reactor"]
    writer._thread = real


def test_what_fails_in_the_reactor_ends_the_process_as_it_does_in_the_thread(world: SqliteWorld) -> None:
    ended: list[str] = []
    writer = world.spool._writer
    real, writer._thread.failed = writer._committer.prepare, lambda: ended.append("ended")

    def prepare(batch: list[Any]) -> bool:
        raise MemoryError

    writer._committer.prepare = prepare
    ask(world)
    with pytest.raises(MemoryError):
        world.clock.advance(0)
    assert ended == ["ended"]
    writer._committer.prepare, writer._busy = real, False
