"""A pause is kept to by a manager that did not begin it: after a restart, and where it has been forgotten."""

from collections.abc import Sequence

import pytest
from clockwork import DAY, HOUR, MINUTE, USUAL, Build, House

from mta.delivery.turns import Bounds
from mta.maillog import timestamp
from mta.policy.retry import RetryPolicy

# The sender is warned at 4 h, in the pause that begins between 3 h and 4 h.
IN_PAUSES = (10.0, 3 * MINUTE, 14 * MINUTE, 40 * MINUTE, 100 * MINUTE, 4 * HOUR - 1)


def dead(build: Build, policy: RetryPolicy = USUAL, bounds: Bounds | None = None) -> House:
    house = build(policy=policy, bounds=bounds, poll=HOUR)
    house.transport.down = {"dead.test", *(f"dead{number}.test" for number in range(30))}
    return house


def tries(house: House, restarts: Sequence[float], until: float) -> list[float]:
    """When mail for a dead host was tried, with the relay restarted at these ages."""
    house.submit("a@dead.test", eager=True)
    for at in restarts:
        house.run_until(at)
        house.restart()
    house.run_until(until)
    return house.tries("dead.test")


@pytest.mark.parametrize("restarts", [(IN_PAUSES[-1],), IN_PAUSES], ids=["once", "often"])
def test_a_deadline_in_a_pause_brings_no_try_after_a_restart(build: Build, restarts: Sequence[float]) -> None:
    without = dead(build)
    usual = tries(without, (), 16 * HOUR)
    house = dead(build)
    assert tries(house, restarts, 16 * HOUR) == pytest.approx(usual, abs=0.5)
    assert len(usual) == 9
    for each in without, house:
        [warning] = each.notices()
        assert warning.at - each.began == pytest.approx(4 * HOUR, abs=2)


def test_the_failures_in_a_row_are_known_after_a_restart(build: Build) -> None:
    house = dead(build)
    before = len(tries(house, (6 * HOUR,), 6 * HOUR))
    for number in range(5):
        house.submit(f"r{number}@dead.test", eager=True)
    house.run(20 * MINUTE)
    assert len(house.tries("dead.test")) == before + 1, "the pause was over, and one goes ahead as a probe"
    pause = house.logged("paused")[-1]
    assert pause["until"] >= timestamp(house.began + 6 * HOUR + 30 * MINUTE), "it is one of the long ones"


def test_new_mail_waits_for_the_end_of_a_pause_after_a_restart(build: Build) -> None:
    def play(restart: bool) -> list[float]:
        house = dead(build)
        house.submit("a@dead.test", eager=True)
        house.run(10)
        if restart:
            house.restart()
        for number in range(3):
            house.submit(f"new{number}@dead.test", eager=True)
            house.run(10)
        assert house.tries("dead.test") == [0]
        house.run(HOUR)
        return house.tries("dead.test")

    usual = play(restart=False)
    assert MINUTE <= usual[1] <= 1.1 * MINUTE
    assert play(restart=True) == pytest.approx(usual, abs=0.5)


def test_what_there_is_no_memory_for_is_asked_of_the_spool(build: Build) -> None:
    house = dead(build, bounds=Bounds(remembered=4))
    for number in range(12):
        house.submit(f"a@dead{number}.test")
    house.run(10)
    house.restart()
    for number in range(12):
        house.submit(f"b@dead{number}.test", eager=True)
    house.submit("a@fine.test", eager=True)
    assert not house.manager.reserve("never.test"), "it might be one of those"
    house.run(10)
    assert house.manager._destinations.resting <= 4
    assert [len(house.tries(f"dead{number}.test")) for number in range(12)] == [1] * 12
    assert house.carried("fine.test")[0].at - house.began <= 11
    house.run(50)
    assert all(len(house.tries(f"dead{number}.test")) == 2 for number in range(12))
    house.transport.down = set()
    house.run(HOUR)
    assert house.messages == 0
    assert house.manager.reserve("never.test"), "nothing is paused any more"
    house.manager.unreserve("never.test")


def test_a_deadline_finds_a_pause_that_was_forgotten(build: Build) -> None:
    def play(remembered: int) -> list[list[float]]:
        house = dead(build, RetryPolicy((HOUR,), 20.0, DAY), Bounds(remembered=remembered))
        for number in range(8):
            house.submit(f"a@dead{number}.test")
        house.run(5)
        for number in range(8):
            house.submit(f"b@dead{number}.test", sender=f"b{number}@up.test", silent=True)
        house.run(50)
        assert all(len(house.notices(f"b{number}@up.test")) == 1 for number in range(8))
        return [house.tries(f"dead{number}.test") for number in range(8)]

    assert play(remembered=2) == play(remembered=1000) == [[0.0]] * 8


def test_a_host_whose_pause_was_ended_meanwhile_is_tried(build: Build) -> None:
    house = dead(build)
    house.submit("a@dead.test")
    house.run(30 * MINUTE)
    house.restart()
    before = len(house.tries("dead.test"))
    house.transport.down = set()
    house.wait(house.manager.start_queue("", "dead.test"))
    house.run(2)
    assert len(house.tries("dead.test")) == before + 1
    assert house.messages == 0
