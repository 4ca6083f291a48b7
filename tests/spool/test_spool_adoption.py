"""Queue files whose workers there are no more: their messages go into the file of one that lives, and stay the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from spools import SqliteWorld, clock_at_start, kill
from twisted.internet.task import Clock

from mta.interfaces import NewDelivery, Pause, SpoolBroken
from mta.message.envelope import WORKERS, Recipient, format_queue_id
from mta.spool import adoption
from mta.spool.adoption import BATCH, Leftover
from mta.spool.matching import EVERYTHING, Selection

LARGE = b"x" * 300_000


class Dies(BaseException):
    """The process ends here."""


class House:
    """A spool folder, and as many workers as it has at the moment."""

    def __init__(self, folder: Path) -> None:
        self.clock: Clock = clock_at_start()
        self.folder = folder
        self.worlds: list[SqliteWorld] = []

    def open(self, workers: int) -> list[SqliteWorld]:
        self.close()
        for number in range(workers):
            self.worlds.append(SqliteWorld(self.clock, self.folder, worker=number, workers=workers))
        return self.worlds

    def close(self) -> None:
        for world in self.worlds:
            world.close()
        self.worlds = []

    def kill(self) -> None:
        for world in self.worlds:
            kill(world.spool)
        self.worlds = []

    def pass_time(self, seconds: float = 30.0) -> None:
        for _ in range(int(seconds / 0.1)):
            self.clock.advance(0.1)

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("queue-*.db*"))

    @property
    def contents(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder / "content")) for path in self.folder.glob("content/*/*"))

    def rows(self, number: int) -> dict[str, int]:
        db = apsw.Connection(str(self.folder / f"queue-{number}.db"), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            tables = ("message", "delivery", "timeline", "event")
            return {table: db.execute(f"SELECT count(*) FROM {table}").get for table in tables}
        finally:
            db.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "spool")
    yield made
    made.close()


def everything(world: SqliteWorld) -> dict[str, Any]:
    """All that an operator can see of the queue."""
    with world.desk() as desk:
        listed = desk.queue(limit=10_000)
        contents = [b"".join(desk.content(one.id).blocks()) for one in listed]  # type: ignore[union-attr]
        return {
            "listed": listed,
            "stories": [desk.story(one.id) for one in listed],
            "contents": contents,
            "totals": desk.totals(),
        }


def fill(world: SqliteWorld) -> tuple[list[int], int]:
    """One message in every state, a large one among them; and one that has gone."""
    ready, _ = world.commit(["a@up.test", "b@up.test"], "up.test")
    large, _ = world.commit(content=LARGE)
    deferred, [claim] = world.commit(["a@down.test"], "down.test", eager=True)
    pause = Pause(world.now + 60.0, 2, "451 4.4.1 connection refused")
    assert world.record(claim, world.waiting(claim), pause=pause)
    held, _ = world.commit(["h@up.test"], "up.test")
    world.operate("hold", held)
    split, [first, _] = world.commit(
        deliveries=[
            NewDelivery("x.test", (Recipient("x@x.test"),), world.now, world.now + 100.0, eager=True),
            NewDelivery("y.test", (Recipient("y@y.test"),), world.now, world.now + 100.0, eager=True),
        ]
    )
    assert world.record(first)
    gone, [claim] = world.commit(eager=True)
    assert world.record(claim)
    return [ready, large, deferred, held, split], gone


def test_all_of_it_stays_what_it_was(house: House) -> None:
    zero, one = house.open(2)
    other, _ = zero.commit(["o@other.test"], "other.test")
    queued, gone = fill(one)
    house.close()
    [alone] = house.open(1)
    before, story = everything(alone), alone.story(gone)
    assert len(before["listed"]) == 6
    assert before["totals"].messages == 6
    house.pass_time()
    assert everything(alone) == before
    assert alone.story(gone) == story
    assert house.files == ["queue-0.db", "queue-0.db-shm", "queue-0.db-wal"]
    assert house.contents == [f"0/{format_queue_id(queued[1])}"]
    assert not alone.claim("down.test"), "what was deferred waits for its time"
    assert [due.destination for due in alone.due()] != ["down.test"]
    assert sorted(claim.message for claim in alone.claim("up.test")) == [queued[0]]
    [claim] = alone.claim()
    assert alone.content(claim) == LARGE
    assert alone.record(claim)
    assert house.contents == []
    assert [claim.message for claim in alone.claim("other.test")] == [other]


def test_a_pause_comes_with_the_mail_that_it_is_for(house: House) -> None:
    _, one = house.open(2)
    fill(one)
    house.close()
    [alone] = house.open(1)
    house.pass_time()
    [due] = alone.due(skip=frozenset({"up.test", "example.net", "y.test"}))
    assert (due.destination, due.failures, due.last_reply) == ("down.test", 2, "451 4.4.1 connection refused")


def test_what_was_being_tried_when_it_died_is_due_and_counted(house: House) -> None:
    _, one = house.open(2)
    message, _ = one.commit(eager=True)
    house.kill()
    alone = SqliteWorld(house.clock, house.folder, floor=0)
    house.worlds = [alone]
    house.pass_time()
    assert "unknown" in alone.kinds(message)
    assert [claim.message for claim in alone.claim()] == [message]


def test_the_worker_is_told_that_something_has_come(house: House) -> None:
    _, one = house.open(2)
    one.commit()
    house.close()
    [alone] = house.open(1)
    alone.wait(alone.spool.changes())
    assert not alone.wait(alone.spool.changes())
    house.pass_time(0.2)
    assert alone.wait(alone.spool.changes())


def test_many_are_moved_in_batches_between_which_others_commit(house: House) -> None:
    _, one = house.open(2)
    messages = [one.commit([f"{n}@x.test"], "x.test")[0] for n in range(BATCH * 2 + 50)]
    house.close()
    [alone] = house.open(1)
    house.clock.advance(adoption.REST)
    assert house.rows(0)["message"] == BATCH
    assert house.rows(1)["message"] == BATCH + 50
    new, _ = alone.commit(["n@x.test"], "x.test")
    house.pass_time()
    claimed = [claim.message for claim in alone.claim("x.test", 1000)]
    assert sorted(claimed) == sorted([*messages, new])


def test_growing_again_in_the_middle(house: House) -> None:
    _, one = house.open(2)
    messages = [one.commit([f"{n}@x.test"], "x.test")[0] for n in range(BATCH + 50)]
    house.close()
    house.open(1)
    house.clock.advance(adoption.REST)
    zero, one, two = house.open(3)
    claimed = [claim.message for world in (zero, one, two) for claim in world.claim("x.test", 1000)]
    assert sorted(claimed) == messages


def test_shrinking_from_four_to_two_shares_them_out(house: House) -> None:
    messages = [world.commit()[0] for world in house.open(4)]
    house.close()
    zero, one = house.open(2)
    house.pass_time()
    assert sorted(claim.message for claim in zero.claim()) == sorted([messages[0], messages[2]])
    assert sorted(claim.message for claim in one.claim()) == sorted([messages[1], messages[3]])
    assert not [name for name in house.files if name.startswith(("queue-2", "queue-3"))]


POINTS = ("before the copy", "before its commit", "before the removal", "after the removal")


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("what", ["message", "story"])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_loses_and_doubles_nothing(
    house: House, point: str, what: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, one = house.open(2)
    if what == "message":
        queued, gone = fill(one)
    else:
        queued, (gone, [claim]) = [], one.commit(eager=True)
        assert one.record(claim)
    house.close()
    [alone] = house.open(1)
    before, story = everything(alone), alone.story(gone)
    die_at(point, monkeypatch)
    with pytest.raises(Dies):
        house.pass_time()
    monkeypatch.undo()
    house.kill()
    worlds = house.open(workers)
    assert everything(worlds[0]) == before
    assert worlds[0].story(gone) == story
    assert everything(worlds[0])["totals"].messages == len(queued)
    claimed = [claim.message for world in worlds for claim in world.claim("up.test")]
    assert claimed in (queued[:1], []), "nobody has it twice, and it can only be where it was not claimed yet"
    for world in worlds:
        world.restart()
    house.pass_time()
    claimed = [claim.message for world in worlds for claim in world.claim("up.test")]
    assert claimed == queued[:1]
    for world in worlds:
        world.restart()
    assert everything(worlds[0]) == before
    assert worlds[0].story(gone) == story
    house.close()
    counted = [house.rows(number) for number in range(workers)]
    total = {table: sum(rows[table] for rows in counted) for table in counted[0]}
    assert total["message"] == len(queued)
    assert total["timeline"] == 1


def die_at(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = adoption._copy

    def die(*_: Any) -> None:
        raise Dies

    def copy_and_die(*arguments: Any) -> None:
        copy(*arguments)
        raise Dies

    match POINTS.index(point):
        case 0:
            monkeypatch.setattr(adoption, "_copy", die)
        case 1:
            monkeypatch.setattr(adoption, "_copy", copy_and_die)
        case 2:
            monkeypatch.setattr(Leftover, "_forget", die)
        case 3:
            monkeypatch.setattr(Leftover, "_clean", die)


def test_what_cannot_be_removed_is_not_copied_either(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    _, one = house.open(2)
    queued, _ = fill(one)
    house.close()
    [alone] = house.open(1)
    before = everything(alone)

    def full(*_: Any) -> None:
        raise apsw.FullError("the disk is full")

    monkeypatch.setattr(Leftover, "_forget", full)
    house.clock.advance(adoption.REST)
    assert house.rows(0)["message"] == 0
    assert everything(alone) == before
    monkeypatch.undo()
    house.pass_time(adoption.AGAIN + 1.0)
    assert house.rows(0)["message"] == len(queued)
    assert everything(alone) == before


def test_if_nobody_knows_whether_it_was_removed_the_process_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    _, one = house.open(2)
    queued, _ = fill(one)
    house.close()
    [alone] = house.open(1)
    before = everything(alone)

    def fails(*_: Any) -> None:
        raise apsw.IOError("the disk is no more")

    monkeypatch.setattr(Leftover, "_forget", fails)
    with pytest.raises(SystemExit):
        house.clock.advance(adoption.REST)
    monkeypatch.undo()
    house.kill()
    [alone] = house.open(1)
    assert everything(alone) == before
    assert everything(alone)["totals"].messages == len(queued)


def test_a_left_over_file_whose_worker_lives_is_refused(house: House) -> None:
    _, one = house.open(2)
    house.worlds[0].close()
    house.worlds = [one]
    with pytest.raises(SpoolBroken, match=r"in use by another relay, process \d+ \(queue 1\)"):
        SqliteWorld(house.clock, house.folder, workers=1)


def test_an_operator_can_do_everything_meanwhile(house: House) -> None:
    _, one = house.open(2)
    messages = [one.commit([f"{n}@x.test"], "x.test")[0] for n in range(BATCH + 20)]
    house.close()
    [alone] = house.open(1)
    house.clock.advance(adoption.REST)
    with alone.desk() as desk:
        assert desk.hold(EVERYTHING) == BATCH + 20
        assert desk.drop(Selection(ids=frozenset({messages[0], messages[-1]}))) == 2
        assert desk.release(EVERYTHING) == BATCH + 18
    house.pass_time()
    assert sorted(claim.message for claim in alone.claim("x.test", 1000)) == messages[1:-1]
    with alone.desk() as desk:
        assert desk.totals().messages == BATCH + 18


def test_a_new_file_begins_behind_what_was_there_before_it(house: House) -> None:
    """A clock that was set back while the number of workers changed makes no queue id twice."""
    _, one = house.open(2)
    message, _ = one.commit()
    house.close()
    house.open(1)
    house.pass_time()
    house.close()
    house.clock = Clock()
    house.clock.advance(clock_at_start().seconds() - 86_400.0)
    _, one = house.open(2)
    later, _ = one.commit()
    assert later > message
    assert later % WORKERS == message % WORKERS == 1


def test_what_waits_elsewhere_is_rushed_too(house: House) -> None:
    zero, one, two = house.open(3)
    for world in (zero, one, two):
        _, [claim] = world.commit(eager=True)
        assert world.record(claim, world.waiting(claim), pause=Pause(world.now + 400.0, 1, "451 4.4.1 refused"))
        world.wait(world.spool.changes())
    assert zero.wait(zero.spool.rush("", "example.net")) == 3
    assert len(zero.claim()) == 1
    for world in (one, two):
        assert world.wait(world.spool.changes())
        assert len(world.claim()) == 1


def test_a_damaged_file_of_another_is_for_its_own_worker_to_name(house: House) -> None:
    _, one = house.open(2)
    one.commit()
    house.close()
    (house.folder / "queue-0.db").write_bytes(b"not a queue file" * 1000)
    house.worlds = [SqliteWorld(house.clock, house.folder, worker=1, workers=2)]
    assert len(house.worlds[0].claim()) == 1
    with pytest.raises(SpoolBroken, match=r"queue-0.db is damaged"):
        SqliteWorld(house.clock, house.folder, worker=0, workers=2)
