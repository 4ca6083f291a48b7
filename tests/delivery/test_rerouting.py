"""The configuration has changed since a message was stored: its recipients are routed anew when they are tried."""

from typing import NamedTuple

import pytest
from clockwork import GREYLISTED, HOUR, Build, House

from mta.delivery.rerouting import Group, Sorted, sort_recipients
from mta.interfaces import Claim
from mta.message.envelope import Envelope, Recipient
from mta.policy.routing import Decision, Hop, Via
from mta.smtp.reply import Reply

REFUSED = Reply(550, "5.7.1", ("not any more",))
LATER = Reply(450, "4.7.1", ("not today",))
STORE = Hop(Via.LMTP, "127.0.0.1", 24)

ROUTES = {
    "same.test": Decision(Hop(Via.MX, "same.test"), None, "by MX"),
    "moved.test": Decision(STORE, None, "routes[0]"),
    "gone.test": Decision(Hop(Via.DISCARD), None, "routes[1]"),
    "no.test": Decision(None, REFUSED, "routes[2]"),
    "later.test": Decision(None, LATER, "routes[3]"),
    "up.test": Decision(Hop(Via.MX, "up.test"), None, "by MX"),
}


def route(sender: str, recipient: str) -> Decision:
    return ROUTES[recipient.rpartition("@")[2]]


def claim(*addresses: str) -> Claim:
    to = tuple(map(Recipient, addresses))
    return Claim(1, 2, 1, "same.test", Envelope("s@up.test", to, 0.0))


def test_where_nothing_has_changed_the_recipients_are_the_very_same() -> None:
    ours = claim("a@same.test", "b@same.test")
    known = sort_recipients(ours, route)
    assert known == Sorted(Hop(Via.MX, "same.test"), ours.envelope.recipients)
    assert known.here is ours.envelope.recipients


def test_recipients_part_ways() -> None:
    known = sort_recipients(
        claim("a@moved.test", "b@same.test", "c@gone.test", "d@no.test", "e@moved.test", "f@later.test"), route
    )
    assert known.here == (Recipient("b@same.test"),)
    assert known.moved == (
        Group("lmtp://127.0.0.1:24", (Recipient("a@moved.test"), Recipient("e@moved.test")), "routes[0]"),
    )
    assert known.discarded == (Group("", (Recipient("c@gone.test"),), "routes[1]"),)
    assert [(to.address, outcome.result, outcome.reply) for to, outcome in known.refused] == [
        ("d@no.test", "failed", REFUSED),
        ("f@later.test", "deferred", LATER),
    ]


def test_a_decision_that_says_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="neither"):
        sort_recipients(claim("a@x.test"), lambda sender, recipient: Decision(None, None, ""))


class Changed(NamedTuple):
    """A house where a message for six recipients was put off, and then the routes have changed."""

    house: House
    message: int


@pytest.fixture
def changed(build: Build) -> Changed:
    """It has been tried again since."""
    house = build(route=lambda sender, recipient: Decision(Hop(Via.MX, "same.test"), None, "old"))
    house.transport.answer("same.test", GREYLISTED)
    message = house.submit("a@moved.test", "b@same.test", "c@gone.test", "d@no.test", "e@moved.test", "f@later.test")
    house.run(1)
    assert [one.attempts for one in house.waiting()] == [1] * 6
    house.route = route
    house.run(301 * 1.1)
    return Changed(house, message)


def test_who_is_routed_elsewhere_goes_there_at_once(changed: Changed) -> None:
    [moved] = changed.house.carried(STORE.destination)
    assert moved.taken == ("a@moved.test", "e@moved.test")
    assert moved.envelope.sender == "s@up.test"
    assert [one.envelope.recipients for one in changed.house.carried("same.test")[1:]] == [(Recipient("b@same.test"),)]


def test_who_is_refused_now_is_bounced_and_who_is_put_off_waits(changed: Changed) -> None:
    [bounce] = changed.house.notices()
    assert b"d@no.test" in bounce.content
    assert b"550 5.7.1 not any more" in bounce.content
    left = {one.address: one for one in changed.house.waiting()}
    assert set(left) == {"b@same.test", "f@later.test"}
    assert left["f@later.test"].attempts == 2


def test_what_became_of_each_is_told(changed: Changed) -> None:
    events = changed.house.story(changed.message).events
    assert [
        (one.kind, one.detail["recipients"]) for one in events if one.kind in ("routed", "discarded", "failed")
    ] == [
        ("failed", ["d@no.test"]),
        ("routed", ["a@moved.test", "e@moved.test"]),
        ("discarded", ["c@gone.test"]),
    ]


def test_a_message_whose_recipients_all_leave_is_not_tried(build: Build) -> None:
    house = build(route=lambda sender, recipient: Decision(Hop(Via.MX, "same.test"), None, "old"))
    house.transport.down = {"same.test"}
    number = house.submit("c@gone.test")
    house.run(1)
    house.route = route
    house.run(HOUR)
    assert house.tries("same.test") == [0]
    assert house.story(number).result == "discarded"
    assert house.manager.in_flight == 0


def test_routing_that_raises_is_a_bug_and_the_mail_waits(house: House) -> None:
    house.transport.down = {"up.test"}
    house.submit("x@up.test")
    house.run(1)
    house.route = lambda sender, recipient: ROUTES["nowhere"]
    house.run(6 * 60)
    assert [(one.attempts, one.last_reply.split(" ")[1]) for one in house.waiting()] == [(2, "4.3.0")]
    assert house.manager.in_flight == 0
