"""Days in the life of messages: tried, delivered later, warned about, given up."""

import email
import email.policy
from email.message import EmailMessage
from itertools import pairwise

import pytest
from clockwork import DAY, GREYLISTED, HOUR, MINUTE, USUAL, Build, House

from mta.message.outcome import deferred
from mta.policy.retry import RetryPolicy
from mta.transports.memory import DELIVERED


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def about(content: bytes) -> list[tuple[str, str, str]]:
    """Recipient, action and status of each recipient that a notice is about."""
    (status,) = [part for part in parsed(content).walk() if part.get_content_type() == "message/delivery-status"]
    return [
        (str(one["Final-Recipient"]).partition(";")[2].strip(), str(one["Action"]), str(one["Status"]))
        for one in list(status.iter_parts())[1:]
    ]


def test_three_domains_end_as_delivered_delivered_later_and_bounced(build: Build) -> None:
    house = build(poll=HOUR)
    house.transport.answer("later.test", GREYLISTED, GREYLISTED, GREYLISTED, DELIVERED)
    house.transport.down = {"dead.test"}
    number = house.submit("a@up.test", "b@later.test", "c@dead.test")
    house.run(5 * DAY + MINUTE)

    assert house.tries("up.test")[0] == 0
    assert house.carried("up.test")[0].taken == ("a@up.test",)
    later = house.tries("later.test")
    assert [round(at / MINUTE) for at in later] == [0, 5, 15, 37]
    assert house.carried("later.test")[-1].taken == ("b@later.test",)
    dead = house.tries("dead.test")
    for earlier, at, wait in zip(dead, dead[1:-1], (*USUAL.after, *(4 * HOUR,) * 100), strict=False):
        assert wait <= at - earlier <= 1.1 * wait
    assert dead[-1] == 5 * DAY

    warning, bounce = house.notices()
    assert warning.at - house.began == pytest.approx(4 * HOUR, abs=1)
    assert about(warning.content) == [("c@dead.test", "delayed", "4.4.1")]
    assert bounce.at - house.began == pytest.approx(5 * DAY, abs=1)
    assert about(bounce.content) == [("c@dead.test", "failed", "4.4.1")]
    assert b"Subject: hello" in bounce.content
    story = house.story(number)
    assert story.result == "delivered failed"
    assert story.ended == house.began + 5 * DAY
    assert house.messages == 0


def test_the_schedule_is_kept_even_where_a_warning_falls_between_two_tries(build: Build) -> None:
    house = build(policy=RetryPolicy((100.0,), warn=50.0, give_up=1000.0), poll=HOUR)
    house.transport.answer("later.test", GREYLISTED)
    house.run(10)
    house.submit("b@later.test", eager=True)
    house.run(1002)
    tries = house.tries("later.test")
    assert all(100 <= later - earlier <= 110 for earlier, later in pairwise(tries[:-1]))
    assert [round(one.at - house.began) for one in house.notices()] == [60, 1010]


def test_one_notice_for_all_that_failed_together(house: House) -> None:
    house.transport.answer("a@no.test", deferred(451, "4.2.2", "full"))
    refusal = house.refusal("550 5.1.1 no such user")
    house.transport.answer("b@no.test", refusal)
    house.transport.answer("c@no.test", refusal)
    house.submit("a@no.test", "b@no.test", "c@no.test", "d@no.test")
    house.run(1)
    [bounce] = house.notices()
    assert about(bounce.content) == [("b@no.test", "failed", "5.1.1"), ("c@no.test", "failed", "5.1.1")]
    assert house.carried("no.test")[0].taken == ("d@no.test",)
    assert [one.address for one in house.waiting()] == ["a@no.test"]


@pytest.mark.parametrize("had_been_tried", [False, True])
def test_after_a_long_downtime_everything_gets_one_try_before_it_is_bounced(build: Build, had_been_tried: bool) -> None:
    house = build(start=had_been_tried, poll=HOUR)
    house.transport.answer("later.test", GREYLISTED)
    house.submit("b@later.test", silent=not had_been_tried)
    house.run(1)
    house.restart(start=False)
    before = len(house.tries("later.test"))
    house.run(6 * DAY)
    house.manager.start()
    house.run(MINUTE)
    assert len(house.tries("later.test")) == before + 1
    [bounce] = house.notices()
    assert about(bounce.content) == [("b@later.test", "failed", "4.7.1")]
    assert house.messages == 0


def test_after_a_long_downtime_nobody_is_warned_of_what_is_delivered_then(build: Build) -> None:
    house = build(start=False)
    for number in range(50):
        house.submit(f"r{number}@other.test", silent=True)
    house.run(5 * HOUR)
    house.manager.start()
    house.run(2 * MINUTE)
    assert len(house.tries("other.test")) == 50
    assert house.notices() == []


def test_a_host_that_fails_after_a_message_has_come_has_failed_for_it(build: Build) -> None:
    house = build(policy=RetryPolicy((HOUR,), warn=None, give_up=30.0))
    house.transport.down = {"dead.test"}
    house.submit("a@dead.test")
    house.run(10)
    house.submit("b@dead.test")
    house.run(60)
    # The last try for a, at 30, is also that for b, whose time is over at 40.
    assert house.tries("dead.test") == [0, 30]
    assert {one.address for each in house.carried("dead.test") for one in each.envelope.recipients} == {"a@dead.test"}
    assert [about(one.content)[0][0] for one in house.notices()] == ["a@dead.test", "b@dead.test"]
    assert house.notices()[1].at - house.began == pytest.approx(40, abs=1)


def test_a_host_that_was_dead_before_a_message_came_is_tried_for_it(build: Build) -> None:
    house = build(policy=RetryPolicy((HOUR,), warn=None, give_up=30.0))
    house.transport.down = {"dead.test"}
    house.submit("a@dead.test")
    house.run(10)
    house.operate("drop")
    house.submit("b@dead.test")
    house.run(29)
    assert house.tries("dead.test") == [0]
    house.run(2)
    assert house.tries("dead.test") == [0, 40]
    assert house.carried("dead.test")[1].envelope.recipients[0].address == "b@dead.test"
    assert len(house.notices()) == 1


def test_a_lost_final_reply_is_tried_again_and_told(house: House) -> None:
    unknown = deferred(451, "4.4.2", "connection lost after the final dot", "mx.later.test[192.0.2.7]:25", unknown=True)
    house.transport.answer("later.test", unknown, DELIVERED)
    number = house.submit("b@later.test")
    house.run(10 * MINUTE)
    assert len(house.tries("later.test")) == 2
    assert [event.detail for event in house.story(number).events if event.kind == "unknown"] == [
        {"recipients": ["b@later.test"]}
    ]
    assert house.story(number).result == "delivered"


def test_a_clock_that_is_set_back_does_no_harm(build: Build) -> None:
    house = build(poll=MINUTE)
    house.transport.answer("later.test", GREYLISTED, GREYLISTED, DELIVERED)
    house.submit("b@later.test")
    house.run(1)
    house.clock.rightNow -= DAY
    house.run(2 * DAY)
    assert len(house.tries("later.test")) == 3
    assert house.notices() == []
