"""Retry: when a delivery that was deferred is tried again, when its sender is warned, and when it is given up.

RFC 5321 4.5.4.1 asks for waits that grow, for at least 4 to 5 days in all, and for retry times of 30 minutes or more
on the average; an operator's schedule may differ, so all of it is data.

A sender may have said itself by when it wants a message delivered (`by`, in seconds since 1970, 0 where it has not),
and what is to be done then (`by_mode`, RFC 2852): with "R" the message is returned; with "N" that is when the sender
is warned, instead of at the age that is usual here, and the message is tried on.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

SPREAD = 0.1  # of a wait, at most, is added by chance
CATCHING_UP = 60.0  # seconds after its start in which a relay tries what has gathered
FINDING_HOLDS = 60.0  # seconds for which a destination that failed need not be tried again for each expired message


@dataclass(frozen=True)
class RetryPolicy:
    """The schedule. Durations in seconds.

    after: the waits between tries, at least one; the last one repeats. warn: the age at which the sender is told of
    the delay, once; None for never. give_up: the age at which a deferred recipient becomes a failed one; the last
    try falls on it.
    """

    after: tuple[float, ...]
    warn: float | None
    give_up: float


def next_try(policy: RetryPolicy, received: float, attempts: int, now: float, chance: random.Random) -> float:
    """When to try again after `attempts` (1 or more) tries, the last of which has just ended at `now`.

    The wait is never shorter than the schedule says, since a greylist counts on it; up to a tenth is added so that
    what came as a crowd does not come back as one. A try that would fall behind the time to give up is made at that
    time. A `received` in the future (the clock has been set back) gives an ordinary wait.
    """
    wait = policy.after[min(attempts, len(policy.after)) - 1]
    return min(now + wait * (1.0 + SPREAD * chance.random()), received + policy.give_up)


def latest_try(policy: RetryPolicy, now: float) -> float:
    """Nothing that has been put off by `now` waits for a later time than this, unless the clock has been set back."""
    return now + max(policy.after) * (1.0 + SPREAD)


def anew(policy: RetryPolicy, now: float, attempts: int) -> float:
    """When to try what waits for a time that lies too far ahead: as if its last try, if it had one, had ended now.

    There is nothing added by chance: a crowd of them is led by the window of its destination.
    """
    return now + policy.after[min(attempts, len(policy.after)) - 1] if attempts else now


def tries(policy: RetryPolicy, received: float, chance: random.Random) -> Iterator[float]:
    """When a message is tried, at once and again, if every try fails in no time. With the last one it is given up."""
    attempts, at = 1, received
    yield at
    while not expired(policy, received, at):
        at = next_try(policy, received, attempts, at, chance)
        attempts += 1
        yield at


def warning(policy: RetryPolicy, received: float, warned: bool, by: float = 0.0, by_mode: str = "") -> float | None:
    """When the sender is to be told of the delay; None where that has been done or will not be."""
    if warned:
        return None
    if by and by_mode.startswith("N"):
        return by if by < received + policy.give_up else None
    if policy.warn is None or policy.warn >= policy.give_up:
        return None
    return received + policy.warn


def end(policy: RetryPolicy, received: float, by: float = 0.0, by_mode: str = "") -> float:
    """When it is given up."""
    at = received + policy.give_up
    return min(at, by) if by and by_mode.startswith("R") else at


def deadline(policy: RetryPolicy, received: float, warned: bool, by: float = 0.0, by_mode: str = "") -> float:
    """When somebody must look at a delivery even though it cannot be tried: to warn its sender, or to give up."""
    owed = warning(policy, received, warned, by, by_mode)
    last = end(policy, received, by, by_mode)
    return last if owed is None else min(owed, last)


def expired(policy: RetryPolicy, received: float, now: float) -> bool:
    """Is it old enough to be given up? (Not before one try has failed, which `next_step` and `settlement` see to.)"""
    return now >= received + policy.give_up


def is_too_late(by: float, by_mode: str, now: float) -> bool:
    """Must it be returned, untried, because its sender does not want it to arrive any more (RFC 2852 4)?"""
    return by_mode.startswith("R") and 0 < by <= now


class Step(StrEnum):
    """What to do with a delivery that somebody looks at."""

    TRY = "try"
    WAIT = "wait"
    WARN = "warn"  # tell the sender of the delay, without a try
    EXPIRE = "expire"  # give it up: what the destination answered a moment ago is the answer to this one too
    RETURN = "return"  # give it up: its sender wanted it delivered by now or not at all
    BOUNCE = "bounce"  # give it up: an operator said so


def next_step(
    policy: RetryPolicy,
    received: float,
    warned: bool,
    due: float,
    now: float,
    paused: bool = False,
    full: bool = False,
    refused_at: float | None = None,
    started: float = 0.0,
    wish: str = "",
    by: float = 0.0,
    by_mode: str = "",
) -> Step:
    """What to do with a delivery now that it is due or that its deadline has come.

    paused, full: its destination is left in peace, or has as many deliveries under way as it may. refused_at: when a
    try last failed for the destination as a whole. started: when this relay began to work.

    A delivery that has reached its end gets its last try in spite of a pause, unless the destination failed in the
    last minute, and after the message had arrived: however many messages expire for a dead host, it sees one try a
    minute for all of them. (Where waits are shorter than a minute, it is the last of them that counts.)
    """
    if wish == "bounce":
        return Step.BOUNCE
    if by and is_too_late(by, by_mode, now):
        return Step.RETURN
    if expired(policy, received, now):
        if full and not paused:
            return Step.WAIT
        holds = min(FINDING_HOLDS, policy.after[-1])
        fresh = refused_at is not None and received < refused_at and 0 <= now - refused_at < holds
        return Step.EXPIRE if paused and fresh else Step.TRY
    if not paused and not full and due <= now:
        return Step.TRY
    owed = warning(policy, received, warned, by, by_mode)
    if owed is None or now < owed:
        return Step.WAIT
    if not paused and due <= now < started + CATCHING_UP:
        return Step.WAIT  # what waited while nobody was here has its turn before anybody is warned of it
    return Step.WARN
