"""Figures: how much is in the queue, and how old it is, by indexes alone, for the metrics."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from mta.message.envelope import first_id_at
from mta.spool.store import Store

AGES: Final = (60.0, 600.0, 3600.0, 14400.0, 86400.0, 259200.0)  # seconds

READY = """
    SELECT count(*) FROM delivery WHERE state = 'waiting' AND due <= :now
        AND destination NOT IN (SELECT name FROM destination WHERE paused_until > :now)
"""
WAITING = "SELECT count(*) FROM delivery WHERE state = 'waiting'"
ACTIVE = "SELECT count(*) FROM delivery WHERE state = 'active'"
HELD = "SELECT count(*) FROM delivery WHERE state = 'held'"
BETWEEN = "SELECT count(*) FROM delivery WHERE message >= ? AND message < ?"
OLDEST = "SELECT min(received) FROM message WHERE id = (SELECT min(id) FROM message)"
PAUSED = "SELECT count(*), coalesce(sum(paused_until > ?), 0) FROM destination"


class Figures(NamedTuple):
    """Deliveries (recipients of a message who wait together) by state. older: how many of all of them are older than
    each of `AGES`. oldest: when the oldest message was received, in seconds since 1970; None for an empty queue.
    destinations: that something waits for, or that failed lately; paused: of those, the ones that wait."""

    ready: int = 0
    active: int = 0
    deferred: int = 0
    held: int = 0
    older: tuple[int, ...] = (0,) * len(AGES)
    oldest: float | None = None
    destinations: int = 0
    paused: int = 0


def figures(store: Store, now: float, alive: bool) -> Figures:
    """Of one file. alive: its worker is there; without one nothing is being tried, whatever is written."""
    due = int(store.value(READY, {"now": now}))
    waiting, active, held = (int(store.value(query)) for query in (WAITING, ACTIVE, HELD))
    bounds = [0, *(first_id_at(now - age) for age in reversed(AGES))]  # the oldest first
    counts = [int(store.value(BETWEEN, pair)) for pair in pairwise(bounds)]
    older = tuple(reversed(list(accumulate(counts))))
    destinations, paused = store.rows(PAUSED, (now,))[0]
    ready, tried = (due, active) if alive else (due + active, 0)
    return Figures(ready, tried, waiting - due, held, older, store.value(OLDEST), destinations, paused)


def together(each: Sequence[Figures]) -> Figures:
    """Of all files."""
    ages = [one.older for one in each] or [(0,) * len(AGES)]
    times = [one.oldest for one in each if one.oldest is not None]
    return Figures(
        sum(one.ready for one in each),
        sum(one.active for one in each),
        sum(one.deferred for one in each),
        sum(one.held for one in each),
        tuple(map(sum, zip(*ages, strict=True))),
        min(times, default=None),
        sum(one.destinations for one in each),
        sum(one.paused for one in each),
    )
