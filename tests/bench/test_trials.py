"""The benchmark, with the real relay: short runs, whose figures mean nothing but have to be there."""

import json
from pathlib import Path

import pytest

from bench import standing
from bench.lanes import lanes
from bench.load import Load
from bench.measure import has_strace
from bench.standing import backlog, calls, idle
from bench.tables import Column, Report, Run, figure, table
from bench.trials import accepted, relayed


def test_every_message_is_relayed_once_and_as_it_was() -> None:
    with lanes(("mta",), (1,), warm=False) as (lane,):
        runs = [
            relayed(lane, Load(messages=50)),
            relayed(lane, Load(messages=50, many=True)),
            relayed(lane, Load(messages=50, many=True, pipelined=True, size=100_000)),
        ]
        entries = lane.sink.ledger.entries(0, 150)
        totals = lane.sink.ledger.totals()
    assert [run.fault for run in runs] == ["", "", ""]
    assert totals.messages == totals.distinct == 150
    assert all(one.arrivals == 1 and one.reply == 250 and not one.altered for one in entries)
    assert all(run.figures["rate"] > 0 and run.figures["cpu"] > 0 and run.figures["memory"] > 5 for run in runs)


def test_tls_in_and_out() -> None:
    with lanes(("mta",), (1,), tls=True, warm=False) as (lane,):
        run = relayed(lane, Load(messages=50, tls=True))
        assert lane.sink.ledger.totals().secured > 0
        in_the_clear = relayed(lane, Load(messages=5))
    assert (run.fault, in_the_clear.fault) == ("", "")


def test_accepting_a_backlog_and_a_restart() -> None:
    with lanes(("mta",), (1,), warm=False) as made:
        run = accepted(made[0], Load(messages=50))
        rows = backlog(made, Load(messages=20), waiting=100, repeats=1)
        totals = made[0].sink.ledger.totals()
    assert [one.fault for one in (run, *rows)] == ["", ""]
    assert totals.messages == totals.distinct == 50 + 20 + 100 + 20


def test_idle_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "WATCHED", 0.5)
    with lanes(("mta",), (1,), warm=False) as (lane,):
        figures = idle(lane, 200).figures
    assert figures["greeted"] == 200
    assert figures["memory"] > 5
    assert figures["each"] < 500


def test_system_calls() -> None:
    assert has_strace()
    with lanes(("mta",), (1,), warm=False) as (lane,):
        run, most = calls(lane, Load(messages=50))
    assert run.fault == ""
    assert 10 < run.figures["calls"] < 500
    assert "sendto" in most


def test_a_table_has_medians_and_the_median_of_ratios(tmp_path: Path) -> None:
    columns = [Column("rate", "messages/s", ratio=True)]
    report = Report("title", "b", tmp_path / "runs")
    for peer, rate in (("a", 100), ("b", 50), ("a", 300), ("b", 300), ("a", 200), ("b", 50)):
        report.add(Run(peer, {"rate": rate}))
    written = [json.loads(line) for line in (tmp_path / "runs").read_text().splitlines()]
    runs = [Run(one["peer"], {"rate": one["rate"]}) for one in written]
    assert [line.split("|")[1:4] for line in table("title", columns, runs, "b").splitlines()[4:6]] == [
        [" a ", " 200 (100 to 300) ", " 2.00  "],
        [" b ", " 50 (50 to 300)   ", " 1.00  "],
    ]


def test_a_run_in_which_something_got_lost_is_void() -> None:
    columns = [Column("rate", "messages/s", ratio=True)]
    runs = [Run("a", {"rate": 100}), Run("b", {"rate": 100}), Run("a", {"rate": 100}), Run("b", {"rate": 1}, "3 lost")]
    lines = table("title", columns, runs, "a").splitlines()
    assert "100 (100 to 100)" in lines[4]
    assert "void: 3 lost" in lines[5]
    assert "1.00" not in lines[5]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (12.345, "12.3"), (1.234, "1.23"), (3, "3"), (float("nan"), "-")],
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text
