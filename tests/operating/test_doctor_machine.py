"""Clock, disk, descriptors, name servers, and what is said of a port."""

import os
from pathlib import Path

import pytest
from doctor_ground import FAILED, NO_NAME, has

from mta.operating.doctor.finding import Finding, Level, Teller, summary, tell, to_json
from mta.operating.doctor.machine import (
    Clock,
    Disk,
    file_system,
    judge_clock,
    judge_descriptors,
    judge_disk,
    judge_other_clock,
    measure_disk,
    read_clock,
)
from mta.operating.doctor.servers import Reached, judge_port_25, judge_server, judge_validation, not_tried, port_25_in

GOOD = Disk(50 << 30, 100 << 30, 1_000_000, "ext4", 0.002)
MOUNTS = """\
20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
21 20 0:5 / /var rw shared:1 - tmpfs tmpfs rw
22 21 8:2 / /var/my\\040mail rw - xfs /dev/sdb1 rw
a line that is none
"""


def test_the_clock() -> None:
    assert judge_clock(Clock(True, 0.012)).level is Level.OK
    assert judge_clock(Clock(False, 16.0)).level is Level.WARNING
    assert judge_clock(None).level is Level.UNKNOWN
    ahead, behind = judge_other_clock(90, "mta-sts.good.net"), judge_other_clock(-3600, "mta-sts.good.net")
    assert ahead is not None
    assert behind is not None
    assert (ahead.level, behind.level) == (Level.PROBLEM, Level.PROBLEM)
    assert "90 s ahead of" in ahead.seen
    assert "3600 s behind" in behind.seen
    assert judge_other_clock(-59, "mta-sts.good.net") is None


def test_the_kernel_is_asked() -> None:
    clock = read_clock()
    assert clock is not None
    assert 0 <= clock.error < 1e6


@pytest.mark.parametrize(
    ("disk", "level", "words"),
    [
        (GOOD, Level.OK, "50G of 100G is free, 1,000,000 inodes; a sync takes 2.0 ms"),
        (GOOD._replace(inodes=None), Level.OK, "is free; a sync"),
        (GOOD._replace(free=500 << 20), Level.WARNING, "500M of 100G"),
        (GOOD._replace(free=50 << 20), Level.PROBLEM, "no mail is taken"),
        (GOOD._replace(inodes=5), Level.WARNING, "5 inodes"),
        (GOOD._replace(kind="tmpfs"), Level.PROBLEM, "which is memory"),
        (GOOD._replace(kind="nfs4"), Level.WARNING, "nfs4"),
        (GOOD._replace(sync=0.08), Level.WARNING, "80 ms"),
        (GOOD._replace(sync=0.8), Level.PROBLEM, "800 ms"),
        (GOOD._replace(sync=None, why="permission denied"), Level.UNKNOWN, "permission denied"),
    ],
)
def test_the_disk(disk: Disk, level: Level, words: str) -> None:
    (finding,) = judge_disk(Path("/var/spool/mta"), disk)
    assert (finding.level, words in finding.seen) == (level, True), finding


def test_the_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    disk = measure_disk(tmp_path)
    assert disk.sync is not None
    assert 0 < disk.sync < 60
    assert disk.free <= disk.whole
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_is_not_there_or_not_ours(tmp_path: Path) -> None:
    assert measure_disk(tmp_path / "spool" / "below").why == "the folder is not there yet"
    in_the_way = tmp_path / f".doctor-{os.getpid()}"
    in_the_way.symlink_to(tmp_path / "precious")
    assert measure_disk(tmp_path).why == "file exists"
    assert not (tmp_path / "precious").exists()
    assert in_the_way.is_symlink()


@pytest.mark.parametrize(
    ("path", "kind"), [("/srv", "ext4"), ("/var/spool", "tmpfs"), ("/var/my mail/spool", "xfs"), ("/variant", "ext4")]
)
def test_the_file_system(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


def test_descriptors() -> None:
    assert judge_descriptors(1024, 2000).level is Level.PROBLEM
    assert judge_descriptors(2256, 2000).level is Level.OK
    assert judge_descriptors(None, 2000).level is Level.OK


def test_name_servers() -> None:
    assert judge_server("127.0.0.1", NO_NAME, 0.01).level is Level.OK
    assert judge_server("127.0.0.1", has(), 1.5).level is Level.WARNING
    assert judge_server("127.0.0.1", FAILED, 3.0).level is Level.PROBLEM
    assert judge_validation(has("soa")._replace(authentic=True)).level is Level.OK
    assert judge_validation(has("soa")).level is Level.NOTE
    assert judge_validation(FAILED).level is Level.UNKNOWN


@pytest.mark.parametrize(
    ("address", "greeting", "why", "level"),
    [
        ("11.1.2.3", "220 mx.net ESMTP", "", Level.OK),
        ("11.1.2.3", "554 no \x1b[31mway", "", Level.WARNING),
        ("11.1.2.3", "", "connection refused", Level.PROBLEM),
        ("2a00:1::25", "", "network is unreachable", Level.WARNING),
    ],
)
def test_port_25(address: str, greeting: str, why: str, level: Level) -> None:
    (finding,) = judge_port_25("good.net", [Reached("mx.good.net", address, greeting, why)])
    assert finding.level is level
    assert "\x1b" not in finding.seen


def test_what_is_not_tried_is_not_guessed() -> None:
    assert not_tried("").level is Level.UNKNOWN
    assert not_tried("smtp://isp.net:587").level is Level.OK
    assert port_25_in(["0.0.0.0:25"]).level is Level.UNKNOWN
    assert port_25_in([]).level is Level.NOTE


def test_findings_are_bounded_and_escaped_and_counted() -> None:
    teller = Teller("mx", "x\n" * 500)
    finding = teller.problem("\x1b]0;title\x07" + "long " * 5000, "a\nb", "c\x00d")
    assert "\x1b" not in finding.seen
    assert len(finding.seen) == 600
    assert len(finding.about) == 120
    assert (finding.advice, finding.record) == (r"a\x0ab", r"c\x00d")
    line = tell(finding)
    assert line.head == "problem"
    assert "\n" not in line.text
    assert summary([finding, teller.ok("")]) == "1 problem, 0 warnings, 0 not known, 0 notes, 1 ok"
    as_json = to_json(["good.net"], [finding])
    assert as_json["totals"] == {"problem": 1, "warning": 0, "unknown": 0, "note": 0, "ok": 0}
    assert set(as_json["findings"][0]) == set(Finding._fields)
    assert as_json["findings"][0]["level"] == "problem"
