"""The inquirer: each kind of record, and how often is asked."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from dns_server import DnsServer, serving

from mta.dns.inquirer import LONGEST_TEXT, MOST_RECORDS, Inquirer, Tlsa, reverse_name
from mta.dns.memory import Name
from mta.policy.exchangers import Exchanger, Found

ZONES = {
    "good.net": Name(mx=[Exchanger(10, "mail.good.net")]),
    "mail.good.net": Name(a=["11.1.2.3"], aaaa=["2a00:1::25"]),
    "www.good.net": Name(alias="mail.good.net"),
}
OTHERS = {
    ("good.net", "TXT"): ['"v=spf1 " "-all"', '"a\\200\\027b"'],
    ("good.net", "SOA"): ["ns.good.net. x.good.net. 1 2 3 4 5"],
    ("_25._tcp.mail.good.net", "TLSA"): ["3 1 1 " + "ab" * 32],
    (reverse_name("11.1.2.3"), "PTR"): ["Mail.Good.net."],
    ("many.net", "TXT"): [f'"{number}"' for number in range(MOST_RECORDS + 5)],
    ("huge.net", "TXT"): [" ".join([f'"{"x" * 250}"'] * 200)],
}


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with serving(ZONES) as one:
        one.others.update(OTHERS)
        yield one


@pytest.fixture
def inquirer(server: DnsServer) -> Inquirer:
    return Inquirer([str(server)], 2.0, time.time)


def test_each_kind_of_record(inquirer: Inquirer) -> None:
    assert inquirer.exchangers("Good.net.").records == (Exchanger(10, "mail.good.net"),)
    assert inquirer.addresses("www.good.net").records == ("11.1.2.3", "2a00:1::25")
    assert inquirer.texts("good.net").records == ("a\\xc8\x1bb", "v=spf1 -all")
    assert inquirer.names("11.1.2.3").records == ("mail.good.net",)
    assert inquirer.alias("www.good.net").records == ("mail.good.net",)
    assert inquirer.alias("mail.good.net").found is Found.NO_DATA
    assert inquirer.associations("_25._tcp.mail.good.net").records == (Tlsa(3, 1, 1, b"\xab" * 32),)
    assert inquirer.start_of_authority("good.net").found is Found.RECORDS
    assert inquirer.texts("nothing.net").found is Found.NO_NAME


def test_what_cannot_be_asked_is_an_answer(server: DnsServer, inquirer: Inquirer) -> None:
    server.failures.add("down.net")
    assert inquirer.texts("down.net").why == f"SERVFAIL from {server.address}"
    assert inquirer.texts(f"{'x' * 64}.net").found is Found.FAILED


def test_much_is_bounded(inquirer: Inquirer) -> None:
    assert len(inquirer.texts("many.net").records) == MOST_RECORDS
    assert len(inquirer.texts("huge.net").records[0]) == LONGEST_TEXT


def test_a_question_is_asked_once_whoever_asks(server: DnsServer, inquirer: Inquirer) -> None:
    server.delay = 0.05
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(inquirer.texts, ["good.net", "GOOD.net", "good.net."] * 5))
    assert len({id(answer) for answer in answers}) == 1
    assert server.asked["TXT", "good.net"] == 1


def test_the_servers_are_known(server: DnsServer, inquirer: Inquirer) -> None:
    assert inquirer.servers == [str(server)]
    assert Inquirer(["192.0.2.53", "[2001:db8::53]:5353"], 1.0, time.time).servers == [
        "192.0.2.53",
        "[2001:db8::53]:5353",
    ]


@pytest.mark.parametrize("validates", [True, False])
def test_whether_an_answer_is_authentic(server: DnsServer, inquirer: Inquirer, validates: bool) -> None:
    server.authentic = validates
    assert inquirer.texts("good.net").authentic == validates
    assert inquirer.addresses("www.good.net").authentic == validates
    assert inquirer.texts("nothing.net").authentic == validates
    assert inquirer.associations("mail.good.net").authentic == validates
