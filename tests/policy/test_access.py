"""Who may send where, and the tricks of those who may not."""

from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.policy.access import Access, in_networks, may_send_as, public_addresses, too_wide
from mta.policy.pattern import Pattern

ACCESS = Access(
    [ip_network(text) for text in ("127.0.0.0/8", "::1/128", "192.0.2.0/25", "2001:db8::/48")],
    ["Example.ORG", ".example.net", "here"],
)


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("192.0.2.127", True),
        ("192.0.2.128", False),
        ("::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.200", False),
        ("::1", True),
        ("2001:db8:0:ffff::1", True),
        ("2001:db8:1::1", False),
        ("", True),  # a Unix socket
        ("not an address", False),
        ("127.0.0.1.", False),
        ("127.1", False),
    ],
)
def test_clients(address: str, may: bool) -> None:
    assert ACCESS.may_relay(address) is may
    assert ACCESS.may_relay(address) is may  # as it is remembered


def test_unix_sockets_count_as_loopback() -> None:
    assert Access([ip_network("::1")]).may_relay("")
    assert not Access([ip_network("192.0.2.0/24")]).may_relay("")


@pytest.mark.parametrize(
    "recipient",
    ["a@example.org", "a@EXAMPLE.org", "a@example.org.", '"a b"@example.org', "a@x.example.net", "a@y.x.Example.net",
     "a@here", "postmaster", "Postmaster", "POSTMASTER"],
)  # fmt: skip
def test_taken_from_anyone(recipient: str) -> None:
    assert ACCESS.judge(False, recipient).allowed


@pytest.mark.parametrize(
    "recipient",
    [
        "a@else.example",
        "a@x.example.org",  # example.org stands for itself alone
        "a@example.net",  # .example.net for its subdomains
        "a@badexample.net",
        "a@example.org.else.example",
        "postmaster@else.example",
        "a@",
        "@",
        "",
        "a",
        "root",
        "a@.example.org",
        "a@.example.net",
        "victim%else.example@example.org",
        "else.example!victim@example.org",
        "victim@else.example@example.org",
        '"victim@else.example"@example.org',
        '"victim\\@else.example"@example.org',
        '"else.example!victim"@example.org',
        '"victim%else.example"@example.org',
        "victim%else.example@x.example.net",
        "a@[127.0.0.1]",
        "victim%else.example@[127.0.0.1]",
        "@example.org:victim@else.example",
        "example.org@else.example",
        "a@else.example@",
    ],
)
def test_refused_from_those_who_may_not_relay(recipient: str) -> None:
    assert not ACCESS.judge(False, recipient).allowed
    assert ACCESS.judge(True, recipient).allowed


def test_reasons() -> None:
    assert ACCESS.judge(True, "a@else.example").why == "the client is in relay.networks"
    assert ACCESS.judge(False, "postmaster").why == "postmaster is accepted from everybody"
    assert ACCESS.judge(False, "a@Example.org").why == "example.org is in relay.domains"
    assert ACCESS.judge(False, "a@else.example").why == (
        "else.example is not in relay.domains, nor the client in relay.networks"
    )
    assert ACCESS.judge(False, "a").why == "no domain is not in relay.domains, nor the client in relay.networks"
    assert "routed" not in ACCESS.judge(False, "a%b@example.org").why
    assert "onward" in ACCESS.judge(False, "a%b@example.org").why


addresses = st.text('ab.@%!"[]:*- ', max_size=30)


@settings(deadline=None)
@given(addresses)
def test_nobody_is_taken_in_but_for_our_domains(recipient: str) -> None:
    permission = ACCESS.judge(False, recipient + "@else.example")
    assert not permission.allowed
    assert not Access([], []).judge(False, recipient).allowed


@settings(deadline=None)
@given(st.sampled_from("%!@"), addresses, addresses)
def test_no_local_part_leads_onward(sign: str, before: str, behind: str) -> None:
    assert not ACCESS.judge(False, f"{before}{sign}{behind}@example.org").allowed


@pytest.mark.parametrize(
    ("networks", "wide"),
    [
        (["0.0.0.0/0"], True),
        (["::/0"], True),
        (["0.0.0.0/1", "128.0.0.0/1"], True),
        (["8.0.0.0/7"], True),
        (["8.0.0.0/8", "9.0.0.0/8"], True),
        (["8.0.0.0/8", "10.0.0.0/8"], False),
        (["8.0.0.0/9", "8.128.0.0/9"], False),
        (["2000::/3"], True),
        (["2000::/15"], True),
        (["2001:db8::/32"], False),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10"], False),
        ([f"{first}.0.0.0/8" for first in range(1, 224)], True),
        ([], False),
    ],
)
def test_open_relays(networks: list[str], wide: bool) -> None:
    assert too_wide([ip_network(text) for text in networks]) is wide


def test_public_addresses_are_counted_once() -> None:
    networks = ["10.0.0.0/8", "8.8.8.0/24", "8.8.8.8", "8.8.9.0/24", "2a00::/63", "2a01::1"]
    assert public_addresses([ip_network(text) for text in networks]) == 512 + 2 + 1


def test_networks_alone() -> None:
    networks = [ip_network("192.0.2.0/25"), ip_network("127.0.0.0/8")]
    inside = ("192.0.2.1", "::ffff:192.0.2.1", "")
    assert all(in_networks(address, networks) for address in inside)
    assert not any(in_networks(address, networks[:1]) for address in ("192.0.2.129", "", "unknown", "::1"))


@pytest.mark.parametrize(
    ("sender", "may"),
    [
        ("alice@example.org", True),
        ("Alice@EXAMPLE.org", True),
        ("anyone@shop.example", True),
        ("anyone@x.below.example", True),
        ("", True),  # a return receipt
        ("bob@example.org", False),
        ("alice@example.org.evil.example", False),
        ("anyone@below.example", False),
        ("anyone@x.shop.example", False),
    ],
)
def test_a_login_sends_as_its_senders(sender: str, may: bool) -> None:
    senders = tuple(Pattern.parse(text) for text in ("alice@example.org", "*@shop.example", ".below.example"))
    assert may_send_as(senders, sender) is may
    assert may_send_as((), sender)
