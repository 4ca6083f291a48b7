"""The scenario without crashes, and over days: what becomes of each mail, when, and what is told of it."""

import email
import email.policy
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from simulated.books import read_books
from simulated.machine import CrashPoint
from simulated.network import START
from simulated.people import Taken
from simulated.scenario import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DEAD,
    ERIN,
    FRANK,
    GREYLISTED,
    LARGE,
    MINUTE,
    NOBODY,
    POSTMASTER,
    ZED,
    configuration,
    play,
)  # fmt: skip
from simulated.trial import trial, verdict

from mta.config.model import Config
from mta.spool.content import LARGEST_ROW

HOUR = 60 * MINUTE
DAY = 24 * HOUR
USUAL = "{}"  # tries for five days, warns after four hours


def report(taken: Taken) -> tuple[str, str, str]:
    """Of a notice: who failed or is late, with which action and status."""
    message = email.message_from_bytes(taken.content, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    _, status, headers = message.iter_parts()
    assert "X-Mark: " in headers.get_content() or "Auto-Submitted: " in headers.get_content()
    _, fields = status.iter_parts()
    return fields["Final-Recipient"].removeprefix("rfc822; "), fields["Action"], fields["Status"]


def test_every_mail_ends_as_it_should(config: Config) -> None:
    assert LARGE > LARGEST_ROW, "or else no content file is used"
    played, found = trial(config)
    assert played is not None and not found, verdict((), 0, found)
    took = Counter((taken.host, to) for server in played.servers for taken in server.taken for to in taken.recipients)
    assert took == {
        ("mx.up.test", BOB): 1,
        ("mx.up.test", FRANK): 1,
        ("mx.later.test", CAROL): 1,
        ("mail.client.test", ALICE): 4,
        ("mail.client.test", POSTMASTER): 1,
    }
    (later,) = (taken for server in played.servers for taken in server.taken if CAROL in taken.recipients)
    assert GREYLISTED < later.at - START < GREYLISTED + 2 * MINUTE
    notices = Counter(report(taken) for taken in played.servers[-1].taken)
    assert notices == {
        (NOBODY, "failed", "5.1.1"): 1,
        (DAVE, "failed", "5.1.2"): 1,
        (ERIN, "delayed", "4.4.1"): 1,
        (ERIN, "failed", "4.4.1"): 1,
        (ZED, "failed", "5.7.1"): 1,  # to the postmaster: the bounce that told of GRACE was refused
    }


def test_days_with_crashes(folder: Path) -> None:
    """Tries for five days, through a kill and three power cuts, and a host that does not even refuse."""
    config = configuration(folder, USUAL, history="6d")
    points = [CrashPoint("sync", number, "before", "power") for number in (40, 75, 106)]
    points.append(CrashPoint("sync", 92, "after", "kill"))
    played, found = trial(config, points, seed=5, length=5 * DAY + HOUR, silent=True)
    assert played is not None and not found, verdict(points, 5, found)
    assert len(played.machine.crashes) == len(points)
    assert played.machine.crashes[-1] - START > HOUR, "nor do they all come at the beginning"
    last = max(at for at, address in played.world.asked if address == DEAD)
    assert 5 * DAY <= last - START < 5 * DAY + 10 * MINUTE


def test_nothing_is_left_behind_the_history(folder: Path) -> None:
    config = configuration(folder, history="5m")
    played = play(config, length=30 * MINUTE)
    rows = read_books(played.machine.volume, played.world.seconds()).rows
    assert set(rows.values()) == {0}, rows
    assert not played.machine.volume.content_files()


def test_the_same_seed_gives_the_same_story(config: Config) -> None:
    """Also in another process, where sets and dictionaries of strings have another order."""
    points = (CrashPoint("answer", 30, "before", "power"), CrashPoint("sync", 50, "before", "power"))
    stories = []
    for seed in (3, 3, 4):
        played, found = trial(config, points, seed)
        assert played is not None and not found, verdict(points, seed, found)
        stories.append("\n".join([*played.world.transcript, "", "The relay's log:", *played.machine.lines]))
    assert stories[0] == stories[1] != stories[2]
    again = subprocess.run(
        [sys.executable, "-m", "simulated", "--seed", "3", *map(str, points)],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == stories[0] + "\n\nEvery promise was kept.\n"
