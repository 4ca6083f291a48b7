"""Case 15: the relay is killed between the next hop's 250 and its own note of it (RFC 1047)."""

from pathlib import Path

from simulated.machine import CrashPoint
from simulated.scenario import configuration
from simulated.trial import trial, verdict


def test_a_copy_more_for_each_reply_that_was_interrupted_and_all_are_counted(folder: Path) -> None:
    """`problems` holds the copies that servers have taken against the unknown results in the timelines."""
    config = configuration(folder)
    copies = 0
    played, _ = trial(config)
    assert played is not None
    usual = sum(len(server.taken) for server in played.servers)
    for number in range(6, played.machine.counts["answer"], 5):
        points = [CrashPoint("answer", number, "after", "kill")]
        played, found = trial(config, points)
        assert played is not None and not found, verdict(points, 0, found)
        copies += sum(len(server.taken) for server in played.servers) > usual
    assert copies, "some of these kills were where they had to be"
