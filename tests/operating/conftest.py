"""What the tests of the operator's view stand on: the simulated world, in which the relay is asked to do what it has
been said that it would do, and the listener, the delivery side and the spools of other tests."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ROOMS = ("simulation", "inbound", "delivery", "spool", "cli")

sys.path += [str(TESTS / room) for room in ROOMS]
