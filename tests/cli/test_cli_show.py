"""`mta show` and `mta cat`: the story of a message, and its octets."""

import json
import re
from pathlib import Path

import pytest
from cli_ground import CONTENT, DIALOGUE, Ground

from mta.message.timeline import Event
from mta.operating.story import accepted, ends_of, tell
from mta.spool.content import LARGEST_ROW


def test_the_story_of_a_message_that_waits(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test", "carol@else.test")
    ground.defer(queue_id)
    facts, timeline = ground.mta("show", queue_id).stdout.split("\n\n")
    assert re.match(rf"{queue_id}  +in the queue\n", facts)
    assert re.search(r"^from +alice@sender.test$", facts, re.M)
    assert re.search(rf"^size +{len(CONTENT)} octets$", facts, re.M)
    waits = r"deferred, next try \S+Z \(in 60m\); last reply: 450 4.2.1 come back later"
    assert re.search(rf"^to +bob@there.test: {waits}\nto +carol@else.test: {waits}$", facts, re.M)
    told = [re.sub(r"\S+Z ", "T ", line) for line in timeline.splitlines()]
    tried = "at mx.there.test[192.0.2.9]:25, without TLS, 0.25 s: 450 4.2.1 come back later"
    assert told[:6] == [
        f"T  received from client.test [192.0.2.7] by ESMTP: {len(CONTENT)} octets from alice@sender.test for "
        "bob@there.test, carol@else.test",
        f"T  try 1 {tried}",
        *(f"    {line}" for line in DIALOGUE),
    ]
    assert re.match(
        r"T  deferred for bob@there.test by mx.there.test\[192.0.2.9\]:25: 450 4.2.1 come back later; ", told[6]
    )


def test_the_story_goes_on_when_the_message_has_gone(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test", "carol@else.test")
    ground.mta("drop", "--yes", "--to", "else.test")
    ground.deliver(queue_id, "250 2.0.0 taken")
    told = ground.mta("show", queue_id.lower()).stdout
    assert re.match(rf"{queue_id}  +ended \S+Z: delivered, dropped\n", told)
    assert re.search(r"^to +bob@there.test: delivered \S+Z: 250 2.0.0 taken$", told, re.M)
    assert re.search(r"^to +carol@else.test: dropped \S+Z: operator$", told, re.M)
    assert "TLSv1.3" in told
    assert told.endswith("Z  ended: nothing is left to do\n")


def test_the_story_as_json(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test", "carol@else.test")
    ground.mta("drop", "--yes", "--to", "else.test")
    ground.defer(queue_id)
    story = json.loads(ground.mta("show", "--json", queue_id).stdout)
    assert (story["id"], story["sender"], story["ended"]) == (queue_id, "alice@sender.test", None)
    assert story["size"] == len(CONTENT)
    [bob, carol] = story["recipients"]
    assert bob == {
        "address": "bob@there.test",
        "state": "deferred",
        "next_attempt": bob["next_attempt"],
        "last_reply": "450 4.2.1 come back later",
    }
    assert carol == {
        "address": "carol@else.test",
        "state": "dropped",
        "next_attempt": None,
        "last_reply": "",
    }
    assert [event["event"] for event in story["events"]] == ["received", "dropped", "attempt", "deferred"]
    assert story["events"][2]["dialogue"] == DIALOGUE
    assert story["events"][3]["next"][:16] == bob["next_attempt"][:16]
    for event in story["events"]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])


def test_a_notice_is_told_by_both_messages(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test")
    ground.mta("bounce", "--yes", queue_id)
    [notice] = json.loads(ground.mta("queue", "--json").stdout)["messages"]
    told = ground.mta("show", queue_id).stdout
    assert f"  notice of failure: message {notice['id']}\n" in told
    assert re.search(r"^to +bob@there.test: failed \S+Z: 554 5.0.0 returned by the operator", told, re.M)
    told = ground.mta("show", notice["id"]).stdout
    assert re.search(rf"^notice for +{queue_id}$", told, re.M)
    assert f"made here as a notice about {queue_id}: " in told
    assert "  routed to sender.test for alice@sender.test: no route matches" in told


def test_a_list_is_told_with_its_members(ground: Ground) -> None:
    queue_id = ground.add_for_a_list(["bob@there.test", "list@ours.test"], ret="FULL", priority=3)
    told = ground.mta("show", queue_id).stdout
    assert re.search(r"^from +alice@sender.test$", told, re.M)
    assert re.search(r"^asked for +RET=FULL, MT-PRIORITY=3$", told, re.M)
    assert re.search(r"^to +bob@there.test: ready, goes on from owner@ours.test$", told, re.M)
    assert re.search(r"^to +list@ours.test: ready, goes on from owner@ours.test$", told, re.M), "a member of itself"
    assert "  list@ours.test expanded into bob@there.test, list@ours.test\n" in told
    assert " by ESMTPSA, TLSv1.3 TLS_AES_256_GCM_SHA384, login alice: " in told
    story = json.loads(ground.mta("show", "--json", queue_id).stdout)
    assert [(one["address"], one["state"]) for one in story["recipients"]] == [
        ("bob@there.test", "ready"),
        ("list@ours.test", "ready"),
    ]


def test_a_list_has_ended_with_its_members(ground: Ground) -> None:
    queue_id = ground.add_for_a_list(["bob@there.test"])
    ground.deliver(queue_id)
    told = ground.mta("show", queue_id).stdout
    assert re.search(rf"^{queue_id} +ended \S+Z: delivered, expanded$", told, re.M)
    assert re.search(r"^to +list@ours.test: expanded \S+Z$", told, re.M)
    assert re.search(r"^to +bob@there.test: delivered \S+Z: 250 2.0.0 ok$", told, re.M)


def test_what_its_sender_holds_back_waits_until_then(ground: Ground) -> None:
    at = ground.began + 10800
    queue_id = ground.add_for_a_list(["bob@there.test"], released=at)
    moment = r"\d{4}-\d\d-\d\dT\S+Z"
    told = ground.mta("show", queue_id).stdout
    assert re.search(rf"^to +bob@there.test: deferred, waits until {moment} \(in 3h\)", told, re.M)
    assert re.search(rf"^asked for +not to go on before {moment}$", told, re.M)
    assert re.search(r" deferred +3h ", ground.mta("queue").stdout)
    ground.mta("retry", queue_id)
    assert re.search(r"^to +bob@there.test: ready", ground.mta("show", queue_id).stdout, re.M)


def test_a_message_that_nobody_knows(ground: Ground) -> None:
    for verb in ("show", "cat"):
        refused = ground.mta(verb, "000000000000", status=1)
        assert refused.stdout == ""
        assert refused.stderr.startswith("mta: ")
        assert "000000000000" in refused.stderr
        assert "is not a queue id" in ground.mta(verb, "not-an-id", status=2).stderr
        ground.mta(verb, status=2)


def event(kind: str, **detail: object) -> Event:
    return Event(0.0, kind, detail)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("happened", "text"),
    [
        (
            event("received", client="", helo="h.test", protocol="LMTP", sender="", recipients=["a@b.test"], size=1234),
            "received from h.test over a Unix socket by LMTP: 1,234 octets from <> for a@b.test",
        ),
        (
            event("received", client="drop", helo="uid 1000", protocol="local", login="alice", sender="a@b.test",
                  recipients=["c@d.test"], size=1234),
            "taken out of the drop folder, where alice (uid 1000) had left it: 1,234 octets from a@b.test for c@d.test",
        ),
        (event("attempt", **{"try": 2}, destination="d.test", host="", seconds=30.0004, reply="451 4.4.1 no answer"),
         "try 2 at d.test, without TLS, 30 s: 451 4.4.1 no answer"),
        (event("attempt", **{"try": 1}, host="mx.test[192.0.2.1]:25", seconds=0.1, reply="250 ok",
               tls="TLSv1.3, verified", notes=["converted to 7 bit: 2 parts", "its DKIM signature broke"]),
         "try 1 at mx.test[192.0.2.1]:25, TLSv1.3, verified, 0.1 s: 250 ok; converted to 7 bit: 2 parts; "
         "its DKIM signature broke"),
        (event("received", client="192.0.2.1", helo="h.test", protocol="ESMTP", sender="", recipients=["a@b.test"],
               size=1, proxy="192.0.2.9"),
         "received from h.test [192.0.2.1] by ESMTP: 1 octets from <> for a@b.test; proxy 192.0.2.9"),
        (event("notice", about="delivered", id="CR7CY6C240G0"), "notice of delivery: message CR7CY6C240G0"),
        (event("failed", recipients=["a@b.test"], reply="450 later", why="expired", host="mx.test[192.0.2.1]:25"),
         "given up for its age for a@b.test by mx.test[192.0.2.1]:25: 450 later"),
        (event("discarded", recipients=["a@b.test"], why="routes[1]: to b.test"),
         "discarded for a@b.test: routes[1]: to b.test"),
        (event("expanded", recipients=["l@b.test"]), "l@b.test expanded"),
        (event("expanded", recipients=["l@b.test"], into=["a@b.test", "c@d.test"]),
         "l@b.test expanded into a@b.test, c@d.test"),
        (event("notice", about="delayed", id="CR7CY6C240G0"), "notice of delay: message CR7CY6C240G0"),
        (event("notice", about="failed", why="null reverse-path"), "no notice of failure: null reverse-path"),
        (event("held", recipients=["a@b.test"], why="double bounce"), "held for a@b.test: double bounce"),
        (event("released", recipients=["a@b.test"], by="operator"), "released for a@b.test by operator"),
        (event("delivered", recipients=[f"{n}@b.test" for n in range(1000)], reply="250 ok"),
         "delivered to 0@b.test, 1@b.test, 2@b.test, 3@b.test, 4@b.test, 995 others: 250 ok"),
        (event("greylisted", recipients=["a@b.test"], minutes=5), "greylisted recipients=['a@b.test'] minutes=5"),
    ],
)  # fmt: skip
def test_each_event_in_words(happened: Event, text: str) -> None:
    assert tell(happened).text == text


def test_a_lost_reply_is_called_last_result_unknown() -> None:
    """Not that a try was cut off: a relay that is killed leaves the same of what waited in memory for its turn."""
    told = tell(event("unknown", recipients=["a@b.test"])).text
    assert told == "last result unknown for a@b.test: it was taken up for delivery, and no final reply recorded"


@pytest.mark.parametrize("kind", ["received", "attempt", "deferred", "delivered", "failed", "notice", "unknown", "new"])
def test_an_event_without_its_details_is_told_too(kind: str) -> None:
    assert tell(event(kind)).text


def test_how_recipients_ended() -> None:
    events = [
        event("received", recipients=["a@b.test", "c@d.test"], size=3),
        event("deferred", recipients=["a@b.test"], reply="450 later"),
        event("failed", recipients=["a@b.test"], reply="550 no"),
        event("discarded", recipients=["c@d.test"], why="routes[0]"),
    ]
    assert accepted(events) == (["a@b.test", "c@d.test"], 3)
    ended = {address: (end.word, end.reply, end.why) for address, end in ends_of(events).items()}
    assert ended == {"a@b.test": ("failed", "550 no", ""), "c@d.test": ("discarded", "", "routes[0]")}
    assert accepted([]) == ([], 0)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_hostile_story_is_harmless(ground: Ground, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setattr("mta.cli.output.on_terminal", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "80")
    queue_id = ground.add('"\x1b[2J"@there.test', sender='"\n\x9b"@sender.test')
    ground.defer(queue_id, "450 [bold]\x1b]0;title\x07", host="mx\x1b[1m")
    for told in (ground.mta("show", queue_id).stdout, ground.mta("show", "--json", queue_id).stdout):
        assert not re.search(r"[^\n -~]", told)
        assert "[bold]" in told
    told = ground.mta("show", queue_id).stdout
    assert "DIALOGUE" not in told
    assert "S: 450 4.2.1 come back later" in told
    if terminal:
        assert max(map(len, told.splitlines())) <= 80


def test_cat_prints_the_octets(ground: Ground) -> None:
    content = b"Subject: \xff\x00\x1b[31m\r\n\r\n.dot\r\n" + b"x" * 100_000 + b"\r\n"
    queue_id = ground.add("bob@there.test", content=content)
    assert ground.mta("cat", queue_id.lower()).stdout_bytes == content
    large = b"y" * LARGEST_ROW + b"\r\n"
    assert ground.mta("cat", ground.add("bob@there.test", content=large)).stdout_bytes == large


def test_cat_on_a_terminal_shows_what_is_no_text(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.cli.cat.on_terminal", lambda: True)
    wide = "é".encode()
    header = b"Subject: \xff\x00\x1b[31m\tt\r\n\r\n"
    body = b"x" * (65_535 - len(header))
    content = header + body + wide + b"\r\n"  # a letter is cut by the border of a block
    printed = ground.mta("cat", ground.add("bob@there.test", content=content)).stdout
    assert printed == "Subject: \\xff\\x00\\x1b[31m\tt\n\n" + "x" * len(body) + "é\n"


def test_cat_of_a_message_that_has_gone_or_cannot_be_read(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test")
    ground.deliver(queue_id)
    assert ground.mta("cat", queue_id, status=1).stderr == f"mta: message {queue_id} has left the queue\n"
    large = ground.add("bob@there.test", content=b"y" * (LARGEST_ROW + 1))
    path: Path = ground.content_file(large)
    path.unlink()
    refused = ground.mta("cat", large, status=1)
    assert refused.stderr.startswith(f"mta: the content of {large} cannot be read: ")
    assert refused.stdout == ""
