"""Queues that a client has started (ETRN), mail that its sender holds back, mail that overtakes, mail for lists."""

from typing import Any

import pytest
from clockwork import BEGINNING, DAY, GREYLISTED, HOUR, MINUTE, NO_SUCH_USER, USUAL, Build, House
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.delivery import starts
from mta.interfaces import Busy
from mta.policy.window import WindowLimits


def start(house: House, domain: str = "", destination: str = "") -> Any:
    return house.wait(house.manager.start_queue(domain, destination))


def down(house: House, *domains: str, messages: int = 3) -> None:
    """Hosts that could not be reached when mail came for them, and now can."""
    house.transport.down = set(domains)
    for domain in domains:
        for number in range(messages):
            house.submit(f"x{number}@{domain}")
    house.run(10)
    house.transport.down = set()


# ETRN


@pytest.mark.parametrize("how", [("back.test", ""), ("", "back.test")])
def test_what_waits_is_tried_at_once(house: House, how: tuple[str, str]) -> None:
    down(house, "back.test", "other.test")
    others = house.tries("other.test")
    assert start(house, *how) == 3
    house.run(1)
    assert sorted(to for one in house.carried("back.test") for to in one.taken) == [f"x{n}@back.test" for n in range(3)]
    assert house.tries("other.test") == others
    assert house.messages == 3


def test_a_host_that_is_still_down_sees_one_probe(house: House) -> None:
    down(house, "back.test", messages=30)
    house.transport.down = {"back.test"}
    before = len(house.tries("back.test"))
    assert start(house, "back.test") == 30
    house.run(10)
    assert len(house.tries("back.test")) == before + 1
    house.transport.down = set()
    house.run(HOUR)
    assert house.messages == 0


def test_a_destination_that_was_forgotten_is_started_too(house: House) -> None:
    """After a restart memory knows nothing of the pause; the spool does."""
    down(house, "back.test")
    house.restart()
    house.run(1)
    assert start(house, "back.test") == 3
    house.run(1)
    assert house.messages == 0


def test_nothing_waits(house: House) -> None:
    assert start(house, "back.test") == 0
    down(house, "other.test")
    assert start(house, "", "back.test") == 0
    assert len(house.tries("back.test")) == 0


def counted(house: House) -> list[tuple[str, str]]:
    """What the spool is asked for from now on."""
    asked: list[tuple[str, str]] = []
    rush = house.spool.rush
    house.spool.rush = lambda *what: asked.append(what) or rush(*what)
    return asked


def test_who_asks_again_within_seconds_gets_the_same_answer_and_no_work(house: House) -> None:
    down(house, "back.test")
    asked = counted(house)
    assert start(house, "back.test") == 3
    house.run(1)
    assert start(house, "BACK.test") == 3
    assert asked == [("back.test", "")]
    house.run(starts.QUIET)
    assert start(house, "back.test") == 0, "it has been delivered meanwhile"
    assert len(asked) == 2


def test_those_who_ask_at_once_share_the_work(house: House) -> None:
    down(house, "back.test")
    asked = counted(house)
    answers = [house.manager.start_queue("back.test", "") for _ in range(5)]
    assert [house.wait(one) for one in answers] == [3] * 5
    assert len(asked) == 1


def test_one_after_the_other_and_not_too_many(house: House) -> None:
    running: list[Deferred[int]] = []
    house.spool.rush = lambda *what: running.append(Deferred()) or running[-1]
    wanted = [house.manager.start_queue(f"d{number}.test", "") for number in range(starts.MOST)]
    assert len(running) == 1
    refused = start(house, "one.more.test")
    assert isinstance(refused, Failure)
    assert refused.check(Busy)
    running[0].errback(Failure(OSError("the disk")))
    assert house.wait(wanted[0]).check(OSError)
    for number in range(1, starts.MOST - 1):
        assert len(running) == number + 1
        running[number].callback(number)
        assert house.wait(wanted[number]) == number
    later = house.manager.start_queue("one.more.test", "")
    running[-1].callback(19)
    running[-1].callback(7)
    assert (house.wait(wanted[-1]), house.wait(later)) == (19, 7)
    assert start(house, "d19.test") == 19, "an answer that is remembered"
    assert len(running) == starts.MOST + 1
    assert start(house, "d18.test") == 18


def test_answers_are_remembered_up_to_a_limit(house: House) -> None:
    for number in range(starts.REMEMBERED + 50):
        assert start(house, f"d{number}.test") == 0
    assert len(house.manager._starts._answers) == starts.REMEMBERED


def test_nothing_is_started_on_the_way_out(house: House) -> None:
    stopped = house.manager.stop(grace=0)
    assert start(house, "back.test").check(Busy)
    house.wait(stopped)


# FUTURERELEASE


@pytest.mark.parametrize("silent", [False, True])
def test_what_is_held_back_goes_when_it_is_released(build: Build, silent: bool) -> None:
    house = build(start=not silent)
    house.run(10)
    house.submit("x@there.test", released=BEGINNING + HOUR, silent=silent)
    house.run(10)
    if silent:
        house.manager.start()
    house.run_until(HOUR - 1)
    assert house.tries("there.test") == []
    house.run_until(HOUR + 1)
    assert len(house.tries("there.test")) == 1
    assert house.messages == 0
    [delivered] = house.logged("delivered")
    assert 0 <= delivered["age"] <= 1, "in the queue for others to take"


def test_other_mail_for_the_destination_does_not_wait_for_it(house: House) -> None:
    house.submit("x@there.test", released=BEGINNING + HOUR)
    house.submit("y@there.test", eager=True)
    house.submit("z@there.test")
    house.run(10)
    assert sorted(one.taken for one in house.carried("there.test")) == [("y@there.test",), ("z@there.test",)]
    house.run(HOUR)
    assert len(house.tries("there.test")) == 3


def test_the_hold_is_no_part_of_its_age(build: Build) -> None:
    """It is released after the time to give up: it is tried as new mail is, and warned of and returned after that."""
    house = build(poll=HOUR)
    house.transport.down = {"dead.test"}
    hold = USUAL.give_up + DAY
    house.submit("x@dead.test", released=BEGINNING + hold)
    house.run_until(hold + 4 * HOUR - MINUTE)
    assert len(house.tries("dead.test")) > 1
    assert house.notices() == []
    house.run(3 * MINUTE)
    [warning] = house.notices()
    assert b"elayed" in warning.content
    house.run_until(hold + USUAL.give_up - MINUTE)
    assert len(house.notices()) == 1
    house.run_until(hold + USUAL.give_up + HOUR)
    assert len(house.notices()) == 2
    assert house.messages == 0


def test_it_is_not_given_up_with_what_is_older(build: Build) -> None:
    """Its destination failed a moment ago, which answers for all mail that is past its time; this is not."""
    house = build(poll=HOUR)
    hold = USUAL.give_up + DAY
    house.transport.answer("x@dead.test", GREYLISTED)
    house.submit("x@dead.test", released=BEGINNING + hold)
    house.run_until(hold + 4 * HOUR - 30)
    house.transport.down = {"dead.test"}
    [before] = house.waiting()
    house.submit("y@dead.test")
    house.run(60)
    assert len(house.notices()) == 1, "the warning"
    assert [one for one in house.waiting() if one.address == "x@dead.test"] == [before], "nor was that a try"


def test_an_operator_can_have_it_go_earlier(house: House) -> None:
    house.submit("x@there.test", released=BEGINNING + DAY)
    house.run(10)
    house.operate("retry")
    house.run(1.1)
    assert len(house.tries("there.test")) == 1
    assert house.messages == 0


def test_starting_its_queue_does_not_release_it(house: House) -> None:
    house.submit("x@there.test", released=BEGINNING + DAY)
    assert start(house, "there.test") == 0
    house.run(10)
    assert house.tries("there.test") == []


# MT-PRIORITY


def test_mail_of_a_higher_priority_overtakes(build: Build) -> None:
    house = build(limits=WindowLimits(initial=1, maximum=1), start=False)
    for number in range(4):
        house.submit(f"slow{number}@there.test", silent=True)
        house.run(1)
    house.submit("quick@there.test", silent=True, priority=4)
    house.submit("slower@there.test", silent=True, priority=-4)
    house.run(1)
    house.manager.start()
    house.run(10)
    order = [to for one in house.carried("there.test") for to in one.taken]
    assert order == ["quick@there.test", *(f"slow{number}@there.test" for number in range(4)), "slower@there.test"]


# Lists


@pytest.mark.parametrize("eager", [False, True])
def test_who_runs_a_list_is_told_of_a_member_that_is_no_more(house: House, eager: bool) -> None:
    house.transport.answer("gone@there.test", NO_SUCH_USER)
    house.submit("gone@there.test", eager=eager, reverse_path="owner@up.test")
    house.run(10)
    [tried] = house.carried("there.test")
    assert tried.envelope.sender == "owner@up.test"
    assert len(house.notices("owner@up.test")) == 1
    assert house.notices("s@up.test") == []
