"""What waits, what comes later, what comes back: next hops that say no in every way, and the bounces that follow."""

from email.utils import getaddresses

from peers.clients import submit
from peers.daemon import Relay, StartRelay
from peers.ground import wait_until
from peers.knot import Dns
from peers.sinks import DROP, MakeSink, Sink
from reading import read_report, trace_on_top

CONTENT = (
    b"From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <the.one@sender.test>\r\n"
    b"Subject: hello\r\n\r\nbody of the original\r\n"
)


def test_three_domains_end_as_delivered_delivered_later_and_bounced(
    relay: Relay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    up, later = sink("mx.up.test"), sink("mx.later.test")
    later.script("RCPT", "451 4.7.1 greylisted", "451 4.7.1 greylisted")
    dns.zone("up.test", f"@ MX 10 mx\nmx A {up.address}")
    dns.zone("later.test", f"@ MX 10 mx\nmx A {later.address}")
    queue_id = submit(relay, sender, ["bob@up.test", "carol@later.test", "dave@missing.test"], CONTENT)

    [at_once] = up.wait_for("bob@up.test")
    [afterwards] = later.wait_for("carol@later.test")
    refused = [reply for _, reply in later.refused if not reply.startswith("554")]  # that is DATA, in the same group
    assert refused == ["451 4.7.1 greylisted"] * 2
    for taken in (at_once, afterwards):
        assert len(taken.recipients) == 1
        trace_on_top(taken.content, CONTENT)

    [bounce] = senders.wait_for(sender)
    assert (bounce.sender, bounce.recipients) == ("", [sender])
    report = read_report(bounce.content)
    assert [one["final-recipient"] for one in report.recipients] == ["rfc822;dave@missing.test"]
    assert report.about("dave@missing.test")["action"] == "failed"
    assert report.about("dave@missing.test")["status"] == "5.1.2"
    assert report.message["reporting-mta"] == "dns;relay.test"
    assert "dave@missing.test" in report.text
    relay.wait_until_gone(queue_id)
    story = relay.story(queue_id)
    for word in ("mx.up.test", "mx.later.test", "451 4.7.1 greylisted", "5.1.2"):
        assert word in story, f"{word} is missing in\n{story}"


def test_the_bounce_quotes_the_remote_reply_and_returns_the_header_alone(
    relay: Relay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    hop = sink("mx.full.test")
    hop.always("RCPT bob@full.test", "552 5.2.2 mailbox <bob> is full")
    hop.always("RCPT carol@full.test", "550 5.1.1 no carol here")
    dns.zone("full.test", f"@ MX 10 mx\nmx A {hop.address}")
    submit(relay, sender, ["bob@full.test", "carol@full.test", "dave@full.test"], CONTENT)
    [taken] = hop.wait_for("dave@full.test")
    assert taken.recipients == ["dave@full.test"]

    bounces = senders.wait_for(sender)
    assert len(bounces) == 1, "those who failed together are told of together"
    report = read_report(bounces[0].content)
    assert len(report.recipients) == 2
    bob, carol = report.about("bob@full.test"), report.about("carol@full.test")
    assert (bob["status"], bob["action"]) == ("5.2.2", "failed")
    assert bob["diagnostic-code"] == "smtp;552 5.2.2 mailbox <bob> is full"
    assert bob["remote-mta"] == "dns;mx.full.test"
    assert (carol["status"], carol["diagnostic-code"]) == ("5.1.1", "smtp;550 5.1.1 no carol here")
    for words in ("bob@full.test", "552 5.2.2 mailbox <bob> is full", "carol@full.test", "550 5.1.1 no carol here"):
        assert words in report.text
    assert "dave@full.test" not in report.text
    assert report.raw["Auto-Submitted"] == "auto-replied"
    assert [address for _, address in getaddresses([report.raw["To"]])] == [sender]
    assert report.raw["Date"]
    assert report.raw["Message-ID"]
    assert report.original["Message-ID"] == "<the.one@sender.test>"
    assert b"body of the original" not in bounces[0].content


def test_a_5yz_after_the_content_bounces_for_all_of_the_transaction(
    relay: Relay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    hop = sink()
    hop.always("CONTENT", "554 5.6.0 we do not like it")
    dns.zone("content.test", f"@ MX 10 mx\nmx A {hop.address}")
    queue_id = submit(relay, sender, ["bob@content.test", "carol@content.test"], CONTENT)
    [bounce] = senders.wait_for(sender)
    report = read_report(bounce.content)
    for one in ("bob@content.test", "carol@content.test"):
        assert report.about(one)["diagnostic-code"] == "smtp;554 5.6.0 we do not like it"
    relay.wait_until_gone(queue_id)
    assert len(hop.transactions) == 1


def test_a_4yz_for_one_of_three_makes_only_that_one_wait(
    relay: Relay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    hop = sink()
    hop.script("RCPT carol@grey.test", "450 4.2.0 later")
    dns.zone("grey.test", f"@ MX 10 mx\nmx A {hop.address}")
    queue_id = submit(relay, sender, ["bob@grey.test", "carol@grey.test", "dave@grey.test"], CONTENT)
    hop.wait_for("carol@grey.test")
    assert [one.recipients for one in hop.taken] == [["bob@grey.test", "dave@grey.test"], ["carol@grey.test"]]
    assert hop.taken[1].at - hop.taken[0].at > 0.9, "retry.after says one second"
    relay.wait_until_gone(queue_id)
    assert senders.messages_for(sender) == []


def test_recipients_beyond_what_the_hop_takes_at_a_time_go_at_once_in_the_next_transaction(
    start_relay: StartRelay, dns: Dns, sink: MakeSink, sender: str
) -> None:
    relay = start_relay(retry={"after": ["1h"], "warn": "never", "give_up": "5d"})
    hop = sink()
    people = [f"{name}@few.test" for name in ("bob", "carol", "dave")]
    hop.script(f"RCPT {people[1]}", "452 4.5.3 too many recipients")
    hop.script(f"RCPT {people[2]}", "452 4.5.3 too many recipients")
    dns.zone("few.test", f"@ MX 10 mx\nmx A {hop.address}")
    submit(relay, sender, people, CONTENT)
    wait_until(lambda: sum(len(one.recipients) for one in hop.taken) == 3, "all three are taken within seconds")
    assert [one.recipients for one in hop.taken] == [[people[0]], people[1:]]


def test_a_421_in_the_middle_of_a_session_is_tried_again(
    relay: Relay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    hop = sink()
    hop.script("RCPT", "421 4.3.2 going down")
    hop.script("MAIL", "421 4.3.2 going down")
    dns.zone("down421.test", f"@ MX 10 mx\nmx A {hop.address}")
    queue_id = submit(relay, sender, ["bob@down421.test"], CONTENT)
    hop.wait_for("bob@down421.test")
    relay.wait_until_gone(queue_id)
    assert len(hop.transactions) == 1
    assert len(hop.connections) >= 3
    assert senders.messages_for(sender) == []


def test_a_reply_lost_after_the_final_dot_is_not_known_so_it_is_sent_again_and_said(
    relay: Relay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    hop = sink()
    hop.script("CONTENT", DROP)
    dns.zone("lost.test", f"@ MX 10 mx\nmx A {hop.address}")
    queue_id = submit(relay, sender, ["bob@lost.test"], CONTENT)
    hop.wait_for("bob@lost.test")
    relay.wait_until_gone(queue_id)
    assert [one.taken for one in hop.transactions] == [False, True]
    assert "unknown" in relay.story(queue_id)
    assert senders.messages_for(sender) == []


def test_a_connection_lost_before_the_final_dot_goes_to_the_next_host_at_once(
    start_relay: StartRelay, dns: Dns, sink: MakeSink, sender: str
) -> None:
    relay = start_relay(retry={"after": ["1h"], "warn": "never", "give_up": "5d"})
    first, second = sink(), sink()
    first.always("DATA", DROP)
    dns.zone("dropped.test", f"@ MX 10 a\n@ MX 20 b\na A {first.address}\nb A {second.address}")
    submit(relay, sender, ["bob@dropped.test"], CONTENT)
    assert len(second.wait_for("bob@dropped.test")) == 1


def test_a_peer_that_talks_nonsense_costs_only_time(
    relay: Relay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    hop = sink()
    hop.script("GREETING", "220 hello", "5 is no reply", "220 " + "x" * 5000)
    hop.script("MAIL", "what?", "250-going\x00 on\r\n999 off")
    dns.zone("nonsense.test", f"@ MX 10 mx\nmx A {hop.address}")
    queue_id = submit(relay, sender, ["bob@nonsense.test"], CONTENT)
    hop.wait_for("bob@nonsense.test", within=30)
    relay.wait_until_gone(queue_id)
    assert len(hop.transactions) == 1
    assert senders.messages_for(sender) == []


def test_nobody_is_told_of_a_failure_of_the_null_reverse_path(relay: Relay, senders: Sink) -> None:
    before = len(senders.taken)
    queue_id = submit(relay, "", ["bob@nobody-is-told.test"], CONTENT)
    relay.wait_until_gone(queue_id)
    assert "5.1.2" in relay.story(queue_id)
    assert [one for one in senders.taken[before:] if b"bob@nobody-is-told.test" in one.content] == []


def test_a_bounce_that_fails_goes_to_the_postmaster_once(relay: Relay, dns: Dns, sink: MakeSink, senders: Sink) -> None:
    gone = sink()
    gone.always("RCPT", "550 5.1.1 forged")
    dns.zone("forged.test", f"@ MX 10 mx\nmx A {gone.address}")
    submit(relay, "victim@forged.test", ["bob@double-bounce.test"], CONTENT)
    wait_until(
        lambda: any(b"victim@forged.test" in one.content for one in senders.messages_for("postmaster@sender.test")),
        "the postmaster is told",
    )
    told = [one for one in senders.messages_for("postmaster@sender.test") if b"victim@forged.test" in one.content]
    assert len(told) == 1
    assert told[0].sender == ""


def test_a_warning_is_sent_once_and_the_bounce_follows(
    start_relay: StartRelay, dns: Dns, sink: MakeSink, senders: Sink, sender: str
) -> None:
    relay = start_relay(retry={"after": ["1s"], "warn": "2s", "give_up": "6s"})
    hop = sink()
    hop.always("RCPT", "451 4.3.0 not today")
    dns.zone("never.test", f"@ MX 10 mx\nmx A {hop.address}")
    queue_id = submit(relay, sender, ["bob@never.test"], CONTENT)
    warning, bounce = senders.wait_for(sender, 2, within=30)
    delayed, failed = read_report(warning.content), read_report(bounce.content)
    assert delayed.about("bob@never.test")["action"] == "delayed"
    assert delayed.about("bob@never.test")["status"].startswith("4.")
    assert failed.about("bob@never.test")["action"] == "failed"
    assert failed.about("bob@never.test")["diagnostic-code"] == "smtp;451 4.3.0 not today"
    assert bounce.at - warning.at > 2
    relay.wait_until_gone(queue_id)
    assert len(senders.messages_for(sender)) == 2
