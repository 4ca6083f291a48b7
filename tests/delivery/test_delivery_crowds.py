"""Many messages: a dead host is left in peace, everybody has a turn, and memory holds what is in flight."""

from itertools import pairwise

import pytest
from clockwork import DAY, GREYLISTED, HOUR, MINUTE, Build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.delivery.turns import Bounds
from mta.message.outcome import Outcome, Result
from mta.policy.retry import RetryPolicy
from mta.smtp.reply import Reply
from mta.transports.memory import NOBODY_THERE


@pytest.fixture
def store() -> str:
    """The store that is made for crowds."""
    return "on disk"


BUSY = Outcome(Result.DEFERRED, Reply(421, "4.3.2", ("too many of you",)), "mx.busy.test[192.0.2.9]:25")


def most_in_a_minute(times: list[float]) -> int:
    return max((sum(start <= at < start + MINUTE for at in times) for start in times), default=0)


def test_ten_thousand_messages_for_a_dead_host_cost_few_tries_and_delay_nobody(build: Build) -> None:
    house = build(poll=MINUTE)
    house.transport.down = {"dead.test"}
    for number in range(10_000):
        house.submit(f"r{number}@dead.test")
    house.run(10)
    house.submit("b@up.test")
    house.run(1)
    assert house.tries("up.test"), "another destination is served within a second"
    house.run(HOUR)
    tries = house.tries("dead.test")
    assert 5 <= len(tries) <= 5 + 8
    assert most_in_a_minute(tries) <= 5
    assert house.messages == 10_000
    assert house.manager.in_flight == 0
    # What comes while the host is down is not tried, one by one, either.
    for number in range(100):
        house.submit(f"later{number}@dead.test", eager=True)
        house.run(1)
    assert len(house.tries("dead.test")) <= len(tries) + 1
    # It comes back: all are delivered without waiting for each one's own schedule.
    house.transport.down = set()
    house.run(6 * HOUR)
    assert house.messages == 0
    assert len({one.envelope.recipients for one in house.carried("dead.test") if one.taken}) == 10_100


def test_messages_that_expire_together_for_a_dead_host_share_their_last_try(build: Build) -> None:
    house = build(policy=RetryPolicy((HOUR,), warn=10 * MINUTE, give_up=5 * HOUR), poll=HOUR)
    house.transport.down = {"dead.test"}
    for number in range(1000):
        house.submit(f"r{number}@dead.test")
    house.run(10 * MINUTE + 20)
    assert len(house.notices()) == 1000, "all are warned of, though hardly any was tried"
    assert len(house.tries("dead.test")) < 15
    house.run_until(5 * HOUR - 1)
    before = len(house.tries("dead.test"))
    house.run(20)
    assert len(house.tries("dead.test")) == before + 1
    assert house.tries("dead.test")[-1] == pytest.approx(5 * HOUR, abs=1)
    assert len(house.notices()) == 2000
    assert house.messages == 0


def test_a_destination_with_many_messages_does_not_delay_another(build: Build) -> None:
    """Each delivery takes a second; the crowd has all its places, and the newcomer gets one at once."""
    house = build(bounds=Bounds(deliveries=20))
    house.transport.holding = True
    for number in range(1000):
        house.submit(f"r{number}@crowd{number % 4}.test")
    house.run(0.1)
    for _ in range(10):
        house.transport.let_go()
        house.run(1)
    assert house.manager.in_flight == 20
    came = house.age
    house.submit("b@up.test")
    house.run(0.1)
    house.transport.let_go(5)
    house.run(0.9)
    house.transport.let_go()
    assert house.tries("up.test") == [pytest.approx(came + 1)], "it was begun when five had ended"


def test_all_destinations_have_their_turn(build: Build) -> None:
    house = build(bounds=Bounds(deliveries=10))
    house.transport.holding = True
    for number in range(400):
        house.submit(f"r{number}@d{number % 8}.test")
    house.run(0.1)
    for _ in range(20):
        house.transport.let_go(1)
        house.run(0.01)
        house.transport.let_go(9)
        house.run(0.01)
    each = [len(house.tries(f"d{number}.test")) for number in range(8)]
    assert sum(each) == 200
    assert max(each) - min(each) <= 10


def test_more_destinations_than_memory_has_room_for_are_all_served(build: Build) -> None:
    house = build(start=False, bounds=Bounds(deliveries=20, destinations=30))
    seen = []
    house.transport.holding = True
    for number in range(500):
        house.submit(f"a@d{number}.test", silent=True)
        house.submit(f"b@d{number}.test", silent=True)
    house.run(1)
    house.manager.start()
    for _ in range(3000):
        house.run(0.05)
        seen.append((house.manager.in_flight, len(house.manager._destinations)))
        house.transport.let_go()
        if not house.messages:
            break
    assert house.messages == 0
    assert max(running for running, _ in seen) == 20
    assert max(destinations for _, destinations in seen) <= 30


def test_where_there_is_no_room_for_all_nobody_stays_for_ever(build: Build) -> None:
    """Sixty destinations with twenty messages each, and room for ten: the last is begun before the first is through."""
    house = build(start=False, bounds=Bounds(deliveries=10, destinations=10))
    for number in range(60 * 20):
        house.submit(f"r{number}@d{number % 60}.test", silent=True)
        house.clock.rightNow += 0.001
    house.run(1)
    house.transport.holding = True
    house.manager.start()
    through = None
    for _ in range(3000):
        house.run(0.05)
        house.transport.let_go()
        each = [len(house.tries(f"d{number}.test")) for number in range(60)]
        if max(each) == 20 and through is None:
            through = min(each)
        if sum(each) == 60 * 20:
            break
    assert through is not None
    assert through > 0
    assert house.age < 60
    house.run(1)
    assert house.messages == 0


def test_where_there_is_no_room_for_all_old_mail_has_its_turn_beside_new_mail_for_its_destination(build: Build) -> None:
    """New mail keeps the destination in memory, so that it is never taken up again; and the crowd is due later."""
    house = build(start=False, bounds=Bounds(deliveries=12, strangers=6, destinations=4))
    for number in range(20):
        house.submit(f"old{number}@up.test", silent=True)
    house.clock.rightNow += 1
    for number in range(3 * 80):
        house.submit(f"r@d{number % 80}.test", silent=True)
        house.clock.rightNow += 0.001
    house.run(1)
    house.transport.holding = True
    house.manager.start()
    house.run(0.02)
    for number in range(100):
        house.submit(f"new{number}@up.test", eager=True)
        house.run(0.02)
        house.transport.let_go(4)
        if sum(to.startswith("old") for one in house.carried("up.test") for to in one.taken) == 20:
            break
    assert number < 50
    assert house.manager._lookout.is_crowded


def test_what_is_stored_for_a_busy_destination_by_others_is_found(build: Build) -> None:
    house = build(poll=HOUR)
    house.run(2)
    house.transport.holding = True
    for number in range(5):
        house.submit(f"r{number}@up.test", eager=True)
    house.run(1)
    assert house.transport.held == 5
    house.submit("one.more@up.test", silent=True)
    house.manager._lookout.look()
    house.run(2)
    house.transport.holding = False
    house.transport.let_go()
    house.run(1.1)
    assert house.messages == 0


def test_what_is_claimed_ahead_is_little(build: Build) -> None:
    house = build()
    house.transport.holding = True
    for number in range(2000):
        house.submit(f"r{number}@up.test")
    for _ in range(50):
        house.run(0.1)
        assert house.store.active() <= 2 * 20 + 1
        house.transport.let_go(3)
    assert house.manager.in_flight == 20


def test_a_window_opens_with_success(build: Build) -> None:
    house = build()
    house.transport.holding = True
    for number in range(100):
        house.submit(f"r{number}@up.test")
    widths = []
    for _ in range(6):
        house.run(0.1)
        widths.append(house.transport.held)
        house.transport.let_go()
    assert widths == [5, 10, 20, 20, 20, 20]


def test_a_host_that_says_421_is_used_with_fewer_and_then_left_in_peace(build: Build) -> None:
    house = build()
    house.transport.answer("busy.test", BUSY)
    for number in range(1000):
        house.submit(f"r{number}@busy.test")
    house.run(HOUR)
    tries = house.tries("busy.test")
    assert len(tries) <= 15
    assert most_in_a_minute(tries[5:]) <= 2


def test_reservations_respect_window_pause_and_bounds(build: Build) -> None:
    house = build(bounds=Bounds(deliveries=7))
    manager = house.manager
    assert [manager.reserve("a.test") for _ in range(26)] == [True] * 25 + [False]  # five, and four times as many wait
    assert manager.in_flight == 5
    assert [manager.reserve("b.test") for _ in range(3)] == [True, True, False]
    assert manager.in_flight == 7
    for _ in range(25):
        manager.unreserve("a.test")
    assert manager.reserve("b.test")
    for _ in range(3):
        manager.unreserve("b.test")
    assert (manager.in_flight, len(manager._destinations)) == (0, 0)
    house.transport.down = {"dead.test"}
    house.submit("x@dead.test", eager=True)
    house.run(1)
    assert not manager.reserve("dead.test")


def test_one_that_is_claimed_again_while_it_is_under_way_gives_back_both_its_places(build: Build) -> None:
    """The spool gives out nothing twice (see tests/spool/test_spool_faults.py); if it did, no place would be lost."""
    house = build()
    house.transport.holding = True
    house.submit("b@up.test", eager=True)
    house.run(1)
    [attempt] = house.manager._tries
    assert house.manager.reserve("up.test")
    house.manager.deliver(attempt.claim, None)
    house.run(1)
    assert (house.transport.held, house.manager.in_flight) == (2, 2)
    house.transport.let_go()
    house.run(1)
    assert (house.messages, house.manager.in_flight, len(house.manager._destinations)) == (0, 0, 0)


def test_octets_in_memory_are_bounded(build: Build) -> None:
    house = build(bounds=Bounds(octets=300_000, large=200_000))
    house.transport.holding = True
    for number in range(10):
        house.submit(f"r{number}@d{number}.test", content=b"x" * 150_000)
    house.run(1)
    assert house.transport.held == 2
    assert not house.manager.reserve("up.test")
    while house.transport.held:
        house.transport.let_go()
        house.run(1)
    assert house.messages == 0
    assert house.manager.reserve("up.test")


def test_the_eager_path_reads_nothing_back(build: Build) -> None:
    house = build()
    house.break_content()
    house.submit("b@up.test", eager=True)
    house.run(1)
    assert house.carried("up.test")[0].taken == ("b@up.test",)
    assert house.messages == 0


def test_idle_destinations_are_forgotten_and_paused_ones_kept_within_bounds(build: Build) -> None:
    house = build(bounds=Bounds(remembered=10), policy=RetryPolicy((HOUR,), None, DAY))
    house.transport.down = {f"dead{number}.test" for number in range(30)}
    for number in range(30):
        house.submit(f"a@dead{number}.test")
        house.submit(f"a@fine{number}.test")
    house.run(1)
    destinations = house.manager._destinations
    assert (len(destinations), destinations.resting) == (0, 10)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    crowd=st.integers(1, 40),
    arriving=st.integers(0, 15),
    after=st.lists(st.floats(200, 7200), min_size=1, max_size=4),
    ups=st.lists(st.tuples(st.floats(0, 8 * HOUR), st.floats(60, HOUR)), max_size=3),
    answer=st.sampled_from([NOBODY_THERE, GREYLISTED, BUSY]),
)
def test_there_is_no_retry_storm(
    build: Build,
    crowd: int,
    arriving: int,
    after: list[float],
    ups: list[tuple[float, float]],
    answer: Outcome,
) -> None:
    """Whatever a host does, and whenever: no message is tried more often than its schedule says, and a host that is
    down, or says so, is tried a few times an hour, whatever waits for it.
    """
    waits = tuple(sorted(after))
    house = build(policy=RetryPolicy(waits, None, 8 * HOUR), poll=HOUR)
    down = house.transport.down
    if answer is NOBODY_THERE:
        down.add("bad.test")
        for at, seconds in ups:
            house.clock.callLater(at, down.discard, "bad.test")
            house.clock.callLater(at + seconds, down.add, "bad.test")
    else:
        house.transport.answer("bad.test", answer)
    for number in range(crowd):
        house.submit(f"r{number}@bad.test")
    for number in range(arriving):
        house.run(8 * MINUTE)
        house.submit(f"later{number}@bad.test", eager=True)
    house.run_until(13 * HOUR)

    by_message: dict[object, list[float]] = {}
    for one in house.carried("bad.test"):
        by_message.setdefault(one.envelope.recipients, []).append(one.at)
    for times in by_message.values():
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert all(gap >= wait - 1e-3 for gap, wait in zip(gaps[:-1], (*waits, *(waits[-1],) * 1000), strict=False))
    if answer is not GREYLISTED:
        failing = [one.at - house.began for one in house.carried("bad.test") if not one.taken]
        for hour in range(13):
            during = [at for at in failing if hour * HOUR <= at < (hour + 1) * HOUR]
            # Few in each pause, more where short waits make pauses short, and after each time that it was up.
            assert len(during) <= 10 + 2 * HOUR / min(waits[0], 1800) + 21 * len(ups) + arriving
    assert house.manager.in_flight == 0
    assert house.messages == 0
