"""What workers are told, how many there are, and what is said of how they end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mta.config.load
from mta.config.load import load
from mta.config.model import Config
from mta.ground import Place
from mta.net.measures import make_rows
from mta.net.tally import make_tally
from mta.workers.lines import LogLines
from mta.workers.orders import Orders
from mta.workers.supervisor import workers_of
from mta.workers.worker import Worker

DIRECTORY = "example.org: {mailboxes: {jean: {name: Jean Dupont}}}\n"


def configured(folder: Path, text: str = "") -> Config:
    file = folder / "mta.yml"
    file.write_text(f"spool: spool\nhostname: mail.example.org\n{text}")
    return load(file)


def test_orders_arrive_as_they_were_given_with_all_that_stands_in_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has become meanwhile of the files, of the folder that we are in, and of the machine's name."""
    (tmp_path / "directory.yml").write_text(DIRECTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mta.config.load, "machine_name", lambda: "first.example.org")
    (tmp_path / "mta.yml").write_text(
        "spool: spool\ndirectory: directory.yml\n"
        'routes: [{to: "*", via: "lmtp+unix:there"}]\nlisten: [{address: "unix:here"}]\n'
    )
    config = load(Path("mta.yml"))
    written = Orders(config, 3, b"key").write()
    (tmp_path / "directory.yml").unlink()
    (tmp_path / "mta.yml").write_text("broken")
    monkeypatch.chdir("/")
    monkeypatch.setattr(mta.config.load, "machine_name", lambda: "second.example.org")
    for _ in range(2):
        read = Orders.read(written)
        assert (read.workers, read.key) == (3, b"key")
        assert read.config == config
        assert read.config.hostname == "first.example.org"
        assert read.config.spool == tmp_path / "spool"
        assert read.config.listen[0].address.path == str(tmp_path / "here")
        assert read.config.directory_file == config.directory_file
        assert config.directory_file.domains
        assert read.config.problem(("spool",), "x") == config.problem(("spool",), "x")
        assert read.config.routing().decide("", "a@b.test") == config.routing().decide("", "a@b.test")
    os.close(written)


def test_nobody_can_change_orders(tmp_path: Path) -> None:
    written = Orders(configured(tmp_path), 2, b"key").write()
    for change in (lambda: os.pwrite(written, b"{}", 0), lambda: os.ftruncate(written, 0)):
        with pytest.raises(PermissionError):
            change()
    os.close(written)


def test_how_many(tmp_path: Path) -> None:
    assert workers_of(configured(tmp_path)) == 1
    assert workers_of(configured(tmp_path, "workers: 5")) == 5
    assert workers_of(configured(tmp_path, "workers: auto")) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("of", "shares"), [(1, (20, 5, 2)), (2, (10, 2, 1)), (3, (6, 1, 1)), (50, (1, 1, 1))])
def test_shares(of: int, shares: tuple[int, ...]) -> None:
    place = Place(0, of)
    assert tuple(map(place.share, (20, 5, 2))) == shares
    assert place.mark() == (None if of == 1 else 0)


@pytest.fixture
def worker() -> Iterator[Worker]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Worker(3, ours, None)


@pytest.mark.parametrize(
    ("status", "why", "fate"),
    [
        (0, "", "has ended with status 0"),
        (70, "", "has ended with status 70"),
        (-signal.SIGKILL, "", "was ended by SIGKILL"),
        (None, "", "has ended"),
        (None, "no more processes", "could not be started: no more processes"),
    ],
)
def test_fates(worker: Worker, status: int | None, why: str, fate: str) -> None:
    worker.gone(status, why)
    assert worker.is_gone
    assert worker.fate == fate


def test_it_ends_once(worker: Worker) -> None:
    """Its parent may tell, and be lost before its line has ended."""
    worker.gone(0, "")
    worker.gone(None, "")
    assert worker.fate == "has ended with status 0"


FAILS = """
import os, sys
from mta.workers import process
def fail(self):
    raise RuntimeError("nobody expected this")
process.Relay.startService = fail
os._exit(process.run(0, os.getppid(), [int(one) for one in sys.argv[1:]]))
"""


def test_what_fails_unexpectedly_at_the_start_of_a_worker_is_told_and_logged(tmp_path: Path) -> None:
    orders, tally = Orders(configured(tmp_path, "workers: 2"), 2, b"key").write(), make_tally(2)
    log = tmp_path / "log"
    ours, theirs = socket.socketpair()
    with ours, log.open("ab") as written:
        with theirs:
            given = (theirs.fileno(), written.fileno(), orders, tally, make_rows(2), make_rows(2))
            ended = subprocess.run([sys.executable, "-c", FAILS, *map(str, given)], pass_fds=given, check=False)
        said = json.loads(ours.recv(65536))
    os.close(orders)
    os.close(tally)
    assert ended.returncode == 70
    assert said == {"cannot": "unexpected RuntimeError: nobody expected this (the log has more)"}
    assert "the worker has failed" in log.read_text()
    assert "RuntimeError: nobody expected this" in log.read_text()


def test_lines_of_a_log_are_handed_on_whole() -> None:
    taken: list[str] = []
    lines = LogLines(taken.append, lambda: taken.append("lost"))
    for octets in (b"one\ntw", b"o", b"\nthree\nfour\n\xff", b"five"):
        lines.dataReceived(octets)
    lines.connectionLost()
    assert taken == ["one", "two", "three", "four", "\\xfffive", "lost"]
