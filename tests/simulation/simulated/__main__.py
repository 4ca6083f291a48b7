"""Replays a trial of the fixed scenario, or a life that was drawn from a seed:

    tests/simulation/replay [--seed N] [--workers N,N] [--length SECONDS] [POINT ...]
    tests/simulation/replay --life SEED [--bug NAME]

A point is such as sync-12-before-power; a bug is one of simulated/lives/bugs.py.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from simulated.lives.bugs import BUGS
from simulated.lives.harvest import play as play_life
from simulated.lives.life import problems_of
from simulated.machine import CrashPoint
from simulated.scenario import LENGTH, configuration
from simulated.trial import trial


def main() -> int:
    """Play it, and print its story."""
    arguments = argparse.ArgumentParser(
        prog="replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--life", type=int, metavar="SEED")
    arguments.add_argument("--bug", choices=BUGS, default="")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--length", type=float, default=LENGTH)
    arguments.add_argument("--workers", type=lambda text: [int(one) for one in text.split(",")], default=[1])
    arguments.add_argument("points", nargs="*", type=CrashPoint.parse)
    told = arguments.parse_args()
    if told.life is not None:
        life = play_life(told.life, told.bug)
        found = list(problems_of(life))
        print(life.story())
    else:
        with tempfile.TemporaryDirectory() as folder:
            config = configuration(Path(folder))
            played, found = trial(config, told.points, told.seed, told.length, workers=told.workers)
        if played is not None:
            print("\n".join([*played.world.transcript, "", "The relay's log:", *played.machine.lines, ""]))
    print("\n".join(found) or "Every promise was kept.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
