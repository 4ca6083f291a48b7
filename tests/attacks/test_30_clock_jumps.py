"""Case 30: a clock that is set forward or back by a day: no mail is given up for it, and nothing runs in circles."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from clockwork import BEGINNING, DAY, GREYLISTED, HOUR, MINUTE, House, InMemory, OnDisk
from twisted.internet.task import Clock

from mta.message.envelope import QueueIds
from mta.policy.retry import RetryPolicy, next_try


def house_at(folder: Path | None) -> House:
    """A relay with mail that is always put off; its spool in this folder, or in memory."""
    clock = Clock()
    clock.rightNow = BEGINNING
    made = House(InMemory(clock) if folder is None else OnDisk(clock, folder / "spool"), clock, poll=MINUTE)
    made.transport.answer("later.test", *[GREYLISTED] * 1000)
    made.manager.start()
    return made


@pytest.fixture(params=["in memory", "on disk"])
def relay(request: pytest.FixtureRequest, folder: Path) -> Iterator[House]:
    made = house_at(None if request.param == "in memory" else folder)
    yield made
    made.store.close()


def step(relay: House, seconds: float) -> None:
    relay.clock.rightNow += seconds


def tries(relay: House) -> int:
    return len([one for one in relay.transport.carriages if one.hop.destination == "later.test"])


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_nothing_bounces_and_nothing_is_tried_in_circles(relay: House, seconds: float) -> None:
    for number in range(50):
        relay.submit(f"b{number}@later.test")
    relay.run(6 * MINUTE)
    before = tries(relay)
    step(relay, seconds)
    relay.run(5 * MINUTE)
    assert tries(relay) - before <= 50, "each at most once, because its time seems to have come"
    relay.run(HOUR)
    assert tries(relay) - before <= 50 * 5
    assert not [one for one in relay.notices() if b"Undelivered" in one.content]
    assert len(relay.waiting()) == 50


@pytest.mark.parametrize("seconds", [DAY, -DAY, 30 * DAY])
def test_mail_that_comes_after_it_is_tried_as_ever(relay: House, seconds: float) -> None:
    relay.submit("before@later.test")
    relay.run(MINUTE)
    step(relay, seconds)
    relay.run(MINUTE)
    number = relay.submit("b@up.test")
    relay.run(2 * MINUTE)
    assert relay.story(number).result == "delivered"


def put_off_by_a_clock_that_is_ahead(relay: House, seconds: float) -> int:
    relay.set_clock(seconds)
    message = relay.submit("b@later.test")
    relay.run(MINUTE)
    assert tries(relay) == 1
    return message


@pytest.mark.parametrize("ahead", [DAY, 40 * DAY])
def test_what_was_put_off_meanwhile_is_tried_as_the_schedule_says(relay: House, ahead: float) -> None:
    put_off_by_a_clock_that_is_ahead(relay, ahead)
    relay.set_clock(-ahead)
    relay.run(4 * MINUTE)
    assert tries(relay) == 1, "a wait is never shorter than the schedule's"
    relay.run(4 * MINUTE)
    assert tries(relay) == 2
    relay.run(12 * MINUTE)
    assert tries(relay) == 3


@pytest.mark.parametrize("times", [1, 2])
def test_so_it_is_where_the_clock_was_set_back_while_nobody_was_here(relay: House, times: int) -> None:
    put_off_by_a_clock_that_is_ahead(relay, DAY)
    relay.set_clock(-DAY)
    for _ in range(times):
        relay.restart()
    relay.run(8 * MINUTE)
    assert tries(relay) == 2


def test_a_destination_that_was_paused_meanwhile_has_its_pause_ended(relay: House) -> None:
    relay.transport.down.add("down.test")
    relay.set_clock(DAY)
    relay.submit("a@down.test")
    relay.submit("b@down.test")  # which is not tried, since its destination is paused
    relay.run(10 * MINUTE)
    before = len(relay.tries("down.test"))
    relay.set_clock(-DAY)
    relay.run(25 * MINUTE)
    assert len(relay.tries("down.test")) > before
    relay.transport.down.clear()
    relay.run(25 * MINUTE)
    assert not relay.waiting()


def test_a_destination_that_is_paused_in_memory_alone_has_its_pause_ended(relay: House) -> None:
    relay.transport.down.add("down.test")
    relay.set_clock(DAY)
    relay.submit("a@down.test")
    relay.run(10 * MINUTE)
    relay.operate("drop")
    relay.run(MINUTE)
    relay.set_clock(-DAY)
    relay.run(MINUTE)
    relay.transport.down.clear()
    relay.submit("b@down.test")
    relay.run(MINUTE)
    assert not relay.waiting()


def test_what_its_sender_holds_back_is_not_sent_earlier(relay: House) -> None:
    relay.submit("b@held.test", released=relay.clock.seconds() + 26 * HOUR)
    put_off_by_a_clock_that_is_ahead(relay, DAY)
    relay.set_clock(-DAY)
    relay.run(HOUR)
    assert not relay.tries("held.test")
    relay.run(24 * HOUR)
    assert not relay.tries("held.test")
    relay.run(2 * HOUR)
    assert len(relay.tries("held.test")) == 1


def test_a_clock_that_is_set_forward_has_everything_looked_at_anew(relay: House) -> None:
    """Timers go on as they were; what one of them was to ring for may be due long before it rings."""
    relay.submit("b@later.test")
    relay.run(3 * HOUR)
    before = tries(relay)
    relay.set_clock(DAY)
    relay.run(2 * MINUTE)
    assert tries(relay) == before + 1
    relay.submit("c@later.test")
    relay.run(10 * MINUTE)
    assert tries(relay) >= before + 3


def test_back_and_forth_again(relay: House) -> None:
    number = relay.submit("b@later.test")
    for _ in range(10):
        relay.run(MINUTE)
        step(relay, DAY)
        relay.run(MINUTE)
        step(relay, -DAY)
    assert tries(relay) <= 30
    assert relay.story(number).result == ""
    assert [one.address for one in relay.waiting()] == ["b@later.test"]


def test_mail_from_the_future_has_an_ordinary_wait() -> None:
    policy = RetryPolicy((5 * MINUTE, HOUR), warn=4 * HOUR, give_up=5 * DAY)
    now = BEGINNING
    wait = next_try(policy, now + DAY, 1, now, Random(1)) - now
    assert 5 * MINUTE <= wait <= 10 * MINUTE


def test_queue_ids_are_not_given_twice() -> None:
    ids = QueueIds()
    given = [ids.next(at) for at in (BEGINNING, BEGINNING + DAY, BEGINNING, BEGINNING - DAY, BEGINNING + DAY)]
    assert given == sorted(set(given))
