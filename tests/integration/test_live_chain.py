"""Two relays in a row: what the second one offers, the first one uses, and nothing that a sender asked for is lost."""

import email
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator

import pytest
import trustme
from peers.daemon import PROGRAMS, Relay, running_relay
from peers.dovecot import Dovecot
from peers.ground import Loopback, free_port, wait_until
from peers.hops import attempts
from peers.knot import Dns
from peers.sinks import Sink
from peers.speaking import hand_in, hand_in_chunks
from reading import read_report

FIELDS = b"From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <chain@sender.test>\r\n"
CONTENT = FIELDS + b"Subject: chain\r\n\r\n.dot\r\n"
BINARY = FIELDS + (
    b"Subject: binary\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Transfer-Encoding: binary\r\n\r\n"
)
OCTETS = bytes(range(256)) * 300 + b"\r\r\n\n.\r\n.\n"
SECOND = "second.chain.test"


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, loopback: Loopback, dns: Dns, dovecot: Dovecot) -> Iterator[Relay]:
    """The relay that has the mail store, with TLS. What is for keep.test stays with it, since nobody listens there."""
    address = loopback.address()
    dns.zone("chain.test", f"second A {address}")
    folder = tmp_path_factory.mktemp("second")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued = authority.issue_cert(SECOND)
    (folder / "chain.pem").write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(folder / "chain.key")
    port = free_port(address)
    settings = {
        "hostname": SECOND,
        "listen": [{"address": f"{address}:{port}"}],
        "tls": {"certificate": "chain.pem", "key": "chain.key"},
        "relay": {"networks": ["127.0.0.1/32"]},
        "limits": {"recipients": 2},
        "routes": [
            {"to": "store.test", "via": f"lmtp://{dovecot.address}:{dovecot.port}"},
            {"to": "keep.test", "via": f"smtp://{address}:9"},
            {"to": "limit.test", "via": "discard"},
        ],
        "dns": {"nameservers": [dns.nameserver]},
    }
    with running_relay(Relay(folder, address, port, settings)) as running:
        yield running


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, loopback: Loopback, dns: Dns, second: Relay) -> Iterator[Relay]:
    """The relay that hands everything but reports to the second one, whose certificate it verifies."""
    address = loopback.address()
    settings = {
        "hostname": "first.chain.test",
        "listen": [{"address": f"{address}:{free_port(address)}"}],
        "routes": [
            {"to": "sender.test", "via": "mx"},
            {"to": "*", "via": f"smtp://{SECOND}:{second.port}", "tls": "verify"},
        ],
        "tls": {"certificate": str(second.folder / "chain.pem"), "key": str(second.folder / "chain.key")},
        "dns": {"nameservers": [dns.nameserver]},
    }
    port = int(str(settings["listen"][0]["address"]).rpartition(":")[2])  # type: ignore[index]
    before = ("env", f"SSL_CERT_FILE={second.folder / 'authority.pem'}")
    with running_relay(Relay(tmp_path_factory.mktemp("first"), address, port, settings, before=before)) as running:
        yield running


@pytest.fixture
def kept(second: Relay) -> Callable[[str], str]:
    """Waits until the second relay has kept a message for somebody of keep.test; its queue id there."""

    def find(recipient: str) -> str:
        def listed() -> list[str]:
            return [one["id"] for one in second.queue("--to", recipient)["messages"]]

        [queue_id] = wait_until(listed, f"{recipient} is in the second queue", pause=0.2)
        return queue_id

    return find


def cat(relay: Relay, queue_id: str) -> bytes:
    """What `mta cat` says, in octets."""
    command = [PROGRAMS / "mta", "cat", "--config", relay.configuration, queue_id]
    return subprocess.run(command, capture_output=True, check=True, timeout=30).stdout


def test_binary_content_goes_on_as_it_is_by_bdat(first: Relay, second: Relay, kept: Callable[[str], str]) -> None:
    queue_id = hand_in_chunks(first, "b@sender.test", "bin@keep.test", [BINARY, OCTETS], "BODY=BINARYMIME")
    content = cat(second, kept("bin@keep.test"))
    assert content.endswith(BINARY + OCTETS)
    [tried] = attempts(first, queue_id)
    assert "notes" not in tried
    assert tried["tls"].endswith(f"certificate verified for {SECOND}")


def test_binary_content_is_converted_where_it_must_be(first: Relay, dovecot: Dovecot) -> None:
    hand_in_chunks(first, "binary@sender.test", "bob@store.test", [BINARY, OCTETS], "BODY=BINARYMIME")

    def stored() -> list[bytes]:
        return [
            one for one in dovecot.mailbox("bob@store.test") if one.startswith(b"Return-Path: <binary@sender.test>")
        ]

    [message] = wait_until(stored, "the mail store has it")
    assert message.isascii()
    assert email.message_from_bytes(message).get_payload(decode=True) == OCTETS


def test_every_wish_is_passed_on(first: Relay, second: Relay, kept: Callable[[str], str]) -> None:
    trusting = ssl.create_default_context(cafile=str(second.folder / "authority.pem"))
    trusting.check_hostname = False
    wishes = ["SMTPUTF8", "REQUIRETLS", "RET=HDRS", "ENVID=QQ+2B1", "MT-PRIORITY=3", "BY=600;N", "BODY=8BITMIME"]
    with smtplib.SMTP(first.address, first.port, "client.test", timeout=30) as client:
        client.starttls(context=trusting)
        client.ehlo()
        assert client.mail("jürgen@sender.test", wishes)[0] == 250
        assert client.rcpt("wishes@keep.test", ["NOTIFY=DELAY", "ORCPT=utf-8;Zoë@there.test"])[0] == 250
        assert client.data(FIELDS + "Subject: grüß\r\n\r\nüber\r\n".encode())[0] == 250
    queue_id = kept("wishes@keep.test")
    told = second.story(queue_id)
    assert "RET=HDRS, ENVID=QQ+2B1, SMTPUTF8, REQUIRETLS, MT-PRIORITY=3, delivery by " in told
    assert "from          jürgen@sender.test" in told
    assert "by UTF8SMTPS, TLSv1.3" in told
    assert "Subject: grüß\r\n\r\nüber\r\n".encode() in cat(second, queue_id)
    second.mta("bounce", "--yes", queue_id)
    wait_until(lambda: "NOTIFY" in second.story(queue_id), "its sender did not want to hear of failures")


def test_a_limit_of_recipients_is_kept_to(first: Relay, second: Relay) -> None:
    people = [f"{number}@limit.test" for number in range(5)]
    queue_id = hand_in(first, "limit@sender.test", people, CONTENT)
    first.wait_until_gone(queue_id)
    lines = [line for line in second.output.splitlines() if " received " in line and "<limit@sender.test>" in line]
    assert [line.rpartition("recipients=")[2] for line in lines] == ["2", "2", "1"]


def test_success_is_reported_once_by_the_last_relay(first: Relay, senders: Sink) -> None:
    queue_id = hand_in(first, "once@sender.test", {"carol@store.test": "NOTIFY=SUCCESS"}, CONTENT, "ENVID=once")
    [notice] = senders.wait_for("once@sender.test")
    report = read_report(notice.content)
    assert (report.message["reporting-mta"], report.message["original-envelope-id"]) == (f"dns;{SECOND}", "once")
    assert report.about("carol@store.test")["action"] == "delivered"
    first.wait_until_gone(queue_id)
    assert len(senders.messages_for("once@sender.test")) == 1
