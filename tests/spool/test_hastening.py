"""After a clock has been set back: what waits for a time too far away has another, in both spools, by small steps."""

from pathlib import Path

import pytest
from spools import SqliteWorld, World, clock_at_start

from mta.interfaces import Pause
from mta.spool import hastening

HOUR = 3600.0


def hasten(world: World, due: float = HOUR) -> int:
    """Have what waits for longer than that be due in a minute for each try that it has had."""
    now = world.now
    deliveries: int = world.wait(world.spool.hasten(now + due, now + due, lambda attempts: now + 60.0 * attempts))
    return deliveries


def deferred(world: World, due: float, attempts: int = 1, destination: str = "example.net") -> int:
    message, [claim] = world.commit([f"a@{destination}"], destination, eager=True)
    assert world.record(claim, world.waiting(claim, due=due, attempts=attempts))
    return message


def test_what_waits_too_long_has_another_time(world: World) -> None:
    near, far, farther = deferred(world, HOUR), deferred(world, 25 * HOUR), deferred(world, 30 * HOUR, attempts=3)
    assert hasten(world) == 2
    assert world.due()[0].next_due == world.now + 60
    world.clock.advance(60)
    assert [one.message for one in world.claim()] == [far]
    world.clock.advance(120)
    assert [one.message for one in world.claim()] == [farther]
    world.clock.advance(HOUR)
    assert [one.message for one in world.claim()] == [near]
    assert hasten(world) == 0


def test_what_came_by_the_other_clock_and_was_never_tried_is_due(world: World) -> None:
    message, _ = world.commit(due=world.now + 24 * HOUR)
    assert hasten(world) == 1
    assert [one.message for one in world.claim()] == [message]


def test_what_its_sender_holds_back_stays_and_so_does_what_is_held_or_tried(world: World) -> None:
    released = world.now + 24 * HOUR
    world.commit(due=released, released=released)
    held = deferred(world, 24 * HOUR)
    world.operate("hold", held)
    world.commit(eager=True)
    assert hasten(world) == 0
    assert world.claim() == []


def test_pauses_that_end_too_late_are_over(world: World) -> None:
    for name, pause in (("one.test", 24 * HOUR), ("two.test", HOUR / 2)):
        _, [claim] = world.commit([f"a@{name}"], name, eager=True)
        world.record(claim, world.waiting(claim, due=60), pause=Pause(world.now + pause, 4, "451 no"))
    assert hasten(world) == 0
    assert [(one.destination, one.paused_until - world.now) for one in world.due()] == [("one.test", -world.now)]
    world.clock.advance(HOUR / 2)
    assert [one.destination for one in world.due()] == ["one.test", "two.test"]


def test_it_is_known_what_the_clock_said_last(world: World) -> None:
    world.commit()
    assert world.restart().newest == pytest.approx(world.now, abs=0.001)
    world.clock.advance(HOUR)
    deferred(world, 60)
    assert world.restart().newest == pytest.approx(world.now, abs=0.001)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_steps_are_small_and_none_is_left_out(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hastening, "CHUNK", chunk)
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    released = world.now + 50 * HOUR
    for number in range(5):
        for _ in range(number):
            deferred(world, 24 * HOUR, destination=f"d{number}.test")  # many at the same time
        deferred(world, 26 * HOUR + number, destination=f"d{number}.test")
        deferred(world, 1, destination=f"d{number}.test")
        world.commit(destination=f"d{number}.test", due=world.now + 40 * HOUR, priority=number)
        world.commit(destination=f"d{number}.test", due=released, released=released, priority=-number)
        world.commit(destination=f"d{number}.test", due=released, released=released)
    assert hasten(world) == 0 + 1 + 2 + 3 + 4 + 5 + 5
    assert hasten(world) == 0
    world.clock.advance(60)
    assert [len(world.claim(f"d{number}.test")) for number in range(5)] == [number + 3 for number in range(5)]
    world.close()
