"""The operator's view of a running relay: the `mta` command beside the daemon."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from peers.clients import submit
from peers.daemon import Relay, StartRelay
from peers.knot import Dns
from peers.sinks import MakeSink, Sink, Sinks
from reading import read_report, trace_on_top

CONTENT = (
    b"From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <waiting@sender.test>\r\n"
    b"Subject: waiting\r\n\r\n.dots\r\nbody\r\n"
)


@pytest.fixture
def patient(start_relay: StartRelay) -> Relay:
    """A relay that tries again after an hour only, so that what happens sooner is the operator's doing."""
    return start_relay(retry={"after": ["1h"], "warn": "never", "give_up": "5d"}, postmaster="postmaster@sender.test")


@pytest.fixture
def waiting(patient: Relay, dns: Dns, sink: MakeSink, sender: str) -> tuple[str, Sink]:
    """A message that has been deferred once, and the hop that would take it now."""
    hop = sink("mx.waiting.test")
    hop.script("RCPT", "450 4.2.1 come back later")
    dns.zone("waiting.test", f"@ MX 10 mx\nmx A {hop.address}")
    queue_id = submit(patient, sender, ["bob@waiting.test"], CONTENT)
    patient.wait_until_deferred(queue_id)
    return queue_id, hop


def test_the_queue_as_json_says_what_waits_and_why(patient: Relay, waiting: tuple[str, Sink], sender: str) -> None:
    queue_id, _ = waiting
    listing = patient.queue()
    [message] = listing["messages"]
    assert set(message) >= {"id", "size", "sender", "created", "recipients"}
    assert (message["id"], message["sender"]) == (queue_id, sender)
    [recipient] = message["recipients"]
    assert (recipient["address"], recipient["state"]) == ("bob@waiting.test", "deferred")
    assert recipient["last_reply"] == "450 4.2.1 come back later"
    assert 3400 < _seconds(recipient["next_attempt"]) - time.time() < 4100
    assert abs(_seconds(message["created"]) - time.time()) < 60
    assert listing["totals"] == {"messages": 1, "recipients": 1, "octets": message["size"]}
    assert patient.queue("--limit", "0")["messages"] == []
    for words in (["--to", "waiting.test"], ["--from", sender], ["--state", "deferred"]):
        assert len(patient.queue(*words)["messages"]) == 1, words
    for words in (["--to", "other.test"], ["--from", "x@other.test"], ["--state", "held"]):
        assert patient.queue(*words)["messages"] == [], words
    text = patient.mta("queue").stdout
    for word in (queue_id, sender, "bob@waiting.test", "deferred"):
        assert word in text


def _seconds(value: Any) -> float:
    """A time of the listing, which is seconds since 1970 or ISO 8601."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(UTC).timestamp()
    return float(value)


@pytest.mark.parametrize("words", [["--all"], ["--to", "waiting.test"], []])
def test_retry_is_noticed_within_seconds(patient: Relay, waiting: tuple[str, Sink], words: list[str]) -> None:
    queue_id, hop = waiting
    patient.mta("retry", *(words or [queue_id]))
    assert len(hop.wait_for("bob@waiting.test", within=5)) == 1
    patient.wait_until_gone(queue_id)


def test_held_mail_stays_until_it_is_released(patient: Relay, waiting: tuple[str, Sink]) -> None:
    queue_id, hop = waiting
    patient.mta("hold", queue_id)
    assert patient.queue()["messages"][0]["recipients"][0]["state"] == "held"
    patient.mta("retry", "--all", check=False)
    time.sleep(1.5)
    assert hop.taken == []
    patient.mta("release", queue_id)
    assert len(hop.wait_for("bob@waiting.test", within=5)) == 1


def test_bounce_tells_the_sender_and_drop_tells_nobody(
    patient: Relay, waiting: tuple[str, Sink], senders: Sink, sender: str
) -> None:
    queue_id, hop = waiting
    patient.mta("bounce", "--yes", queue_id)
    [bounce] = senders.wait_for(sender)
    assert read_report(bounce.content).about("bob@waiting.test")["action"] == "failed"
    hop.script("RCPT", "450 4.2.1 come back later")
    other = submit(patient, sender, ["carol@waiting.test"], CONTENT)
    patient.wait_until_deferred(other)
    patient.mta("drop", "--yes", other)
    patient.wait_until_gone(other)
    assert "dropped" in patient.story(other)
    assert hop.taken == []
    assert len(senders.messages_for(sender)) == 1


def test_cat_prints_the_message_and_show_its_story_so_far(
    patient: Relay, waiting: tuple[str, Sink], sender: str
) -> None:
    queue_id, _ = waiting
    printed = patient.mta("cat", queue_id).stdout
    [received] = trace_on_top(printed.replace("\r\n", "\n").encode(), CONTENT.replace(b"\r\n", b"\n"))
    assert queue_id.encode() in received
    story = patient.story(queue_id)
    for word in (
        sender,
        "bob@waiting.test",
        "mx.waiting.test",
        "450 4.2.1 come back later",
        "RCPT TO:<bob@waiting.test>",
    ):
        assert word in story, f"{word} is missing in\n{story}"


def test_what_does_not_exist_is_not_done(patient: Relay) -> None:
    for verb in ("show", "cat", "hold"):
        done = patient.mta(verb, "000000000000", check=False)
        assert done.returncode == 1, verb
        assert "000000000000" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_check_finds_a_good_configuration_good_and_a_bad_one_bad(patient: Relay, make_relay: StartRelay) -> None:
    patient.mta("check")
    wrong = make_relay(listen=[{"address": "127.0.0.1"}])
    done = wrong.mta("check", check=False)
    assert done.returncode == 1
    assert "listen" in done.stdout + done.stderr


def test_the_verbs_work_while_the_relay_is_down(
    patient: Relay, waiting: tuple[str, Sink], senders: Sink, sinks: Sinks
) -> None:
    queue_id, hop = waiting
    patient.stop()
    patient.mta("retry", queue_id)
    assert hop.taken == []
    patient.start()
    assert len(hop.wait_for("bob@waiting.test", within=5)) == 1
