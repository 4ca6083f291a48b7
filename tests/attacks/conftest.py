"""The attacks are on the objects that other tests stand on: what those have beside them is importable here, too."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path += [str(TESTS / room) for room in ("delivery", "inbound", "integration", "simulation", "spool", "transports")]
