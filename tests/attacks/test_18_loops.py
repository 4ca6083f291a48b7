"""Case 18: mail that comes back to us: by DNS, by a route, by an alias, by another relay that does not know better."""

from pathlib import Path

import pytest
from attack_ground import BEGUN, GREETED, HEADER, SENDER, Victim, codes
from carry_world import Server, World

from mta.message.outcome import Result
from mta.policy.exchangers import Exchanger
from mta.policy.routing import Hop, Via

FIELD = b"Received: from a.example by b.example; Mon, 1 Jan 2024 00:00:00 +0000\r\n"


@pytest.mark.parametrize(
    ("name", "address"), [("me.example", "192.0.2.1"), ("MX.trap.example", "192.0.2.9"), ("localhost", "127.0.0.1")]
)
def test_an_mx_that_leads_to_us(name: str, address: str) -> None:
    """By our name, or by an address and port that we listen on, whatever the name is."""
    world = World()
    world.ourselves.add(("192.0.2.9", 25))
    world.host(name.lower(), address, Server())
    [outcome] = world.carry().outcomes
    assert (outcome.result, outcome.reply.enhanced) == (Result.FAILED, "5.4.6")
    assert world.asked == []


def test_worse_hosts_than_ourselves_are_not_tried_either() -> None:
    world = World()
    world.host("me.example", "192.0.2.1")
    world.host("backup.example.net", "192.0.2.2", Server())
    [outcome] = world.carry().outcomes
    assert outcome.reply.enhanced == "5.4.6"
    assert world.asked == []


@pytest.mark.parametrize(
    "hop", [Hop(Via.SMTP, "192.0.2.9", 25), Hop(Via.SMTP, "alias.example", 25), Hop(Via.MX, "[192.0.2.9]")]
)
def test_a_route_that_leads_to_us(hop: Hop) -> None:
    """As where two relays are each other's smarthost, and both names are the same machine."""
    world = World()
    world.ourselves.add(("192.0.2.9", 25))
    world.host("alias.example", "192.0.2.9", domain="alias.example")
    [outcome] = world.carry(hop=hop).outcomes
    assert outcome.reply.enhanced == "5.4.6"
    assert world.asked == []


def test_an_address_that_is_nobodys_is_not_tried() -> None:
    """0.0.0.0 would be this machine."""
    world = World()
    world.host("mx.example.net", "0.0.0.0")
    world.resolver.zones["example.net"].mx.append(Exchanger(5, "mx.example.net"))
    world.carry()
    assert world.asked == []


def test_a_hundred_relays_are_a_circle(tmp_path: Path) -> None:
    """What ends it where each of two relays takes the other for the way onward (RFC 5321 6.3)."""
    victim = Victim(tmp_path)
    victim.begin()
    assert victim.send_all(FIELD * 101 + HEADER + b".\r\n")[0][:9] == "554 5.4.6"
    assert victim.claims == []
    assert codes(victim.say(*BEGUN[1:], "DATA"))[-1] == "354"
    assert codes(victim.send_all(FIELD * 100 + HEADER + b".\r\n")) == ["250"]


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_fields_are_counted_wherever_they_are_cut_and_however_written(tmp_path: Path, cut: int) -> None:
    victim = Victim(tmp_path, cut)
    victim.begin()
    fields = (FIELD + FIELD.upper() + FIELD.lower() + FIELD.replace(b": ", b":\r\n ")) * 26
    assert victim.send_all(fields + HEADER + b".\r\n")[0][:9] == "554 5.4.6"


def test_fields_in_the_body_are_text(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    victim.begin()
    assert codes(victim.send_all(HEADER + FIELD * 200 + b".\r\n")) == ["250"]


def test_names_that_lead_to_each_other(tmp_path: Path) -> None:
    """circle is round and round is circle; everybody is in everybody."""
    victim = Victim(tmp_path)
    victim.say(GREETED, SENDER)
    assert codes(victim.say("RCPT TO:<circle@example.org>", "RCPT TO:<everybody@example.org>"))[0][0] == "5"
    victim.say("DATA", "Subject: x", "", ".")
    everybody = [one.address for claim in victim.claims for one in claim.envelope.recipients]
    assert sorted(everybody) == sorted(set(everybody))
