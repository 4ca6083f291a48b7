"""Houses for the tests of delivery, each on a spool in memory and on the real store."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from clockwork import BEGINNING, Build, House, InMemory, OnDisk
from twisted.internet.task import Clock


@pytest.fixture(params=["in memory", "on disk"])
def store(request: pytest.FixtureRequest) -> str:
    """What kind of spool the house has. A test module for crowds has the one that is made for them."""
    return str(request.param)


@pytest.fixture
def build(store: str) -> Iterator[Build]:
    """Builds a house on a spool of its own; start=False leaves the manager to the test."""
    stores: list[InMemory | OnDisk] = []
    with TemporaryDirectory(dir="/dev/shm") as folder:

        def build(start: bool = True, **how: Any) -> House:
            clock = Clock()
            clock.rightNow = BEGINNING
            place = Path(folder, str(len(stores)))
            stores.append(InMemory(clock) if store == "in memory" else OnDisk(clock, place))
            house = House(stores[-1], clock, **how)
            if start:
                house.manager.start()
            return house

        yield build
        for one in stores:
            one.close()


@pytest.fixture
def house(build: Build) -> House:
    """A house whose manager runs."""
    return build()
