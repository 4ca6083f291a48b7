"""What has just been stored and finds no place waits in memory, with its content, and goes out in its order."""

from collections.abc import Callable

import pytest

from mta.delivery.turns import Bounds
from mta.policy.retry import RetryPolicy
from mta.policy.window import WindowLimits
from tests.delivery.clockwork import HOUR, House

Build = Callable[..., House]
LIMITS = WindowLimits(initial=5, maximum=5)


def submit(house: House, count: int, **more: bytes) -> list[str]:
    """So many, to be tried at once; their recipients."""
    names = [f"r{number}@slow.test" for number in range(count)]
    for name in names:
        house.submit(name, eager=True, **more)
    house.run(0.1)
    return names


def let_all_go(house: House) -> None:
    while house.transport.held:
        assert house.transport.held <= 5
        house.transport.let_go(1)
        house.run(0.1)


def arrived(house: House) -> list[str]:
    return [name for one in house.carried("slow.test") for name in one.taken]


def is_empty(house: House) -> bool:
    """Nothing is left in memory of what has waited."""
    aside, manager = house.manager._aside, house.manager
    return not aside._kept and aside._room == manager._bounds.aside and not len(manager._destinations)


def test_what_waits_is_sent_from_memory_and_in_its_order(build: Build) -> None:
    house = build(limits=LIMITS)
    house.transport.holding = True
    house.break_content()
    names = submit(house, 25)
    assert house.transport.held == 5
    let_all_go(house)
    assert arrived(house) == names
    assert house.messages == 0
    assert is_empty(house)


def test_what_is_more_waits_in_the_spool_and_nothing_new_overtakes_it(build: Build) -> None:
    house = build(limits=LIMITS)
    house.transport.holding = True
    names = submit(house, 40)
    assert not house.manager.reserve("slow.test")
    house.transport.let_go(1)
    house.run(0.1)
    assert not house.manager.reserve("slow.test"), "others wait in the spool"
    let_all_go(house)
    assert sorted(arrived(house)) == sorted(names)
    assert arrived(house)[:25] == names[:25]
    assert is_empty(house)


@pytest.mark.parametrize(("octets", "kept"), [(700, 2), (0, 0), (10_000, 20)])
def test_of_what_there_is_no_memory_for_the_content_is_read_back(build: Build, octets: int, kept: int) -> None:
    house = build(limits=LIMITS, bounds=Bounds(aside=octets))
    house.transport.holding = True
    submit(house, 25, content=b"x" * 300)
    assert len(house.manager._aside._kept) == kept
    let_all_go(house)
    assert [one.content for one in house.carried("slow.test")] == [b"x" * 300] * 25
    assert is_empty(house)


def test_where_nobody_is_reached_what_waited_goes_back_and_is_tried_later(build: Build) -> None:
    house = build(limits=LIMITS)
    house.transport.holding = True
    names = submit(house, 25)
    house.transport.down = {"slow.test"}
    house.transport.let_go()
    house.transport.holding = False
    house.run(0.1)
    assert len(house.tries("slow.test")) == 5
    assert house.store.active() == 0
    assert is_empty(house)
    house.transport.down = set()
    house.run(HOUR)
    assert sorted(arrived(house)) == sorted(names)


def test_what_was_promised_before_a_pause_and_stored_in_it_goes_back(build: Build) -> None:
    house = build(limits=LIMITS)
    house.transport.down = {"slow.test"}
    names = submit(house, 25)  # all are promised before the first is stored, and fails
    assert len(house.tries("slow.test")) == 5
    assert not house.manager.reserve("slow.test")
    house.transport.down = set()
    house.run(HOUR)
    assert sorted(arrived(house)) == sorted(names)
    assert is_empty(house)


def test_at_the_end_what_waited_is_put_back(build: Build) -> None:
    house = build(limits=LIMITS)
    house.transport.holding = True
    names = submit(house, 25)
    house.transport.holding = False
    house.restart()
    house.run(HOUR)
    assert sorted(set(arrived(house))) == sorted(names)
    assert house.messages == 0


def test_what_is_stored_while_the_end_has_begun_is_put_back(build: Build) -> None:
    house = build(limits=LIMITS)
    house.transport.holding = True
    submit(house, 5)
    manager = house.manager
    assert manager.reserve("slow.test")
    stopped = manager.stop(grace=60)
    house.transport.let_go()
    house.run(0.1)
    assert not stopped.called, "what was promised is on its way into the spool"
    manager.unreserve("slow.test")
    house.run(0.1)
    assert stopped.called


def test_of_those_that_come_to_nothing_the_promise_is_taken_back(build: Build) -> None:
    house = build(limits=LIMITS)
    for _ in range(3):
        assert [house.manager.reserve("slow.test") for _ in range(26)] == [True] * 25 + [False]
        assert house.manager.in_flight == 5
        for _ in range(25):
            house.manager.unreserve("slow.test")
        assert is_empty(house)


def test_what_has_become_due_has_its_turn_though_new_mail_always_waits(build: Build) -> None:
    """Clients send one more whenever one has gone: there is never a place, and never too much to wait in memory."""
    house = build(limits=LIMITS)
    house.transport.holding = True
    house.submit("old@slow.test", released=house.clock.seconds() + 10)
    submit(house, 10)
    for _ in range(200):
        house.transport.let_go(1)
        house.submit("new@slow.test", eager=True)
        house.run(0.06)
        if "old@slow.test" in arrived(house):
            break
    assert "old@slow.test" in arrived(house)
    let_all_go(house)
    assert is_empty(house)


def test_mail_of_a_higher_priority_overtakes_what_waits_in_memory(build: Build) -> None:
    house = build(limits=LIMITS)
    house.transport.holding = True
    names = submit(house, 10)
    house.submit("slow@slow.test", eager=True, priority=-4)
    house.submit("quick@slow.test", eager=True, priority=4)
    house.submit("usual@slow.test", eager=True)
    house.run(0.1)
    let_all_go(house)
    assert arrived(house) == [*names[:5], "quick@slow.test", *names[5:], "usual@slow.test", "slow@slow.test"]


@pytest.mark.parametrize("verb", ["hold", "drop"])
def test_what_waits_in_memory_is_not_tried_once_an_operator_has_stopped_it(build: Build, verb: str) -> None:
    house = build(limits=LIMITS)
    house.transport.holding = True
    names = submit(house, 25)
    house.operate(verb)
    house.run(1.1)
    let_all_go(house)
    assert arrived(house) == names[:5]
    assert [one.state for one in house.waiting()] == (["held"] * 20 if verb == "hold" else [])
    assert is_empty(house)


def test_what_waits_in_memory_keeps_its_order_where_an_operator_wants_it_tried(build: Build) -> None:
    house = build(limits=LIMITS)
    house.transport.holding = True
    names = submit(house, 25)
    house.operate("retry")
    house.run(1.1)
    let_all_go(house)
    assert arrived(house) == names
    assert is_empty(house)


@pytest.mark.parametrize(
    ("wish", "status"),
    [({}, b"Action: delayed"), ({"by_mode": "N"}, b"Action: delayed"), ({"by_mode": "R"}, b"Action: failed")],
)
def test_the_sender_hears_in_time_of_what_waits_in_memory(build: Build, wish: dict[str, str], status: bytes) -> None:
    """It is claimed, so that its deadline is not looked for in the spool (RFC 2852 4)."""
    house = build(limits=LIMITS, policy=RetryPolicy((HOUR,), warn=60.0 if not wish else None, give_up=24 * HOUR))
    house.transport.holding = True
    submit(house, 5)
    house.submit("late@slow.test", eager=True, **({"by": house.clock.seconds() + 60.0, **wish} if wish else {}))
    house.run(0.1)
    house.transport.holding = False  # what has begun stays where it is
    house.run(62)
    [notice] = house.notices()
    assert notice.at - house.began < 62
    assert b"late@slow.test" in notice.content and status in notice.content
    assert house.tries("slow.test") == []
    house.transport.let_go()
    house.run(2)
    assert ("late@slow.test" in arrived(house)) == (wish != {"by_mode": "R"})
    assert house.messages == 0
    assert is_empty(house)
