"""Case 14: the relay is killed, or the power fails, at any moment while it takes a message in."""

from pathlib import Path

import pytest
from simulated.machine import CrashPoint
from simulated.scenario import configuration
from simulated.trial import trial, verdict

# During which syncs and answers of the scenario its mail comes in; before these syncs the spool is set up.
INCOMING = {"sync": range(14, 28), "answer": range(1, 21)}


@pytest.mark.parametrize("how", ["kill", "power"])
@pytest.mark.parametrize("event", ["sync", "answer"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_250_is_a_promise_and_its_absence_is_none(folder: Path, event: str, moment: str, how: str) -> None:
    """The clients of the scenario remember what they were told; a second message is sent only by who heard nothing."""
    config = configuration(folder)
    for number in INCOMING[event][how == "kill" :: 2]:
        points = [CrashPoint(event, number, moment, how)]
        played, found = trial(config, points)
        assert played is not None and not found, verdict(points, 0, found)
        assert played.machine.crashes
