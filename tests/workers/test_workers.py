"""What workers are told, how many there are, and what is said of how they end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

import mta.config.load
from mta.config.load import load
from mta.config.model import Config
from mta.ground import Place
from mta.net.measures import make_rows
from mta.net.systemd import Systemd
from mta.net.tally import make_tally
from mta.wiring.trouble import CannotStart
from mta.workers.agreement import PATIENCE, agree, put_in_force
from mta.workers.holding import Holding
from mta.workers.lines import Ear, LogLines
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


def test_orders_keep_the_queue_where_it_is_whatever_is_read_later(tmp_path: Path) -> None:
    config = configured(tmp_path).model_copy(update={"spool": tmp_path / "first"})
    written = Orders(config, 2, b"key", [1, 2]).write()
    read = Orders.read(written)
    os.close(written)
    assert (read.config.spool, list(read.sockets)) == (tmp_path / "first", [1, 2])


class Adopted:
    """A reactor, as far as a connection is adopted: somebody reads and writes it by hand."""

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Factory) -> None:
        self.protocol = factory.buildProtocol(None)
        assert self.protocol is not None
        self.protocol.makeConnection(StringTransport())


class Readers:
    """A reactor, as far as something is read."""

    def __init__(self) -> None:
        self.readers: list[object] = []
        self.addReader = self.readers.append
        self.removeReader = self.readers.remove


class Pair:
    """A worker that is watched, and its other end."""

    def __init__(self, number: int = 0) -> None:
        ours, self.line = socket.socketpair()
        self.line.settimeout(5)
        self.worker = Worker(number, ours, None)
        self.heard: list[Worker] = []
        self._reactor = Adopted()
        self.worker.watch(self._reactor, lambda line: None, self.heard.append, lambda worker: None)

    def asked(self) -> tuple[dict[str, object], list[int]]:
        octets, descriptors, _, _ = socket.recv_fds(self.line, 65536, 10)
        return json.loads(octets), descriptors

    def says(self, **what: object) -> None:
        self._reactor.protocol.dataReceived(json.dumps(what).encode() + b"\n")

    def answers(self, **what: object) -> dict[str, object]:
        """Take the next question and answer it; what was asked."""
        question, descriptors = self.asked()
        for one in descriptors:
            os.close(one)
        self.says(answer=question["number"], **what)
        return question

    def close(self) -> None:
        self.worker.gone(0, "")
        self.line.close()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    made = [Pair(number) for number in range(3)]
    yield made
    for one in made:
        one.close()


def test_a_worker_answers_what_it_is_asked_with_descriptors_and_stays_ready(pairs: list[Pair]) -> None:
    pair = pairs[0]
    pair.says(ready=True)
    answers: list[object] = []
    pair.worker.ask({"do": "beat"}).addCallback(answers.append)
    with socket.socket() as other:
        pair.worker.ask({"do": "prepare"}, [other.fileno()]).addCallback(answers.append)
        taken: list[tuple[bytes, int]] = []
        reactor = Readers()

        def told(line: bytes, descriptors: deque[int]) -> None:
            taken.append((line, descriptors.popleft() if b"prepare" in line else 0))

        ear = Ear(reactor, pair.line, told, lambda: taken.append((b"ended", 0)))
        assert reactor.readers == [ear]
        ear.doRead()
        [(first_line, _), (second_line, descriptor)] = taken
        assert os.fstat(descriptor).st_ino == os.fstat(other.fileno()).st_ino
        os.close(descriptor)
    first, second = json.loads(first_line), json.loads(second_line)
    assert (first["do"], second["do"]) == ("beat", "prepare"), "though both have come at once"
    pair.says(answer=second["number"])
    pair.says(answer=first["number"], cannot="it")
    assert answers == [{"answer": second["number"]}, {"answer": first["number"], "cannot": "it"}]
    assert pair.worker.is_ready
    assert pair.heard == [pair.worker], "answers are no news of itself"


def test_who_has_ended_has_answered(pairs: list[Pair]) -> None:
    pair, answers = pairs[0], []
    pair.worker.ask({"do": "beat"}).addCallback(answers.append)
    pair.worker.gone(-signal.SIGKILL, "")
    pair.worker.ask({"do": "beat"}).addCallback(answers.append)
    assert answers == [None, None]


def test_all_go_by_it_or_none_does(pairs: list[Pair]) -> None:
    workers = [pair.worker for pair in pairs]
    with socket.socket() as orders, socket.socket() as new:
        agreed = Deferred.fromCoroutine(
            agree(Clock(), workers, orders.fileno(), lambda number: {1: [new.fileno()] * number})
        )
        asked = [pair.asked() for pair in pairs]
        assert [question["sockets"] for question, _ in asked] == [[[1, number]] for number in range(3)]
        assert [len(descriptors) for _, descriptors in asked] == [1, 2, 3]
        for _, descriptors in asked:
            for one in descriptors:
                os.close(one)
        failures: list[Failure] = []
        agreed.addErrback(failures.append)
        pairs[0].says(answer=asked[0][0]["number"])
        pairs[1].says(answer=asked[1][0]["number"], cannot="the key cannot be read")
        assert not failures
        workers[2].gone(0, "")  # no hindrance, and nobody to be told
        assert [pair.answers()["do"] for pair in pairs[:2]] == ["drop", "drop"]
        assert [str(one.value) for one in failures] == ["the key cannot be read"]
        assert failures[0].check(CannotStart)


def test_who_does_not_answer_keeps_all_from_it(pairs: list[Pair]) -> None:
    clock, failures = Clock(), list[Failure]()
    with socket.socket() as orders:
        agreed = agree(clock, [pair.worker for pair in pairs], orders.fileno(), lambda number: {})
        Deferred.fromCoroutine(agreed).addErrback(failures.append)
        for pair in pairs[:2]:
            pair.answers()
        late, descriptors = pairs[2].asked()
        os.close(*descriptors)
    clock.advance(PATIENCE)
    assert [str(one.value) for one in failures] == ["worker 2 (process 0) does not answer"]
    assert [pair.answers()["do"] for pair in pairs] == ["drop"] * 3
    pairs[2].says(answer=late["number"])  # it does, in the end


def test_where_all_can_all_are_told_to(pairs: list[Pair]) -> None:
    workers = [pair.worker for pair in pairs]
    with socket.socket() as orders:
        agreed = Deferred.fromCoroutine(agree(Clock(), workers, orders.fileno(), lambda number: {}))
        assert [pair.answers()["do"] for pair in pairs] == ["prepare"] * 3
        assert agreed.called
        adopted = Deferred.fromCoroutine(put_in_force(Clock(), workers))
        assert [pair.answers()["do"] for pair in pairs] == ["adopt"] * 3
        assert adopted.called


def ports(folder: Path, *addresses: str) -> Config:
    return configured(folder, f"listen: [{', '.join(f'{{address: {one!r}, tls: none}}' for one in addresses)}]\n")


def test_sockets_that_are_held_stay_and_others_come_and_go(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given, socket.create_server(("127.0.0.1", 0)) as taken:
        one, two, three = (f"127.0.0.1:{free_port()}" for _ in range(3))
        systemd = Systemd(sockets=[("smtp", given.fileno()), ("smtp", given.fileno())])
        nothing = Holding(None, 2, systemd)
        first = nothing.of(ports(tmp_path, one, two))
        second = first.of(ports(tmp_path, "systemd:smtp", two, three))
        assert second.counts == [2, 1, 1]
        assert second.descriptors(0)[:2] == [given.fileno()] * 2
        assert second.descriptors(1)[2] == first.descriptors(1)[1]
        assert sorted(second.added_to(first, 1)) == [0, 2]
        first.let_go_of_all_but(second)
        assert [connects(where) for where in (one, two, three)] == [False, True, True]
        for wrong, why in (
            (f"127.0.0.1:{taken.getsockname()[1]}", "Address already in use"),
            ("systemd:submission", r"no socket of that name \(it has handed over smtp\)"),
        ):
            with pytest.raises(CannotStart, match=f"cannot listen on {wrong}: .*{why}"):
                second.of(ports(tmp_path, one, two, wrong))
        assert [connects(where) for where in (one, two, three)] == [False, True, True], "as if nothing had been"
        second.let_go_of_all_but()
        assert [connects(where) for where in (one, two, three)] == [False, False, False]
        assert given.fileno() > 0
        given.getsockname()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def connects(where: str) -> bool:
    host, port = where.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
