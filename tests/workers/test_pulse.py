"""A worker that hangs is found; one that is slow, and a machine that stood still, are not taken for it."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_workers import Pair
from twisted.internet.task import Clock

from mta.workers.agreement import PATIENCE
from mta.workers.pulse import MOST, OFTEN, Pulse, state_of
from mta.workers.worker import Worker


class World:
    """Two workers that are looked after, and what they do, as proc(5) has it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pairs = [Pair(number) for number in range(2)]
        self.asked = [pair.worker for pair in self.pairs]
        self.state = "R"
        self.hung: list[Worker] = []
        self.pulse = Pulse(
            self.clock, lambda: self.asked, lambda worker, _: self.hung.append(worker), lambda pid: self.state
        )
        self.pulse.start()

    def look(self, times: int = 1) -> None:
        """The first one answers, a moment later."""
        for _ in range(times):
            self.clock.advance(OFTEN)
            if self.pairs[0].worker in self.asked:
                assert self.pairs[0].answers()["do"] == "here"


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    yield one
    for pair in one.pairs:
        pair.close()


def test_who_does_not_answer_for_a_minute_is_told_of_and_a_minute_later_again_if_it_is_still_there(
    world: World,
) -> None:
    assert MOST * OFTEN >= 60, "a stall that is no more than that is none to be killed for"
    world.look(MOST)
    assert world.hung == []
    world.look()
    assert world.hung == [world.pairs[1].worker]
    world.look(MOST - 1)
    assert len(world.hung) == 1, "it may take a while until it is no more"
    world.look()
    assert world.hung == [world.pairs[1].worker] * 2, "what should have been done about it was not"
    question, _ = world.pairs[1].asked()
    assert question["do"] == "here"
    world.pairs[1].worker.gone(-signal.SIGKILL, "")
    world.pairs[1].close()
    world.pairs[1] = Pair(1)
    world.asked[1] = world.pairs[1].worker
    world.look(MOST)
    assert len(world.hung) == 2, "who comes in its place has as long"
    world.look()
    assert world.hung[2:] == [world.pairs[1].worker]


def test_a_late_answer_is_one(world: World) -> None:
    for _ in range(3):
        world.look(MOST)
        world.pairs[1].answers()
    assert world.hung == []


def test_time_in_which_nobody_could_look_does_not_count(world: World) -> None:
    """The machine has slept, the clock was set, or the supervisor was stopped: all of them are one look."""
    world.look()
    for _ in range(MOST - 1):
        world.clock.advance(86_400.0)
        world.pairs[0].answers()
    assert world.hung == []
    world.look()
    assert world.hung == [world.pairs[1].worker]


@pytest.mark.parametrize("state", ["D", "t"])
def test_who_waits_for_a_disk_or_is_being_debugged_is_left_alone(world: World, state: str) -> None:
    world.look(MOST)
    world.state = state
    world.look(10 * MOST)
    assert world.hung == []
    world.state = "T"
    world.look()
    assert world.hung == [world.pairs[1].worker]


def test_nor_does_it_count_while_nobody_is_to_answer(world: World) -> None:
    world.look(MOST)
    both, world.asked = world.asked, []
    world.look(10 * MOST)
    world.asked = both
    assert world.hung == []
    world.look()
    assert world.hung == [world.pairs[1].worker]


def test_at_the_end_nobody_looks(world: World) -> None:
    world.pulse.stop()
    world.pulse.stop()
    assert world.clock.getDelayedCalls() == []


def test_states() -> None:
    assert state_of(os.getpid()) == "R"
    assert state_of(0) == ""
    with subprocess.Popen(["sleep", "60"]) as child:
        os.kill(child.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        assert state_of(child.pid) == "T"
        child.kill()


def test_the_supervisor_is_before_systemd() -> None:
    """Who hears last of a relay whose worker hangs half of the time before it wants to hear of it again."""
    unit = Path(__file__).parents[2] / "etc/systemd/mta.service"
    watchdog = re.search(r"^WatchdogSec=(\d+)s$", unit.read_text(), re.MULTILINE)
    assert watchdog is not None
    assert int(watchdog[1]) / 2 > (MOST + 1) * OFTEN + PATIENCE, "while a reload is under way nobody is counted"
