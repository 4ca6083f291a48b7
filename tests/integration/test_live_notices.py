"""Notices of every kind, as the standard library reads them: what was asked for with NOTIFY, RET, ENVID and ORCPT."""

import email
import email.policy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
import yaml
from peers.daemon import Relay, running_relay
from peers.dovecot import Dovecot
from peers.ground import Loopback, free_port
from peers.knot import Dns
from peers.sinks import Sink, Sinks, Transaction
from peers.speaking import hand_in
from reading import Report, read_report

HEADER = (
    "From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <notices@sender.test>\r\n"
    "Subject: to be told of\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
)
CONTENT = f"{HEADER}\r\n.dot\r\nthe text  \r\n".encode()
EIGHT_BIT = f"{HEADER}Content-Transfer-Encoding: 8bit\r\n\r\n.Übergrößen\r\n\r\nEnde\r\n".encode()
DIRECTORY = {
    "told.test": {
        "aliases": {"both": ["one@hop.test", "two@hop.test"], "single": ["one@hop.test"]},
        "lists": {"team": {"members": ["one@hop.test", "two@hop.test"], "owner": "owner@sender.test"}},
    }
}
WISHES = "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Who+2B@there.test"


@pytest.fixture(scope="module")
def hop(sinks: Sinks, loopback: Loopback, dns: Dns) -> Iterator[Sink]:
    """A next hop without DSN, where gone@ is unknown and late@ is not taken today."""
    sink = sinks.listen(loopback.address(), 25, "mx.hop.test")
    sink.always("RCPT gone@hop.test", "550 5.1.1 gone for good")
    sink.always("RCPT late@hop.test", "450 4.2.2 the mailbox is full")
    dns.zone("hop.test", f"@ MX 10 mx\nmx A {sink.address}")
    yield sink
    sinks.pause(sink)


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, loopback: Loopback, dns: Dns, hop: Sink, dovecot: Dovecot
) -> Iterator[Relay]:
    """A relay that tries every second, and tells of a delay after one."""
    address = loopback.address()
    folder = tmp_path_factory.mktemp("told")
    (folder / "directory.yml").write_text(yaml.safe_dump(DIRECTORY))
    settings = {
        "postmaster": "postmaster@sender.test",
        "relay": {"networks": ["127.0.0.1/32"], "domains": ["told.test"]},
        "directory": "directory.yml",
        "routes": [{"to": "store.test", "via": f"lmtp://{dovecot.address}:{dovecot.port}"}],
        "retry": {"after": ["1s"], "warn": "1s", "give_up": "4h"},
        "dns": {"nameservers": [dns.nameserver]},
    }
    with running_relay(Relay(folder, address, free_port(address), settings)) as running:
        yield running


def told(senders: Sink, sender: str, count: int = 1) -> list[tuple[Transaction, Report]]:
    """The notices that a sender has, once there are so many, with what all of them have in common looked at."""
    notices = []
    for one in senders.wait_for(sender, count):
        report = read_report(one.content)
        assert one.sender == ""
        assert report.message["reporting-mta"] == "dns;relay.test"
        assert report.raw["Auto-Submitted"] == "auto-replied"
        assert report.raw["To"].strip("<>") == sender
        assert report.raw["Message-ID"]
        assert abs(parsedate_to_datetime(report.message["arrival-date"]) - datetime.now(UTC)) < timedelta(minutes=2)
        assert report.original["Subject"] == "to be told of"
        notices.append((one, report))
    assert len(notices) == count
    return notices


def actions(report: Report) -> dict[str, tuple[str, str]]:
    """Action and status of each recipient."""
    return {one["final-recipient"].removeprefix("rfc822;"): (one["action"], one["status"]) for one in report.recipients}


def test_failed_and_relayed_are_told_apart(relay: Relay, senders: Sink, hop: Sink, sender: str) -> None:
    recipients = dict.fromkeys(["one@hop.test", "two@hop.test", "gone@hop.test"], WISHES)
    hand_in(relay, sender, {**recipients, "x@hop.test": "NOTIFY=NEVER"}, CONTENT, "ENVID=QQ+2B314 RET=HDRS")
    found: dict[str, tuple[str, str]] = {}
    for _, report in told(senders, sender, 2):
        assert report.message["original-envelope-id"] == "QQ+314"
        assert {one["original-recipient"] for one in report.recipients} == {"rfc822;Who+@there.test"}
        assert {one["remote-mta"] for one in report.recipients} == {"dns;mx.hop.test"}
        assert b"the text" not in report.raw.as_bytes()
        found |= actions(report)
    assert found == {
        "one@hop.test": ("relayed", "2.0.0"),
        "two@hop.test": ("relayed", "2.0.0"),
        "gone@hop.test": ("failed", "5.1.1"),
    }
    assert hop.messages_for("x@hop.test")[-1].parameters["MAIL"].startswith("SIZE=")
    assert "NOTIFY" not in str(hop.messages_for("x@hop.test")[-1].parameters)


def test_delivered_to_a_mail_store(relay: Relay, senders: Sink, sender: str) -> None:
    hand_in(relay, sender, {"bob@store.test": "NOTIFY=SUCCESS", "carol@store.test": ""}, CONTENT)
    [(_, report)] = told(senders, sender)
    assert actions(report) == {"bob@store.test": ("delivered", "2.0.0")}
    assert "original-envelope-id" not in report.message


@pytest.mark.parametrize(
    ("content", "body"), [(CONTENT, ""), (EIGHT_BIT, "BODY=8BITMIME")], ids=["seven-bit", "eight-bit"]
)
def test_a_message_that_failed_comes_back_as_a_whole(
    relay: Relay, senders: Sink, sender: str, content: bytes, body: str
) -> None:
    own = f"{len(body)}{sender}"
    hand_in(relay, own, ["gone@hop.test"], content, f"RET=FULL {body}")
    [(notice, report)] = told(senders, own)
    assert actions(report) == {"gone@hop.test": ("failed", "5.1.1")}
    *_, returned = report.raw.iter_parts()
    assert returned.get_content_type() == "message/rfc822"
    original = returned.get_content()
    sent = email.message_from_bytes(content, policy=email.policy.default)
    assert original.get_content() == sent.get_content()
    assert content in notice.content, "every octet of it"
    assert ("BODY=8BITMIME" in notice.parameters["MAIL"]) is bool(body)


def test_the_header_alone_comes_back_of_what_succeeded(relay: Relay, senders: Sink, sender: str) -> None:
    hand_in(relay, sender, {"one@hop.test": "NOTIFY=SUCCESS"}, CONTENT, "RET=FULL")
    [(notice, report)] = told(senders, sender)
    assert actions(report) == {"one@hop.test": ("relayed", "2.0.0")}
    assert b"the text" not in notice.content


def test_a_delay_is_told_of_once(relay: Relay, senders: Sink, sender: str) -> None:
    recipients = {"late@hop.test": "NOTIFY=DELAY", "later@hop.test": "NOTIFY=FAILURE"}
    queue_id = hand_in(relay, sender, recipients, CONTENT, "ENVID=slow RET=FULL")
    relay.wait_until_deferred(queue_id)
    [(notice, report)] = told(senders, sender)
    assert actions(report) == {"late@hop.test": ("delayed", "4.2.2")}
    [fields] = report.recipients
    assert fields["diagnostic-code"].endswith(";450 4.2.2 the mailbox is full")
    until = parsedate_to_datetime(fields["will-retry-until"])
    assert timedelta(hours=3, minutes=55) < until - datetime.now(UTC) < timedelta(hours=4)
    assert report.message["original-envelope-id"] == "slow"
    assert b"the text" not in notice.content
    relay.mta("retry", queue_id)
    relay.mta("drop", "--yes", queue_id)
    assert len(senders.messages_for(sender)) == 1


def test_an_alias_of_several_is_expanded(relay: Relay, senders: Sink, hop: Sink, sender: str) -> None:
    hand_in(relay, sender, {"both@told.test": WISHES}, CONTENT, "ENVID=alias")
    [(_, report)] = told(senders, sender)
    assert actions(report) == {"both@told.test": ("expanded", "2.1.5")}
    [fields] = report.recipients
    assert fields["original-recipient"] == "rfc822;Who+@there.test"
    assert "remote-mta" not in fields
    assert hop.wait_for("two@hop.test")


def test_an_alias_of_one_is_passed_on(relay: Relay, senders: Sink, sender: str) -> None:
    hand_in(relay, sender, {"single@told.test": "NOTIFY=SUCCESS"}, CONTENT)
    [(_, report)] = told(senders, sender)
    assert actions(report) == {"one@hop.test": ("relayed", "2.0.0")}
    assert report.recipients[0]["original-recipient"] == "rfc822;single@told.test"


def test_a_list_is_a_delivery(relay: Relay, senders: Sink, sender: str) -> None:
    hand_in(relay, sender, {"team@told.test": "NOTIFY=SUCCESS"}, CONTENT)
    [(_, report)] = told(senders, sender)
    assert actions(report) == {"team@told.test": ("delivered", "2.1.5")}


def test_nothing_is_told_where_nothing_was_asked_for(relay: Relay, senders: Sink, hop: Sink, sender: str) -> None:
    before = len(hop.messages_for("one@hop.test"))
    never = hand_in(relay, sender, {"gone@hop.test": "NOTIFY=NEVER"}, CONTENT)
    plain = hand_in(relay, sender, ["one@hop.test"], CONTENT)
    hop.wait_for("one@hop.test", before + 1)
    for queue_id in (never, plain):
        relay.wait_until_gone(queue_id)
    assert not senders.messages_for(sender)
    assert [event["why"] for event in relay.story_of(never)["events"] if event["event"] == "notice"] == ["NOTIFY"]
