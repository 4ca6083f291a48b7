"""Worlds for the tests of what every spool promises: each test is run with the real one and with its twin."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from spools import MemoryWorld, SqliteWorld, World, clock_at_start


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    clock = clock_at_start()
    made = MemoryWorld(clock) if request.param == "memory" else SqliteWorld(clock, tmp_path / "spool")
    yield made
    made.close()
