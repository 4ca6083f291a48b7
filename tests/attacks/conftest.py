"""The attacks are on the objects that other tests stand on: what those have beside them is importable here, too."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
ROOMS = ("auth", "cli", "delivery", "inbound", "integration", "simulation", "spool", "transports")
sys.path += [str(TESTS / room) for room in ROOMS]

MEMORY = Path("/dev/shm")  # a file system in memory, where nothing has to be waited for


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, for whom many syncs are many."""
    made = Path(tempfile.mkdtemp(prefix="mta-attacks-", dir=MEMORY if MEMORY.is_dir() else None))
    yield made
    shutil.rmtree(made)
