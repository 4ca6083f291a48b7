"""Who is told of what, and what becomes of a notice that fails itself."""

import pytest
from clockwork import DAY, GREYLISTED, HOUR, MINUTE, NO_SUCH_USER, Build, House
from twisted.logger import capturedLogs

from mta.interfaces import SpoolBroken
from mta.message.envelope import Recipient, format_queue_id
from mta.message.outcome import deferred
from mta.policy.routing import Decision, Hop, Via


def test_a_notice_comes_from_nobody_and_names_its_message(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    number = house.submit("x@no.test")
    house.run(1)
    [bounce] = house.notices()
    assert (bounce.envelope.sender, bounce.envelope.notice_for) == ("", number)
    assert bounce.envelope.size == len(bounce.content)
    assert format_queue_id(number).encode() in bounce.content
    told = [event.detail for event in house.story(number).events if event.kind == "notice"]
    assert [one["about"] for one in told] == ["failed"]
    assert house.story(house.id_of(str(told[0]["id"]))).result == "delivered"


def test_nobody_is_told_of_a_failure_of_the_null_reverse_path(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    number = house.submit("x@no.test", sender="")
    house.run(1)
    assert len(house.transport.carriages) == 1
    assert house.story(number).result == "failed"
    assert [event.detail for event in house.story(number).events if event.kind == "notice"] == [
        {"about": "failed", "why": "null reverse-path"}
    ]


def test_nobody_is_warned_of_the_null_reverse_path(build: Build) -> None:
    house = build(poll=HOUR)
    house.transport.answer("later.test", GREYLISTED)
    house.submit("x@later.test", sender="")
    house.run(5 * DAY + 1)
    assert {one.hop.destination for one in house.transport.carriages} == {"later.test"}
    assert house.messages == 0


@pytest.mark.parametrize(("notify", "kinds"), [("NEVER", []), ("FAILURE", ["Undelivered"]), ("DELAY", ["Delayed"])])
def test_notify_is_honoured(build: Build, notify: str, kinds: list[str]) -> None:
    house = build(poll=HOUR)
    house.transport.answer("later.test", GREYLISTED)
    house.submit(Recipient("x@later.test", notify))
    house.run(5 * DAY + 1)
    subjects = [one.content.partition(b"Subject: ")[2].partition(b" ")[0].decode() for one in house.notices()]
    assert subjects == kinds
    assert house.messages == 0


def test_a_bounce_that_fails_goes_to_the_postmaster_once_and_is_held_if_that_fails_too(build: Build) -> None:
    house = build(poll=HOUR)
    house.transport.answer("no.test", NO_SUCH_USER)
    house.transport.answer("postmaster@up.test", NO_SUCH_USER)
    first = house.submit("x@no.test", sender="forged@no.test")
    house.run(MINUTE)
    bounce, double = house.carried("no.test")[1], house.carried("up.test")[0]
    assert (bounce.envelope.notice_for, bounce.envelope.double_bounce) == (first, False)
    assert [one.address for one in double.envelope.recipients] == ["postmaster@up.test"]
    assert double.envelope.double_bounce
    assert b"forged@no.test" in double.content
    [held] = house.waiting()
    assert (held.address, held.state) == ("postmaster@up.test", "held")
    assert [fields["to"] for fields in house.logged("held")] == [["postmaster@up.test"]]
    house.run(6 * DAY)
    assert len(house.transport.carriages) == 3, "nothing more is tried or told"


def test_a_double_bounce_that_is_held_after_a_lost_final_reply_counts_it(build: Build) -> None:
    """The postmaster may have it, and when it is released he gets one more."""
    house = build(poll=HOUR)
    lost = deferred(451, "4.4.2", "connection lost after the final dot", "mx.up.test[192.0.2.1]:25", unknown=True)
    house.transport.answer("no.test", NO_SUCH_USER)
    house.transport.answer("postmaster@up.test", lost)
    house.submit("x@no.test", sender="forged@no.test")
    house.run(5 * DAY + HOUR)
    assert [one.state for one in house.waiting()] == ["held"]
    tries = len(house.carried("up.test"))
    assert tries > 1
    assert [fields["to"] for fields in house.logged("unknown")] == [["postmaster@up.test"]] * tries


def test_a_double_bounce_arrives(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    house.submit("x@no.test", sender="forged@no.test")
    house.run(MINUTE)
    assert len(house.notices("postmaster@up.test")) == 1
    assert house.messages == 0


def test_a_held_notice_that_is_released_and_fails_is_held_again(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    house.transport.answer("postmaster@up.test", NO_SUCH_USER)
    house.submit("x@no.test", sender="forged@no.test")
    house.run(MINUTE)
    house.operate("release")
    house.run(2)
    assert len(house.carried("up.test")) == 2
    assert [one.state for one in house.waiting()] == ["held"]


def test_a_bounce_that_is_put_off_is_tried_on_and_nobody_is_warned_of_it(build: Build) -> None:
    house = build(poll=HOUR)
    house.transport.answer("no.test", NO_SUCH_USER)
    house.transport.answer("s@later.test", GREYLISTED)
    house.submit("x@no.test", sender="s@later.test")
    house.run(5 * DAY + MINUTE)
    assert len(house.tries("later.test")) > 20
    assert len(house.notices("postmaster@up.test")) == 1


def test_a_bounce_that_a_route_refuses_goes_to_the_postmaster(build: Build) -> None:
    house = build()

    def route(sender: str, recipient: str) -> Decision:
        if recipient.endswith("@refused.test"):
            return Decision(None, house.refusal("550 5.7.1 not from here").reply, "routes[0]")
        return Decision(Hop(Via.MX, recipient.rpartition("@")[2]), None, "test")

    house.route = route
    house.transport.answer("no.test", NO_SUCH_USER)
    house.submit("x@no.test", sender="s@refused.test")
    house.run(MINUTE)
    assert len(house.notices("postmaster@up.test")) == 1
    assert house.messages == 0


def test_a_bounce_to_a_discarded_domain_ends_there(build: Build) -> None:
    house = build()

    def route(sender: str, recipient: str) -> Decision:
        domain = recipient.rpartition("@")[2]
        hop = Hop(Via.DISCARD) if domain == "gone.test" else Hop(Via.MX, domain)
        return Decision(hop, None, "test")

    house.route = route
    house.transport.answer("no.test", NO_SUCH_USER)
    house.submit("x@no.test", sender="s@gone.test")
    house.run(MINUTE)
    assert len(house.transport.carriages) == 1
    assert house.messages == 0


def test_an_unreadable_original_is_bounced_without_its_header(house: House) -> None:
    house.transport.holding = True
    number = house.submit("x@later.test", eager=True)
    house.run(1)
    house.operate("bounce")
    house.break_content()
    house.transport.answer("later.test", GREYLISTED)
    house.transport.let_go()
    house.run(2)
    assert house.story(number).result == "failed"
    assert [one.address for one in house.waiting()] == ["s@up.test"]
    assert house.logged("alarm")


@pytest.mark.parametrize(
    ("error", "in_the_program"),
    [(SpoolBroken("the queue file could not be written: disk I/O error"), False), (OSError("a bad sector"), True)],
)
def test_content_that_cannot_be_read_is_an_alarm_and_a_traceback_only_where_it_may_be_ours(
    house: House, error: Exception, in_the_program: bool
) -> None:
    house.break_content(error)
    house.submit("x@up.test")
    with capturedLogs() as said:
        house.run(2)
    assert [one.address for one in house.waiting()] == ["x@up.test"]
    assert f"its content cannot be read: {error}" in house.logged("alarm")[0]["why"]
    assert any("log_failure" in one for one in said) == in_the_program
