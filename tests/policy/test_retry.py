"""The schedule, as a table of what comes when."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.policy.retry import SPREAD, RetryPolicy, Step, deadline, expired, next_step, next_try, tries, warning

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
USUAL = RetryPolicy(
    (5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR), warn=4 * HOUR, give_up=5 * DAY
)
RECEIVED = 1_700_000_000.0


class NoChance(random.Random):
    """Adds nothing."""

    def random(self) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("attempts", "age", "wait"),
    [
        (1, 0, 5 * MINUTE),
        (2, 5 * MINUTE, 10 * MINUTE),
        (3, 15 * MINUTE, 20 * MINUTE),
        (4, 35 * MINUTE, 40 * MINUTE),
        (5, 75 * MINUTE, HOUR),
        (6, 3 * HOUR, 2 * HOUR),
        (7, 5 * HOUR, 4 * HOUR),
        (8, 9 * HOUR, 4 * HOUR),
        (500, 4 * DAY, 4 * HOUR),
        # The last try falls on the time to give up.
        (30, 5 * DAY - 3 * HOUR, 3 * HOUR),
        (30, 5 * DAY - 4 * HOUR, 4 * HOUR),
        (31, 5 * DAY - 1, 1),
        # The clock has been set back: the message comes from the future.
        (1, -DAY, 5 * MINUTE),
        (7, -365 * DAY, 4 * HOUR),
    ],
)
def test_the_wait_after_each_try(attempts: int, age: float, wait: float) -> None:
    now = RECEIVED + age
    assert next_try(USUAL, RECEIVED, attempts, now, NoChance()) == now + wait


@given(
    attempts=st.integers(1, 100),
    age=st.floats(-10 * DAY, 5 * DAY, exclude_max=True),
    seed=st.integers(),
)
def test_chance_only_adds_a_little_and_never_passes_the_time_to_give_up(attempts: int, age: float, seed: int) -> None:
    now = RECEIVED + age
    least = next_try(USUAL, RECEIVED, attempts, now, NoChance())
    due = next_try(USUAL, RECEIVED, attempts, now, random.Random(seed))
    assert least <= due <= min(now + (least - now) * (1 + SPREAD) + 1e-3, RECEIVED + 5 * DAY)


def test_a_crowd_does_not_come_back_as_one() -> None:
    chance = random.Random(1)
    dues = {next_try(USUAL, RECEIVED, 1, RECEIVED, chance) for _ in range(100)}
    assert len(dues) == 100
    assert max(dues) - min(dues) > 20


@pytest.mark.parametrize(
    ("warn", "give_up", "warned", "warning_at", "deadline_at"),
    [
        (4 * HOUR, 5 * DAY, False, 4 * HOUR, 4 * HOUR),
        (4 * HOUR, 5 * DAY, True, None, 5 * DAY),
        (None, 5 * DAY, False, None, 5 * DAY),
        # A warning that would not come before the bounce is none.
        (5 * DAY, 5 * DAY, False, None, 5 * DAY),
        (6 * DAY, 5 * DAY, False, None, 5 * DAY),
    ],
)
def test_when_somebody_must_look(
    warn: float | None, give_up: float, warned: bool, warning_at: float | None, deadline_at: float
) -> None:
    policy = RetryPolicy((HOUR,), warn, give_up)
    owed = warning(policy, RECEIVED, warned)
    assert (None if owed is None else owed - RECEIVED) == warning_at
    assert deadline(policy, RECEIVED, warned) == RECEIVED + deadline_at


@pytest.mark.parametrize(
    ("by", "mode", "warned", "warning_at", "deadline_at"),
    [
        # "N": the sender's own time is when it is told.
        (HOUR, "N", False, HOUR, HOUR),
        (DAY, "NT", False, DAY, DAY),
        (DAY, "N", True, None, 5 * DAY),
        (6 * DAY, "N", False, None, 5 * DAY),
        (-HOUR, "N", False, -HOUR, -HOUR),  # RFC 2852 4: it may have been negative from the beginning
        # "R": it is over then, and the warning comes as usual if it comes before.
        (HOUR, "R", False, 4 * HOUR, HOUR),
        (DAY, "RT", False, 4 * HOUR, 4 * HOUR),
        (DAY, "R", True, None, DAY),
        (6 * DAY, "R", True, None, 5 * DAY),
    ],
)
def test_the_senders_own_time(by: float, mode: str, warned: bool, warning_at: float | None, deadline_at: float) -> None:
    owed = warning(USUAL, RECEIVED, warned, RECEIVED + by, mode)
    assert (None if owed is None else owed - RECEIVED) == warning_at
    assert deadline(USUAL, RECEIVED, warned, RECEIVED + by, mode) == RECEIVED + deadline_at


@pytest.mark.parametrize(
    ("age", "mode", "circumstances", "step"),
    [
        (HOUR - 1, "R", {}, Step.TRY),
        (HOUR, "R", {}, Step.RETURN),
        (HOUR, "RT", {"paused": True, "full": True}, Step.RETURN),
        (6 * DAY, "R", {}, Step.RETURN),
        (HOUR, "R", {"wish": "bounce"}, Step.BOUNCE),
        (HOUR - 1, "N", {"paused": True}, Step.WAIT),
        (HOUR, "N", {"paused": True}, Step.WARN),
        (HOUR, "N", {}, Step.TRY),
        (HOUR, "N", {"paused": True, "warned": True}, Step.WAIT),
        (5 * DAY, "N", {"warned": True}, Step.TRY),
    ],
)
def test_what_to_do_at_the_senders_own_time(
    age: float, mode: str, circumstances: dict[str, object], step: Step
) -> None:
    now = RECEIVED + age
    how = {"warned": False, "due": RECEIVED, **circumstances}
    assert next_step(USUAL, RECEIVED, now=now, by=RECEIVED + HOUR, by_mode=mode, **how) is step  # type: ignore[arg-type]


@pytest.mark.parametrize(("age", "is_over"), [(-DAY, False), (0, False), (5 * DAY - 1, False), (5 * DAY, True)])
def test_when_it_is_old_enough_to_be_given_up(age: float, is_over: bool) -> None:
    assert expired(USUAL, RECEIVED, RECEIVED + age) is is_over


@pytest.mark.parametrize(
    ("age", "circumstances", "step"),
    [
        (0, {}, Step.TRY),
        (0, {"paused": True}, Step.WAIT),
        (0, {"full": True}, Step.WAIT),
        (0, {"due": 5 * MINUTE}, Step.WAIT),
        # At the warning age it is tried where it can be: the try settles the warning too.
        (4 * HOUR, {}, Step.TRY),
        (4 * HOUR, {"paused": True}, Step.WARN),
        (4 * HOUR, {"full": True}, Step.WARN),
        (4 * HOUR, {"due": 5 * HOUR}, Step.WARN),
        # A relay that has just begun tries what has gathered before it warns of it.
        (4 * HOUR, {"full": True, "started": 4 * HOUR - 59}, Step.WAIT),
        (4 * HOUR, {"full": True, "started": 4 * HOUR - 60}, Step.WARN),
        (4 * HOUR, {"paused": True, "started": 4 * HOUR}, Step.WARN),
        (4 * HOUR, {"due": 5 * HOUR, "started": 4 * HOUR}, Step.WARN),
        (4 * HOUR, {"due": 5 * HOUR, "warned": True}, Step.WAIT),
        (4 * HOUR, {"paused": True, "warned": True}, Step.WAIT),
        # At its end it is tried once more, in spite of a pause.
        (5 * DAY, {}, Step.TRY),
        (5 * DAY, {"full": True}, Step.WAIT),
        (5 * DAY, {"full": True, "paused": True}, Step.TRY),
        (5 * DAY, {"paused": True}, Step.TRY),
        (6 * DAY, {"paused": True, "refused_at": 5 * DAY}, Step.TRY),
        (5 * DAY, {"paused": True, "refused_at": 5 * DAY - 60}, Step.TRY),
        (5 * DAY, {"paused": True, "refused_at": 5 * DAY + 1}, Step.TRY),  # the clock has been set back
        # What the destination did a moment ago is the last try of all who end now.
        (5 * DAY, {"paused": True, "refused_at": 5 * DAY - 59}, Step.EXPIRE),
        (5 * DAY, {"paused": True, "refused_at": 5 * DAY}, Step.EXPIRE),
        (5 * DAY, {"refused_at": 5 * DAY}, Step.TRY),
        # An operator's word comes first.
        (0, {"wish": "bounce"}, Step.BOUNCE),
        (5 * DAY, {"wish": "bounce", "paused": True, "due": 6 * DAY}, Step.BOUNCE),
    ],
)
def test_what_to_do_with_a_delivery(age: float, circumstances: dict[str, object], step: Step) -> None:
    now = RECEIVED + age
    refused_at = circumstances.get("refused_at")
    assert (
        next_step(
            USUAL,
            RECEIVED,
            warned=bool(circumstances.get("warned")),
            due=RECEIVED + float(str(circumstances.get("due", 0))),
            now=now,
            paused=bool(circumstances.get("paused")),
            full=bool(circumstances.get("full")),
            started=RECEIVED + float(str(circumstances.get("started", -DAY))),
            refused_at=None if refused_at is None else RECEIVED + float(str(refused_at)),
            wish=str(circumstances.get("wish", "")),
        )
        is step
    )


def test_a_destination_that_failed_before_the_message_came_has_not_failed_for_it() -> None:
    policy = RetryPolicy((60.0,), None, 10.0)
    now = RECEIVED + 10
    for refused_at, step in ((RECEIVED - 1, Step.TRY), (RECEIVED, Step.TRY), (RECEIVED + 1, Step.EXPIRE)):
        assert next_step(policy, RECEIVED, False, now, now, paused=True, refused_at=refused_at) is step


def test_where_waits_are_short_a_failure_counts_for_no_longer_than_one() -> None:
    policy = RetryPolicy((5.0, 2.0), None, 10.0)
    now = RECEIVED + 10
    for ago, step in ((0.0, Step.EXPIRE), (1.9, Step.EXPIRE), (2.0, Step.TRY), (9.0, Step.TRY)):
        assert next_step(policy, RECEIVED, False, now, now, paused=True, refused_at=now - ago) is step


def test_all_tries_to_the_end() -> None:
    policy = RetryPolicy((5 * MINUTE, 10 * MINUTE), warn=None, give_up=40 * MINUTE)
    ages = [(at - RECEIVED) / MINUTE for at in tries(policy, RECEIVED, NoChance())]
    assert ages == [0, 5, 15, 25, 35, 40]
    late = [(at - RECEIVED) / MINUTE for at in tries(policy, RECEIVED, random.Random(1))]
    assert late[-1] == 40
    assert all(wait >= 5 for wait in (late[1], late[2] - late[1]))
