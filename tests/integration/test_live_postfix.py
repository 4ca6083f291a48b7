"""Postfix on both sides of the relay."""

from pathlib import Path

from peers.clients import generate, submit
from peers.daemon import Relay
from peers.ground import Loopback, wait_until
from peers.knot import Dns
from peers.postfix import Postfix, running_postfix
from peers.sinks import MakeSink, Sink
from reading import read_report, trace_on_top, with_lf

CONTENT = (
    b"From: a@sender.test\r\nTo: bob@post.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    b"Message-ID: <p@sender.test>\r\nSubject: hello\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b".\r\n..dots\r\ncaf\xe9\r\n" + b"long " * 190 + b"\r\n\r\nthe end\r\n"
)


def test_postfix_as_next_hop_has_every_octet_and_its_refusal_is_bounced(
    relay: Relay, postfix: Postfix, senders: Sink, sender: str
) -> None:
    before = {user: len(postfix.mailbox(user)) for user in ("bob", "carol")}
    recipients = ["bob@post.test", "nobody@post.test", "carol@post.test"]
    queue_id = submit(relay, sender, recipients, CONTENT)
    for user in ("bob", "carol"):
        mailbox = postfix.wait_for(user, before[user] + 1)
        [message] = [one for one in mailbox if queue_id.encode() in one]
        fields = trace_on_top(message, with_lf(CONTENT))
        assert fields[0] == f"Return-Path: <{sender}>\n".encode()
        assert f"by relay.test with ESMTP id {queue_id}".encode() in fields[-1]
    [bounce] = senders.wait_for(sender)
    nobody = read_report(bounce.content).about("nobody@post.test")
    assert nobody["status"] == "5.1.1"
    assert nobody["remote-mta"] == "dns;mx.post.test"
    assert nobody["diagnostic-code"].startswith("smtp;550 5.1.1 <nobody@post.test>: Recipient address rejected")


def test_postfix_as_a_client_relays_through_us(
    relay: Relay, dns: Dns, sink: MakeSink, scratch: Path, loopback: Loopback, sender: str
) -> None:
    hop = sink()
    dns.zone("through.test", f"@ MX 10 mx\nmx A {hop.address}")
    address = loopback.address()
    client = Postfix(scratch / "client", address, "client.test", relayhost=f"[{relay.address}]:{relay.port}")
    with running_postfix(client):
        client.sendmail(sender, ["bob@through.test", "carol@through.test", "x@closed.test"], with_lf(CONTENT))
        [taken] = hop.wait_for("bob@through.test")
        assert sorted(taken.recipients) == ["bob@through.test", "carol@through.test"]
        assert taken.content.endswith(CONTENT.partition(b"\r\n\r\n")[2])
        assert b"for <bob" not in taken.content, "with two recipients the trace field names none"
        wait_until(lambda: "550 5.7.1 this domain takes no mail" in client.log, "Postfix is told at RCPT")
        through = Relay(relay.folder, address, 25, {})
        generate(through, 200, sender, "many@through.test", sessions=5)
        hop.wait_for("many@through.test", 200, within=30)
        wait_until(client.queue_is_empty, "Postfix has handed on everything")
