"""`mta forecast`: what it prints of the whole queue, of one message, and of a new configuration."""

import json
import re
from datetime import datetime

import pytest
from cli_ground import Ground, run

HOSTILE = '"\x1b[2J\x07"@there.test'


@pytest.fixture(autouse=True)
def in_force(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTA_CONFIG", str(ground.file))


def time_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_line_for_each_recipient(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test", "carol@else.test")
    ground.defer(queue_id)
    ground.mta("hold", ground.add("held@there.test", sender=""))
    said, header, *rows = run("forecast").stdout.splitlines()
    assert said.startswith("if every try fails as the last one did")
    assert header.split() == ["ID", "SENDER", "RECIPIENT", "TRIES", "NEXT", "WARNED", "END"]
    assert len(rows) == 3
    for row, address in zip(rows, ("bob@there.test", "carol@else.test"), strict=False):
        number, sender, recipient, tries, following, warned, end, at = row.split()
        assert (number, sender, recipient, end) == (queue_id, "alice@sender.test", address, "returned")
        assert int(tries) > 20
        assert 3300 < time_of(following) - ground.began < 3700
        assert 4 * 3600 - 60 < time_of(warned) - ground.began < 4 * 3600 + 60
        assert 5 * 86400 - 60 < time_of(at) - ground.began < 5 * 86400 + 60
    assert rows[2].split()[1:] == ["<>", "held@there.test", "0", "-", "-", "held", "until", "it", "is", "released"]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_gets_a_table_that_fits(ground: Ground, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("mta.cli.forecast.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    queue_id = ground.add("bob@there.test", sender="alice@a-rather-long-name-of-a-domain.sender.test")
    ground.mta("hold", ground.add("held@there.test"))
    _, *lines = run("forecast").stdout.splitlines()
    assert max(map(len, lines)) <= columns
    printed = "\n".join(lines)
    for word in (queue_id, "alice@a-rather-long", "to bob@there.test", "returned 20", "next   20", "held until"):
        assert word in printed


def test_one_message(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test")
    ground.defer(queue_id)
    lines = run("forecast", queue_id.lower()).stdout.splitlines()
    assert lines[0] == f"{queue_id}  from alice@sender.test"
    assert "to            bob@there.test, deferred: to there.test (no route matches: by MX of there.test)" in lines[2]
    tries = [line for line in lines if "deferred for bob@there.test: 450 4.2.1 come back later; next try" in line]
    assert len(tries) > 20
    assert sum("alice@sender.test is warned: bob@there.test has not been reached yet" in line for line in lines) == 1
    assert re.search(r"given up for its age .* \(in 5d\); alice@sender.test is told$", lines[-1])


def test_a_notice_that_cannot_be_delivered(ground: Ground) -> None:
    queue_id = ground.add("alice@sender.test", sender="", notice_for=4711)
    ground.defer(queue_id)
    assert "fails, the postmaster is told" in run("forecast").stdout
    assert run("forecast", queue_id).stdout.endswith("; the postmaster is told\n")


def test_json(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test", many=3)
    found = json.loads(run("forecast", "--json", "--limit", "2").stdout)
    assert set(found) == {"at", "assumption", "messages", "left_out"}
    assert (len(found["messages"]), found["left_out"]) == (2, 1)
    [one] = found["messages"][0]["recipients"]
    assert set(one) == {
        "address", "state", "destination", "why", "last_reply", "tries", "warned", "end", "ended", "told", "reply",
    }  # fmt: skip
    assert (one["end"], one["told"], one["state"]) == ("failed", True, "ready")
    [message] = json.loads(run("forecast", "--json", queue_id).stdout)["messages"]
    assert message["id"] == queue_id
    assert "2 messages left out, the newest ones (--limit)" in run("forecast", "--limit", "1").stdout


def test_a_new_configuration(ground: Ground) -> None:
    moved, same = ground.add("bob@there.test"), ground.add("carol@else.test")
    refused = ground.add("dave@no.test")
    for one in (moved, same, refused):
        ground.defer(one)
    new = ground.file.with_name("new.yml")
    new.write_text(
        ground.file.read_text()
        + 'routes: [{to: there.test, via: "lmtp://127.0.0.1:24", name: store}, {to: no.test, via: 550 5.7.1 no}]\n'
    )
    lines = run("forecast", "--config", str(new)).stdout.splitlines()
    assert lines[:3] == [
        "of 3 recipients in the queue 2 would go another way:",
        "          1  there.test -> lmtp://127.0.0.1:24 (routes[0] (store): to there.test)",
        "          1  no.test -> refused with 550 5.7.1 no (routes[1]: to no.test)",
    ]
    lines = lines[3:]
    assert [line.split()[0] for line in lines[1:-1] if not line.startswith(" ")] == [moved, refused]
    assert "    before  to there.test (no route matches: by MX of there.test): " in lines[2]
    assert "    after   to lmtp://127.0.0.1:24 (routes[0] (store): to there.test): " in lines[3]
    assert "    after   refused with 550 5.7.1 no (routes[1]: to no.test): no try, returned " in lines[6]
    [first, _] = json.loads(run("forecast", "--config", str(new), "--json").stdout)["routes"]
    assert first == {
        "recipients": 1,
        "before": "there.test",
        "after": "lmtp://127.0.0.1:24",
        "refused": False,
        "why": "routes[0] (store): to there.test",
    }
    assert lines[-1] == "2 recipients would fare otherwise, 1 would not"
    found = json.loads(run("forecast", "--config", str(new), "--json", refused).stdout)
    assert (found["before"], found["after"], found["unchanged"]) == (str(ground.file), str(new), 0)
    [change] = found["changes"]
    assert (change["address"], change["before"]["tries"] != [], change["after"]["tries"]) == ("dave@no.test", True, [])
    assert run("forecast", "-c", str(new), "--old", str(new)).stderr == ""


def test_which_configuration_is_in_force(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.add("bob@there.test")
    elsewhere = ground.file.with_name("elsewhere.yml")
    elsewhere.write_text("spool: other\n")
    result = run("forecast", "--config", str(elsewhere))
    assert f"the queue is the one in {ground.spool}; {elsewhere} has its own in " in result.stderr
    assert result.stdout.endswith("0 recipients would fare otherwise, 1 would not\n")
    assert "bob@there.test" in run("forecast", "--config", str(ground.file)).stdout
    monkeypatch.setenv("MTA_CONFIG", str(ground.file.with_name("gone.yml")))
    alone = run("forecast", "--config", str(ground.file))
    assert "counts as the one in force" in alone.stderr
    assert "bob@there.test" in alone.stdout
    run("forecast", status=1)
    run("forecast", "--config", str(ground.file), "--old", "gone.yml", status=1)


def test_what_cannot_be_done(ground: Ground) -> None:
    assert "not in the queue: CR00000000AA" in run("forecast", "CR00000000AA", status=1).stderr
    run("forecast", "!", status=2)
    run("forecast", "--limit", "0", status=2)
    assert len(run("forecast").stdout.splitlines()) == 1


def test_what_comes_from_outside_cannot_speak_to_a_terminal(ground: Ground) -> None:
    queue_id = ground.add(HOSTILE, sender=HOSTILE)
    ground.defer(queue_id, "450 \x1b]0;title\x07")
    for words in ((), (queue_id,), ("--json",)):
        printed = run("forecast", *words).stdout
        assert not re.search(r"[^\n -~]", printed)


def test_all_of_a_long_queue_is_routed_anew(ground: Ground) -> None:
    """However little of it is run forward."""
    ground.add("bob@there.test", many=450)
    for number in range(25):
        ground.add(f"bob@d{number}.test")
    new = ground.file.with_name("new.yml")
    new.write_text(
        ground.file.read_text() + "routes: [{to: there.test, via: discard}, {to: '*', via: mx, tls: verify}]\n"
    )
    lines = run("forecast", "--config", str(new), "--limit", "1").stdout.splitlines()
    assert lines[:2] == [
        "of 475 recipients in the queue 475 would go another way:",
        "        450  there.test -> discard (routes[0]: to there.test)",
    ]
    assert "  and 6 other ways (--json has all of them)" in lines
    assert lines[-1] == "474 messages left out, the newest ones (--limit)"
