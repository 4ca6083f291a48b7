"""The relay under test, as `twistd mta start` runs it, and the `mta` command beside it."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from mta.cli.program import program

from .ground import Process, greets, wait_until

LIFE_LOCK = re.compile(r"queue-(\d+)\.lock")
PROGRAMS = Path(sys.executable).parent  # of the virtual environment; not resolved, or it would be the system's


def twistd(*words: str | Path) -> list[str]:
    """The command line `twistd …` of this environment."""
    return [str(word) for word in (PROGRAMS / "twistd", *words)]


class Relay:
    """A relay with a folder, a configuration and a spool of its own. It may be started, stopped and killed often.

    settings: keys of PRODUCT.md, which replace the ones below. before: words that stand in front of the command.
    options: of twistd.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        port: int,
        settings: Mapping[str, Any],
        options: Sequence[str] = (),
        before: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self.configuration = folder / "mta.yml"
        self.settings: dict[str, Any] = {
            "hostname": "relay.test",
            "spool": "spool",
            "listen": [{"address": f"{address}:{port}", "tls": "none"}],
            "retry": {"after": ["1s"], "warn": "never", "give_up": "5d"},
            "admin": {"listen": None},
            **settings,
        }
        self.write_configuration()
        command = [*before, *twistd("-n", "--pidfile=", *options, "mta", "start", "--config", self.configuration)]
        self.process = Process(f"relay-{folder.name}", command, folder)

    @property
    def where(self) -> str:
        """Its first listener, as HOST:PORT."""
        return f"{self.address}:{self.port}"

    @property
    def spool(self) -> Path:
        return self.folder / str(self.settings["spool"])

    @property
    def output(self) -> str:
        return self.process.output

    def write_configuration(self) -> None:
        self.configuration.write_text(yaml.safe_dump(self.settings, sort_keys=False))

    def start(self, within: float = 20.0) -> None:
        """Start it, and wait for its greeting."""
        self.process.start()
        wait_until(lambda: self._is_up(), f"the relay greets at {self.where}", within)

    def _is_up(self) -> bool:
        if not self.process.is_alive:
            pytest.fail(f"the relay ended with status {self.process.wait()}:\n{self.output}")
        return greets(self.address, self.port)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        return self.process.stop()

    def kill(self) -> None:
        """SIGKILL to the process group."""
        self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP to the process group: nothing more is said, not even of what is in the kernel just now."""
        self.process.freeze()

    def mta(self, *words: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `mta …` with this configuration. Fails the test on an exit status other than 0 unless told not to."""
        command = [str(PROGRAMS / "mta"), *words, "--config", str(self.configuration)]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=600, check=False, cwd=self.folder
        )
        if check and done.returncode:
            pytest.fail(f"mta {' '.join(words)} ended with status {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def queue(self, *words: str) -> dict[str, Any]:
        """What `mta queue --json` says."""
        return self._told("queue", *words)

    def queued(self, queue_id: str) -> dict[str, Any] | None:
        """A message of the queue's listing; None when it is not there any more."""
        return next((one for one in self.queue("--limit", "1000")["messages"] if one["id"] == queue_id), None)

    def story(self, queue_id: str) -> str:
        """What `mta show` tells of a message."""
        return self.mta("show", queue_id).stdout

    def story_of(self, queue_id: str) -> dict[str, Any]:
        """The same as `mta show --json` has it."""
        return self._told("show", queue_id)

    def _told(self, *words: str) -> dict[str, Any]:
        """What an `mta` command says with --json. No process of its own: who waits asks again and again."""
        done = CliRunner().invoke(program, [*words, "--json", "--config", str(self.configuration)])
        if done.exit_code:
            pytest.fail(f"mta {' '.join(words)} ended with status {done.exit_code}: {done.output}")
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def wait_until_gone(self, queue_id: str, within: float = 15.0) -> None:
        """Wait until a message has left the queue."""
        wait_until(lambda: self.queued(queue_id) is None, f"{queue_id} leaves the queue", within, pause=0.2)

    def wait_until_deferred(self, queue_id: str, within: float = 15.0) -> dict[str, Any]:
        """The message's entry of the listing, once a try has left a last reply with it."""

        def deferred() -> dict[str, Any] | None:
            one = self.queued(queue_id)
            return one if one and any(recipient["last_reply"] for recipient in one["recipients"]) else None

        found = wait_until(deferred, f"{queue_id} is deferred with a reply", within, pause=0.2)
        assert found is not None
        return found

    def wait_until_empty(self, within: float = 30.0) -> None:
        """Wait until nothing is queued."""
        wait_until(
            lambda: self.queue("--limit", "0")["totals"]["messages"] == 0,
            f"{self.where} has an empty queue",
            within,
            0.3,
        )

    def pid_behind(self) -> int:
        """The process id of the relay itself, where it was started by a program that stands in front of it."""
        [pid] = _children(self.process.pid)
        return pid

    def workers(self, supervisor: int = 0) -> dict[int, int]:
        """The process ids of its workers, by number: each holds the lock of its queue file."""
        held = {}
        for parent in _children(supervisor or self.process.pid):
            for one in _children(parent):
                with contextlib.suppress(OSError):
                    for opened in Path(f"/proc/{one}/fd").iterdir():
                        if found := LIFE_LOCK.fullmatch(opened.readlink().name):
                            held[int(found[1])] = one
        return held

    def parent(self) -> int:
        """The process id of what its workers are forked from."""
        [parent] = {one for one in _children(self.process.pid) if _children(one)}
        return parent

    def resident(self) -> int:
        """Its resident memory in octets."""
        return resident(self.process.pid)


def resident(pid: int) -> int:
    """The resident memory of a process and its children, in octets."""
    octets = 0
    for one in (pid, *_descendants(pid)):
        for line in Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                octets += int(line.split()[1]) * 1024
    return octets


def _descendants(pid: int) -> Iterator[int]:
    for one in _children(pid):
        yield one
        yield from _descendants(one)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


StartRelay = Callable[..., Relay]
"""What the fixtures `start_relay` and `make_relay` are: keyword arguments become keys of the configuration."""


@contextlib.contextmanager
def running_relay(relay: Relay) -> Iterator[Relay]:
    """The relay, started, and gone at the end."""
    try:
        relay.start()
        yield relay
    finally:
        with contextlib.suppress(pytest.fail.Exception):
            if relay.process.is_alive:
                relay.stop()
        relay.process.forget()
