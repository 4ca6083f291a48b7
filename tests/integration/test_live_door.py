"""At the door: who may send where, what is said, in which order, and how much is borne."""

import contextlib

import pytest
from peers.clients import Talk, submit, swaks
from peers.daemon import Relay, StartRelay
from peers.knot import Dns
from peers.sinks import MakeSink

OUTSIDE = "127.66.66.66"
CONTENT = b"Subject: hello\r\n\r\nbody\r\n"


def test_a_client_outside_the_relay_networks_is_denied(relay: Relay, sender: str) -> None:
    said = swaks(relay, sender, ["bob@somewhere.test"], CONTENT, "--local-interface", OUTSIDE)
    assert said.status == 24, said.text
    assert "550 5.7.1" in said.text
    assert said.queue_id == ""


def test_a_client_outside_may_send_to_relay_domains(relay: Relay, dns: Dns, sink: MakeSink, sender: str) -> None:
    hop = sink()
    dns.zone("ours.test", f"@ MX 10 mx\nmx A {hop.address}")
    said = swaks(relay, sender, ["bob@ours.test"], CONTENT, "--local-interface", OUTSIDE)
    assert said.queue_id, said.text
    assert hop.wait_for("bob@ours.test")[0].content.startswith(f"Received: from client.test ([{OUTSIDE}])".encode())


@pytest.mark.parametrize(
    "path",
    [
        "bob%elsewhere.test@ours.test",
        "elsewhere.test!bob@ours.test",
        '"bob@elsewhere.test"@ours.test',
        "@ours.test:bob@elsewhere.test",
        "bob@[127.0.0.1]",
        "bob@ours.test@elsewhere.test",
    ],
)
def test_no_trick_of_addresses_makes_an_open_relay(relay: Relay, path: str) -> None:
    with Talk(relay.address, relay.port, OUTSIDE) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        assert talk.say("MAIL FROM:<a@outside.test>").startswith("250 ")
        assert talk.say(f"RCPT TO:<{path}>")[:1] == "5"


def test_a_route_that_is_a_fixed_refusal_answers_at_rcpt(relay: Relay) -> None:
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        talk.say("MAIL FROM:<a@client.test>")
        assert talk.say("RCPT TO:<bob@closed.test>") == "550 5.7.1 this domain takes no mail"
        assert talk.say("RCPT TO:<nobody@ours.test>") == "550 5.1.1 there is nobody of that name"
        assert talk.say("RCPT TO:<somebody@ours.test>").startswith("250 2.1.5")


def test_a_pipelining_client_gets_its_replies_in_order(relay: Relay, dns: Dns, sink: MakeSink) -> None:
    hop = sink()
    dns.zone("pipelined.test", f"@ MX 10 mx\nmx A {hop.address}")
    group = (
        b"MAIL FROM:<a@client.test>\r\nRCPT TO:<bob@pipelined.test>\r\nRCPT TO:<x@closed.test>\r\n"
        b"RCPT TO:<carol@pipelined.test>\r\nDATA\r\n"
    )
    with Talk(relay.address, relay.port) as talk:
        assert talk.reply().startswith("220 relay.test")
        assert "250-PIPELINING" in talk.say("EHLO client.test").splitlines()
        talk.send(group)
        assert [talk.reply()[:9] for _ in range(4)] == ["250 2.1.0", "250 2.1.5", "550 5.7.1", "250 2.1.5"]
        assert talk.reply().startswith("354")
        talk.send(CONTENT + b".\r\nNOOP\r\nMAIL FROM:<b@client.test>\r\nRSET\r\nQUIT\r\n")
        assert talk.reply().startswith("250 2.0.0 queued as ")
        assert [talk.reply()[:3] for _ in range(4)] == ["250", "250", "250", "221"]
        assert talk.reply() == ""
    assert hop.wait_for("bob@pipelined.test")[0].recipients == ["bob@pipelined.test", "carol@pipelined.test"]


def test_the_greeting_lists_what_the_relay_can(relay: Relay) -> None:
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        words = {line[4:].split()[0] for line in talk.say("EHLO client.test").splitlines()[1:]}
    assert {"PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES"} <= words


def test_content_ends_at_crlf_dot_crlf_alone_and_bare_line_feeds_are_refused(
    relay: Relay, dns: Dns, sink: MakeSink
) -> None:
    hop = sink()
    dns.zone("smuggled.test", f"@ MX 10 mx\nmx A {hop.address}")
    smuggled = b"MAIL FROM:<x@evil.test>\r\nRCPT TO:<bob@smuggled.test>\r\nDATA\r\nsecond\r\n.\r\n"
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r.\r", b"\r\n.\r"):
        with Talk(relay.address, relay.port) as talk:
            talk.reply()
            talk.say("EHLO client.test")
            talk.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<bob@smuggled.test>\r\nDATA\r\n")
            assert [talk.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
            talk.send(b"Subject: first\r\n\r\nbody" + end + smuggled)
            assert talk.reply().startswith("550 5.5.2"), end
            assert talk.say("QUIT").startswith("221")
    submit(relay, "a@client.test", ["carol@smuggled.test"], CONTENT)
    hop.wait_for("carol@smuggled.test")
    assert hop.messages_for("bob@smuggled.test") == []


def test_a_message_that_is_too_big_is_refused_early_or_at_the_limit(start_relay: StartRelay) -> None:
    relay = start_relay(limits={"message_size": "64KiB", "recipients": 3})
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        assert "SIZE 65536" in talk.say("EHLO client.test")
        assert talk.say("MAIL FROM:<a@client.test> SIZE=65537").startswith("552 5.3.4")
        assert talk.say("MAIL FROM:<a@client.test> SIZE=10").startswith("250")
        assert [talk.say(f"RCPT TO:<{name}@up.test>")[:9] for name in "abc"] == ["250 2.1.5"] * 3
        assert talk.say("RCPT TO:<d@up.test>").startswith("452 4.5.3")
        assert talk.say("DATA").startswith("354")
        talk.send((b"x" * 70 + b"\r\n") * 1000 + b".\r\n")
        assert talk.reply().startswith("552 5.3.4")
        assert talk.say("RSET").startswith("250")
    assert relay.queue("--limit", "0")["totals"] == {"messages": 0, "recipients": 0, "octets": 0}


def test_a_hundred_received_fields_are_a_loop(relay: Relay) -> None:
    hops = b"".join(b"Received: from a by b id %d; Mon, 1 Jan 2024 00:00:00 +0000\r\n" % n for n in range(101))
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        talk.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<bob@up.test>\r\nDATA\r\n")
        for _ in range(3):
            talk.reply()
        talk.send(hops + CONTENT + b".\r\n")
        assert talk.reply().startswith("554 5.4.6")


def test_connections_beyond_the_limits_get_421(start_relay: StartRelay) -> None:
    relay = start_relay(limits={"connections": 6, "connections_per_client": 3})
    with contextlib.ExitStack() as stack:
        ours = [stack.enter_context(Talk(relay.address, relay.port)) for _ in range(4)]
        assert [talk.reply()[:3] for talk in ours] == ["220", "220", "220", "421"]
        others = [stack.enter_context(Talk(relay.address, relay.port, OUTSIDE)) for _ in range(3)]
        assert [talk.reply()[:3] for talk in others] == ["220", "220", "220"]
        third = stack.enter_context(Talk(relay.address, relay.port, "127.66.66.67"))
        assert third.reply().startswith("421")
        assert ours[0].say("NOOP").startswith("250")
