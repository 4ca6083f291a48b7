"""One queue file from within: priorities, locks, long stories, and what its tables say."""

import signal
from pathlib import Path

import pytest
from spools import SqliteWorld, clock_at_start

from mta.interfaces import NewDelivery, Pause, Record
from mta.message.envelope import Recipient
from mta.message.timeline import Event
from mta.spool import history
from mta.spool.disk import Disk, Lock
from mta.spool.folder import Folder
from mta.spool.matching import EVERYTHING
from mta.spool.store import Store


@pytest.fixture
def world(tmp_path: Path):
    made = SqliteWorld(clock_at_start(), tmp_path / "spool")
    yield made
    made.close()


def store_of(world: SqliteWorld) -> Store:
    store: Store = world.spool._writer._committer._store
    return store


def set_priority(world: SqliteWorld, message: int, priority: int) -> None:
    store_of(world).db.execute("UPDATE delivery SET priority = ? WHERE message = ?", (priority, message))


def test_higher_priorities_are_claimed_first_each_by_its_time(world: SqliteWorld) -> None:
    made = {
        (priority, ago): world.commit(due=world.now - ago)[0] for priority in (0, 5, -3) for ago in (1.0, 2.0, -9.0)
    }
    for (priority, _), message in made.items():
        set_priority(world, message, priority)
    expected = [made[key] for key in [(5, 2.0), (5, 1.0), (0, 2.0), (0, 1.0), (-3, 2.0), (-3, 1.0)]]
    assert [claim.message for claim in world.claim(limit=4)] == expected[:4]
    assert [claim.message for claim in world.claim(limit=4)] == expected[4:]
    assert world.due()[0].next_due == world.now + 9


def test_the_next_due_time_is_the_earliest_of_all_priorities(world: SqliteWorld) -> None:
    high, _ = world.commit(due=world.now + 50)
    set_priority(world, high, 9)
    world.commit(due=world.now + 20)
    assert world.due()[0].next_due == world.now + 20


def test_parts_of_a_delivery_keep_its_priority(world: SqliteWorld) -> None:
    message, [claim] = world.commit(["a@x", "b@x"], eager=True)
    set_priority(world, message, 4)
    world.record(claim, world.waiting(claim, to=["a@x"]), world.waiting(claim, to=["b@x"]))
    assert store_of(world).rows("SELECT priority FROM delivery") == [(4,), (4,)]


def test_ids_go_on_behind_the_last_one_when_the_clock_is_set_back(tmp_path: Path) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    message, [claim] = world.commit(eager=True)
    world.record(claim)
    here, _ = world.commit()
    world.close()
    clock = clock_at_start()
    clock.rightNow -= 86_400
    world = SqliteWorld(clock, tmp_path / "spool")
    later, _ = world.commit()
    assert later > here > message
    world.close()


def test_every_commit_is_made_under_the_lock(tmp_path: Path) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    other = Disk().lock(world.folder / "queue-0.write")
    seen: list[tuple[str, bool]] = []

    def watch(name: str) -> bool:
        free = other.try_acquire()
        if free:
            other.release()
        seen.append((name, free))
        return False

    store_of(world).db.set_commit_hook(lambda: watch("commit"))
    world.commit(eager=True)
    world.clock.pump([0.5] * 6)  # tidied up
    with world.desk() as desk:
        for drawer in desk._drawers:
            drawer.store.db.set_commit_hook(lambda: watch("command"))
        assert desk.hold(EVERYTHING) == 1
    assert {name for name, _ in seen} == {"commit", "command"}
    assert [name for name, free in seen if free] == []
    other.close()
    world.close()


def test_the_command_cannot_be_suspended_inside_a_transaction(world: SqliteWorld) -> None:
    world.commit()
    masks: list[bool] = []

    def look() -> None:
        masks.append(signal.SIGTSTP in signal.pthread_sigmask(signal.SIG_BLOCK, set()))

    with world.desk() as desk:
        desk._rest = lambda seconds: look()
        for drawer in desk._drawers:
            drawer.store.db.set_commit_hook(lambda: look() or False)
        desk.hold(EVERYTHING)
    assert masks == [True, False]


def test_the_command_cannot_be_suspended_while_a_start_would_wait_for_it(
    world: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it looks whether there is a relay, and when it takes up what one has left."""
    world.commit()
    world.close()
    masks: list[bool] = []
    real = Folder.hold_for_a_moment

    def look(folder: Folder, worker: int) -> Lock | None:
        masks.append(signal.SIGTSTP in signal.pthread_sigmask(signal.SIG_BLOCK, set()))
        return real(folder, worker)

    monkeypatch.setattr(Folder, "hold_for_a_moment", look)
    with world.desk() as desk:
        desk.hold(EVERYTHING)
    assert masks == [True, True]


# Stories


def try_in_vain(world: SqliteWorld) -> None:
    [claim] = world.claim()
    attempt = Event(world.now, "attempt", {"try": claim.attempts + 1})
    recorded = world.spool.record(Record(claim, world.now, (world.waiting(claim, due=0),), events=(attempt,)))
    world.due()
    assert world.wait(recorded)


def test_a_story_is_told_in_order_and_written_in_pieces(world: SqliteWorld) -> None:
    message, _ = world.commit()
    for _ in range(3):
        world.clock.advance(1)
        try_in_vain(world)
    assert store_of(world).value("SELECT count(*) FROM event") == 3
    [claim] = world.claim()
    world.record(claim)
    story = world.story(message)
    assert [event.kind for event in story.events] == ["received", *["attempt"] * 3, "delivered", "ended"]
    assert [event.detail.get("try") for event in story.events][1:4] == [1, 2, 3]
    assert [event.at for event in story.events] == sorted(event.at for event in story.events)


def test_a_message_that_goes_through_at_once_has_its_story_written_once(world: SqliteWorld) -> None:
    _, [claim] = world.commit(eager=True)
    world.record(claim)
    assert store_of(world).value("SELECT count(*) FROM event") == 0
    assert store_of(world).value("SELECT count(*) FROM timeline") == 1


def test_many_recipients_with_many_ends(world: SqliteWorld) -> None:
    deliveries = [
        NewDelivery(f"d{n}", (Recipient(f"a@d{n}"),), world.now, world.now + 9, eager=True) for n in range(50)
    ]
    message, claims = world.commit(deliveries=deliveries)
    for number, claim in enumerate(claims):
        assert world.story(message).ended is None
        world.record(claim, kind=("delivered", "failed", "discarded")[number % 3])
    story = world.story(message)
    assert story.result == "delivered failed discarded"
    assert len(story.events) == 52


def test_purge_takes_a_bounded_number_of_rows_at_a_time(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    long, _ = world.commit()
    for _ in range(25):
        try_in_vain(world)
    [claim] = world.claim()
    world.record(claim)
    short = []
    for _ in range(5):
        message, [claim] = world.commit(eager=True)
        world.record(claim)
        short.append(message)
    rows = store_of(world).value("SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM timeline)")
    monkeypatch.setattr(history, "PURGE", 10)
    removed = []
    while count := world.wait(world.spool.purge(world.now + 1)):
        removed.append(count)
    assert max(removed) <= 10
    assert sum(removed) == rows
    assert all(world.story(message) is None for message in [long, *short])


def test_old_pauses_of_destinations_that_nothing_waits_for_are_forgotten(world: SqliteWorld) -> None:
    for name, until in [("one", 60.0), ("two", 600.0)]:
        _, [claim] = world.commit(destination=name, eager=True)
        world.record(claim, kind="failed", pause=Pause(world.now + until, 2, "451 no"))
    assert world.due() == []
    world.clock.advance(300)
    world.wait(world.spool.purge(world.now))
    assert store_of(world).rows("SELECT name FROM destination") == [("two",)]


def test_a_pause_that_is_over_is_forgotten_with_a_good_answer(world: SqliteWorld) -> None:
    _, [claim] = world.commit(eager=True)
    world.record(claim, world.waiting(claim, due=0), pause=Pause(world.now + 60, 2, "451 no"))
    world.clock.advance(60)
    [claim] = world.claim()
    world.record(claim, pause=Pause(0.0, 0, ""))
    assert store_of(world).rows("SELECT * FROM destination") == []


def test_a_change_is_noticed_though_something_else_in_the_batch_fails(world: SqliteWorld) -> None:
    message, _ = world.commit(due=world.now + 500)
    world.wait(world.spool.changes())
    world.operate("retry", message)
    changed = world.spool.changes()
    failing = world.spool._writer.submit(lambda store: 1 // 0)
    assert world.wait(changed)
    with pytest.raises(ZeroDivisionError):
        world.wait(failing)
