"""Rates: how many recipients came to what in each minute of the last hour, of all processes of the relay together.

What is counted only ever rises, and is looked at now and then; what it has risen by belongs to the minute of the look.
"""

from collections.abc import Callable, Sequence
from typing import Final

from mta.net import measures

MINUTES: Final = 60
OFTEN: Final = 1.0  # seconds between two looks, at most
WORDS: Final = ("accepted", "delivered", "deferred", "failed", "refused")
"""What is counted: recipients of accepted messages; those whom a try came to; and clients' commands and contents."""


class Rates:
    """cells: what has been counted so far, as `mta.net.measures` has it. now: seconds since 1970."""

    def __init__(self, cells: Callable[[], Sequence[float]], now: Callable[[], float]) -> None:
        self._cells = cells
        self._now = now
        self._minute = int(now() // 60)
        self._last: tuple[float, ...] | None = None
        self._counts: dict[str, list[int]] = {word: [0] * MINUTES for word in WORDS}

    def look(self) -> None:
        """Look now."""
        self._go_on()
        sums = _sums(self._cells())
        before = sums if self._last is None else self._last
        for word, now, then in zip(WORDS, sums, before, strict=True):
            self._counts[word][-1] += max(0, round(now - then))
        self._last = sums

    def counts(self) -> dict[str, list[int]]:
        """How many, minute by minute; the last minute is not over yet. In any thread."""
        missed = min(max(int(self._now() // 60) - self._minute, 0), MINUTES)
        return {word: [*numbers[missed:], *[0] * missed] for word, numbers in self._counts.items()}

    def _go_on(self) -> None:
        """Begin the minutes that have begun."""
        self._counts = self.counts()
        self._minute = max(int(self._now() // 60), self._minute)


def _sums(cells: Sequence[float]) -> tuple[float, ...]:
    """In the order of `WORDS`."""

    def classes(start: int) -> float:
        return sum(cells[start : start + len(measures.CLASSES)])

    return (
        cells[measures.RECIPIENTS],
        cells[measures.DELIVERED],
        classes(measures.DEFERRED),
        classes(measures.FAILED),
        classes(measures.TEMPORARY) + classes(measures.PERMANENT),
    )
