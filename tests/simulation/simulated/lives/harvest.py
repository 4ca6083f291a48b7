"""Many lives, in several processes: `python -m simulated.lives.harvest [--seeds N] [--first N] [--processes N]`.

Prints the problems of each life that has any, and the command that plays it again; exit status 1 if there was one, or
if not all were played.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from simulated.lives.bugs import planted
from simulated.lives.life import Life, live, problems_of
from simulated.lives.plan import draw

MEMORY = Path("/dev/shm")  # a file system in memory, where nothing has to be waited for
CHUNK = 10  # lives that a process plays before it says anything
SHOWN = 10  # problems of a life
LONGEST = 400  # characters of a problem


class Verdict(NamedTuple):
    """What came of a life. days: of its virtual time. length, syncs, crashes: how much happened in it."""

    seed: int
    problems: tuple[str, ...]
    days: float
    messages: int
    syncs: int
    crashes: int


def play(seed: int, bug: str = "") -> Life:
    """The life of a seed, in a folder that is gone afterwards."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with planted(bug), tempfile.TemporaryDirectory(prefix="mta-life-", dir=place) as folder:
        return live(draw(seed), Path(folder))


def judge(seed: int, bug: str = "") -> Verdict:
    """What came of it, in a form that fits through a pipe."""
    life = play(seed, bug)
    machine = life.machine
    return Verdict(
        seed,
        tuple(problems_of(life)),
        life.plan.length / 86_400,
        sum(len(peer.copies) for peer in life.peers),
        machine.counts["sync"],
        len(machine.crashes),
    )


def told(verdict: Verdict, bug: str = "") -> str:
    """What to say of a life in which something was wrong, and how to see it again."""
    shown = [problem if len(problem) <= LONGEST else f"…{problem[-LONGEST:]}" for problem in verdict.problems[:SHOWN]]
    again = f"tests/simulation/replay --life {verdict.seed}" + (f" --bug {bug}" if bug else "")
    return "\n".join(
        [
            f"seed {verdict.seed}: {len(verdict.problems)} problems",
            *(f"  - {problem}" for problem in shown),
            f"Again, with all that was said and done: {again}",
        ]
    )


def harvest(first: int, seeds: int, processes: int) -> Iterator[Verdict]:
    """What came of so many lives, as soon as it is known."""
    chunks = [range(at, min(at + CHUNK, first + seeds)) for at in range(first, first + seeds, CHUNK)]
    pool = ProcessPoolExecutor(processes, initializer=_prepare)
    try:
        for done in as_completed([pool.submit(_judge_all, chunk) for chunk in chunks]):
            yield from done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


def _judge_all(seeds: range) -> list[Verdict]:
    return [judge(seed) for seed in seeds]


def main() -> int:
    """Play, print, count."""
    arguments = argparse.ArgumentParser(prog="simulate", description=__doc__)
    arguments.add_argument("--seeds", type=int, default=1000)
    arguments.add_argument("--first", type=int, default=0)
    arguments.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    wanted = arguments.parse_args()
    began = time.monotonic()
    verdicts = []
    try:
        for verdict in harvest(wanted.first, wanted.seeds, wanted.processes):
            verdicts.append(verdict)
            if verdict.problems:
                print(told(verdict), flush=True)
            if len(verdicts) % 100 == 0:
                print(f"{len(verdicts)} lives, {time.monotonic() - began:.0f} s", flush=True)
    except KeyboardInterrupt:
        print("interrupted")
    bad = sum(bool(verdict.problems) for verdict in verdicts)
    print(
        f"{len(verdicts)} lives from seed {wanted.first} on: {bad} with problems; "
        f"{sum(one.days for one in verdicts):.0f} days, {sum(one.messages for one in verdicts)} copies handed over, "
        f"{sum(one.syncs for one in verdicts)} syncs, {sum(one.crashes for one in verdicts)} crashes "
        f"in {time.monotonic() - began:.0f} s on {wanted.processes} processes"
    )
    return int(bad > 0 or len(verdicts) < wanted.seeds)


if __name__ == "__main__":
    sys.exit(main())
