"""Program: what this process is executing, as it can be executed once more: by another process, or in our place."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from selectors import EVENT_READ, DefaultSelector
from threading import Event
from time import monotonic
from typing import Final

from mta.net.early import blocked
from mta.net.handover import Rehearsal

COULD: Final = "could start, version "  # what a rehearsal says, with its version, where it has gone well
PATIENCE: Final = 60.0  # seconds that a rehearsal may take

_LOOK: Final = 0.1  # seconds between two looks whether it has ended, or is wanted no more
_MOST_OCTETS: Final = 65_536  # that are kept of what it says, the last ones
_MOST_LINES: Final = 20  # of them that are told


@dataclass(frozen=True)
class Program:
    """How this process was started. words: of the command line. folder: where."""

    words: tuple[str, ...] = field(default_factory=lambda: (sys.executable, *sys.orig_argv[1:]))
    folder: str = field(default_factory=os.getcwd)

    def rehearse(self, rehearsal: Rehearsal, is_called_off: Event) -> tuple[str, Sequence[str]]:
        """Whether it could be started, as another process finds out: the version that could; or "", and why not.

        is_called_off: nobody wants to know any more. Blocks.
        """
        try:
            with subprocess.Popen(  # noqa: S603  ourselves
                self.words,
                cwd=self.folder if os.access(self.folder, os.X_OK) else None,
                env={**os.environ, **rehearsal.environment()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process:
                try:
                    said, complained = _listen(process, monotonic() + PATIENCE, is_called_off)
                finally:
                    process.kill()
        except subprocess.TimeoutExpired:
            if is_called_off.is_set():
                return "", ["the relay is stopping"]
            return "", [f"the program does not say within {PATIENCE:g} s whether it could start"]
        except OSError as error:
            return "", [f"the program cannot be started: {error}"]
        _, could, version = said.strip().rpartition(COULD)
        if could and not process.returncode:
            return version, ()
        return "", _reasons(complained) or [f"it ended with status {process.returncode}"]

    def execute(self, environment: Mapping[str, str]) -> None:
        """Have it take our place. Returns only by raising `OSError`."""
        with suppress(OSError):  # of a user who may not go there any more; the rehearsal has gone well without, too
            os.chdir(self.folder)
        with blocked():  # what comes meanwhile is for the program that begins
            os.execve(self.words[0], self.words, environment)  # noqa: S606  ourselves


def _listen(process: "subprocess.Popen[bytes]", until: float, is_called_off: Event) -> tuple[str, str]:
    """What a process says on its standard output and its standard error until it ends: as much as can be kept.

    Raises `subprocess.TimeoutExpired` where it does not end in time, or is wanted no more.
    """
    said = {pipe.fileno(): b"" for pipe in (process.stdout, process.stderr) if pipe is not None}
    with DefaultSelector() as pipes:
        for descriptor in said:
            pipes.register(descriptor, EVENT_READ)
        is_over = False
        while True:
            ready = pipes.select(0 if is_over else _LOOK)
            for key, _ in ready:
                octets = os.read(key.fd, _MOST_OCTETS)
                said[key.fd] = (said[key.fd] + octets)[-_MOST_OCTETS:]
                if not octets:
                    pipes.unregister(key.fd)
            is_late = is_called_off.is_set() or monotonic() > until
            if is_over and (is_late or not ready):  # who else has its pipes, and may say something yet, is not it
                break
            is_over = is_over or process.poll() is not None
            if is_late and not is_over:
                raise subprocess.TimeoutExpired(process.args, PATIENCE)
    first, second = (octets.decode(errors="replace") for octets in said.values())
    return first, second


def _reasons(said: str) -> list[str]:
    lines = [line.removeprefix("mta: ") for line in said.splitlines() if line.strip()]
    return lines[-1:] if any(line.startswith("Traceback ") for line in lines) else lines[:_MOST_LINES]
