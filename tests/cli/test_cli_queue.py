"""`mta queue`: what it lists, in which form, and how fast."""

import json
import re
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cli_ground import Ground, run

from mta.cli.program import program
from mta.cli.queue import STATES
from mta.operating.words import size, span

HOSTILE = '"\x1b[2J\x07\u202e"@evil.test'


def listed(ground: Ground, *words: str) -> dict[str, Any]:
    listing: dict[str, Any] = json.loads(ground.mta("queue", "--json", *words).stdout)
    return listing


def test_json_has_the_promised_form_and_nothing_else(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test", "carol@there.test")
    ground.defer(queue_id)
    listing = listed(ground)
    [message] = listing["messages"]
    created = datetime.fromisoformat(message.pop("created")).timestamp()
    assert abs(created - ground.began) < 60
    for recipient in message["recipients"]:
        at = recipient.pop("next_attempt")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)
        assert 3500 < datetime.fromisoformat(at).timestamp() - created < 3700
    waiting = {"state": "deferred", "last_reply": "450 4.2.1 come back later"}
    size = message["size"]
    assert listing == {
        "messages": [
            {
                "id": queue_id,
                "size": size,
                "sender": "alice@sender.test",
                "recipients": [{"address": "bob@there.test", **waiting}, {"address": "carol@there.test", **waiting}],
            }
        ],
        "totals": {"messages": 1, "recipients": 2, "octets": size},
    }


def test_each_state_is_told_and_can_be_asked_for(ground: Ground) -> None:
    ids = {state: ground.add(f"{state}@{state}.test") for state in STATES}
    ground.defer(ids["deferred"])
    ground.mta("hold", ids["held"])
    worker = ground.hold()
    ground.claim(ids["active"])
    for state, queue_id in ids.items():
        [message] = listed(ground, "--state", state)["messages"]
        assert message["id"] == queue_id
        [recipient] = message["recipients"]
        assert recipient["state"] == state
        assert (recipient["next_attempt"] is None) == (state in ("active", "held"))
    assert [one["id"] for one in listed(ground)["messages"]] == list(ids.values())
    assert ground.mta("queue", "--limit", "0").stdout.startswith("4 messages for 4 recipients (1 active, 1 held), ")
    worker.close()
    ground.mta("queue", "--state", "bounced", status=2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--to", "there.test"], ["bob", "Bob"]),
        (["--to", "THERE.TEST"], ["bob", "Bob"]),
        (["--to", "bob@there.test"], ["bob", "Bob"]),
        (["--to", "carol@else.test"], ["carol"]),
        (["--to", "nobody.test"], []),
        (["--from", "sender.test"], ["bob", "carol"]),
        (["--from", "alice@sender.test"], ["bob", "carol"]),
        (["--from", "<>"], ["Bob"]),
        (["--from", "<>", "--to", "else.test"], []),
    ],
)
def test_filters(ground: Ground, words: list[str], expected: list[str]) -> None:
    ground.add("bob@there.test", "carol@else.test")
    ground.add("Bob@There.test", sender="")
    listing = listed(ground, *words)
    addresses = [one["address"] for message in listing["messages"] for one in message["recipients"]]
    assert [address.partition("@")[0] for address in addresses] == expected
    assert listing["totals"]["messages"] == 2


def test_the_limit_is_of_messages_and_the_totals_are_of_all(ground: Ground) -> None:
    ground.add("bob@there.test", many=150)
    assert len(listed(ground)["messages"]) == 100
    assert len(listed(ground, "--limit", "3")["messages"]) == 3
    assert len(listed(ground, "--limit", "1000")["messages"]) == 150
    none = listed(ground, "--limit", "0")
    assert (none["messages"], none["totals"]["messages"]) == ([], 150)
    lines = ground.mta("queue", "--limit", "3").stdout.splitlines()
    assert len(lines) == 1 + 3 + 1
    assert lines[-1].startswith("150 messages for 150 recipients, ")
    assert lines[-1].endswith("; 3 listed (--limit)")
    ground.mta("queue", "--limit", "-1", status=2)
    ground.mta("queue", "--limit", "many", status=2)


def test_lines_for_pipes_are_whole_however_long(ground: Ground) -> None:
    address = f"{'b' * 64}@{'there.' * 30}test"
    queue_id = ground.add(address, "bob@there.test", sender="")
    ground.defer(queue_id, "451 4.3.0 " + "sorry " * 60)
    header, first, second, totals = ground.mta("queue").stdout.splitlines()
    assert header.split() == ["ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATE", "NEXT", "LAST", "REPLY"]
    for line, recipient in ((first, address), (second, "bob@there.test")):
        assert line.split()[0] == queue_id
        assert line.split()[3:7] == ["<>", recipient, "deferred", "60m"]
        assert line.endswith("4.3.0 " + "sorry " * 59 + "sorry")
    assert totals.startswith("1 message for 2 recipients, ")


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_gets_a_table_that_fits(ground: Ground, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("mta.cli.queue.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    queue_id = ground.add("bob@there.test", sender="alice@a-rather-long-name-of-a-domain.sender.test")
    ground.defer(queue_id, "450 4.2.1 " + "come back later " * 8)
    printed = ground.mta("queue").stdout
    assert max(map(len, printed.splitlines())) <= columns
    assert printed.count("later") == 8
    for word in (queue_id, "alice@a-rather-long", "to bob@there.test", "deferred", "60m", "1 message for 1 recipient"):
        assert word in printed


@pytest.mark.parametrize("terminal", [False, True])
def test_what_comes_from_outside_cannot_speak_to_a_terminal(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("mta.cli.queue.on_terminal", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "300")
    queue_id = ground.add(HOSTILE, sender=HOSTILE)
    ground.defer(queue_id, "450 \x1b]0;title\x07 [red]\r\x9b31m")
    printed = ground.mta("queue").stdout
    assert not re.search(r"[^\n -~]", printed)
    assert "\\x1b[2J\\x07\\x202e" in printed
    assert "\\x1b]0;title\\x07 [red]\\x0d\\x9b31m" in printed
    as_json = ground.mta("queue", "--json").stdout
    assert not re.search(r"[^\n -~]", as_json)
    assert json.loads(as_json)["messages"][0]["sender"] == HOSTILE


def test_either_reverse_path_finds_it_and_its_senders_is_shown(ground: Ground) -> None:
    queue_id = ground.add_for_a_list(["bob@there.test", "carol@else.test"])
    for words in (["--from", "alice@sender.test"], ["--from", "owner@ours.test"], ["--from", "ours.test"]):
        [message] = listed(ground, *words)["messages"]
        assert (message["id"], message["sender"]) == (queue_id, "alice@sender.test")
        assert [one["address"] for one in message["recipients"]] == ["bob@there.test", "carol@else.test"]
    assert listed(ground, "--from", "<>")["messages"] == []


def test_what_is_held_for_a_fault_of_ours_is_an_alarm(ground: Ground) -> None:
    login = "535 5.7.8 login refused by smtp.there.test"
    for number in range(3):
        ground.defer(ground.add(f"bob{number}@there.test"), login, state="held")
    ground.mta("hold", ground.add("carol@else.test"))
    told = ground.mta("queue")
    totals = told.stdout.splitlines()[-1]
    assert "4 held" in totals
    alarm = f"held: 3 recipients for there.test: {login}; correct it, then: mta release --to there.test"
    assert told.stderr.splitlines() == [alarm]
    told = ground.mta("queue", "--limit", "0")
    assert (told.stdout.splitlines(), told.stderr.splitlines()) == ([totals], [alarm]), "the totals alone, and aloud"
    assert set(listed(ground)) == {"messages", "totals"}, "the form that programs know"
    ground.mta("release", "--to", "there.test")
    assert ground.mta("queue").stderr == ""


def test_an_alarm_names_what_a_shell_can_take_and_only_so_many(ground: Ground) -> None:
    for number in range(7):
        ground.defer(ground.add(f"bob@d{number}.test"), HOSTILE, state="held")
    with ground.store.transaction():
        ground.store.db.execute(
            "UPDATE delivery SET destination = 'smtp://s.test:587?login=a&tls=verify' WHERE destination = 'd0.test'"
        )
    lines = ground.mta("queue", "--limit", "0").stderr.splitlines()
    assert len(lines) == 6
    assert lines[4].endswith("; correct it, then: mta release --to d5.test")
    assert lines[5] == "held: for 2 other destinations, too: --state held"
    assert "\x1b" not in "".join(lines)
    for number in range(1, 7):
        ground.mta("release", "--to", f"d{number}.test")
    [line] = ground.mta("queue").stderr.splitlines()
    assert line.endswith("mta release --to 'smtp://s.test:587?login=a&tls=verify'")


def test_an_empty_queue_and_a_spool_that_is_not_there_yet(ground: Ground, tmp_path: Path) -> None:
    nothing = "0 messages for 0 recipients, 0 octets\n"
    assert ground.mta("queue").stdout == nothing
    ground.file.write_text("spool: elsewhere\n")
    assert ground.mta("queue").stdout == nothing
    assert not (tmp_path / "elsewhere").exists()


def test_a_spool_that_cannot_be_read_is_told_in_a_sentence(ground: Ground, tmp_path: Path) -> None:
    ground.file.write_text("spool: mta.yml\n")
    assert ground.mta("queue", status=1).stderr == f"mta: the spool {ground.file} cannot be used: Not a directory\n"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "queue-0.db").write_bytes(b"not a database " * 1000)
    ground.file.write_text("spool: broken\n")
    refused = ground.mta("queue", status=1)
    assert refused.stderr.startswith(f"mta: the queue file {tmp_path}/broken/queue-0.db ")
    assert refused.stdout == ""


def test_a_damaged_queue_file_is_told_in_a_sentence_and_left_as_it_is(ground: Ground, tmp_path: Path) -> None:
    ground.add("bob@there.test", many=1000)
    ground.store.checkpoint()
    shutil.copytree(ground.spool, tmp_path / "damaged")
    file = tmp_path / "damaged" / "queue-0.db"
    octets = file.read_bytes()
    file.write_bytes(octets[:4096] + b"\xff" * (len(octets) - 4096))
    ground.file.write_text("spool: damaged\n")
    for verb, *words in (["queue"], ["show", "CR7CY6C240G0"], ["cat", "CR7CY6C240G0"], ["hold", "--all"]):
        refused = ground.mta(verb, *words, status=1)
        assert refused.stderr.startswith("mta: the "), refused.stderr
        assert (refused.stderr.count("\n"), refused.stdout) == (1, "")
    assert file.read_bytes()[4096:8192] == b"\xff" * 4096


def test_a_wrong_configuration_is_told_as_the_relay_tells_it(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.file.write_text("spool: spool\nhostnam: x\nretry: {warn: 4}\n")
    told = ground.mta("queue", status=1).stderr.splitlines()
    assert [line.partition(" ")[0] for line in told] == [f"{ground.file}:2:", f"{ground.file}:3:"]
    missing = tmp_path / "missing.yml"
    assert (
        run("queue", "-c", str(missing), status=1).stderr == f"{missing}: cannot be read: No such file or directory\n"
    )
    monkeypatch.setenv("MTA_CONFIG", str(ground.file))
    assert "hostnam" in run("queue", status=1).stderr
    assert run("queue", "-c", str(missing), status=1).stderr.startswith(str(missing))


@pytest.mark.alone
def test_a_long_queue_is_listed_fast(ground: Ground) -> None:
    """20,000 messages; the bounds are several times what it takes on a slow machine."""
    ground.add("bob@there.test", many=19_999)
    wanted = ground.add("zoe@elsewhere.test")
    for words, most in (
        (["--limit", "0"], 0.3),
        ([], 0.5),
        (["--to", "zoe@elsewhere.test"], 1.0),
        (["--state", "held"], 1.0),
    ):
        began = time.perf_counter()
        printed = ground.mta("queue", *words).stdout
        assert time.perf_counter() - began < most, words
        assert "20,000 messages for 20,000 recipients" in printed
        assert (wanted in printed) == ("--to" in words)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7199, "120m"), (7200, "2h"), (259200, "3d")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0K"),
        (10_240, "10K"),
        (52_428_800, "50M"),
        (3 << 40, "3.0T"),
        (5 << 50, "5120T"),
    ],
)
def test_sizes(octets: int, text: str) -> None:
    assert size(octets) == text


def test_with_standard_output_closed_there_is_nothing_to_print_on(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.add("bob@there.test")
    monkeypatch.setattr("sys.stdout", None)
    program(["queue", "--config", str(ground.file)], "mta", standalone_mode=False)
