"""Load: what is sent, by the generator, and where it ends, at a sink."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.build import program
from bench.ledger import Entry, Ledger
from bench.measure import Group, wait_for
from bench.peers import Papers, free_port, greets

PATIENCE = 60.0  # seconds without a message arriving, after which the rest is lost


@dataclass(frozen=True)
class Load:
    """size: octets of a message. many: all that a session can send in one session, else one each. rate: messages a
    second, 0 for as fast as they are taken. tls: STARTTLS; resume: go on with an earlier TLS session."""

    size: int = 10240
    messages: int = 2000
    sessions: int = 20
    many: bool = False
    pipelined: bool = False
    rate: float = 0
    tls: bool = False
    resume: bool = False

    def described(self) -> str:
        way = "many messages per session" if self.many else "one message per session"
        at_once = f"{self.sessions} sessions" if self.sessions > 1 else "one session"
        pipelined = ", pipelined" if self.pipelined else ""
        return f"{self.messages} messages of {size_text(self.size)}, {at_once} at once, {way}{pipelined}"

    def words(self) -> list[str]:
        """For the generator."""
        words = ["--count", str(self.messages), "--size", str(self.size), "--sessions", str(self.sessions)]
        words += ["--each", "0" if self.many else "1", "--rate", str(self.rate)]
        switches = {"--pipelined": self.pipelined, "--tls": self.tls, "--resume": self.resume}
        return words + [switch for switch, is_on in switches.items() if is_on]


@dataclass(frozen=True)
class Sent:
    """What the generator did: when it began and ended (nanoseconds), the TLS handshakes, its CPU seconds."""

    first: int
    began: int
    ended: int
    secured: int
    resumed: int
    cpu: float


class Sink:
    """A sink with its ledger, which outlives it when it is taken down."""

    def __init__(self, folder: Path, papers: Papers | None = None) -> None:
        self.port = free_port()
        self.ledger = Ledger(folder / "ledger")
        self.group = Group()
        self._folder = folder
        self._papers = papers
        self._process: subprocess.Popen[bytes] | None = None
        self._generators = Group()

    def up(self, resume: bool = True) -> None:
        """Listen. resume: TLS sessions may be resumed."""
        command: list[str | Path] = [program("sink"), "--port", str(self.port), "--ledger", self.ledger.file]
        if self._papers is not None:
            command += ["--certificate", self._papers.certificate, "--key", self._papers.key]
            command += [] if resume else ["--no-resume"]
        self._process = self.group.start(command, self._folder, self._folder / "sink.log")
        if not wait_for(lambda: greets(self.port), 10):
            raise SystemExit(f"bench: the sink does not start: {(self._folder / 'sink.log').read_text()}")

    def down(self) -> None:
        """Connections to it are refused from now on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def end(self) -> None:
        self.down()
        self.group.end()
        self._generators.end()

    def send(self, load: Load, port: int) -> Sent:
        """Send it to this port, with numbers of this sink's ledger; until the last reply."""
        first = self.ledger.reserve(load.messages)
        command: list[str | Path] = [program("generate"), "--port", str(port), "--ledger", self.ledger.file]
        command += ["--first", str(first), *load.words()]
        log = self._folder / f"generator-{first}"
        process = self._generators.start(command, self._folder, log)
        process.wait()
        said = log.read_text()
        line = next((line for line in said.splitlines() if line.startswith("{")), "")
        if not line:
            raise SystemExit(f"bench: the generator failed: {said}")
        told = json.loads(line)
        return Sent(first, told["began"], told["ended"], told["secured"], told["resumed"], told["cpu"])

    def arrival(self, count: int, meanwhile: Callable[[], None] | None = None) -> bool:
        """Wait until so many have come, first copies, since the ledger began. meanwhile: called every two seconds."""
        seen, changed, called = -1, time.monotonic(), time.monotonic()
        while (distinct := self.ledger.totals().distinct) < count:
            moment = time.monotonic()
            if distinct != seen:
                seen, changed = distinct, moment
            if moment - changed > PATIENCE:
                return False
            if meanwhile is not None and moment - called > 2:
                meanwhile()
                called = moment
            time.sleep(0.005)
        return True


def percentile(values: list[int], share: float) -> float:
    """Milliseconds, of nanoseconds; the nearest rank. NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1e6 if ordered else float("nan")


def to_accept(entries: list[Entry]) -> list[int]:
    """From MAIL to the last reply, of each accepted message: nanoseconds."""
    return [one.accepted - one.mailed for one in entries if one.reply // 100 == 2]


def to_arrive(entries: list[Entry]) -> list[int]:
    """From MAIL to its arrival at the sink."""
    return [one.arrived - one.mailed for one in entries if one.arrivals]


def size_text(size: int) -> str:
    """Octets as people write them: 10 KiB."""
    for unit, octets in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= octets and size % octets == 0:
            return f"{size // octets} {unit}"
    return f"{size} octets"
