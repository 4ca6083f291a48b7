"""The ground that all peers stand on: loopback addresses of this run, processes, and bounded waiting."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

T = TypeVar("T")

_OF_A_NET = 250  # addresses
_STEP = 5.0  # seconds between two looks at what is waited for, at most: else the machine stood still

SBIN = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def tool(command: str, package: str) -> str:
    """The path of a system command; the test fails with the name of its Debian package where it is missing."""
    found = shutil.which(command, path=SBIN)
    if found is None:
        pytest.fail(f"needs the Debian package {package}: {command} not found (tests/install-peers installs it)")
    return found


def wait_until(probe: Callable[[], T], what: str, within: float = 15.0, pause: float = 0.02) -> T:
    """What `probe` gives once it is true. `within`: seconds, after which the test fails and says what it waited for.

    Those in which this machine stood still do not count, as a virtual one does now and then.
    """
    left, last = within, time.monotonic()
    while not (value := probe()):
        if left < 0:
            pytest.fail(f"waited {within:g} s in vain: {what}")
        time.sleep(pause)
        now = time.monotonic()
        left, last = left - min(now - last, _STEP), now
    return value


class Loopback:
    """Addresses 127.A.B.x that only this run uses (A and B by chance), so that runs side by side do not meet."""

    def __init__(self) -> None:
        self._take_a_net()

    def _take_a_net(self) -> None:
        self._taken = 0
        while True:
            self._net = f"127.{random.randint(64, 254)}.{random.randint(0, 255)}"
            with contextlib.suppress(OSError), socket.create_server((f"{self._net}.1", 0)):
                return

    def address(self) -> str:
        """An address that nothing of this run has had before."""
        if self._taken == _OF_A_NET:
            self._take_a_net()
        self._taken += 1
        return f"{self._net}.{self._taken}"


_given: set[tuple[str, int]] = set()


def free_port(address: str) -> int:
    """A TCP port of this address that nothing listens on, and that the same number of UDP is free for, too.

    Never the same one again: whoever was given it may not listen there yet.
    """
    while True:
        with socket.create_server((address, 0)) as listening:
            port: int = listening.getsockname()[1]
            if (address, port) in _given:
                continue
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
                datagrams.bind((address, port))
                _given.add((address, port))
                return port


def needs_port_25(address: str) -> None:
    """Fails the test where this user may not listen on port 25, which is where MX records lead."""
    try:
        socket.create_server((address, 25)).close()
    except PermissionError:
        pytest.fail("needs root (or net.ipv4.ip_unprivileged_port_start=25): mail exchangers listen on port 25")


def greets(address: str, port: int) -> bool:
    """Does a mail server greet there? Says QUIT, so that nothing is left open."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=2) as connection:
        connection.settimeout(5)
        greeting = connection.recv(512)
        with contextlib.suppress(OSError):
            connection.sendall(b"QUIT\r\n")
            while connection.recv(512):
                pass
        return greeting.startswith(b"220")
    return False


class Process:
    """A program in a process group of its own, whose output goes to a file. handed: descriptors that it is given."""

    everyone: ClassVar[list["Process"]] = []

    def __init__(
        self, name: str, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.folder = folder
        self._command = [str(word) for word in command]
        self._environment = {**os.environ, "PATH": SBIN, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._log = folder / f"{name}.out"
        self._running: subprocess.Popen[bytes] | None = None
        self.handed: Sequence[int] = ()

    def start(self) -> None:
        """Start it, its output appended to what earlier starts have written."""
        assert self._running is None or self._running.poll() is not None, f"{self.name} is running already"
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.handed,
            )
        if self not in Process.everyone:
            Process.everyone.append(self)

    @property
    def pid(self) -> int:
        assert self._running is not None, f"{self.name} was never started"
        return self._running.pid

    @property
    def is_alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def output(self) -> str:
        """All it has written so far, standard error included."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def wait(self, within: float = 15.0) -> int:
        """Its exit status, once it has ended by itself."""
        assert self._running is not None, f"{self.name} was never started"
        try:
            return self._running.wait(within)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} had not ended after {within:g} s\n{self.output}")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP to the process group."""
        os.killpg(self.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL to the whole group, as the machine's bad day would have it."""
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait(10)

    def stop(self, within: float = 15.0) -> int:
        """SIGTERM, and its exit status. What does not end in time is killed, and fails the test."""
        if not self.is_alive:
            return self.wait()
        self.signal(signal.SIGTERM)
        try:
            return self.wait(within)
        finally:
            self.kill()

    def forget(self) -> None:
        """End it whatever it does, and leave it out of the reports of later tests."""
        self.kill()
        if self in Process.everyone:
            Process.everyone.remove(self)


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    """The process, started; it is gone at the end, asked first, then killed."""
    process.start()
    try:
        yield process
    finally:
        if process.is_alive:
            process.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired, pytest.fail.Exception):
                process.wait(5)
        process.forget()
