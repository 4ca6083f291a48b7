"""The alerts and the dashboard in etc/: Prometheus understands them, each alert fires when it should and not before,
and what they ask for is what /metrics tells."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from mta.net.measures import SIZE
from mta.web import metrics
from mta.web.seams import Figures, Work

ETC = Path(__file__).parents[2] / "etc"
ALERTS = ETC / "prometheus-alerts.yml"
DASHBOARD = ETC / "grafana-dashboard.json"
NAME = re.compile(r"\b(?:mta|process)_[a-z_]+\b")
SELECTED = re.compile(r"\b((?:mta|process)_[a-z_]+)\{([^}]*)\}")
OF_PROMETHEUS = {"job", "instance"}


def promtool(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    found = shutil.which("promtool")
    if found is None:
        pytest.fail("needs the Debian package prometheus: promtool not found (tests/install-peers installs it)")
    return subprocess.run([found, *words], capture_output=True, text=True, timeout=60, check=False)


class Case(NamedTuple):
    """What a relay tells, minute by minute, and which alerts fire after so many minutes.

    series: in Prometheus' notation for tests: "0+5x60" is 0, 5, 10 … 300.
    """

    name: str
    series: dict[str, str]
    minutes: int
    firing: set[str]


def quiet(**more: str) -> dict[str, str]:
    """A relay at work that lacks nothing; `more` are metrics that are otherwise."""
    return {
        "up": "1x80",
        "mta_workers": "2x80",
        "mta_workers_wanted": "2x80",
        "mta_uptime_seconds": "0+60x80",
        "mta_spool_full": "0x80",
        "mta_spool_write_seconds": "0x80",
        "mta_queue_readable": "1x80",
        "mta_spool_failing": "0x80",
        "mta_queue_oldest_seconds": "60x80",
        "mta_queue_messages": "5000x80",
        "mta_attempt_seconds_count": "0+60x80",
        "mta_delivered_recipients_total": "0+60x80",
        "mta_destinations": "100x80",
        "mta_destinations_paused": "20x80",
        "mta_connections_refused_total": "0x80",
        "mta_unknown_results_total": "3x80",
        **more,
    }


HELD = 'mta_queue_deliveries{state="held"}'
POLICY, MAILBOX = (f'mta_bounced_recipients_total{{reason="{reason}"}}' for reason in ("policy", "mailbox"))
SYSTEM = 'mta_refused_total{severity="temporary",reason="system"}'
SLOW = {f'mta_commit_seconds_bucket{{le="{bound}"}}': series for bound, series in
        (("0.1", "0+90x80"), ("1.0", "0+100x80"), ("+Inf", "0+100x80"))}  # fmt: skip
FAST = {f'mta_commit_seconds_bucket{{le="{bound}"}}': "0+100x80" for bound in ("0.1", "1.0", "+Inf")}

CASES = (
    Case("all is well", quiet(**FAST), 70, set()),
    Case("it does not answer", quiet(up="0x80"), 3, {"MtaDown"}),
    Case("it was away for a minute", quiet(up="1 0 1x80"), 3, set()),
    Case("another job", {'up{job="else"}': "0x80"}, 60, set()),
    Case("a worker is missing", quiet(mta_workers="1x80"), 6, {"MtaWorkersMissing"}),
    Case("a worker is missing for a moment", quiet(mta_workers="2 1 1 2x80"), 6, set()),
    Case("started again and again", quiet(mta_uptime_seconds="60 120 5 65 5 65 5 65 125 185"), 9, {"MtaRestarts"}),
    Case("started again once", quiet(mta_uptime_seconds="60 120 5 65 125 185 245 305 365 425"), 9, set()),
    Case("no room", quiet(mta_spool_full="0 1x80"), 3, {"MtaSpoolFull"}),
    Case("a disk that does not answer", quiet(mta_spool_write_seconds="0 15 75 135"), 3, {"MtaSpoolStuck"}),
    Case("slow syncs", quiet(**SLOW), 40, {"MtaDiskSlow"}),
    Case("a queue file that fails", quiet(mta_spool_failing="1x80"), 6, {"MtaQueueUnreadable"}),
    Case("no queue", quiet(mta_queue_readable="0x80"), 6, {"MtaQueueUnreadable"}),
    Case("old mail", quiet(mta_queue_oldest_seconds="14000+60x80"), 20, {"MtaQueueOld"}),
    Case("a queue that grows", quiet(mta_queue_messages="900+20x80"), 70, {"MtaQueueGrows"}),
    Case("a queue that shrinks", quiet(mta_queue_messages="90000-20x80"), 70, set()),
    Case("a small queue that grows", quiet(mta_queue_messages="0+8x80"), 70, set()),
    Case("held mail", quiet(**{HELD: "0 1x80"}), 12, {"MtaMailHeld"}),
    Case("nothing leaves", quiet(mta_delivered_recipients_total="7x80"), 60, {"MtaNothingLeaves"}),
    Case("nothing to deliver", quiet(mta_delivered_recipients_total="7x80", mta_attempt_seconds_count="7x80"), 60,
         set()),
    Case("most are paused", quiet(mta_destinations_paused="60x80"), 20, {"MtaManyPaused"}),
    Case("all of a few are paused", quiet(mta_destinations="9x80", mta_destinations_paused="9x80"), 20, set()),
    Case("bounces", quiet(**{MAILBOX: "0+30x80"}), 70, {"MtaManyBounces"}),
    Case("one bounce in twenty", quiet(**{MAILBOX: "0+3x80"}), 70, set()),
    Case("refused for policy", quiet(**{POLICY: "0+1x80"}), 70, {"MtaRefusedForPolicy"}),
    Case("a crowd at the door", quiet(mta_connections_refused_total="0+50x80"), 30, {"MtaClientsTurnedAway"}),
    Case("our own fault", quiet(**{SYSTEM: "0+5x80"}), 30, {"MtaOwnFault"}),
    Case("a death in the middle", quiet(mta_unknown_results_total="3x20 5x60"), 30, {"MtaUnknownResults"}),
    Case("a deaf webhook", quiet(mta_webhook_dropped_events_total="3x20 5x60"), 30, {"MtaWebhookGivenUp"}),
)  # fmt: skip


def _series_of(case: Case) -> Iterator[dict[str, str]]:
    """What a case tells, as promtool reads it; all cases at once, each a relay of its own."""
    for series, values in case.series.items():
        name, _, labels = series.partition("{")
        own = labels.rstrip("}")
        more = ["" if "job=" in own else 'job="mta"', f'instance="{case.name}"']
        yield {"series": f"{name}{{{','.join(one for one in (own, *more) if one)}}}", "values": values}


def _test_of(case: Case) -> dict[str, Any]:
    """What is to be found of a case."""
    return {
        "expr": f'count by (alertname) (ALERTS{{alertstate="firing", instance="{case.name}"}})',
        "eval_time": f"{case.minutes}m",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(case.firing)],
    }


def test_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    tests = tmp_path / "tests.yml"
    all_of_them = {
        "interval": "1m",
        "input_series": [series for case in CASES for series in _series_of(case)],
        "promql_expr_test": [_test_of(case) for case in CASES],
    }
    content = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [all_of_them]}
    tests.write_text(yaml.safe_dump(content, width=1000))
    checked = promtool("test", "rules", tests)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_alert_is_forgotten() -> None:
    assert set().union(*(case.firing for case in CASES)) == {rule["alert"] for rule in rules()}


def test_prometheus_takes_the_alerts() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    """Each expression, its variables filled in, as a rule of its own."""
    recorded = [
        {"record": f"asked:{number}", "expr": _filled(expression)} for number, (_, expression) in enumerate(asked())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}, width=1000))
    checked = promtool("check", "rules", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(recorded)} rules found" in checked.stdout


def test_panels_are_told_apart_and_explained() -> None:
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["description"].endswith((".", "held"))
            assert panel["targets"]
    corners = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(corners)) == len(corners)
    assert [variable["name"] for variable in board["templating"]["list"]] == ["source", "job", "instance"]


def test_what_is_asked_for_is_told() -> None:
    """Each metric, and each label of one, is there in what a relay answers."""
    told = _told()
    expressions = [*asked(), *((rule["alert"], rule["expr"]) for rule in rules())]
    for where, expression in expressions:
        for name in NAME.findall(expression):
            assert name in told, f"{where}: {name}"
        for name, labels in SELECTED.findall(expression):
            assert set(re.findall(r"(\w+)\s*=", labels)) <= told[name] | OF_PROMETHEUS, f"{where}: {name}"
        for labels in re.findall(r"by \(([^)]*)\)", expression):
            known = set().union(OF_PROMETHEUS, *(told[name] for name in NAME.findall(expression)))
            assert {one.strip() for one in labels.split(",")} <= known, where


def test_all_that_is_told_is_shown_or_watched() -> None:
    """But for what is of no use without the rest, nothing is told in vain."""
    expressions = [*asked(), *((rule["alert"], rule["expr"]) for rule in rules())]
    used = {_family(name) for _, expression in expressions for name in NAME.findall(expression)}
    assert {_family(name) for name in _told()} - used == {"mta_dns_cache_entries"}


def _family(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def asked() -> Iterator[tuple[str, str]]:
    """The expressions of the dashboard, with their panels."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def _filled(expression: str) -> str:
    return expression.replace("$__rate_interval", "5m").replace("$job", "mta").replace("$instance", ".*")


def _told() -> dict[str, set[str]]:
    """What a relay tells: the names of all samples, with their labels."""
    figures = Figures(1, 1, 1, {"ready": 1, "held": 0}, {60.0: 1}, 0.0, 1, 0)
    answer = metrics.text(Work((0.0,) * SIZE, 0.0, 1, 1, 60.0), figures).decode()
    told: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(answer):
        for sample in family.samples:
            told.setdefault(sample.name, set()).update(sample.labels)
    return told
