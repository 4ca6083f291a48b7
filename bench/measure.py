"""Measure: CPU, memory and system calls of a relay, that is of all its processes."""

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

HZ = os.sysconf("SC_CLK_TCK")
CGROUPS = Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup")  # version 1, version 2
NUMBERS = count()
STEP = 5.0  # seconds between two looks at something that is waited for, at most: else the machine stood still


class Group:
    """A process with all that it starts, for as long as these live and afterwards.

    A control group of its own where this machine lets us make one, else the tree of processes in /proc, which knows of
    children that have ended only what their parents were told when they waited for them, in hundredths of a second.
    """

    def __init__(self) -> None:
        self._folder = _new_cgroup()
        self._processes: list[subprocess.Popen[bytes]] = []  # the latest last

    def start(self, command: Sequence[str | Path], folder: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start it in this group, with its output appended to the log."""
        words: list[str | Path] = list(command)
        if self._folder is not None:
            # By a shell: code of ours between fork and exec would make the start slower and less safe.
            words = ["sh", "-c", f'echo $$ > "{self._folder}/cgroup.procs"; exec "$@"', "sh", *words]
        with log.open("ab") as output:
            process = subprocess.Popen(
                words, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._processes = [one for one in self._processes if one.poll() is None] + [process]
        return process

    def pids(self) -> list[int]:
        for process in self._processes:
            process.poll()  # those that have ended are gone when they were waited for
        if self._folder is not None:
            procs = self._folder / "cgroup.procs"
            return [int(word) for word in procs.read_text().split()] if procs.exists() else []
        return list(_tree(self._processes[-1].pid)) if self._processes else []

    def cpu(self) -> float:
        """Seconds, the user's and the system's."""
        if self._folder is None:
            return sum(_tree(self._processes[-1].pid).values()) / HZ if self._processes else 0.0
        if (self._folder / "cpuacct.usage").exists():
            return int((self._folder / "cpuacct.usage").read_text()) / 1e9
        return int((self._folder / "cpu.stat").read_text().split()[1]) / 1e6

    def memory(self, kind: str = "Pss") -> float:
        """MiB, shared pages divided among those who share them. kind: Pss_Anon for what does not come from files."""
        total = 0
        for pid in self.pids():
            with suppress(OSError):
                found = re.search(rf"^{kind}:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
                total += int(found[1]) if found else 0
        return total / 1024

    def settle(self, limit: float = 120.0) -> None:
        """Wait until it has next to nothing to do: less than 2 % of a core for half a second. limit: seconds."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            before = self.cpu()
            time.sleep(0.5)
            if self.cpu() - before <= 0.01:
                return

    def end(self, patience: float = 10.0) -> None:
        """End what is left of it. patience: seconds that it has until it is killed."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if wait_for(lambda: not self.pids(), patience):
                break
        for process in self._processes:  # one may have ended since it was looked at, or not have joined the group yet
            process.kill()
            process.wait()
        if self._folder is not None:
            wait_for(self._is_removed, 2)

    def _is_removed(self) -> bool:
        """The kernel takes a moment to let go of the last process."""
        assert self._folder is not None
        with suppress(OSError):
            self._folder.rmdir()
        return not self._folder.exists()


def wait_for(condition: Callable[[], bool], limit: float) -> bool:
    """Whether it came true within so many seconds.

    Those in which this machine stood still do not count, as a virtual one does now and then: who is waited for stood
    still, too.
    """
    left, last = limit, time.monotonic()
    while not condition():
        if left < 0:
            return False
        time.sleep(0.01)
        now = time.monotonic()
        left, last = left - min(now - last, STEP), now
    return True


@contextmanager
def counting_calls(pids: Sequence[int], report: Path) -> Iterator[None]:
    """Count the system calls that these processes, and those that they start, make inside of this block.

    The block runs many times slower: nothing in it is worth timing.
    """
    words = ["strace", "-c", "-f", "-o", str(report)]
    for pid in pids:
        words += ["-p", str(pid)]
    tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert tracer.stderr is not None
        attached, end = 0, time.monotonic() + 30
        while attached < len(pids) and time.monotonic() < end:
            if select.select([tracer.stderr], [], [], 0.5)[0]:
                attached += os.read(tracer.stderr.fileno(), 65536).count(b"attached")
            if tracer.poll() is not None:
                raise SystemExit("bench: strace may not look at the relays here; it needs root, or ptrace_scope 0")
        time.sleep(0.2)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate()


def calls_of(report: Path) -> dict[str, int]:
    """How often each system call was made, and "total"."""
    found: dict[str, int] = {}
    for line in report.read_text().splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[0][0].isdigit():
            found[fields[-1]] = int(fields[3])
    return found


def has_strace() -> bool:
    return shutil.which("strace") is not None


def _new_cgroup() -> Path | None:
    for above in CGROUPS:
        if (above / "cpuacct.usage").exists() or (above / "cgroup.controllers").exists():
            folder = above / f"mta-bench-{os.getpid()}-{next(NUMBERS)}"
            with suppress(OSError):
                folder.mkdir()
                if os.access(folder / "cgroup.procs", os.W_OK):
                    return folder
    return None


def _tree(root: int) -> dict[int, int]:
    """The process, and all below it, each with its CPU in ticks: its own, and of those it has waited for."""
    children: dict[int, list[int]] = {}
    spent: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
                spent[int(entry.name)] = sum(map(int, fields[11:15]))
    found: dict[int, int] = {}
    left = [root]
    while left:
        one = left.pop()
        if one in spent:
            found[one] = spent[one]
            left += children.get(one, [])
    return found
