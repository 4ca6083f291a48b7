"""Case 25: a DNS that belongs to somebody who wants us to connect, to wait, to count, or to give up."""

import dns.name
import pytest
from carry_world import Server, World

from mta.dns.memory import Name
from mta.message.outcome import Outcome, Result
from mta.policy.exchangers import MOST_ADDRESSES, Exchanger
from mta.policy.routing import Hop, Via
from mta.transports.search import MOST_PLACES

PRIVATE = ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "::1", "fe80::1",
           "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1"]  # fmt: skip
NEVER = ["0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"]


def outcome(world: World) -> Outcome:
    return world.carry(seconds=4000).outcomes[0]


def test_a_thousand_exchangers() -> None:
    world = World()
    for number in range(1000):
        world.resolver.zones.setdefault("example.net", Name()).mx.append(Exchanger(number, f"mx{number}.example.net"))
        world.resolver.zones[f"mx{number}.example.net"] = Name(a=[f"198.51.{number // 250}.{number % 250}"])
    assert outcome(world).result is Result.DEFERRED
    assert len(world.asked) <= MOST_PLACES


def test_a_thousand_addresses() -> None:
    world = World()
    addresses = [f"198.51.{number // 250}.{number % 250 + 1}" for number in range(1000)]
    world.host("mx.example.net", addresses[0])
    world.resolver.zones["mx.example.net"].a = addresses
    assert outcome(world).result is Result.DEFERRED
    assert len(world.asked) <= MOST_ADDRESSES


def test_hosts_that_do_not_answer_cost_no_more_than_a_time() -> None:
    world = World()
    for number in range(100):
        world.host(f"mx{number}.example.net", f"198.51.100.{number}")
        world.unreachable.add(f"198.51.100.{number}")
    before = world.clock.seconds()
    assert outcome(world).result is Result.DEFERRED
    assert world.clock.seconds() - before <= 3600


@pytest.mark.parametrize("address", PRIVATE)
def test_private_targets_where_they_are_refused(address: str) -> None:
    """`dns.private_exchangers: refuse`; it is `allow` unless told, since a small site's exchangers are private."""
    world = World(refuse_private=True)
    world.host("mx.example.net", address, Server())
    assert outcome(world).result is not Result.DELIVERED
    assert world.asked == []


@pytest.mark.parametrize("address", NEVER)
def test_targets_that_are_nobodys(address: str) -> None:
    world = World()
    world.host("mx.example.net", address, Server())
    assert outcome(world).result is not Result.DELIVERED
    assert world.asked == []


@pytest.mark.parametrize("literal", ["[127.0.0.1]", "[0.0.0.0]", "[IPv6:::1]", "[10.0.0.1]"])
def test_a_literal_is_no_way_around_it(literal: str) -> None:
    world = World(refuse_private=True)
    assert world.carry(hop=Hop(Via.MX, literal)).outcomes[0].result is Result.FAILED
    assert world.asked == []


def as_the_resolver_has_it(label: bytes) -> str:
    """A name in which any octets may stand, as dnspython makes text of it."""
    return dns.name.Name((label, b"example", b"")).to_text(omit_final_dot=True).lower()


@pytest.mark.parametrize(
    ("records", "result", "status"),
    [
        ([Exchanger(0, "")], Result.FAILED, "5.1.10"),  # null MX (RFC 7505)
        ([Exchanger(5, "192.0.2.1")], Result.FAILED, "5.4.4"),  # an address is no name of a host
        ([Exchanger(5, "a b.example"), Exchanger(6, "-")], None, ""),
        ([Exchanger(5, "x" * 64 + ".example")], Result.FAILED, "5.4.4"),
        ([Exchanger(5, as_the_resolver_has_it(b"\x1b[2J"))], Result.FAILED, "5.4.4"),
        ([Exchanger(5, "localhost")], Result.FAILED, "5.4.6"),
    ],
)
def test_records_that_are_odd(records: list[Exchanger], result: Result | None, status: str) -> None:
    world = World()
    world.resolver.zones["example.net"] = Name(mx=records)
    one = outcome(world)
    assert one.result is result or (result is None and one.result is not Result.DELIVERED)
    assert one.reply.enhanced == status or not status
    assert str(one.reply).isprintable()
    assert world.asked == []


def test_a_failure_waits_and_an_absence_fails() -> None:
    world = World()
    world.host("mx.example.net", "192.0.2.1", Server())
    for failing in ("example.net", ("example.net", "MX"), "mx.example.net"):
        world.resolver.failures = {failing}
        assert outcome(world).result is Result.DEFERRED, failing
    world.resolver.failures = set()
    del world.resolver.zones["example.net"], world.resolver.zones["mx.example.net"]
    assert (outcome(world).result, outcome(world).reply.enhanced) == (Result.FAILED, "5.1.2")


@pytest.mark.parametrize("length", [2, 7, 8, 9, 100])
def test_chains_and_circles_of_aliases(length: int) -> None:
    world = World()
    for number in range(length):
        world.resolver.zones[f"a{number}.example"] = Name(alias=f"a{(number + 1) % length}.example")
    world.resolver.zones["example.net"] = Name(alias="a0.example")
    assert outcome(world).result is Result.DEFERRED
    assert sum(world.resolver.asked.values()) < 10


def test_an_answer_that_takes_for_ever() -> None:
    world = World()
    world.host("mx.example.net", "192.0.2.1", Server())
    world.resolver.delay = 5.0
    assert outcome(world).result is Result.DELIVERED
