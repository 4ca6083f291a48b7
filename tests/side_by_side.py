"""Several processes share the tests, a file at a time (`pytest -n auto`); what measures time runs while they wait."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from turns import Turns
from xdist.scheduler import LoadFileScheduling

MOST = 4  # processes, each with daemons of its own
FIRST = ("integration", "simulation", "web", "packaging", "attacks", "bench", "cli")  # whose files take longest


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(SideBySide(Turns(config.cache.mkdir("alone"))))


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: most tests wait for something now and then."""
    return min(MOST, len(os.sched_getaffinity(0)) + 1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "InOrder":
    return InOrder(config, log)


class InOrder(LoadFileScheduling):
    """Whole files, so that what a module shares is made once, in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)


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
            return count[True] >= count[False], FIRST.index(room) if room in FIRST else len(FIRST)

        items.sort(key=when)

    def pytest_unconfigure(self) -> None:
        self._turns.close()


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
