"""Postfix as a next hop with one extension after the other switched off: what we say to it, and what arrives."""

import email
import re
from collections.abc import Iterator

import pytest
from peers.daemon import Relay, running_relay
from peers.dovecot import Dovecot
from peers.ground import Loopback, free_port
from peers.hops import DOMAIN, HOST, KEYWORDS, Hops, attempts
from peers.knot import Dns
from peers.sinks import Sink
from peers.speaking import hand_in, hand_in_chunks
from reading import Report, read_report, trace_on_top, with_lf

HEAD = (
    "From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <hop@sender.test>\r\nSubject: hop\r\n"
)
CONTENT = (
    f"{HEAD}MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\n.\r\n..dots\r\ncafé\r\n\r\nthe end\r\n"
).encode()
CONVERTED = CONTENT.replace(b"8bit", b"quoted-printable").replace("é".encode(), b"=C3=A9").replace(b"\n.\r", b"\n=2E\r")
PLAIN = f"{HEAD}\r\nplain\r\n".encode()
WISHES_OF_MAIL = "BODY=8BITMIME RET=HDRS ENVID=QQ+2B314"
WISHES_OF_RCPT = "NOTIFY=FAILURE ORCPT=rfc822;Bob+2B@there.test"
DOORS = {"all": "", "silent": "dsn size", "nothing": " ".join(KEYWORDS)} | {f"no-{word}": word for word in KEYWORDS}


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, loopback: Loopback, hops: Hops, dovecot: Dovecot, dns: Dns
) -> Iterator[Relay]:
    """A relay with a route for each of Postfix's ports."""
    address = loopback.address()
    routes = [
        {"to": "store.test", "via": f"lmtp://{dovecot.address}:{dovecot.port}"},
        {"from": "ascii@sender.test", "via": hops.url("no-smtputf8")},
        {"from": "utf8@sender.test", "via": hops.url("all")},
        *map(hops.route, DOORS),
    ]
    settings = {"routes": routes, "dns": {"nameservers": [dns.nameserver]}}
    relay = Relay(tmp_path_factory.mktemp("hops"), address, free_port(address), settings)
    with running_relay(relay) as running:
        yield running


@pytest.fixture(scope="module")
def sent(relay: Relay, hops: Hops) -> dict[str, str]:
    """The same message to each of Postfix's doors, one after the other: queue ids by the names of the doors."""
    queue_ids = {}
    for name in DOORS:
        sender, recipients = f"{name}@sender.test", {f"{name}@{DOMAIN}": WISHES_OF_RCPT}
        queue_ids[name] = hand_in(relay, sender, recipients, CONTENT, WISHES_OF_MAIL)
        hops.wait_for(name, sender)
    return queue_ids


@pytest.mark.parametrize("door", DOORS)
def test_nothing_is_said_that_is_not_offered(door: str, sent: dict[str, str], hops: Hops, relay: Relay) -> None:
    lacking = DOORS[door].split()
    arrived = hops.wait_for(door, f"{door}@sender.test")
    trace_on_top(arrived, with_lf(CONVERTED if "8bitmime" in lacking else CONTENT))
    mail = [f"MAIL FROM:<{door}@sender.test>"]
    mail += [] if "size" in lacking else ["SIZE=[0-9]+"]
    mail += [] if "8bitmime" in lacking else ["BODY=8BITMIME"]
    mail += [] if "dsn" in lacking else ["RET=HDRS", "ENVID=QQ[+]2B314"]
    wishes = "" if "dsn" in lacking else f" {WISHES_OF_RCPT}"
    heard = hops.postfix.heard(door)
    [place] = [place for place, command in enumerate(heard) if f"FROM:<{door}@sender.test>" in command]
    assert re.fullmatch(" ".join(mail), heard[place]), heard[place]
    assert heard[place + 1 : place + 3] == [f"RCPT TO:<{door}@{DOMAIN}>{wishes}", "DATA"]
    assert ("STARTTLS" in heard) is ("starttls" not in lacking)


def test_the_timeline_tells_of_tls_and_of_conversion(sent: dict[str, str], hops: Hops, relay: Relay) -> None:
    [with_all], [with_nothing], [in_clear] = (attempts(relay, sent[one]) for one in ("all", "nothing", "no-starttls"))
    assert with_all["host"] == f"{HOST}[{hops.address}]:{hops.ports['all']}"
    assert with_all["tls"] == "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate not verified"
    assert "notes" not in with_all
    assert with_nothing["notes"] == ["converted to 7 bit: 1 part quoted-printable"]
    assert "tls" not in with_nothing
    assert "tls" not in in_clear


def test_a_mailbox_beyond_ascii_needs_smtputf8(hops: Hops, relay: Relay, senders: Sink) -> None:
    hand_in(relay, "utf8@sender.test", [f"jürgen@{DOMAIN}"], PLAIN, "SMTPUTF8")
    trace_on_top(hops.wait_for("jürgen", "utf8@sender.test"), with_lf(PLAIN))
    [said] = hops.heard("all", "FROM:<utf8@sender.test>")
    assert said.endswith(" SMTPUTF8")
    hand_in(relay, "ascii@sender.test", [f"jürgen@{DOMAIN}"], PLAIN, "SMTPUTF8")
    [bounce] = senders.wait_for("ascii@sender.test")
    [fields] = read_report(bounce.content).recipients
    assert (fields["action"], fields["status"]) == ("failed", "5.6.7")
    assert fields["final-recipient"] == rf"utf-8;j\x{{FC}}rgen@{DOMAIN}"
    assert len(hops.postfix.mailbox("jürgen")) == 1


def report_for(senders: Sink, sender: str, count: int = 1) -> Report:
    return read_report(senders.wait_for(sender, count)[-1].content)


def test_a_hop_with_dsn_reports_success_itself(hops: Hops, relay: Relay, senders: Sink) -> None:
    queue_id = hand_in(
        relay,
        "passed@sender.test",
        {f"all@{DOMAIN}": "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@there.test"},
        PLAIN,
        "RET=HDRS ENVID=QQ314",
    )
    report = report_for(senders, "passed@sender.test")
    assert report.message["reporting-mta"] == f"dns;{HOST}"
    assert report.message["original-envelope-id"] == "QQ314"
    fields = report.about(f"all@{DOMAIN}")
    assert (fields["action"], fields["original-recipient"]) == ("delivered", "rfc822;Bob@there.test")
    relay.wait_until_gone(queue_id)
    assert "notice" not in [event["event"] for event in relay.story_of(queue_id)["events"]], "not by us, too"
    assert len(senders.messages_for("passed@sender.test")) == 1


def test_of_a_hop_without_dsn_we_report_that_we_relayed(hops: Hops, relay: Relay, senders: Sink) -> None:
    hand_in(
        relay,
        "relayed@sender.test",
        {f"no-dsn@{DOMAIN}": "NOTIFY=SUCCESS ORCPT=rfc822;Bob+2B@there.test"},
        PLAIN,
        "RET=FULL ENVID=QQ+2B314",
    )
    report = report_for(senders, "relayed@sender.test")
    assert report.message["reporting-mta"] == "dns;relay.test"
    assert report.message["original-envelope-id"] == "QQ+314"
    fields = report.about(f"no-dsn@{DOMAIN}")
    assert (fields["action"], fields["status"][0]) == ("relayed", "2")
    assert fields["original-recipient"] == "rfc822;Bob+@there.test"
    assert fields["remote-mta"] == f"dns;{HOST}"
    assert not hops.heard("no-dsn", "NOTIFY")


def test_a_mail_store_is_the_end_of_the_way(dovecot: Dovecot, relay: Relay, senders: Sink) -> None:
    before = len(dovecot.mailbox("bob@store.test"))
    recipients = {"bob@store.test": "NOTIFY=SUCCESS", "nobody@store.test": "NOTIFY=SUCCESS,FAILURE"}
    hand_in(relay, "stored@sender.test", recipients, PLAIN)
    dovecot.wait_for("bob@store.test", before + 1)
    reports = [read_report(one.content) for one in senders.wait_for("stored@sender.test", 2)]
    found = {one["final-recipient"]: (one["action"], one["status"]) for report in reports for one in report.recipients}
    assert found == {"rfc822;bob@store.test": ("delivered", "2.0.0"), "rfc822;nobody@store.test": ("failed", "5.1.1")}


def test_chunks_of_binary_content_arrive_as_base64(hops: Hops, relay: Relay) -> None:
    octets = bytes(range(256)) * 40 + b"\r\r\n\n.\r\n"
    head = (
        b"From: a@sender.test\r\nSubject: binary\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n"
    )
    chunks = [head, octets[:5000], octets[5000:]]
    for door in ("no-etrn", "no-8bitmime"):
        sender = f"binary-{door}@sender.test"
        hand_in_chunks(relay, sender, f"{door}@{DOMAIN}", chunks, "BODY=BINARYMIME")
        message = hops.wait_for(door, sender)
        assert message.isascii()
        assert decoded(message) == octets
        [said] = hops.heard(door, f"FROM:<{sender}>")
        assert "BINARYMIME" not in said
        assert not hops.heard(door, "BDAT")


def decoded(message: bytes) -> bytes:
    """The body, by what its header says of its encoding."""
    body = email.message_from_bytes(message).get_payload(decode=True)
    assert isinstance(body, bytes)
    return body
