"""Restarting: the program, as it is on disk by now, takes the place of the one that runs, in the same process.

1. Another process rehearses: it is started with our words, does what a start does without touching anything that is
   ours, and says whether it could. Where it could not, nothing has happened.
2. The relay ends as it does on SIGTERM, but for its listening sockets, which stay: whoever connects waits.
3. The program is executed (execve(2)) in this process, and finds these sockets (`mta.net.handover`).

So there never are two that could have the spool, and the process id, which systemd, pidfiles and containers know the
relay by, is the same.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.defer import Deferred

from mta.config.model import Config
from mta.maillog import LineWriter, Log
from mta.net.early import blocked
from mta.net.handover import Rehearsal, handing_over
from mta.net.systemd import Systemd
from mta.wiring.control import listening_name_of_control
from mta.wiring.trouble import listening_name_of_admin

PATIENCE: Final = 60.0  # seconds that a rehearsal may take
COULD: Final = "could start, version "  # what a rehearsal says, with its version, where it has gone well

_ALIVE: Final = "WATCHDOG=1"  # to systemd, who hears nothing from a relay that ends, and from one that begins
_SOFTWARE: Final = 70  # EX_SOFTWARE of sysexits.h
_MOST_LINES: Final = 20  # of what a rehearsal says

HandOver = Callable[[], Mapping[str, Sequence[int]]]


def names_of(config: Config) -> list[str]:
    """The names by which what a relay of this configuration listens on is handed over."""
    names = [str(entry.address) for entry in config.listen]
    if config.admin.listen is not None:
        names.append(listening_name_of_admin(config.admin.listen))
    return [*names, listening_name_of_control(config.spool)]


@dataclass(frozen=True)
class Program:
    """How this process was started. words: of the command line. folder: where."""

    words: tuple[str, ...] = field(default_factory=lambda: (sys.executable, *sys.orig_argv[1:]))
    folder: str = field(default_factory=os.getcwd)

    def rehearse(self, rehearsal: Rehearsal) -> tuple[str, Sequence[str]]:
        """Whether it could be started, as another process finds out: the version that could; or "", and why not.

        Blocks.
        """
        try:
            done = subprocess.run(  # noqa: S603  ourselves
                self.words,
                cwd=self.folder if os.access(self.folder, os.X_OK) else None,
                env={**os.environ, **rehearsal.environment()},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "", [f"the program does not say within {PATIENCE:g} s whether it could start"]
        except OSError as error:
            return "", [f"the program cannot be started: {error}"]
        _, could, version = done.stdout.decode(errors="replace").strip().rpartition(COULD)
        if could and not done.returncode:
            return version, ()
        return "", _reasons(done.stderr.decode(errors="replace")) or [f"it ended with status {done.returncode}"]

    def execute(self, environment: Mapping[str, str]) -> None:
        """Have it take our place. Returns only by raising `OSError`."""
        with suppress(OSError):  # of a user who may not go there any more; the rehearsal has gone well without, too
            os.chdir(self.folder)
        with blocked():  # what comes meanwhile is for the program that begins
            os.execve(self.words[0], self.words, environment)  # noqa: S606  ourselves


def _reasons(said: str) -> list[str]:
    lines = [line.removeprefix("mta: ") for line in said.splitlines() if line.strip()]
    return lines[-1:] if any(line.startswith("Traceback ") for line in lines) else lines[:_MOST_LINES]


class Restarting:
    """Begins the relay of this process anew, when asked to."""

    def __init__(
        self,
        reactor: Any,
        program: Program,
        systemd: Systemd,
        sink: LineWriter | None,
        log: Log,
        in_thread: Callable[..., "Deferred[Any]"],
        current: Callable[[], Config],
        parts: Sequence[HandOver],
    ) -> None:
        """current: the configuration in force. parts: what listens, and what is handed over of it."""
        self._reactor = reactor
        self._program = program
        self._systemd = systemd
        self._sink = sink
        self._log = log
        self._in_thread = in_thread
        self._current = current
        self._parts = parts
        self._kept: dict[str, Sequence[int]] = {}
        self._is_busy = False
        self._is_wanted = False

    def restart(self) -> "Deferred[list[str]]":
        """Begin anew. Fires with the reasons why that is not to be, with all as it was; with none once it is begun."""
        return Deferred.fromCoroutine(self._restart())

    async def _restart(self) -> list[str]:
        if self._is_busy:
            return ["it is being started anew already"]
        self._is_busy = True
        rehearsal = Rehearsal(names_of(self._current()), self._systemd.names)
        version, reasons = await self._in_thread(self._program.rehearse, rehearsal)
        if version and self._reactor.running:
            try:
                for part in self._parts:
                    self._kept.update(part())
            except OSError as error:  # too many open files
                reasons = [f"what listens cannot be handed over: {error.strerror}"]
            else:
                self._log("restarting", version=version)
                self._end_of_this()
                return []
        self._is_busy = False
        for why in reasons:
            self._log("not-restarted", why=why)
        return list(reasons) or ["the relay is stopping"]

    def _end_of_this(self) -> None:
        self._is_wanted = True
        self._systemd.tell_reload(True)
        self._systemd.tell(_ALIVE)
        self._systemd.keeps_us = True
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._be_stopped)
        self._reactor.stop()

    def _be_stopped(self, *_: object) -> None:
        """Somebody wants it to end, which it is about to do."""
        self._is_wanted = False
        self._systemd.keeps_us = False
        self._systemd.tell("STOPPING=1")

    def finish(self) -> None:
        """The reactor has stopped, and all is closed. Returns where the process is to end."""
        if not self._is_wanted:
            return
        log = None
        if self._sink is not None:
            self._sink.flush()
            log = self._sink.descriptor()
        handed = handing_over(os.getpid(), self._kept, log)
        self._systemd.tell(_ALIVE)
        try:
            self._program.execute({**os.environ, **self._systemd.handing_over(), **handed})
        except OSError as error:
            self._log("alarm", why=f"the program cannot be executed: {error}")
            if self._sink is not None:
                self._sink.flush()
            os._exit(_SOFTWARE)
