"""Lives that are drawn from seeds keep every promise; and where a bug is planted, a seed finds it.

`make simulate SEEDS=1000` plays many more of them.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from simulated.lives.bugs import BUGS
from simulated.lives.harvest import Verdict, judge, play, told
from simulated.lives.life import Life, live, problems_of
from simulated.lives.plan import DAY, draw, draw_shaken

SHORT = [seed for seed in range(100) if draw(seed).length < 3 * DAY][:15]  # seeds that are played each time
LONG = 4
STOPS = 132
ENOUGH = 200  # seeds within which each bug is found
FOUND_BY = {
    "250-before-sync": 0,
    "bounce-lost-on-crash": 23,
    "record-without-fence": 2,
    "missing-dot-at-a-block-border": 8,
    "retry-without-pause": 2,
}
"""The first seed that finds each bug, of those that do so in a second."""

life_of = cache(play)  # each is played once, and looked at by several tests


def verdict(life: Life) -> str:
    """What is to be said of a life that should have gone well."""
    return told(Verdict(life.plan.seed, tuple(problems_of(life)), 0, 0, 0, 0))


@pytest.mark.parametrize("seed", [*SHORT, LONG])
def test_every_promise_is_kept(seed: int) -> None:
    life = life_of(seed)
    assert not life.problems, verdict(life)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    """And not because something else is wrong: without it all is well."""
    seed = FOUND_BY[bug]
    assert not life_of(seed).problems
    assert play(seed, bug).problems


@pytest.mark.parametrize("seed", [7, 21, 23, 30])
def test_what_is_accepted_between_failed_syncs_is_on_stable_storage(folder: Path, seed: int) -> None:
    """What a failed sync has not written counts as written: the log may have a hole, behind which nothing is found."""
    life = live(draw_shaken(seed), folder)
    assert life.machine.volume.failed > 1
    assert not life.problems


@pytest.mark.soak
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_by_one_of_the_first_seeds(bug: str) -> None:
    assert any(judge(seed, bug).problems for seed in range(ENOUGH))


def test_something_happens_in_a_life() -> None:
    """Crashes, copies, failures and days: a life in which nothing happens would keep every promise."""
    lives = [life_of(seed) for seed in (*SHORT, LONG)]
    assert sum(len(life.machine.crashes) for life in lives) > len(SHORT)
    assert sum(len(peer.copies) for life in lives for peer in life.peers) > 10 * len(SHORT)
    assert sum(len(life.machine.tainted) for life in lives) > 1
    assert any(life.machine.volume.failed for life in lives)
    assert any(" unknown " in line for life in lives for line in life.machine.lines)
    assert max(life.plan.length for life in lives) > 20 * DAY


def test_the_same_seed_is_the_same_life() -> None:
    """To the octet, also in another process, where sets have another order: this one stops with three sessions open."""
    seed, other = STOPS, SHORT[0]
    story = life_of(seed).story()
    assert story == play(seed).story() != life_of(other).story()
    again = subprocess.run(
        [sys.executable, "-m", "simulated", "--life", str(seed)],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == f"{story}\nEvery promise was kept.\n"


def test_who_finds_something_says_how_to_see_it_again() -> None:
    text = told(Verdict(17, ("something was lost",), 0, 0, 0, 0), "retry-without-pause")
    assert text.startswith("seed 17: 1 problems\n  - something was lost\n")
    assert text.endswith("tests/simulation/replay --life 17 --bug retry-without-pause")


@pytest.mark.soak
def test_many_lives_in_several_processes() -> None:
    """As `make simulate` has it: here there are no threads, which it needs to follow its processes."""
    words = [sys.executable, "-m", "simulated.lives.harvest", "--seeds", "40", "--processes", "2"]
    done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("40 lives from seed 0 on: 0 with problems"), done.stdout + done.stderr
    assert not done.returncode
