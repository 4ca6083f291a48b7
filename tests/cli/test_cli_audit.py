"""`mta audit`: what it prints, and its exit status."""

import json
import re
import sys
import time

import pytest
from cli_ground import Ground

from mta.cli import audit


def test_sums_that_match(ground: Ground) -> None:
    ground.deliver(ground.add("bob@there.test", "carol@there.test"))
    ground.add("dave@there.test", many=3)
    ground.mta("hold", ground.add("erin@else.test"))
    lines = ground.mta("audit").stdout.splitlines()
    assert re.fullmatch(r"since \d{4}-.*Z: 5 messages received, 0 notices made here", lines[0])
    numbers = [line.split() for line in lines[1:-1]]
    assert numbers == [
        ["accepted", "6"],
        ["made", "here", "0"],
        ["6", "recipients"],
        ["delivered", "2"],
        ["failed", "0"],
        ["discarded", "0"],
        ["expanded", "0"],
        ["dropped", "0"],
        ["queued", "4", "(1", "held)"],
        ["6", "recipients"],
    ]
    assert lines[-1] == "the sums match"


def test_json(ground: Ground) -> None:
    ground.mta("bounce", "--yes", ground.add("bob@there.test"))
    books = json.loads(ground.mta("audit", "--json", "--since", "90m").stdout)
    assert set(books) == {
        "since", "until", "messages", "notices", "accepted", "made", "ended", "queued", "failures", "unknown",
        "forgotten", "uncounted", "matches", "found", "mismatches",
    }  # fmt: skip
    assert (books["messages"], books["notices"], books["accepted"], books["made"]) == (1, 1, 1, 1)
    assert books["ended"] == {"delivered": 0, "failed": 1, "discarded": 0, "expanded": 0, "dropped": 0}
    assert (books["failures"], books["queued"]["waiting"]) == ({"operator": 1}, 1)
    assert books["matches"] is True


def test_a_mismatch_is_named_and_is_status_1(ground: Ground) -> None:
    queue_id = ground.add("bob@there.test")
    others = ground.add("carol@there.test", many=25)
    with ground.store.transaction():
        ground.store.db.execute("DELETE FROM delivery WHERE message = ?", (ground.number(queue_id),))
    result = ground.mta("audit", status=1)
    assert (
        f"{queue_id}  bob@there.test was accepted once, has ended not at all, and is not in the queue" in result.stdout
    )
    assert "mta: the sums do not match: 3 mismatches" in result.stderr
    assert "the sums match" not in result.stdout
    books = json.loads(ground.mta("audit", "--json", status=1).stdout)
    assert {one["id"] for one in books["mismatches"]} == {queue_id, "queue-0"}
    with ground.store.transaction():
        ground.store.db.execute("""UPDATE delivery SET recipients = '["dave@there.test"]'""")
    printed = ground.mta("audit", status=1).stdout
    assert "and 33 more" in printed
    assert others not in printed


def test_used_wrongly(ground: Ground) -> None:
    assert "durations are written" in ground.mta("audit", "--since", "yesterday", status=2).stderr
    ground.mta("audit", "--since", "24", status=2)


def test_a_bar_where_it_takes_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with audit._progress() as tell:
        assert tell is not None
        later = time.monotonic() + 1  # not before: what draws the bar is imported first, which may take as long
        monkeypatch.setattr("mta.cli.progress.time.monotonic", lambda: later)
        tell(150, 100, 200)
    shown = capsys.readouterr().err
    assert "adding up" in shown
    assert "50%" in shown
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with audit._progress() as tell:
        assert tell is None
