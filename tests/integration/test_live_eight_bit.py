"""8-bit mail on its way to hosts that take only 7 bit: what arrives says the same, and what is signed is left alone."""

import email
import email.policy
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme
from peers.daemon import Relay, running_relay
from peers.ground import Loopback, free_port, tool
from peers.hops import DOMAIN, Hops, attempts
from peers.knot import Dns
from peers.sinks import Sink, Sinks
from peers.speaking import hand_in
from reading import read_report, trace_on_top, with_lf

FIELDS = "From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <eight@sender.test>\r\n"
TEXT = (
    ".\r\n..zwei Punkte\r\nFür Leerzeichen am Ende  \r\n\tTabulator\t\r\nFrom here on = 100 %\r\n"
    + "ö" * 300
    + "\r\n.\r\n"
)
HTML = "<p>Grüße, <b>fett</b></p>\r\n.html\r\n"
ATTACHMENT = bytes(one for one in range(256) if one not in b"\0\r\n") * 3 + b"\r\n.\r\n" + b"\xff\xfe" * 200
MULTIPART = b"".join(
    (
        f"{FIELDS}Subject: {'=?utf-8?q?Gr=C3=BC=C3=9Fe?='}\r\nMIME-Version: 1.0\r\n".encode(),
        b"DKIM-Signature: v=1; a=rsa-sha256; d=sender.test; s=one; h=from; bh=x; b=x\r\n",
        b'Content-Type: multipart/mixed; boundary="outer"\r\n\r\nNobody reads this.\r\n',
        b'--outer\r\nContent-Type: multipart/alternative; boundary="inner"\r\n\r\n',
        b"--inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        TEXT.encode(),
        b"\r\n--inner\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        HTML.encode("iso-8859-1"),
        b"\r\n--inner--\r\n",
        b"--outer\r\nContent-Type: text/plain\r\n\r\nThis part is plain = and stays so.  \r\n.\r\n",
        b'\r\n--outer\r\nContent-Type: application/octet-stream; name="all"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n',
        ATTACHMENT,
        b"\r\n--outer\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        f"{FIELDS}Subject: inside\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n".encode(),
        "Content-Transfer-Encoding: 8bit\r\n\r\n.Wärme darin\r\n".encode(),
        b"\r\n--outer--\r\n",
    )
)
PLAIN = f"{FIELDS}Subject: plain\r\n\r\n.\r\n..dots  \r\n=E9 is no encoding here\r\n\r\n".encode()


@pytest.fixture(scope="module")
def old_host(sinks: Sinks, loopback: Loopback) -> Iterator[Sink]:
    """A host that has never heard of EHLO."""
    sink = sinks.listen(loopback.address(), 25, "old.eight.test")
    sink.always("EHLO", "502 5.5.1 what is that?")
    yield sink
    sinks.pause(sink)


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, loopback: Loopback, hops: Hops, dns: Dns, old_host: Sink
) -> Iterator[Relay]:
    """A relay whose next hops do not offer 8BITMIME, and which does with it what the mailbox is called."""
    address = loopback.address()
    dns.zone("eight.test", f"@ MX 10 old\nold A {old_host.address}")
    seven = hops.url("nothing")
    settings = {
        "routes": [
            {"from": "as-it-is@sender.test", "via": seven, "eight_bit": "send"},
            {"from": "no-change@sender.test", "via": seven, "eight_bit": "bounce"},
            hops.route("nothing"),
        ],
        "dns": {"nameservers": [dns.nameserver]},
    }
    relay = Relay(tmp_path_factory.mktemp("eight"), address, free_port(address), settings)
    with running_relay(relay) as running:
        yield running


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A message with an S/MIME signature over 8-bit text, made and found good by OpenSSL."""
    folder = tmp_path_factory.mktemp("smime")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued = authority.issue_cert("a@sender.test")
    issued.cert_chain_pems[0].write_to_path(folder / "signer.pem")
    issued.private_key_pem.write_to_path(folder / "signer.key")
    entity = f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{TEXT}"
    (folder / "entity").write_bytes(entity.encode())
    words = "smime -sign -in entity -signer signer.pem -inkey signer.key -crlfeol"
    done = subprocess.run([tool("openssl", "openssl"), *words.split()], cwd=folder, capture_output=True, check=True)
    content = FIELDS.encode() + with_lf(done.stdout).replace(b"\n", b"\r\n")
    assert is_genuine(content, folder)
    assert not is_genuine(content.replace(b"Tabulator", b"tabulator"), folder)
    assert TEXT.encode() in content
    return content


def is_genuine(content: bytes, folder: Path) -> bool:
    """Does OpenSSL find the signature good?"""
    words = "smime -verify -CAfile authority.pem -purpose any"
    command = [tool("openssl", "openssl"), *words.split()]
    return subprocess.run(command, cwd=folder, input=content, capture_output=True, check=False).returncode == 0


def parts_of(content: bytes) -> list[tuple[str, bytes]]:
    """The parts, as the standard library decodes them: media type, and octets with LF of those without parts."""
    found = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    assert not [part.defects for part in found.walk() if part.defects]
    parts = []
    for part in found.walk():
        octets = b"" if part.is_multipart() else part.get_payload(decode=True)
        assert isinstance(octets, bytes)
        parts.append((str(part["Content-Type"]), with_lf(octets)))
    return parts


def notes_of(relay: Relay, queue_id: str) -> list[str]:
    """What the timeline says of the last try."""
    found = attempts(relay, queue_id)[-1].get("notes", [])
    assert isinstance(found, list)
    return found


def test_what_is_sent_is_what_it_should_be() -> None:
    found = [(kind.partition(";")[0], octets) for kind, octets in parts_of(MULTIPART)]
    assert found == [
        ("multipart/mixed", b""),
        ("multipart/alternative", b""),
        ("text/plain", with_lf(TEXT.encode())),
        ("text/html", with_lf(HTML.encode("iso-8859-1"))),
        ("text/plain", b"This part is plain = and stays so.  \n.\n"),
        ("application/octet-stream", with_lf(ATTACHMENT)),
        ("message/rfc822", b""),
        ("text/plain", ".Wärme darin\n".encode()),
    ]


def test_a_multipart_says_the_same_in_7_bit(relay: Relay, hops: Hops, old_host: Sink) -> None:
    recipients = [f"nothing@{DOMAIN}", "bob@eight.test"]
    queue_id = hand_in(relay, "change@sender.test", recipients, MULTIPART, "BODY=8BITMIME")
    [taken] = old_host.wait_for("bob@eight.test")
    arrived = hops.wait_for("nothing", "change@sender.test")
    for content in (taken.content, arrived):
        assert content.isascii()
        assert parts_of(content) == parts_of(MULTIPART)
        assert max(map(len, content.splitlines())) <= 998
        assert b"\nThis part is plain = and stays so.  " in content, "a part that is 7 bit is not touched"
    assert old_host.commands[:3] == ["EHLO relay.test", "HELO relay.test", "MAIL FROM:<change@sender.test>"]
    notes = ["converted to 7 bit: 3 parts quoted-printable, 1 base64; the DKIM signature no longer holds"]
    assert [one["notes"] for one in attempts(relay, queue_id, 2)] == [notes, notes]
    assert notes[0] in relay.story(queue_id)


def test_8_bit_that_was_not_declared_counts_as_8_bit(relay: Relay, old_host: Sink) -> None:
    hand_in(relay, "undeclared@sender.test", ["carol@eight.test"], MULTIPART)
    [taken] = old_host.wait_for("carol@eight.test")
    assert taken.content.isascii()
    assert parts_of(taken.content) == parts_of(MULTIPART)


def test_a_large_one_is_converted_too(relay: Relay, old_host: Sink) -> None:
    lines = "".join(f".{number} Zeilen über Zeilen  \r\n" for number in range(100_000)).encode()
    fields = f"{FIELDS}MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    sent = f"{fields}Content-Transfer-Encoding: 8bit\r\n\r\n".encode() + lines
    hand_in(relay, "large@sender.test", ["large@eight.test"], sent, "BODY=8BITMIME")
    [taken] = old_host.wait_for("large@eight.test")
    assert taken.content.isascii()
    assert parts_of(taken.content) == parts_of(sent)


@pytest.mark.parametrize("body", ["", "BODY=7BIT", "BODY=8BITMIME"])
def test_what_needs_no_change_goes_octet_for_octet(body: str, relay: Relay, old_host: Sink) -> None:
    recipient = f"plain{len(body)}@eight.test"
    queue_id = hand_in(relay, "plain@sender.test", [recipient], PLAIN, body)
    [taken] = old_host.wait_for(recipient)
    assert taken.content.endswith(b"\r\n" + PLAIN)
    assert notes_of(relay, queue_id) == []


def test_what_is_signed_bounces_where_it_would_have_to_change(
    relay: Relay, old_host: Sink, hops: Hops, senders: Sink, signed: bytes
) -> None:
    queue_id = hand_in(relay, "signed@sender.test", ["dave@eight.test"], signed, "BODY=8BITMIME")
    [bounce] = senders.wait_for("signed@sender.test")
    report = read_report(bounce.content)
    fields = report.about("dave@eight.test")
    assert (fields["action"], fields["status"]) == ("failed", "5.6.3")
    assert "signed" in fields["diagnostic-code"]
    assert not old_host.messages_for("dave@eight.test")
    assert "DATA" not in relay.story(queue_id)
    hand_in(relay, "again@sender.test", [f"nothing@{DOMAIN}"], signed, "BODY=8BITMIME")
    [bounce] = senders.wait_for("again@sender.test")
    assert read_report(bounce.content).about(f"nothing@{DOMAIN}")["status"] == "5.6.3"
    assert not hops.mail_from("nothing", "again@sender.test")


def test_send_sends_it_untouched(relay: Relay, hops: Hops, signed: bytes) -> None:
    queue_id = hand_in(relay, "as-it-is@sender.test", [f"nothing@{DOMAIN}"], signed, "BODY=8BITMIME")
    trace_on_top(hops.wait_for("nothing", "as-it-is@sender.test"), with_lf(signed))
    [said] = hops.heard("nothing", "MAIL FROM:<as-it-is@sender.test>")
    assert said == "MAIL FROM:<as-it-is@sender.test>"
    assert notes_of(relay, queue_id) == []


def test_bounce_bounces_what_could_be_converted(relay: Relay, hops: Hops, senders: Sink) -> None:
    hand_in(relay, "no-change@sender.test", [f"nothing@{DOMAIN}"], MULTIPART, "BODY=8BITMIME")
    [bounce] = senders.wait_for("no-change@sender.test")
    assert read_report(bounce.content).about(f"nothing@{DOMAIN}")["status"] == "5.6.3"
    assert not hops.mail_from("nothing", "no-change@sender.test")
