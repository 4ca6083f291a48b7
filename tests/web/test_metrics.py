"""The text of the metrics: each of them documented, well formed, and told as far as it is known."""

import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mta.net.measures import CLASSES, SIZE
from mta.web.metrics import text
from mta.web.seams import Figures, Work

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
DOCUMENTED = re.compile(r"^\| `(\w+)` \| (\w+) \|", re.M)
STATES = {"ready": 1, "active": 2, "deferred": 3, "held": 4}
FIGURES = Figures(5, 10, 1000, STATES, {60.0: 5, 3600.0: 2}, 900.0, 3, 1)
WORK = Work(tuple(float(number) for number in range(SIZE)), 100.0, 2, 3, 1000.0)


def samples(octets: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(octets.decode())
    return {(one.name, tuple(one.labels.values())): one.value for family in families for one in family.samples}


def test_every_metric_is_documented() -> None:
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text(WORK, FIGURES).decode(), re.M))
    assert kinds == dict(DOCUMENTED.findall(PAGE.read_text(encoding="utf-8")))
    assert all(f"`{name}`" in PAGE.read_text(encoding="utf-8") for name in CLASSES)


def test_what_they_say() -> None:
    told = samples(text(WORK, FIGURES))
    assert told["mta_uptime_seconds", ()] == 900
    assert (told["mta_workers", ()], told["mta_workers_wanted", ()]) == (2, 3)
    assert told["mta_queue_deliveries", ("held",)] == 4
    assert told["mta_queue_older_deliveries", ("3600",)] == 2
    assert told["mta_queue_oldest_seconds", ()] == 100
    assert told["mta_accept_seconds_bucket", ("+Inf",)] == told["mta_accept_seconds_count", ()]


def test_what_is_known_without_the_queue_is_told() -> None:
    told = samples(text(WORK, None))
    assert told["mta_queue_readable", ()] == 0
    assert told["mta_uptime_seconds", ()] == 900
    assert not any(name.startswith("mta_queue_messages") for name, _ in told)


def test_promtool_finds_nothing_to_say() -> None:
    try:
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text(WORK, FIGURES), capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.fail("needs the Debian package prometheus: promtool not found (tests/install-peers installs it)")
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
