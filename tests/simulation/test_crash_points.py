"""The relay crashes at every sync and at every answer of a server, and keeps its promises.

What is run is the composition root with the real store, on a virtual clock, network and disk. A failure names the
points, and how to see it again.
"""

from collections.abc import Iterable, Sequence

import pytest
from simulated.machine import CrashPoint
from simulated.trial import trial, verdict

from mta.config.model import Config

SHOWN = 5  # failures of a test


def each(config: Config, event: str) -> range:
    """The numbers of the events, as many as there are where nothing goes wrong."""
    played, found = trial(config)
    assert played is not None, verdict((), 0, found)
    assert not found, verdict((), 0, found)
    return range(1, played.machine.counts[event] + 1)


def keeps_its_promises(config: Config, trials: Iterable[Sequence[CrashPoint]]) -> None:
    failures = []
    for points in trials:
        _, found = trial(config, points)
        if found:
            failures.append(verdict(points, 0, found))
    assert not failures, "\n".join([f"{len(failures)} failed:", *failures[:SHOWN]])


# To somebody who is killed a sync makes no difference: the kernel has it all.
@pytest.mark.parametrize("kind", ["before-kill", "before-power", "after-power"])
def test_crash_at_every_sync(config: Config, kind: str) -> None:
    moment, how = kind.split("-")
    keeps_its_promises(config, ([CrashPoint("sync", number, moment, how)] for number in each(config, "sync")))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_kill_at_every_answer(config: Config, moment: str) -> None:
    keeps_its_promises(config, ([CrashPoint("answer", number, moment, "kill")] for number in each(config, "answer")))


def test_power_cut_at_every_answer(config: Config) -> None:
    """By itself an answer writes nothing, so what is found on the disk before it and after it is the same."""
    moments = ("before", "after")
    keeps_its_promises(
        config,
        ([CrashPoint("answer", number, moments[number % 2], "power")] for number in each(config, "answer")),
    )


@pytest.mark.parametrize("later", [1, 2, 3])
def test_crash_again_while_recovering(config: Config, later: int) -> None:
    keeps_its_promises(
        config,
        (
            [CrashPoint("sync", number, "after", "power"), CrashPoint("sync", number + later, "before", "power")]
            for number in each(config, "sync")[later::5]
        ),
    )


@pytest.mark.parametrize("event", ["sync", "answer"])
def test_stop_and_start(config: Config, event: str) -> None:
    """An operator may do so at any time, and it costs nobody a second copy."""
    keeps_its_promises(config, ([CrashPoint(event, number, "after", "stop")] for number in each(config, event)[::5]))
