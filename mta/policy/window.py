"""Window: how many deliveries to one destination may run at once, and when it is left in peace because it is down.

The ideas are those of Postfix's queue manager. A destination begins with a few deliveries at once and gets one more
for each success. A host that cannot be reached, or says 421 (RFC 5321 3.8: the service is not available), is given
half as many. Deliveries that were begun together and fail together are one piece of news, so a window shrinks only
when fewer are running than it now allows: a host that refuses the twentieth session is used with ten, and a host that
is dead has failed every delivery that was under way before the destination is paused. After a pause one delivery goes
ahead as a probe. Whether its messages are many or few, a dead host sees one probe for each pause.
"""

import random
from dataclasses import dataclass
from typing import NamedTuple

SPREAD = 0.1  # of a pause, at most, is added by chance
PAUSES = (60.0, 120.0, 240.0, 480.0, 960.0, 1800.0)


def pauses_within(after: tuple[float, ...]) -> tuple[float, ...]:
    """The pauses in seconds, none of them longer than the wait that the retry schedule has for as many failures.

    Who asks for tries every ten seconds shall have them, for mail that arrives meanwhile too.
    """
    return tuple(min(pause, after[min(index, len(after) - 1)]) for index, pause in enumerate(PAUSES))


@dataclass(frozen=True)
class WindowLimits:
    """How windows grow and rest. initial, maximum: deliveries at once. pauses: in seconds; the last one repeats."""

    initial: int = 5
    maximum: int = 20
    pauses: tuple[float, ...] = PAUSES


class Window(NamedTuple):
    """What is known of a destination.

    limit: deliveries at once. failures: pauses in a row, without an answer between them. paused_until: in seconds
    since 1970; 0 for no pause. refused_at: when a try last failed for the whole destination; None since it answered.
    """

    limit: int
    failures: int = 0
    paused_until: float = 0.0
    refused_at: float | None = None


def opened(limits: WindowLimits, failures: int = 0, paused_until: float = 0.0) -> Window:
    """The window of a destination of which nothing is known, or only what was stored when it was last paused."""
    return Window(min(limits.initial, limits.maximum), failures, paused_until)


def is_paused(window: Window, now: float) -> bool:
    """Is the destination to be left in peace?"""
    return now < window.paused_until


def allowed(window: Window, now: float) -> int:
    """How many deliveries may run at once now: none in a pause, and one, as a probe, after it."""
    if now < window.paused_until:
        return 0
    return 1 if window.failures else window.limit


def answered(window: Window, limits: WindowLimits, settled: bool) -> Window:
    """A host has answered as a mail server should. settled: it took the mail, or refused it for good."""
    if window.failures:
        return opened(limits)
    limit = min(window.limit + settled, limits.maximum)
    if limit == window.limit and window.refused_at is None:
        return window
    return Window(limit)


def refused(window: Window, limits: WindowLimits, now: float, others: int, down: bool, chance: random.Random) -> Window:
    """A try has failed for the whole destination: nobody was reached (`down`), or all that was said was 421.

    others: deliveries to it that are still under way. A single 421 only narrows the window; it pauses a destination
    that says it to one delivery at a time.
    """
    if now < window.paused_until or others >= window.limit:
        return window._replace(refused_at=now)
    if not window.failures and (others or (window.limit > 1 and not down)):
        return window._replace(limit=max(1, window.limit // 2), refused_at=now)
    failures = window.failures + 1
    pause = limits.pauses[min(failures, len(limits.pauses)) - 1] * (1.0 + SPREAD * chance.random())
    return Window(1, failures, now + pause, now)


def latest_pause(limits: WindowLimits, now: float) -> float:
    """No pause that has begun by `now` ends later than this, unless the clock has been set back."""
    return now + max(limits.pauses) * (1.0 + SPREAD)


def lifted(window: Window) -> Window:
    """An operator wants it tried: the pause is over, and one delivery goes ahead as a probe."""
    return window._replace(paused_until=0.0)
