"""Case 16: a worker that stood still goes on with what is not its own any more; two workers, one message."""

from pathlib import Path

import pytest
from simulated.machine import FROZEN, CrashPoint
from simulated.scenario import configuration
from simulated.trial import trial, verdict
from spools import MemoryWorld, SqliteWorld, World, clock_at_start

PATIENT = "{after: [1m, 2m, 4m, 10m, 20m], warn: 5m, give_up: 2h}"


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, folder: Path) -> World:
    clock = clock_at_start()
    return MemoryWorld(clock) if request.param == "memory" else SqliteWorld(clock, folder / "spool")


def test_the_record_of_a_stale_holder_is_refused(world: World) -> None:
    """It died, as the others see it: what it had claimed is claimed again, and its late word changes nothing."""
    message, _ = world.commit()
    [stale] = world.claim()
    world.crash()
    [claim] = world.claim()
    assert claim.delivery == stale.delivery
    assert claim.fence > stale.fence
    assert world.record(stale) is False
    assert world.record(stale, world.waiting(stale)) is False
    assert "delivered" not in world.kinds(message)
    assert world.record(claim) is True
    assert world.record(claim) is False, "nor does the right one's count twice"
    world.close()


def test_nobody_claims_what_somebody_holds(world: World) -> None:
    world.commit()
    assert len(world.claim()) == 1
    assert world.claim() == []
    world.clock.advance(86_400)
    assert world.claim() == [], "however long it takes: there is no lease that could run out"
    world.close()


@pytest.mark.parametrize("event", ["sync", "answer"])
def test_one_of_two_stands_still_for_an_hour_and_goes_on(folder: Path, event: str) -> None:
    config = configuration(folder, PATIENT)
    for number in (8, 14, 20):
        points = [CrashPoint(event, number, "after", "freeze")]
        played, found = trial(config, points, length=4 * FROZEN, workers=[2])
        assert played is not None and not found, verdict(points, 0, found, [2])
        assert played.machine.frozen == 1


def test_a_second_relay_on_the_same_spool_does_not_start(folder: Path) -> None:
    world = SqliteWorld(clock_at_start(), folder / "spool")
    with pytest.raises(Exception, match="in use by another relay"):
        SqliteWorld(clock_at_start(), folder / "spool")
    world.close()
