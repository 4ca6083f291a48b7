"""A copy of a queue: what is in it, and that nothing is missed or doubled while messages move between files."""

import shutil
from pathlib import Path

from spools import SqliteWorld, clock_at_start

from mta.interfaces import Pause
from mta.spool.desk import Desk
from mta.spool.duplicate import duplicate
from mta.spool.matching import Selection


def test_envelopes_states_and_pauses_are_copied_and_contents_are_not(tmp_path: Path) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    first, [claim] = world.commit(["a@x", "b@x"], "x", eager=True, content=b"Subject: secret\r\n\r\nhello\r\n")
    world.record(claim, world.waiting(claim), pause=Pause(world.now + 60, 3, "451 down"))
    held, _ = world.commit(["held@y"], "y")
    world.operate("hold", held)
    world.commit(["not@chosen"], "chosen")
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    with world.desk() as desk:
        assert duplicate(desk, [first, held, 4711], copy, lambda: world.now) == [0]
        original = desk.queue(Selection(ids=frozenset({first, held})))
    with Desk(copy, lambda: world.now) as desk:
        assert desk.queue() == original
        totals = desk.totals()
        story = desk.story(first)
    assert (totals.messages, totals.waiting, totals.held) == (2, 2, 1)
    assert story is not None
    assert story.events == []
    assert b"secret" not in (copy / "queue-0.db").read_bytes()
    world.close()
    again = SqliteWorld(world.clock, copy)  # a relay can go on with it
    assert [one.destination for one in again.due()] == ["x"]
    again.close()


def test_a_message_in_two_files_is_copied_once(tmp_path: Path) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool", worker=1, workers=2)
    both, _ = world.commit(["both@x"], "x")
    world.close()
    shutil.copy(world.folder / "queue-1.db", world.folder / "queue-0.db")
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    with Desk(world.folder, lambda: world.now) as desk:
        assert duplicate(desk, [both], copy, lambda: world.now) == [1, 0]
    with Desk(copy, lambda: world.now) as desk:
        assert [number for number, store in desk.files() if store.value("SELECT count(*) FROM message")] == [0]
        assert desk.totals().messages == 1
