"""One trial: the scenario played with the relay crashing at given points, and its promises checked."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Sequence

from mta.config.model import Config
from simulated.machine import CrashPoint
from simulated.promises import problems
from simulated.scenario import LENGTH, Play, play


def trial(
    config: Config,
    points: Sequence[CrashPoint] = (),
    seed: int = 0,
    length: float = LENGTH,
    silent: bool = False,
    workers: Sequence[int] = (1,),
) -> tuple[Play | None, list[str]]:
    """How it went (None where it could not be played to its end), and what was wrong. The spool is gone afterwards."""
    try:
        played = play(config, points, seed, length, silent, workers)
        found = problems(played)
        if points and not played.machine.hit:
            found.append(f"it never came to {points[0]}")
    except Exception:
        return None, [traceback.format_exc()]
    else:
        return played, found
    finally:
        shutil.rmtree(config.spool, ignore_errors=True)


def verdict(points: Sequence[CrashPoint], seed: int, found: Sequence[str], workers: Sequence[int] = (1,)) -> str:
    """What a test says of a trial in which something was wrong, and how to see it again."""
    where = " ".join(map(str, points))
    shared = "" if tuple(workers) == (1,) else f" --workers {','.join(map(str, workers))}"
    return "\n".join(
        [
            f"{where or 'without a crash'} (seed {seed}):",
            *(f"  - {problem}" for problem in found),
            f"Again, with all that was said and done: tests/simulation/replay --seed {seed}{shared} {where}",
        ]
    )
