"""Where mail is tried, in which order, and what is said when there is no such place."""

import pytest
from carry_world import HOP, Server, World
from twisted.internet.defer import Deferred

from mta.dns.memory import Name
from mta.message.outcome import Result
from mta.policy.exchangers import Exchanger
from mta.policy.routing import Hop, Via
from mta.transports.search import MOST_PLACES

DELIVERED, DEFERRED, FAILED = Result.DELIVERED, Result.DEFERRED, Result.FAILED


def test_every_address_of_every_host_is_tried_in_order() -> None:
    world = World()
    for host, address in [("mx1.example.net", "192.0.2.1"), ("mx1.example.net", "2001:db8::1")]:
        world.host(host, address)
    world.host("mx1.example.net", "192.0.2.2")
    world.host("mx2.example.net", "192.0.2.3", Server())
    carried = world.carry()
    assert carried.outcomes[0].result is DELIVERED
    assert world.asked == ["2001:db8::1:25", "192.0.2.1:25", "192.0.2.2:25", "192.0.2.3:25"]
    assert [tried.host for tried in carried.tries] == [
        "mx1.example.net[2001:db8::1]:25",
        "mx1.example.net[192.0.2.1]:25",
        "mx1.example.net[192.0.2.2]:25",
        "mx2.example.net[192.0.2.3]:25",
    ]


def test_addresses_are_looked_up_only_as_far_as_they_are_needed() -> None:
    world = World()
    world.serve()
    world.host("backup.example.net", "192.0.2.2", Server())
    world.carry()
    assert not world.resolver.asked["A", "backup.example.net"]


def test_the_number_of_places_is_bounded() -> None:
    world = World()
    for number in range(100):
        world.host(f"mx{number % 10}.example.net", f"192.0.2.{number}")
    carried = world.carry()
    assert carried.outcomes[0].result is DEFERRED
    assert len(world.asked) == MOST_PLACES


def test_a_domain_without_mx_is_its_own_host() -> None:
    world = World()
    world.resolver.zones["example.net"] = Name(a=["192.0.2.1"])
    world.servers["192.0.2.1", 25] = Server()
    assert world.carry().outcomes[0].host == "example.net[192.0.2.1]:25"


@pytest.mark.parametrize(
    ("zones", "failures", "result", "reply"),
    [
        ({}, set(), FAILED, "550 5.1.2"),
        ({"example.net": Name()}, set(), FAILED, "550 5.4.4"),
        ({"example.net": Name(mx=[Exchanger(0, "")])}, set(), FAILED, "556 5.1.10"),
        ({"example.net": Name(mx=[Exchanger(0, "gone.example")])}, set(), FAILED, "550 5.4.4"),
        ({"example.net": Name(mx=[Exchanger(0, "me.example")])}, set(), FAILED, "554 5.4.6"),
        ({"example.net": Name(a=["0.0.0.0"])}, set(), FAILED, "550 5.4.4"),
        ({}, {"example.net"}, DEFERRED, "451 4.4.3"),
        ({"example.net": Name(mx=[Exchanger(0, "mx.example")])}, {"mx.example"}, DEFERRED, "451 4.4.3"),
    ],
)
def test_the_dns_has_no_host(zones: dict[str, Name], failures: set[str], result: Result, reply: str) -> None:
    world = World()
    world.resolver.zones.update(zones)
    world.resolver.failures.update(failures)
    carried = world.carry("a@example.net", "b@example.net")
    for outcome in carried.outcomes:
        assert outcome.result is result
        assert str(outcome.reply).startswith(reply)
        assert outcome.host == ""
        assert not outcome.remote
    assert len(carried.outcomes) == 2
    assert not carried.reached
    assert world.asked == []


def test_a_host_without_an_address_is_noted_and_the_next_is_tried() -> None:
    world = World()
    world.resolver.zones["example.net"] = Name(mx=[Exchanger(0, "gone.example"), Exchanger(1, "lost.example")])
    world.resolver.failures.add("lost.example")
    world.host("mx.example.net", "192.0.2.1", Server())
    carried = world.carry()
    assert carried.outcomes[0].result is DELIVERED
    assert [(tried.host, tried.text) for tried in carried.tries] == [
        ("gone.example", "no address: no such name"),
        ("lost.example", "no address: failed (SERVFAIL)"),
        ("mx.example.net[192.0.2.1]:25", "250 2.0.0 taken"),
    ]


def test_we_never_connect_to_ourselves() -> None:
    world = World()
    ourselves = world.serve()
    world.host("behind.example.net", "192.0.2.2", Server())
    world.ourselves.add(("192.0.2.1", 25))
    carried = world.carry()
    assert carried.outcomes[0].result is FAILED
    assert str(carried.outcomes[0].reply) == "554 5.4.6 mail for example.net loops back to this relay"
    assert [(tried.host, tried.text) for tried in carried.tries] == [
        ("mx.example.net[192.0.2.1]:25", "this relay itself")
    ]
    assert world.asked == []
    assert not ourselves.connections


def test_behind_ourselves_nobody_is_found() -> None:
    world = World()
    world.host("mx.example.net", "192.0.2.1")
    world.host("behind.example.net", "192.0.2.2", Server())
    world.ourselves.add(("192.0.2.1", 25))
    search = world.finder.search(HOP, lambda host, why: None)
    for _ in range(2):
        assert world.result(Deferred.fromCoroutine(search.next())) is None


def test_who_is_preferred_to_ourselves_is_tried() -> None:
    world = World()
    world.host("mx.example.net", "192.0.2.1")
    world.host("backup.example.net", "192.0.2.2")
    world.ourselves.add(("192.0.2.2", 25))
    carried = world.carry()
    assert [(outcome.result, str(outcome.reply)) for outcome in carried.outcomes] == [
        (DEFERRED, "451 4.4.1 connection refused")
    ]
    assert world.asked == ["192.0.2.1:25"]


@pytest.mark.parametrize(
    "hop",
    [
        Hop(Via.MX, "[192.0.2.1]"),
        Hop(Via.SMTP, "192.0.2.1"),
        Hop(Via.SMTP, "relay.example"),
        Hop(Via.LMTP, "192.0.2.1", port=25),
    ],
)
def test_not_even_where_a_route_or_a_literal_says_so(hop: Hop) -> None:
    world = World()
    world.resolver.hosts["relay.example"] = ("192.0.2.1",)
    world.ourselves.add(("192.0.2.1", 25))
    [outcome] = world.carry(hop=hop).outcomes
    assert (outcome.result, outcome.reply.enhanced) == (FAILED, "5.4.6")
    assert world.asked == []


@pytest.mark.parametrize(("literal", "address"), [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1")])
def test_an_address_literal(literal: str, address: str) -> None:
    world = World()
    server = world.servers[address, 25] = Server()
    carried = world.carry(f"a@{literal}", hop=Hop(Via.MX, literal))
    assert carried.outcomes[0].host == f"[{address}]:25"
    assert server.messages[0][1] == (f"a@{literal}",)
    assert not world.resolver.asked


@pytest.mark.parametrize("literal", ["[0.0.0.0]", "[x400:whatever]", "[IPv6:fe80::1%eth0]", "[255.255.255.255]", "["])
def test_an_address_literal_that_is_none(literal: str) -> None:
    world = World()
    [outcome] = world.carry(hop=Hop(Via.MX, literal)).outcomes
    assert outcome.result is FAILED
    assert str(outcome.reply).startswith("550 5.1.2")
    assert world.asked == []


def test_private_exchangers_may_be_refused() -> None:
    world = World(refuse_private=True)
    world.host("mx.example.net", "10.0.0.1", Server())
    [outcome] = world.carry().outcomes
    assert (outcome.result, outcome.reply.enhanced) == (FAILED, "5.4.4")
    assert world.asked == []
    world.servers["10.0.0.1", 25] = Server()
    assert world.carry(hop=Hop(Via.SMTP, "mx.example.net")).outcomes[0].result is DELIVERED, "a route is no exchanger"


def test_the_host_of_a_route() -> None:
    world = World()
    world.resolver.zones["relay.example"] = Name(a=["192.0.2.7", "192.0.2.8"], mx=[Exchanger(0, "elsewhere.example")])
    world.servers["192.0.2.8", 587] = Server()
    carried = world.carry(hop=Hop(Via.SMTP, "relay.example", port=587))
    assert carried.outcomes[0].host == "relay.example[192.0.2.8]:587"
    assert world.asked == ["192.0.2.7:587", "192.0.2.8:587"]
    assert not world.resolver.asked["MX", "relay.example"]


def test_the_host_of_a_route_that_does_not_exist_is_no_reason_to_bounce() -> None:
    world = World()
    carried = world.carry(hop=Hop(Via.SMTP, "relay.example"))
    assert [(outcome.result, str(outcome.reply)) for outcome in carried.outcomes] == [
        (DEFERRED, "451 4.4.4 the next hop relay.example has no address")
    ]
    assert not carried.reached
