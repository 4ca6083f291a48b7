"""The peers by themselves: each does what the other tests count on. When these fail, it is not the relay."""

import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest
from dns import rcode
from peers.clients import Talk, generate, swaks
from peers.daemon import Relay
from peers.dovecot import Dovecot
from peers.ground import Loopback, free_port, greets
from peers.knot import Dns
from peers.postfix import Postfix, running_postfix
from peers.sinks import DROP, MakeSink, Sink, Sinks
from reading import trace_on_top, with_lf

CONTENT = b"From: a@client.test\r\nSubject: shapes\r\n\r\n.\r\n..two\r\n\xe9\r\n\r\nlast\r\n"


@pytest.fixture
def as_relay(tmp_path: Path) -> Callable[[Sink], Relay]:
    """A sink where clients expect a relay."""
    return lambda hop: Relay(tmp_path, hop.address, hop.port, {})


def test_knot_serves_zones_and_fails_as_told(dns: Dns) -> None:
    dns.zone("knot.test", "@ MX 10 mx\nmx A 127.0.0.9\nalias CNAME mx")
    answer = dns.ask("knot.test", "MX").answer[0][0]
    assert (answer.preference, str(answer.exchange)) == (10, "mx.knot.test.")
    dns.zone("knot.test", "@ MX 20 other")
    assert dns.ask("knot.test", "MX").answer[0][0].preference == 20
    dns.broken_zone("broken-knot.test")
    assert dns.ask("x.broken-knot.test", "A").rcode() == rcode.SERVFAIL
    assert dns.ask("no-such-zone.test", "MX").rcode() == rcode.NXDOMAIN
    assert dns.ask("elsewhere.example", "MX").rcode() == rcode.REFUSED


def test_swaks_and_a_sink_agree_to_the_octet(sink: MakeSink, as_relay: Callable[[Sink], Relay]) -> None:
    hop = sink()
    hop.script("RCPT carol@up.test", "550 5.1.1 unknown")
    said = swaks(as_relay(hop), "a@client.test", ["bob@up.test", "carol@up.test"], CONTENT)
    assert said.status == 0 or "550 5.1.1 unknown" in said.text
    taken = hop.wait_for("bob@up.test")[0]
    assert taken.content == CONTENT
    assert taken.recipients == ["bob@up.test"]
    assert hop.refused == [("RCPT carol@up.test", "550 5.1.1 unknown")]


def test_a_sink_drops_refuses_and_comes_back(sink: MakeSink, sinks: Sinks) -> None:
    hop = sink()
    hop.script("CONTENT", DROP)
    with Talk(hop.address, 25) as talk:
        assert talk.reply().startswith("220")
        assert talk.say("EHLO client.test").splitlines()[-1] == "250 ENHANCEDSTATUSCODES"
        talk.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
        assert [talk.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
        talk.send(b"..dot\r\n.\r\n")
        assert talk.reply() == ""
    assert [(one.content, one.taken) for one in hop.transactions] == [(b".dot\r\n", False)]
    sinks.pause(hop)
    assert not greets(hop.address, 25)
    sinks.resume(hop)
    assert greets(hop.address, 25)


def test_postfix_keeps_what_it_takes_and_refuses_who_is_unknown(postfix: Postfix) -> None:
    with smtplib.SMTP(postfix.address, 25, "client.test") as client:
        refused = client.sendmail("peer@sender.test", ["bob@post.test", "nobody@post.test"], CONTENT)
    assert refused["nobody@post.test"][0] == 550
    assert any(message.endswith(b"\nlast\n") for message in postfix.wait_for("bob"))


def test_postfix_as_a_client_hands_on_what_its_users_send(scratch: Path, loopback: Loopback, sink: MakeSink) -> None:
    hop = sink(port=free_port(loopback.address()))
    client = Postfix(
        scratch / "client-peer", loopback.address(), "client.test", relayhost=f"[{hop.address}]:{hop.port}"
    )
    with running_postfix(client):
        client.sendmail("root@client.test", ["bob@up.test"], with_lf(CONTENT))
        assert hop.wait_for("bob@up.test")[0].content.endswith(b"\r\n.\r\n..two\r\n\xe9\r\n\r\nlast\r\n")


def test_dovecot_stores_over_tcp_and_over_its_socket(dovecot: Dovecot) -> None:
    before = len(dovecot.mailbox("carol@store.test"))
    for host, port in ((dovecot.address, dovecot.port), (str(dovecot.socket), 0)):
        with smtplib.LMTP(host, port) as client:
            refused = client.sendmail("peer@sender.test", ["carol@store.test", "nobody@store.test"], CONTENT)
        assert refused["nobody@store.test"][0] == 550
    stored = dovecot.wait_for("carol@store.test", before + 2)
    for message in stored[-2:]:
        assert trace_on_top(message, with_lf(CONTENT))[-1].startswith(b"Received: ")


def test_the_generator_is_faster_than_any_relay_must_be(sink: MakeSink, as_relay: Callable[[Sink], Relay]) -> None:
    hop = sink()
    assert generate(as_relay(hop), 2000, "a@client.test", "many@up.test") > 500
    assert len(hop.wait_for("many@up.test", 2000)) == 2000
