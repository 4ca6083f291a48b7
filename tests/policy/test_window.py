"""Windows, as a story of answers and failures and what may run after each."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.policy.window import (
    PAUSES,
    Window,
    WindowLimits,
    allowed,
    answered,
    is_paused,
    lifted,
    opened,
    pauses_within,
    refused,
)

NOW = 1_700_000_000.0
LIMITS = WindowLimits(initial=5, maximum=20)


class NoChance(random.Random):
    """Adds nothing."""

    def random(self) -> float:
        return 0.0


def down(window: Window, others: int = 0, now: float = NOW) -> Window:
    return refused(window, LIMITS, now, others, True, NoChance())


def busy(window: Window, others: int = 0, now: float = NOW) -> Window:
    return refused(window, LIMITS, now, others, False, NoChance())


def test_it_opens_by_one_for_each_success_up_to_its_maximum() -> None:
    window = opened(LIMITS)
    limits = []
    for _ in range(20):
        limits.append(allowed(window, NOW))
        window = answered(window, LIMITS, settled=True)
    assert limits == [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 20, 20, 20, 20]


def test_mail_that_is_put_off_by_a_host_that_is_up_changes_nothing() -> None:
    window = Window(7)
    assert answered(window, LIMITS, settled=False) is window


def test_a_maximum_below_the_initial_window_counts() -> None:
    assert allowed(opened(WindowLimits(initial=5, maximum=2)), NOW) == 2


@pytest.mark.parametrize(
    ("window", "others", "after"),
    [
        # Fewer run than it allows: it was too wide.
        (Window(20), 19, Window(10, refused_at=NOW)),
        (Window(10), 9, Window(5, refused_at=NOW)),
        (Window(5), 2, Window(2, refused_at=NOW)),
        (Window(3), 1, Window(1, refused_at=NOW)),
        # More run than it allows: begun when it was wider, this is no news.
        (Window(10), 18, Window(10, refused_at=NOW)),
        (Window(10), 10, Window(10, refused_at=NOW)),
        (Window(1), 1, Window(1, refused_at=NOW)),
        # Nobody else is still talking to it: it is down.
        (Window(20), 0, Window(1, 1, NOW + 60, NOW)),
        (Window(1), 0, Window(1, 1, NOW + 60, NOW)),
        # In a pause nothing more can be learnt but that it goes on.
        (Window(1, 2, NOW + 5, NOW - 50), 0, Window(1, 2, NOW + 5, NOW)),
        # The probe after a pause has failed.
        (Window(1, 1, NOW - 1, NOW - 61), 0, Window(1, 2, NOW + 120, NOW)),
        (Window(1, 5, NOW, NOW - 61), 0, Window(1, 6, NOW + 1800, NOW)),
        (Window(1, 60, NOW, NOW - 61), 0, Window(1, 61, NOW + 1800, NOW)),
    ],
)
def test_what_a_host_that_is_not_reached_does_to_it(window: Window, others: int, after: Window) -> None:
    assert down(window, others) == after


@pytest.mark.parametrize(
    ("window", "others", "after"),
    [
        (Window(20), 19, Window(10, refused_at=NOW)),
        (Window(20), 0, Window(10, refused_at=NOW)),
        (Window(2), 0, Window(1, refused_at=NOW)),
        (Window(1), 0, Window(1, 1, NOW + 60, NOW)),
        (Window(1, 1, NOW - 1), 0, Window(1, 2, NOW + 120, NOW)),
    ],
)
def test_a_421_narrows_it_and_pauses_only_the_narrowest(window: Window, others: int, after: Window) -> None:
    assert busy(window, others) == after


def test_all_that_began_together_must_fail_before_a_destination_counts_as_dead() -> None:
    window = opened(LIMITS)
    seen = []
    for others in (4, 3, 2, 1, 0):
        window = down(window, others)
        seen.append((window.limit, is_paused(window, NOW)))
        assert allowed(window, NOW) <= max(others, 1), "nothing may begin meanwhile"
    assert seen == [(2, False), (2, False), (2, False), (1, False), (1, True)]


def test_a_host_that_refuses_some_of_twenty_is_used_with_fewer() -> None:
    window = Window(20)
    for others in range(19, 13, -1):  # six refusals at once
        window = down(window, others)
    assert (window.limit, is_paused(window, NOW)) == (10, False)
    for _ in range(14):
        window = answered(window, LIMITS, settled=True)
    assert window == Window(20)


def test_one_probe_after_a_pause_and_an_answer_opens_it_again() -> None:
    window = down(opened(LIMITS))
    assert [allowed(window, NOW + age) for age in (0, 59.9, 60, 3600)] == [0, 0, 1, 1]
    assert answered(window, LIMITS, settled=True) == opened(LIMITS)
    assert answered(window, LIMITS, settled=False) == opened(LIMITS)


def test_what_was_stored_of_a_pause_is_taken_up() -> None:
    window = opened(LIMITS, failures=3, paused_until=NOW - 1)
    assert allowed(window, NOW) == 1
    assert down(window) == Window(1, 4, NOW + 480, NOW)


def test_an_operator_ends_a_pause_and_one_probe_goes() -> None:
    window = lifted(down(opened(LIMITS)))
    assert (is_paused(window, NOW), allowed(window, NOW)) == (False, 1)
    assert down(window).failures == 2


@pytest.mark.parametrize(
    ("after", "pauses"),
    [
        ((300.0, 600.0, 1200.0, 2400.0, 3600.0), PAUSES),
        ((2.0,), (2.0,) * 6),
        ((10.0, 100.0, 1000.0), (10.0, 100.0, 240.0, 480.0, 960.0, 1000.0)),
    ],
)
def test_no_pause_is_longer_than_the_schedule_waits(after: tuple[float, ...], pauses: tuple[float, ...]) -> None:
    assert pauses_within(after) == pauses


@given(st.lists(st.sampled_from(["up", "later", "down", "busy"]), max_size=60), st.integers())
def test_whatever_happens_something_may_run_after_the_longest_pause(answers: list[str], seed: int) -> None:
    window, chance = opened(LIMITS), random.Random(seed)
    for answer in answers:
        if answer in ("up", "later"):
            window = answered(window, LIMITS, settled=answer == "up")
        else:
            window = refused(window, LIMITS, NOW, 0, answer == "down", chance)
        assert 1 <= window.limit <= LIMITS.maximum
        assert is_paused(window, NOW) == (allowed(window, NOW) == 0)
        assert allowed(window, NOW + max(PAUSES) * 1.1) >= 1


@given(st.integers(1, 50), st.integers())
def test_a_dead_host_sees_few_probes_an_hour(hours: int, seed: int) -> None:
    window, chance = opened(LIMITS), random.Random(seed)
    now, probes = NOW, []
    while now < NOW + hours * 3600:
        window = refused(window, LIMITS, now, 0, True, chance)
        probes.append(now)
        now = window.paused_until
    for hour in range(1, hours):
        assert sum(NOW + hour * 3600 <= at < NOW + (hour + 1) * 3600 for at in probes) <= 2
    assert len(probes) <= 8 + 2 * hours
