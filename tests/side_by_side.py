"""Several processes share the tests, a file at a time (`pytest -n auto`); what measures time runs while they wait."""

import fcntl
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

MOST = 4  # processes, each with daemons of its own
FIRST = ("integration", "simulation", "web", "packaging", "attacks", "bench", "cli")  # whose files take longest


class Turns:
    """Any number of processes are in the room at once, or one is in it alone.

    Who waits for the room holds its door: it waits for those who are inside and for none who come later. The locks are
    the process's own, so that they end with it, and nothing that it starts has them.
    """

    def __init__(self, folder: Path) -> None:
        self._door, self._room = ((folder / name).open("w+") for name in ("door", "room"))

    @contextmanager
    def turn(self, alone: bool) -> Iterator[None]:
        fcntl.lockf(self._door, fcntl.LOCK_EX)
        fcntl.lockf(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.lockf(self._door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.lockf(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        self._door.close()
        self._room.close()


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


class SideBySide:
    """What a process does that has others beside it."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        with self._turns.turn(is_alone(item)):
            return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Files that take long come first, so that at the end nobody waits for one; then those whose tests want to be
        alone, when the others have little left to do."""
        counts: dict[Path, Counter[bool]] = defaultdict(Counter)
        for item in items:
            counts[item.path][is_alone(item)] += 1

        def when(item: pytest.Item) -> tuple[bool, int]:
            count, room = counts[item.path], item.path.parent.name
            return count[True] > count[False], FIRST.index(room) if room in FIRST else len(FIRST)

        items.sort(key=when)

    def pytest_unconfigure(self) -> None:
        self._turns.close()


class InOrder(LoadFileScheduling):
    """Whole files, so that what a module shares is made once, in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(SideBySide(Turns(config.cache.mkdir("alone"))))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> InOrder:
    return InOrder(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`. Two on a single core, too: most tests wait for something now and then."""
    return min(MOST, max(2, len(os.sched_getaffinity(0))))
