"""Peers: relays under load, each with a folder, a port and a next hop; and this one as one of them."""

import os
import random
import re
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.compiled import compiled
from bench.measure import Group, wait_for

HOME = Path(__file__).resolve().parent.parent
# Below those that the kernel gives to clients, so that a restart finds its own free; in an order of chance, so that who
# measures beside us looks for others.
PORTS = iter(random.SystemRandom().sample(range(22_000, 32_000), 10_000))
MANY = 20_000  # sessions, which is more than is ever asked for


@dataclass(frozen=True)
class Papers:
    """Files in PEM, for TLS."""

    certificate: Path
    key: Path


class Peer(ABC):
    """A relay. papers: for TLS in both directions, where it is offered; None: in the clear."""

    name: str
    most_sessions = MANY  # idle ones, which it is asked to keep
    restarts_within = 60.0  # seconds

    def __init__(self, folder: Path, sink_port: int, papers: Papers | None) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = free_port()
        self.sink_port = sink_port
        self.papers = papers
        self.group = Group()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def configure(self) -> None:
        """Write its configuration."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What runs it in the foreground."""

    @abstractmethod
    def flush(self) -> None:
        """Have everything tried that waits."""

    def start(self) -> float:
        """Start it. Seconds until it greets; ends the bench, with its log, where it does not."""
        began = time.monotonic()
        self._process = self.group.start(self.command(), self.folder, self.folder / "log")
        if not wait_for(lambda: greets(self.port), self.restarts_within):
            raise SystemExit(f"bench: {self.name} does not greet:\n{self.log()}")
        return time.monotonic() - began

    def log(self) -> str:
        """The end of what it has written."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """Stop it as an operator would, and wait until it has ended."""
        if self._process is not None:
            self.ask_to_stop(self._process)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
        self._process = None

    def ask_to_stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()

    def end(self) -> None:
        self.stop()
        self.group.end()


class Mta(Peer):
    """This checkout's relay, with so many worker processes. native: its busiest modules compiled (`compiled`)."""

    def __init__(
        self, folder: Path, sink_port: int, papers: Papers | None, workers: int = 1, native: bool = False
    ) -> None:
        super().__init__(folder, sink_port, papers)
        self.name = ("mta, compiled" if native else "mta") + (f", {workers} workers" if workers > 1 else "")
        self._environment = [f"PYTHONPATH={compiled()}"] if native else []
        self._workers = workers
        self._file = folder / "mta.yml"

    def configure(self) -> None:
        tls = self.papers
        settings: dict[str, Any] = {
            "hostname": "relay.bench.test",
            "spool": "spool",
            "workers": self._workers,
            "listen": [{"address": f"127.0.0.1:{self.port}", "tls": "offered" if tls else "none"}],
            "routes": [{"to": "*", "via": f"smtp://127.0.0.1:{self.sink_port}", "tls": "may" if tls else "none"}],
            "limits": {"connections": MANY, "connections_per_client": MANY},
            "admin": {"listen": None},
        }
        if tls:
            settings["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
        self._file.write_text(yaml.safe_dump(settings))

    def command(self) -> Sequence[str | Path]:
        return [
            "env",
            *self._environment,
            HOME / ".venv/bin/twistd",
            "-n",
            "--pidfile=",
            "mta",
            "start",
            "--config",
            self._file,
        ]

    def flush(self) -> None:
        self._mta("retry", "--all")

    def refusal(self) -> str:
        """What the configuration's loader has against it: "" or its first line."""
        done = self._mta("check")
        said = (done.stdout + done.stderr).strip()
        return re.sub(r"^\S+:\d+: ", "", said.splitlines()[0]) if done.returncode and said else ""

    def _mta(self, *words: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [HOME / ".venv/bin/mta", *words, "--config", self._file]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True)


def free_port() -> int:
    for port in PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise SystemExit("bench: no port is free")


def greets(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 30) as probe:
        if probe.recv(512).startswith(b"220"):
            probe.sendall(b"QUIT\r\n")
            probe.recv(512)
            return True
    return False


def is_root() -> bool:
    return os.geteuid() == 0
