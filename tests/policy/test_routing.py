"""Where mail goes: the first route that matches wins."""

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.policy.pattern import EVERYBODY, Pattern
from mta.policy.routing import Decision, Hop, Route, Routing, Via
from mta.policy.via import parse_via
from mta.smtp.address import domain_of
from mta.smtp.reply import Reply


def route(via: str, to: str = "*", sender: str = "*", name: str = "") -> Route:
    return Route(parse_via(via), Pattern.parse(to), Pattern.parse(sender), name)


ROUTING = Routing(
    [
        route("550 5.1.6 gone", to="gone@example.org"),
        route("lmtp://127.0.0.1", to="example.org", name="store"),
        route("mx", to=".example.org", sender="boss@example.com"),
        route("smtp://inner.example", to=".example.org"),
        route("discard", sender="<>", to="noise.example"),
        route("smtp://smart.example:587", sender="*@shop.example.com"),
        route("mx", to="[192.0.2.1]", name="literal"),
    ]
)

STORE = Hop(Via.LMTP, "127.0.0.1", 24)
INNER = Hop(Via.SMTP, "inner.example", 25)
SMART = Hop(Via.SMTP, "smart.example", 587)


@pytest.mark.parametrize(
    ("sender", "recipient", "expected"),
    [
        ("", "Gone@Example.org", Decision(None, Reply(550, "5.1.6", ("gone",)), "routes[0]: to gone@example.org")),
        ("", "u@example.org", Decision(STORE, None, "routes[1] (store): to example.org", "store")),
        ("", "u@EXAMPLE.ORG", Decision(STORE, None, "routes[1] (store): to example.org", "store")),
        (
            "Boss@example.com",
            "u@a.example.org",
            Decision(Hop(Via.MX, "a.example.org"), None, "routes[2]: to .example.org from boss@example.com"),
        ),
        ("else@example.com", "u@a.example.org", Decision(INNER, None, "routes[3]: to .example.org")),
        ("", "u@noise.example", Decision(Hop(Via.DISCARD), None, "routes[4]: to noise.example from <>")),
        (
            "u@else.example",
            "u@noise.example",
            Decision(Hop(Via.MX, "noise.example"), None, "no route matches: by MX of noise.example"),
        ),
        ("u@Shop.example.com", "u@else.example", Decision(SMART, None, "routes[5]: from shop.example.com")),
        (
            "u@a.shop.example.com",
            "u@X.example",
            Decision(Hop(Via.MX, "x.example"), None, "no route matches: by MX of x.example"),
        ),
        (
            "",
            "u@[192.0.2.1]",
            Decision(Hop(Via.MX, "[192.0.2.1]"), None, "routes[6] (literal): to [192.0.2.1]", "literal"),
        ),
    ],
)
def test_decisions(sender: str, recipient: str, expected: Decision) -> None:
    assert ROUTING.decide(sender, recipient) == expected
    assert ROUTING.decide(sender, recipient) == expected  # as it is remembered


def test_no_routes() -> None:
    assert Routing().decide("a@a.example", "b@b.example").hop == Hop(Via.MX, "b.example")


def test_route_for_all_is_told_as_such() -> None:
    assert Routing([route("smtp://smart.example")]).decide("", "a@b.example").why == "routes[0]: to *"


def test_a_decision_is_made_once_for_what_the_routes_look_at() -> None:
    by_domain = Routing([route("mx", to="a.example"), route("mx", sender="b.example")])
    assert by_domain.decide("x@b.example", "u@a.example") is by_domain.decide("y@b.example", "v@A.example")
    by_sender = Routing([route("mx", sender="x@b.example")])
    assert by_sender.decide("x@b.example", "u@a.example") is not by_sender.decide("y@b.example", "u@a.example")
    assert by_sender.decide("x@b.example", "u@a.example") is by_sender.decide("x@b.example", "v@a.example")
    by_recipient = Routing([route("mx", to="u@a.example")])
    assert by_recipient.decide("x@b.example", "u@a.example") is by_recipient.decide("y@c.example", "u@a.example")
    assert by_recipient.decide("", "u@a.example") is not by_recipient.decide("", "v@a.example")


def test_what_is_remembered_is_bounded() -> None:
    routing = Routing()
    first = routing.decide("", "a@first.example")
    for number in range(5000):
        routing.decide("", f"a@{number}.example")
    assert sys.getrefcount(first) == 2
    assert routing.decide("", "a@first.example") == first


written = st.sampled_from(["*", "<>", "a.example", ".a.example", "u@a.example", "b.a.example", "v@b.a.example"])
addresses = st.sampled_from(
    ["", "u@a.example", "U@A.example", "v@b.a.example", "w@b.a.example", "root", '"@"@a.example']
)
routes = st.builds(
    Route,
    st.builds(Hop, st.just(Via.SMTP), st.sampled_from(["one.example", "two.example"])) | st.just(Hop(Via.MX)),
    st.just(EVERYBODY) | written.map(Pattern.parse),
    st.just(EVERYBODY) | written.map(Pattern.parse),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(routes, max_size=5), st.lists(st.tuples(addresses, addresses), max_size=8))
def test_memory_changes_nothing(entries: list[Route], asked: list[tuple[str, str]]) -> None:
    """What is remembered of other addresses never answers for this one."""
    routing = Routing(entries)
    for sender, recipient in asked:
        matching = [
            entry
            for entry in entries
            if entry.to.matches(recipient.lower(), domain_of(recipient))
            and entry.sender.matches(sender.lower(), domain_of(sender))
        ]
        decision = routing.decide(sender, recipient)
        assert decision.hop is not None
        if matching and matching[0].onward != Hop(Via.MX):
            assert decision.hop == matching[0].onward
        else:
            assert decision.hop == Hop(Via.MX, domain_of(recipient))
        assert decision.why.startswith("routes[" if matching else "no route matches")


def test_a_route_that_is_covered_never_wins() -> None:
    entries = [route("smtp://one.example", to="a.example"), route("smtp://two.example", to="u@a.example", sender="<>")]
    assert [one.covers(other) for one, other in pairwise(entries)] == [True]
    assert not entries[1].covers(entries[0])
    assert Routing(entries).decide("", "u@a.example").hop == entries[0].onward
