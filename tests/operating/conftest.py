"""Makes the simulated world importable, in which the relay is asked to do what it has been said that it would do."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "simulation"))
