"""Replays a trial: `tests/simulation/replay [--seed N] [--workers N,N] [--length SECONDS] [POINT ...]`.

A point is such as sync-12-before-power.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from simulated.machine import CrashPoint
from simulated.scenario import LENGTH, configuration
from simulated.trial import trial

arguments = argparse.ArgumentParser(prog="replay", description=__doc__)
arguments.add_argument("--seed", type=int, default=0)
arguments.add_argument("--length", type=float, default=LENGTH)
arguments.add_argument("--workers", type=lambda text: [int(one) for one in text.split(",")], default=[1])
arguments.add_argument("points", nargs="*", type=CrashPoint.parse)
told = arguments.parse_args()
with tempfile.TemporaryDirectory() as folder:
    played, found = trial(configuration(Path(folder)), told.points, told.seed, told.length, workers=told.workers)
if played is not None:
    print("\n".join([*played.world.transcript, "", "The relay's log:", *played.machine.lines, ""]))
print("\n".join(found) or "Every promise was kept.")
sys.exit(bool(found))
