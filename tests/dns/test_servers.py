"""What one question to a real name server comes to."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dns import message, rrset
from dns_server import DnsServer, serving

from mta.dns.memory import Name
from mta.dns.servers import Servers, parse_nameserver
from mta.policy.exchangers import Exchanger, Found

NOW = 1_000_000.0
MANY = [Exchanger(10 + n, f"exchanger-with-a-long-name-{n:03}.example.org") for n in range(150)]
ZONES = {
    "example.org": Name(mx=[Exchanger(20, "mx2.example.org"), Exchanger(10, "MX1.Example.ORG")], a=["192.0.2.1"]),
    "mx1.example.org": Name(a=["192.0.2.2", "192.0.2.3"], aaaa=["2001:db8::2"]),
    "null.example.org": Name(mx=[Exchanger(0, "")]),
    "bare.example.org": Name(a=["192.0.2.4"]),
    "many.example.org": Name(mx=MANY),
    "alias.example.org": Name(alias="second.example.org"),
    "second.example.org": Name(alias="example.org"),
    "dangling.example.org": Name(alias="nowhere.example.org"),
    "loop.example.org": Name(alias="pool.example.org"),
    "pool.example.org": Name(alias="loop.example.org"),
}


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with serving(ZONES) as server:
        yield server


def servers(*nameservers: object, timeout: float = 2.0) -> Servers:
    return Servers([str(one) for one in nameservers], timeout, lambda: NOW)


def test_exchangers_come_by_preference_in_lower_case_without_final_dot(server: DnsServer) -> None:
    answer = servers(server).exchangers("example.org")
    assert answer.found is Found.RECORDS
    assert answer.records == (Exchanger(10, "mx1.example.org"), Exchanger(20, "mx2.example.org"))
    assert answer.until == NOW + 300


def test_both_families(server: DnsServer) -> None:
    asked = servers(server)
    assert sorted(asked.addresses("mx1.example.org", 4).records) == ["192.0.2.2", "192.0.2.3"]
    assert asked.addresses("mx1.example.org", 6).records == ("2001:db8::2",)


def test_null_mx_has_the_empty_host(server: DnsServer) -> None:
    assert servers(server).exchangers("null.example.org").records == (Exchanger(0, ""),)


def test_no_data_no_name_and_failure_are_told_apart(server: DnsServer) -> None:
    server.failures.add("broken.example.org")
    asked = servers(server)
    assert asked.exchangers("bare.example.org").found is Found.NO_DATA
    assert asked.exchangers("org").found is Found.NO_DATA  # something exists below it
    assert asked.exchangers("nowhere.example.org").found is Found.NO_NAME
    broken = asked.exchangers("broken.example.org")
    assert (broken.found, broken.why, broken.until) == (Found.FAILED, "SERVFAIL from 127.0.0.1", NOW + 5)


@pytest.mark.alone
def test_silence_ends_with_the_timeout(server: DnsServer) -> None:
    server.silent.add("example.org")
    started = time.monotonic()
    answer = servers(server, timeout=0.3).exchangers("example.org")
    assert (answer.found, answer.why) == (Found.FAILED, "no answer within 0.3 s")
    assert 0.25 < time.monotonic() - started < 1.5


def test_the_next_server_is_asked_when_one_is_no_good(server: DnsServer) -> None:
    with serving(ZONES) as good:
        server.failures.add("example.org")
        assert servers(server, good).exchangers("example.org").found is Found.RECORDS


def test_nobody_listens() -> None:
    with serving({}) as server:
        pass
    answer = servers(server, timeout=0.5).exchangers("example.org")
    assert answer.found is Found.FAILED
    assert answer.why.isprintable()


@pytest.mark.parametrize("lean", [False, True])
def test_aliases_are_followed(server: DnsServer, lean: bool) -> None:
    server.lean = lean
    asked = servers(server)
    assert asked.exchangers("alias.example.org").records == asked.exchangers("example.org").records
    assert asked.addresses("alias.example.org", 4).records == ("192.0.2.1",)
    assert asked.addresses("alias.example.org", 6).found is Found.NO_DATA
    assert asked.exchangers("dangling.example.org").found is Found.NO_NAME
    assert asked.exchangers("loop.example.org").found is Found.FAILED


def test_alias_without_its_target_is_not_the_absence_of_records(server: DnsServer) -> None:
    server.lean = True
    server.failures.add("second.example.org")
    assert servers(server).exchangers("alias.example.org").found is Found.FAILED


def test_referral_is_not_the_absence_of_records(server: DnsServer) -> None:
    server.referrals.add("example.org")
    answer = servers(server).exchangers("example.org")
    assert answer.found is Found.FAILED
    assert "referral" in answer.why


def test_truncated_answer_is_asked_for_again_by_tcp_and_bounded(server: DnsServer) -> None:
    answer = servers(server).exchangers("many.example.org")
    assert answer.records == tuple(MANY[:100])
    assert server.over_tcp == 1


@pytest.mark.parametrize(("ttl", "kept"), [(0, 1), (60, 60), (86400, 86400), (1_000_000, 86400)])
def test_time_to_live_of_records(server: DnsServer, ttl: int, kept: float) -> None:
    server.ttl = ttl
    assert servers(server).exchangers("example.org").until == NOW + kept


@pytest.mark.parametrize(("ttl", "kept"), [(0, 1), (30, 30), (3600, 3600), (86400, 3600)])
@pytest.mark.parametrize("name", ["nowhere.example.org", "bare.example.org"])
def test_time_to_live_of_negative_answers(server: DnsServer, name: str, ttl: int, kept: float) -> None:
    server.negative_ttl = ttl
    assert servers(server).exchangers(name).until == NOW + kept


def test_the_shortest_time_along_a_chain_counts(server: DnsServer) -> None:
    server.ttl, server.negative_ttl = 20, 3000
    assert servers(server).exchangers("dangling.example.org").until == NOW + 20


def test_systems_servers_are_read_again_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.253\nsearch example.org\n")
    asked = Servers([], 0.4, lambda: NOW, path)
    assert asked.exchangers("example.org").found is Found.FAILED
    path.write_text("")
    before = asked._resolver()
    assert before.nameservers == ["127.0.0.1"]
    path.unlink()
    assert asked._resolver().nameservers == ["127.0.0.1"]
    assert asked._resolver() is asked._resolver()
    path.write_text("nameserver 192.0.2.53\nnameserver 2001:db8::53\noptions timeout:30\n")
    assert asked._resolver().nameservers == ["192.0.2.53", "2001:db8::53"]
    assert asked._resolver().timeout < 0.4


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_name_servers(text: str, parsed: tuple[str, int]) -> None:
    assert parse_nameserver(text) == parsed


@pytest.mark.parametrize(
    "text", ["", "ns.example.org", "192.0.2.53:", "192.0.2.53:dns", "192.0.2.53:0", "192.0.2.53:65536", "[::1]53x"]
)
def test_not_name_servers(text: str) -> None:
    with pytest.raises(ValueError, match="name server"):
        parse_nameserver(text)


SHOWN = {
    "A": "192.0.2.1",
    "AAAA": "2001:db8::1",
    "CNAME": "a.example.org.",
    "DNAME": "example.net.",
    "MX": "10 mx.example.org.",
    "NS": "ns.example.org.",
    "PTR": "a.example.org.",
    "SOA": "ns.example.org. root.example.org. 1 2 3 4 5",
    "TLSA": "3 1 0 ab",
    "TXT": '"words"',
}
WITHOUT_FILES = """
import sys
import mta.dns.servers
from dns import message
sys.meta_path.clear()
for one in message.from_wire(bytes.fromhex(sys.argv[1])).answer:
    print(one[0])
"""


def test_records_are_read_where_the_programs_files_are_gone() -> None:
    """As they are for a user who may not read them, and over an upgrade."""
    answer = message.make_response(message.make_query("example.org", "MX", use_edns=0, payload=1232))
    answer.answer = [rrset.from_text("example.org.", 60, "IN", kind, text) for kind, text in SHOWN.items()]
    command = [sys.executable, "-c", WITHOUT_FILES, answer.to_wire().hex()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == list(SHOWN.values())
