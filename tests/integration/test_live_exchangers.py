"""From a forward-path to the host that takes it: MX records as Knot DNS serves them, hosts on port 25 of their own."""

import contextlib
import errno
import socket

import pytest
from peers.clients import submit, swaks
from peers.daemon import Relay
from peers.ground import Loopback, wait_until
from peers.knot import Dns
from peers.sinks import MakeSink, Sink
from reading import read_report, trace_on_top

CONTENT = (
    b"From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <hello@sender.test>\r\n"
    b"Subject: hello\r\n\r\n.\r\n.dots\r\n\r\nthe end\r\n"
)


def test_swaks_sends_to_a_host_found_through_mx_and_mta_show_tells_the_story(
    relay: Relay, dns: Dns, sink: MakeSink, sender: str
) -> None:
    hop = sink("mx1.story.test")
    dns.zone("story.test", f"@ MX 10 mx1\nmx1 A {hop.address}")
    said = swaks(relay, sender, ["bob@story.test"], CONTENT)
    assert said.status == 0, said.text
    assert said.queue_id, said.text
    [taken] = hop.wait_for("bob@story.test")
    assert (taken.sender, taken.helo) == (sender, "relay.test")
    [received] = trace_on_top(taken.content, CONTENT)
    assert received.startswith(b"Received: from client.test ([127.0.0.1])")
    assert f"id {said.queue_id}".encode() in received
    assert b"by relay.test with ESMTP" in received
    relay.wait_until_gone(said.queue_id)
    story = relay.story(said.queue_id)
    for word in (
        sender,
        "bob@story.test",
        "127.0.0.1",
        "client.test",
        "mx1.story.test",
        hop.address,
        "250 2.0.0 taken",
    ):
        assert word in story, f"{word} is missing in\n{story}"


def test_the_most_preferred_host_takes_it(relay: Relay, dns: Dns, sink: MakeSink, sender: str) -> None:
    first, second = sink(), sink()
    dns.zone("preferred.test", f"@ MX 20 b\n@ MX 5 a\na A {first.address}\nb A {second.address}")
    submit(relay, sender, ["bob@preferred.test"], CONTENT)
    first.wait_for("bob@preferred.test")
    assert second.connections == []


def test_where_the_first_host_is_down_the_second_takes_it(
    relay: Relay, dns: Dns, sink: MakeSink, sender: str, loopback: Loopback
) -> None:
    second = sink()
    dns.zone("firstdown.test", f"@ MX 10 a\n@ MX 20 b\na A {loopback.address()}\nb A {second.address}")
    submit(relay, sender, ["bob@firstdown.test"], CONTENT)
    assert len(second.wait_for("bob@firstdown.test")) == 1


@pytest.mark.parametrize("greeting", ["421 4.3.2 closing", "450 4.3.2 busy"])
def test_where_the_first_host_greets_with_4yz_the_second_takes_it(
    relay: Relay, dns: Dns, sink: MakeSink, sender: str, greeting: str
) -> None:
    domain = f"busy{greeting[:3]}.test"
    first, second = sink(), sink()
    first.always("GREETING", greeting)
    dns.zone(domain, f"@ MX 10 a\n@ MX 20 b\na A {first.address}\nb A {second.address}")
    submit(relay, sender, [f"bob@{domain}"], CONTENT)
    assert len(second.wait_for(f"bob@{domain}")) == 1
    assert len(first.connections) == 1


def test_equally_preferred_hosts_share_the_mail(relay: Relay, dns: Dns, sink: MakeSink, sender: str) -> None:
    hosts = [sink(), sink(), sink()]
    for one in hosts:
        one.one_message_a_session = True  # or else one open session would be used for all
    last = sink()
    records = "\n".join(f"@ MX 10 mx{n}\nmx{n} A {one.address}" for n, one in enumerate(hosts))
    dns.zone("equal.test", f"{records}\n@ MX 20 last\nlast A {last.address}")
    for _ in range(16):
        submit(relay, sender, ["bob@equal.test"], CONTENT)
    wait_until(lambda: sum(len(one.taken) for one in hosts) == 16, "the three hosts have taken all")
    assert sum(bool(one.taken) for one in hosts) >= 2
    assert last.taken == []


def test_a_host_with_several_addresses_is_tried_at_each(
    relay: Relay, dns: Dns, sink: MakeSink, sender: str, loopback: Loopback
) -> None:
    up = sink()
    dns.zone("several.test", f"@ MX 10 mx\nmx A {loopback.address()}\nmx A {loopback.address()}\nmx A {up.address}")
    submit(relay, sender, ["bob@several.test"], CONTENT)
    assert len(up.wait_for("bob@several.test")) == 1


def test_a_5yz_to_rcpt_is_final_and_the_second_host_is_not_asked(
    relay: Relay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    first, second = sink(), sink()
    first.always("RCPT", "550 5.1.1 nobody here")
    dns.zone("final.test", f"@ MX 10 a\n@ MX 20 b\na A {first.address}\nb A {second.address}")
    submit(relay, sender, ["bob@final.test"], CONTENT)
    [bounce] = senders.wait_for(sender)
    assert read_report(bounce.content).about("bob@final.test")["diagnostic-code"] == "smtp;550 5.1.1 nobody here"
    assert second.connections == []


def test_without_mx_the_domain_itself_is_the_host_by_its_a_record(
    relay: Relay, dns: Dns, sink: MakeSink, sender: str
) -> None:
    hop = sink()
    dns.zone("implicit.test", f"@ A {hop.address}")
    submit(relay, sender, ["bob@implicit.test"], CONTENT)
    assert len(hop.wait_for("bob@implicit.test")) == 1


def test_without_mx_the_domain_itself_is_the_host_by_its_aaaa_record(
    relay: Relay, dns: Dns, sink: MakeSink, sender: str
) -> None:
    hop = _on_ipv6_loopback(sink)
    dns.zone("implicit6.test", "@ AAAA ::1")
    submit(relay, sender, ["bob@implicit6.test"], CONTENT)
    assert len(hop.wait_for("bob@implicit6.test")) == 1


def test_a_host_is_tried_in_both_families(
    relay: Relay, dns: Dns, sink: MakeSink, sender: str, loopback: Loopback
) -> None:
    hop = _on_ipv6_loopback(sink)
    dns.zone("families.test", f"@ MX 10 mx\nmx A {loopback.address()}\nmx AAAA ::1")
    submit(relay, sender, ["bob@families.test"], CONTENT)
    assert len(hop.wait_for("bob@families.test")) == 1


def _on_ipv6_loopback(sink: MakeSink) -> Sink:
    """A sink at ::1, of which a machine has only one: another run may have it for some seconds."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise
        pytest.skip("this machine has no ::1")
    made: list[Sink] = []

    def bound() -> bool:
        with contextlib.suppress(OSError):
            made.append(sink(address="::1"))
        return bool(made)

    wait_until(bound, "port 25 of ::1 is free", within=60, pause=0.2)
    return made[0]


def test_unusable_mx_never_lead_to_the_a_record(relay: Relay, dns: Dns, sink: MakeSink, sender: str) -> None:
    itself = sink()
    dns.zone("unusable.test", f"@ MX 10 gone.nowhere.test.\n@ A {itself.address}")
    queue_id = submit(relay, sender, ["bob@unusable.test"], CONTENT)
    wait_until(lambda: _was_tried(relay, queue_id), f"{queue_id} is tried", pause=0.2)
    assert itself.connections == []
    relay.mta("drop", "--yes", queue_id, check=False)


def _was_tried(relay: Relay, queue_id: str) -> bool:
    one = relay.queued(queue_id)
    return one is None or bool(one["recipients"][0]["last_reply"])


def test_a_null_mx_bounces_with_5_1_10(relay: Relay, dns: Dns, senders: Sink, sender: str) -> None:
    dns.zone("null.test", "@ MX 0 .\n@ A 127.0.0.1")
    submit(relay, sender, ["bob@null.test"], CONTENT)
    [bounce] = senders.wait_for(sender)
    assert read_report(bounce.content).about("bob@null.test")["status"] == "5.1.10"


@pytest.mark.parametrize("way", ["hostname", "address"])
def test_an_mx_that_leads_to_ourselves_bounces_with_5_4_6(
    relay: Relay, dns: Dns, senders: Sink, way: str, sender: str
) -> None:
    records = {"hostname": "@ MX 10 relay.test.", "address": f"@ MX 10 mx\nmx A {relay.address}"}
    dns.zone(f"self-{way}.test", records[way])
    own = sender.replace("@", f"-{way}@")
    submit(relay, own, [f"bob@self-{way}.test"], CONTENT)
    [bounce] = senders.wait_for(own)
    assert read_report(bounce.content).about(f"bob@self-{way}.test")["status"] == "5.4.6"


def test_hosts_that_are_not_preferred_to_ourselves_are_never_tried(
    relay: Relay, dns: Dns, sink: MakeSink, sender: str, loopback: Loopback
) -> None:
    behind = sink()
    dns.zone(
        "backup.test",
        f"@ MX 10 down\n@ MX 20 relay.test.\n@ MX 20 beside\n@ MX 30 behind\n"
        f"down A {loopback.address()}\nbeside A {behind.address}\nbehind A {behind.address}",
    )
    queue_id = submit(relay, sender, ["bob@backup.test"], CONTENT)
    entry = relay.wait_until_deferred(queue_id)
    assert entry["recipients"][0]["last_reply"].startswith("4")
    assert behind.connections == []
    relay.mta("drop", "--yes", queue_id)


def test_a_domain_that_does_not_exist_bounces_with_5_1_2(relay: Relay, senders: Sink, sender: str) -> None:
    submit(relay, sender, ["bob@there-is-no-such.test"], CONTENT)
    [bounce] = senders.wait_for(sender)
    report = read_report(bounce.content)
    assert report.about("bob@there-is-no-such.test")["status"] == "5.1.2"
    assert "remote-mta" not in report.about("bob@there-is-no-such.test")


def test_servfail_waits_and_is_delivered_when_the_zone_is_mended(
    relay: Relay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    hop = sink()
    dns.broken_zone("servfail.test")
    queue_id = submit(relay, sender, ["bob@servfail.test"], CONTENT)
    entry = relay.wait_until_deferred(queue_id)
    assert entry["recipients"][0]["last_reply"].startswith("4")
    assert entry["recipients"][0]["state"] in ("deferred", "ready", "active")
    assert senders.messages_for(sender) == []
    dns.zone("servfail.test", f"@ MX 10 mx\nmx A {hop.address}")
    assert len(hop.wait_for("bob@servfail.test", within=30)) == 1


def test_aliases_are_followed_for_domains_and_for_hosts(relay: Relay, dns: Dns, sink: MakeSink, sender: str) -> None:
    hop = sink()
    dns.zone("aliases.test", f"old CNAME new\nnew MX 10 mail\nmail CNAME box\nbox A {hop.address}")
    submit(relay, sender, ["bob@old.aliases.test"], CONTENT)
    assert len(hop.wait_for("bob@old.aliases.test")) == 1


def test_an_address_literal_is_the_host(relay: Relay, sink: MakeSink, sender: str) -> None:
    hop = sink()
    submit(relay, sender, [f"bob@[{hop.address}]"], CONTENT)
    assert len(hop.wait_for(f"bob@[{hop.address}]")) == 1
