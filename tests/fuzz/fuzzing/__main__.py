"""All targets under atheris, sharing a time evenly, one on each processor. Ends with a table; exit status 1 where one
of them has found something.

    tests/fuzz/fuzz --minutes 60 [TARGET…]

What inputs have reached is kept below .fuzz, so that the next time goes on where this one ends.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

from targets import TARGETS
from targets.seeds import seeds

_HERE = Path(__file__).parents[1]
KEPT = _HERE.parents[1] / ".fuzz"
_IN_MEMORY = "/dev/shm"  # a file system where nothing has to be waited for
NAMES = (*TARGETS, "pumped")
_EXECUTED = re.compile(rb"stat::number_of_executed_units: *([0-9]+)")
_LONGEST_INPUT = 1500  # octets that are made up; what repeats itself is made of a few
_MOST_MEMORY = 1024  # MiB
_SHORTEST = 2.0  # seconds that are worth beginning with
_MOST_DOUBTS = 20  # inputs that are too slow only where they are recorded


class Result(NamedTuple):
    """What came of one target. found: where the input is that something is wrong with. trouble: why it did not run."""

    name: str
    executions: int = 0
    seconds: float = 0.0
    found: Path | None = None
    trouble: str = ""


def run(name: str, seconds: float) -> Result:
    """Fuzz one target for so long, or until it has found something."""
    corpus, found = KEPT / "corpus" / name, KEPT / "findings" / name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for octets in seeds(name):
        (corpus / sha1(octets).hexdigest()).write_bytes(octets)
    words = KEPT / f"{name}.dict"
    words.write_text("".join(_dictionary(name)) or '"\\x00"\n')  # it must not be empty
    begun, executions = monotonic(), 0
    for _ in range(_MOST_DOUBTS):
        left = seconds - (monotonic() - begun)
        if left < _SHORTEST:
            break
        before = set(found.iterdir())
        done = _child("fuzzing.one", name, corpus, *_options(left, words, found))
        executions += sum(map(int, _EXECUTED.findall(done.stderr)))
        new = sorted(set(found.iterdir()) - before)
        for path in new:
            if _child("fuzzing.again", name, path).returncode:
                return Result(name, executions, monotonic() - begun, path)
            path.unlink()
        if done.returncode and not new:
            tail = done.stderr.decode(errors="replace").strip().splitlines()[-5:]
            return Result(name, executions, monotonic() - begun, trouble=" / ".join(tail))
    return Result(name, executions, monotonic() - begun)


def _options(seconds: float, words: Path, found: Path) -> list[str]:
    return [
        f"-max_total_time={max(int(seconds), 1)}",
        f"-max_len={_LONGEST_INPUT}",
        f"-rss_limit_mb={_MOST_MEMORY}",
        f"-dict={words}",
        f"-artifact_prefix={found}/",
        "-timeout=30",
        "-print_final_stats=1",
        "-verbosity=0",
    ]


def _child(module: str, *arguments: object) -> "subprocess.CompletedProcess[bytes]":
    """One process, and what it leaves behind is removed: a fuzzer ends without cleaning up."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with TemporaryDirectory(dir=_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None) as folder:
        settings = {**os.environ, "TMPDIR": folder}
        return subprocess.run(command, cwd=_HERE, env=settings, capture_output=True, check=False)


def _dictionary(name: str) -> Iterator[str]:
    """What inputs are made of, in libFuzzer's form."""
    for word in TARGETS[name].words if name in TARGETS else ():
        if 1 < len(word) <= 64:
            yield '"' + "".join(f"\\x{octet:02X}" for octet in word) + '"\n'


def main() -> int:
    """The program."""
    options = argparse.ArgumentParser(prog="tests/fuzz/fuzz", description=__doc__, allow_abbrev=False)
    options.add_argument("--minutes", type=float, default=10.0, help="for all targets together (default: 10)")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    options.add_argument("targets", nargs="*", metavar="TARGET", help=" ".join(NAMES))
    given = options.parse_args()
    unknown = set(given.targets) - set(NAMES)
    if unknown:
        options.error(f"there is no target {' '.join(sorted(unknown))}")
    names = given.targets or NAMES
    share = given.minutes * 60 * min(given.jobs, len(names)) / len(names)
    print(f"{len(names)} targets, {share:.0f} s each, {given.jobs} at once", flush=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(lambda name: run(name, share), names))
    print(f"\n{'target':<16}{'executions':>12}{'a second':>10}  findings")
    for one in results:
        rate = one.executions / one.seconds if one.seconds else 0
        says = one.found or (f"did not run: {one.trouble}" if one.trouble else "none")
        print(f"{one.name:<16}{one.executions:>12,}{rate:>10,.0f}  {says}")
    for one in results:
        if one.found:
            print(f"\nagain: tests/fuzz/replay {one.name} {one.found}")
    print(
        f"\n{sum(one.executions for one in results):,} executions, {sum(bool(one.found) for one in results)} findings"
    )
    return int(any(one.found or one.trouble for one in results))


if __name__ == "__main__":
    sys.exit(main())
