"""Which hosts and addresses are tried, and what is said when there are none."""

from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.policy.exchangers import (
    MOST_ADDRESSES,
    MOST_HOSTS,
    Answer,
    Candidates,
    Exchanger,
    Found,
    candidates,
    is_host_name,
    literal_address,
    unreachable,
    usable,
)

US = frozenset({"Relay.Example.NET", "relay.internal"})


def mx(*records: tuple[int, str]) -> Answer[Exchanger]:
    return Answer(Found.RECORDS, tuple(Exchanger(*record) for record in records))


def asked(answer: Answer[Exchanger], domain: str = "example.org", seed: int = 1) -> Candidates:
    return candidates(domain, answer, US, Random(seed))


def failure(found: Candidates) -> tuple[int, str] | None:
    assert (found.failure is None) == bool(found.hosts)
    return found.failure and (found.failure.code, found.failure.enhanced)


def test_by_preference_whatever_the_order_of_the_answer() -> None:
    found = asked(mx((30, "c.example"), (10, "a.example"), (20, "b.example")))
    assert found == Candidates(
        ("a.example", "b.example", "c.example"),
        None,
        "MX of example.org: a.example (10), b.example (20), c.example (30)",
    )


def test_equal_preferences_are_shuffled_and_others_stay() -> None:
    answer = mx((10, "a.example"), (10, "b.example"), (10, "c.example"), (20, "z.example"))
    orders = {asked(answer, seed=seed).hosts for seed in range(100)}
    assert len(orders) == 6
    assert all(order[-1] == "z.example" for order in orders)


def test_domain_itself_only_where_there_is_no_mx_record() -> None:
    found = asked(Answer(Found.NO_DATA), "Example.ORG")
    assert (found.hosts, found.failure, found.implicit) == (("example.org",), None, True)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (Answer(Found.FAILED, why="SERVFAIL from 192.0.2.53"), (451, "4.4.3")),
        (Answer(Found.NO_NAME), (550, "5.1.2")),
        (mx((0, "")), (556, "5.1.10")),
        (mx((10, "192.0.2.1")), (550, "5.4.4")),
        (mx((10, "192.0.2.1"), (10, "2001:db8::1"), (20, "[192.0.2.2]"), (30, "two words")), (550, "5.4.4")),
        (mx((10, "relay.example.net")), (554, "5.4.6")),
        (mx((10, "relay.internal"), (10, "a.example"), (20, "b.example")), (554, "5.4.6")),
        (mx((10, "localhost"), (20, "b.example")), (554, "5.4.6")),
        (mx((5, "192.0.2.1"), (10, "relay.example.net")), (554, "5.4.6")),
        (mx((10, "a.example")), None),
        (mx((0, ""), (10, "a.example")), None),
    ],
)
def test_replies(answer: Answer[Exchanger], reply: tuple[int, str] | None) -> None:
    found = asked(answer)
    assert failure(found) == reply
    assert not found.implicit
    if found.failure is not None:
        assert "example.org" in found.failure.text
        assert found.why == found.failure.text


def test_failed_look_up_says_why() -> None:
    assert asked(Answer(Found.FAILED, why="SERVFAIL from 192.0.2.53")).why.endswith(": SERVFAIL from 192.0.2.53")


def test_domain_that_is_this_relay_without_mx_loops() -> None:
    assert failure(asked(Answer(Found.NO_DATA), "RELAY.example.net")) == (554, "5.4.6")


def test_list_is_cut_at_this_relay() -> None:
    answer = mx((10, "a.example"), (20, "b.example"), (20, "relay.example.net"), (30, "c.example"))
    found = asked(answer)
    assert found.hosts == ("a.example",)
    assert "20" in found.why


def test_useless_exchangers_are_skipped_and_named() -> None:
    found = asked(mx((5, "192.0.2.1"), (10, "a.example")))
    assert found.hosts == ("a.example",)
    assert "192.0.2.1 (5)" in found.why


def test_duplicates_keep_their_best_place() -> None:
    assert asked(mx((20, "a.example"), (10, "b.example"), (5, "a.example"))).hosts == ("a.example", "b.example")


def test_thousand_exchangers_are_bounded() -> None:
    found = asked(mx(*[(n, f"mx{n}.example") for n in range(1000, 0, -1)]))
    assert found.hosts == tuple(f"mx{n}.example" for n in range(1, MOST_HOSTS + 1))
    assert len(found.why) < 1000


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a.x", "b.x", "c.x", "relay.internal", "", "1.2.3.4"]))))
def test_order_and_cut_always_hold(records: list[tuple[int, str]]) -> None:
    answer = mx(*records) if records else Answer[Exchanger](Found.NO_DATA)
    found = asked(answer)
    failure(found)
    best = {host: min(p for p, other in records if other == host) for _, host in records}
    ours = best.get("relay.internal", 99)
    if records and not found.failure:
        assert [best[host] for host in found.hosts] == sorted(best[host] for host in found.hosts)
        assert set(found.hosts) == {host for host in ("a.x", "b.x", "c.x") if best.get(host, 99) < ours}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("example.org", True),
        ("localhost", True),
        ("_mx.Example-1.org", True),
        ("1.example", True),
        ("a" * 63 + ".org", True),
        ("xn--bcher-kva.example", True),
        ("", False),
        (".", False),
        ("a..b", False),
        (".a", False),
        ("a.", False),
        ("@", False),
        ("a b", False),
        ("a\\.b", False),
        ("a\n", False),
        ("a.b\n", False),
        ("192.0.2.1", False),
        ("example.123", False),
        ("[192.0.2.1]", False),
        ("2001:db8::1", False),
        ("bücher.example", False),
        ("a" * 64 + ".org", False),
        (".".join(["a" * 60] * 5), False),
    ],
)
def test_host_names(name: str, is_one: bool) -> None:
    assert is_host_name(name) is is_one


def test_families_take_turns_ipv6_first() -> None:
    addresses = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2", "192.0.2.1")
    assert usable(addresses, refuse_private=False).addresses == (
        "2001:db8::1",
        "192.0.2.1",
        "2001:db8::2",
        "192.0.2.2",
        "192.0.2.3",
    )


def test_addresses_are_bounded_with_both_families_among_them() -> None:
    addresses = [f"192.0.2.{n}" for n in range(100)] + [f"2001:db8::{n:x}" for n in range(1, 100)]
    chosen = usable(addresses, refuse_private=False).addresses
    assert len(chosen) == MOST_ADDRESSES
    assert [ip_address(one).version for one in chosen] == [6, 4] * 5


PRIVATE = [
    "10.1.2.3", "127.0.0.1", "127.255.0.1", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1",
    "::1", "fe80::1", "fd00::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:192.168.1.1", "2002:7f00:1::",
    "64:ff9b::10.0.0.1", "64:ff9b::7f00:1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
NOBODY = ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_where_asked_for(address: str) -> None:
    assert usable([address], refuse_private=False).addresses == (address,)
    refused = usable([address], refuse_private=True)
    assert refused == ((), f"{address} is not a public address")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not_refused(address: str) -> None:
    assert usable([address], refuse_private=True) == ((address,), "")


@pytest.mark.parametrize("address", NOBODY)
def test_what_is_no_hosts_address_is_never_tried(address: str) -> None:
    assert usable([address, "192.0.2.1"], refuse_private=False) == (
        ("192.0.2.1",),
        f"{address} is no host's address",
    )


@given(st.lists(st.ip_addresses().map(str), max_size=30), st.booleans())
def test_no_address_is_invented_or_repeated(addresses: list[str], refuse_private: bool) -> None:
    chosen = usable(addresses, refuse_private).addresses
    assert set(chosen) <= set(addresses)
    assert len(set(chosen)) == len(chosen) <= MOST_ADDRESSES


@pytest.mark.parametrize(
    ("answers", "implicit", "reply"),
    [
        ([Found.NO_NAME], False, (550, "5.4.4")),
        ([Found.NO_DATA, Found.NO_NAME], False, (550, "5.4.4")),
        ([Found.NO_DATA, Found.FAILED], False, (451, "4.4.3")),
        ([Found.RECORDS, Found.FAILED], False, (451, "4.4.3")),
        ([Found.RECORDS, Found.NO_NAME], False, (550, "5.4.4")),
        ([Found.NO_DATA], True, (550, "5.4.4")),
        ([Found.NO_NAME], True, (550, "5.1.2")),
        ([Found.FAILED], True, (451, "4.4.3")),
        ([Found.RECORDS], True, (550, "5.4.4")),
    ],
)
def test_no_host_has_an_address(answers: list[Found], implicit: bool, reply: tuple[int, str]) -> None:
    said = unreachable("example.org", implicit, [Answer(found) for found in answers])
    assert (said.code, said.enhanced) == reply
    assert "example.org" in said.text


@pytest.mark.parametrize(
    ("domain", "address"),
    [
        ("[192.0.2.1]", "192.0.2.1"),
        ("[192.000.002.010]", "192.0.2.10"),
        ("[IPv6:::1]", "::1"),
        ("[ipv6:2001:DB8:0::1]", "2001:db8::1"),
        ("[IPv6:::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
        ("192.0.2.1", None),
        ("[::1]", None),
        ("[IPv6:192.0.2.1]", None),
        ("[IPv6:fe80::1%eth0]", None),
        ("[192.0.2.256]", None),
        ("[192.0.2.1", None),
        ("[tag:something]", None),
        ("[]", None),
        ("", None),
    ],
)
def test_address_literals(domain: str, address: str | None) -> None:
    found = literal_address(domain)
    assert (found and ip_address(found)) == (address and ip_address(address))
