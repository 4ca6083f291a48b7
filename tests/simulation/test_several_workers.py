"""Several workers on one spool: one is killed, the power fails, one stands still, and their number changes.

What each of them owes is owed by all together, so the promises are those of one.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from simulated.machine import FROZEN, CrashPoint
from simulated.scenario import LENGTH, configuration
from simulated.trial import trial, verdict

from mta.config.model import Config

SHOWN = 5  # failures of a test
PATIENT = "{after: [1m, 2m, 4m, 10m, 20m], warn: 5m, give_up: 2h}"


def keeps_its_promises(
    config: Config, workers: Sequence[int], trials: Iterable[Sequence[CrashPoint]], length: float = LENGTH
) -> None:
    failures = []
    for points in trials:
        _, found = trial(config, points, length=length, workers=workers)
        if found:
            failures.append(verdict(points, 0, found, workers))
    assert not failures, "\n".join([f"{len(failures)} failed:", *failures[:SHOWN]])


def each(config: Config, workers: Sequence[int], event: str) -> range:
    """The numbers of the events, as many as there are where nothing goes wrong."""
    played, found = trial(config, workers=workers)
    assert played is not None and not found, verdict((), 0, found, workers)
    return range(1, played.machine.counts[event] + 1)


def test_both_have_mail(config: Config) -> None:
    played, found = trial(config, workers=[2])
    assert played is not None and not found, verdict((), 0, found, [2])
    taken = [line.split()[1] for line in played.machine.lines if " received " in line]
    assert len({one[-2:] for one in taken}) > 1, taken


@pytest.mark.parametrize("kind", ["before-kill", "before-power", "after-power"])
def test_crash_at_syncs(config: Config, kind: str) -> None:
    moment, how = kind.split("-")
    numbers = each(config, [2], "sync")[::3]
    keeps_its_promises(config, [2], ([CrashPoint("sync", number, moment, how)] for number in numbers))


def test_kill_at_answers(config: Config) -> None:
    numbers = each(config, [2], "answer")[::3]
    keeps_its_promises(config, [2], ([CrashPoint("answer", number, "after", "kill")] for number in numbers))


@pytest.mark.parametrize("event", ["sync", "answer"])
def test_one_stands_still_for_an_hour_and_goes_on(folder: Path, event: str) -> None:
    """What it had in flight is still its own: the other one does not touch it, and it ends as it should."""
    numbers = each(configuration(folder), [2], event)[::5]
    config = configuration(folder, PATIENT)
    points = ([CrashPoint(event, number, "after", "freeze")] for number in numbers)
    keeps_its_promises(config, [2], points, length=4 * FROZEN)


@pytest.mark.parametrize("workers", [[2, 1], [3, 1], [1, 2], [3, 2, 1, 3]])
def test_their_number_changes(config: Config, workers: list[int]) -> None:
    _, found = trial(config, workers=workers, length=LENGTH)
    assert not found, verdict((), 0, found, workers)


@pytest.mark.parametrize("kind", ["before-kill", "before-power", "after-power"])
@pytest.mark.parametrize("workers", [[2, 1], [3, 2, 3]])
def test_crash_while_their_number_changes(config: Config, workers: list[int], kind: str) -> None:
    """Wherever it is hit: also between the two commits that move a message from file to file."""
    moment, how = kind.split("-")
    numbers = each(config, workers, "sync")
    keeps_its_promises(config, workers, ([CrashPoint("sync", number, moment, how)] for number in numbers[::3]))
