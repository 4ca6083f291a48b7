"""An operator's verbs, beside a manager that runs: noticed within a second, also in the middle of a try."""

import pytest
from clockwork import DAY, GREYLISTED, HOUR, MINUTE, NO_SUCH_USER, Build, House
from twisted.internet.defer import Deferred

from mta.policy.retry import RetryPolicy


def test_a_retry_ends_a_pause_within_a_second(house: House) -> None:
    house.transport.down = {"dead.test"}
    house.submit("x@dead.test")
    house.run(10)
    assert house.tries("dead.test") == [0]
    house.transport.down = set()
    house.operate("retry")
    house.run(1.1)
    assert len(house.tries("dead.test")) == 2
    assert house.messages == 0


def test_what_an_operator_does_in_the_first_second_is_noticed_too(build: Build) -> None:
    house = build(start=False)
    house.transport.down = {"dead.test"}
    house.submit("x@dead.test", silent=True)
    house.run(1)
    house.manager.start()
    house.run(0.5)
    assert len(house.tries("dead.test")) == 1
    house.transport.down = set()
    house.operate("retry")
    house.run(1.1)
    assert house.messages == 0


def test_a_pause_that_the_spool_has_not_heard_of_is_not_one_that_was_ended(house: House) -> None:
    """A slow disk: the spool is asked what is due while the result of the failed try is still on its way to it."""
    house.transport.down = {"dead.test"}
    house.submit("x@dead.test")
    house.submit("y@dead.test")
    house.run(0.1)
    tries = len(house.tries("dead.test"))
    house.operate("retry")
    late = []
    house.spool.record = lambda record: late.append(record) or Deferred()
    house.run(1.1)
    assert len(house.tries("dead.test")) == tries + 1, "the probe"
    claim, claimed = house.spool.claim, []
    house.spool.claim = lambda *what: claimed.append(what) or claim(*what)
    house.manager._lookout.look()
    house.run(5)
    assert (claimed, len(late)) == ([], 1)


def test_a_retry_of_a_crowd_sends_one_probe_and_then_the_crowd(house: House) -> None:
    house.transport.down = {"dead.test"}
    for number in range(100):
        house.submit(f"x{number}@dead.test")
    house.run(10)
    before = len(house.tries("dead.test"))
    house.operate("retry")
    house.run(2)
    assert len(house.tries("dead.test")) == before + 1
    house.transport.down = set()
    house.operate("retry")
    house.run(3)
    assert house.messages == 0


def test_a_retry_of_what_waits_for_its_schedule(house: House) -> None:
    house.transport.answer("later.test", GREYLISTED)
    house.submit("x@later.test")
    house.run(10)
    house.operate("retry")
    house.run(1.1)
    assert len(house.tries("later.test")) == 2
    house.run(5 * MINUTE)
    assert len(house.tries("later.test")) == 2, "its schedule goes on with the second wait"


def test_what_is_held_is_not_tried_until_it_is_released(house: House) -> None:
    house.transport.answer("later.test", GREYLISTED)
    house.submit("x@later.test")
    house.run(10)
    house.operate("hold")
    house.run(HOUR)
    assert len(house.tries("later.test")) == 1
    house.operate("release")
    house.run(1.1)
    assert len(house.tries("later.test")) == 2


def test_what_is_held_is_neither_warned_of_nor_given_up(build: Build) -> None:
    house = build(policy=RetryPolicy((100.0,), warn=200.0, give_up=500.0), poll=MINUTE)
    house.transport.answer("later.test", GREYLISTED)
    house.submit("x@later.test")
    house.run(10)
    house.operate("hold")
    house.run(DAY)
    assert house.notices() == []
    house.operate("release")
    house.run(2 * MINUTE)
    assert len(house.tries("later.test")) == 2, "one try, and then the end that it has long passed"
    assert len(house.notices()) == 1


def test_a_bounce_tells_the_sender_and_tries_nothing(house: House) -> None:
    house.transport.down = {"dead.test"}
    number = house.submit("x@dead.test")
    house.run(10)
    house.operate("bounce")
    # The command stores the notice beside us, and the poll notices it.
    house.run(2.1)
    assert house.tries("dead.test") == [0]
    [bounce] = house.notices()
    assert b"554 5.0.0 returned by the operator" in bounce.content
    assert house.story(number).result == "failed"
    assert house.messages == 0


@pytest.mark.parametrize("paused", [True, False])
def test_a_bounce_during_a_try_comes_into_force_when_it_ends(house: House, paused: bool) -> None:
    house.transport.holding = True
    number = house.submit("x@later.test", eager=True)
    house.run(1)
    house.operate("bounce")
    house.run(3)
    assert house.transport.held == 1
    if paused:
        house.transport.down = {"later.test"}
    else:
        house.transport.answer("later.test", GREYLISTED)
    house.transport.holding = False
    house.transport.let_go()
    house.run(3)
    assert len(house.tries("later.test")) == 1
    assert house.story(number).result == "failed"
    assert len(house.notices()) == 1


@pytest.mark.parametrize("verb", ["bounce", "drop", "hold"])
def test_delivered_wins(house: House, verb: str) -> None:
    house.transport.holding = True
    number = house.submit("x@up.test", eager=True)
    house.run(1)
    house.operate(verb)
    house.transport.let_go()
    house.run(1)
    assert house.story(number).result == "delivered"


def test_a_drop_during_a_try_is_the_end(house: House) -> None:
    house.transport.holding = True
    number = house.submit("x@no.test", eager=True)
    house.run(1)
    house.operate("drop")
    house.transport.answer("no.test", GREYLISTED)
    house.transport.let_go()
    house.run(HOUR)
    assert house.story(number).result == "dropped"
    assert len(house.transport.carriages) == 1


def test_an_operators_bounce_of_a_double_bounce_is_its_end(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    house.transport.answer("postmaster@up.test", NO_SUCH_USER)
    house.submit("x@no.test", sender="forged@no.test")
    house.run(MINUTE)
    assert [one.state for one in house.waiting()] == ["held"]
    house.operate("bounce")
    house.run(2)
    assert house.messages == 0
    assert len(house.notices("postmaster@up.test")) == 0
