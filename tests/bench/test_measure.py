"""What the benchmark counts of a group of processes, with a control group and without."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import measure
from bench.measure import Group, wait_for

BURN = "import time\nwhile time.process_time() < 0.4: pass"


@pytest.fixture(params=["control groups", "/proc"])
def group(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    """Without control groups, as on a machine where we may not make any, /proc is looked at. Where there are none, both
    are the same."""
    if request.param == "/proc":
        monkeypatch.setattr(measure, "CGROUPS", ())
    made = Group()
    yield made
    made.end()


def test_cpu_of_children_that_have_ended(group: Group, tmp_path: Path) -> None:
    script = f"{sys.executable} -c '{BURN}'; sleep 60"
    group.start(["sh", "-c", script], tmp_path, tmp_path / "log")
    assert wait_for(lambda: group.cpu() >= 0.35, 60), (tmp_path / "log").read_text()
    time.sleep(0.5)
    assert 0.35 <= group.cpu() < 1.0


def test_memory_is_that_of_all(group: Group, tmp_path: Path) -> None:
    # In one piece, which print() does not promise: where nothing is buffered, it writes the end of the line by itself.
    hold = "import os, time; held = b'x' * (20 << 20); os.write(1, b'1\\n'); time.sleep(60)"
    script = f'{sys.executable} -c "{hold}" & {sys.executable} -c "{hold}"'
    group.start(["sh", "-c", script], tmp_path, tmp_path / "log")
    assert wait_for(lambda: (tmp_path / "log").read_text() == "1\n1\n", 60), (tmp_path / "log").read_text()
    assert 40 <= group.memory("Pss_Anon") < group.memory() < 120


def test_the_end_is_the_end_of_all(group: Group, tmp_path: Path) -> None:
    group.start(["sh", "-c", "trap '' TERM; sleep 61 & sleep 62"], tmp_path, tmp_path / "log")
    assert wait_for(lambda: len(group.pids()) == 3, 30), (tmp_path / "log").read_text()
    pids = group.pids()
    group.end(patience=0.5)
    assert wait_for(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), 10)


def test_the_end_leaves_nobody_who_is_not_waited_for(group: Group, tmp_path: Path) -> None:
    """Even if it has just been started, and is not in the group yet, or ends between two looks."""
    processes = [group.start(["sleep", "60"], tmp_path, tmp_path / "log") for _ in range(3)]
    group.end(patience=0.5)
    assert None not in [process.returncode for process in processes]
