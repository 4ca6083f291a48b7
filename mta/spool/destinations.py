"""Destinations: what is known of each that something waits for, as an operator sees it."""

from typing import NamedTuple

from mta.spool.store import Store

# State by state, as there is an index for each: the table itself has envelopes between its rows.
MOST = """
    SELECT destination, sum(deliveries) FROM (
        SELECT destination, count(*) AS deliveries FROM delivery WHERE state = 'waiting' GROUP BY destination
        UNION ALL SELECT destination, count(*) FROM delivery WHERE state = 'held' GROUP BY destination
        UNION ALL SELECT destination, count(*) FROM delivery WHERE state = 'active' GROUP BY destination
    ) GROUP BY destination ORDER BY sum(deliveries) DESC, destination LIMIT ?
"""
FAILING = "SELECT name FROM destination WHERE failures > 0 OR paused_until > ? ORDER BY failures DESC, name LIMIT ?"
KNOWN = "SELECT next_due, paused_until, failures, last_reply FROM destination WHERE name = ?"
STATES = """
    SELECT (SELECT count(*) FROM delivery WHERE destination = ?1 AND state = 'waiting'),
        (SELECT count(*) FROM delivery WHERE destination = ?1 AND state = 'held'),
        (SELECT count(*) FROM delivery WHERE destination = ?1 AND state = 'active')
"""


class DestinationSeen(NamedTuple):
    """deliveries: all of them; held, active: of those. next_due, paused_until: in seconds since 1970, or None.
    failures: in a row. last_reply: when it last failed as a whole."""

    name: str
    deliveries: int
    held: int
    active: int
    next_due: float | None
    paused_until: float | None
    failures: int
    last_reply: str


def destination(store: Store, name: str, now: float) -> DestinationSeen | None:
    """One of them; None where nothing is known of it."""
    waiting, held, active = store.rows(STATES, (name,))[0]
    deliveries = waiting + held + active
    known = store.row(KNOWN, (name,))
    if not deliveries and known is None:
        return None
    next_due, paused_until, failures, last_reply = known or (None, 0.0, 0, "")
    paused = paused_until if paused_until > now else None
    return DestinationSeen(name, deliveries, held, active, next_due, paused, failures, last_reply)


def destinations(store: Store, limit: int, now: float) -> list[DestinationSeen]:
    """Those that most waits for, then those that fail and nothing waits for."""
    names = [name for name, _ in store.rows(MOST, (limit,))]
    names += [name for (name,) in store.rows(FAILING, (now, limit))]
    found = (destination(store, name, now) for name in list(dict.fromkeys(names))[:limit])
    return [one for one in found if one is not None]


def together(one: DestinationSeen, other: DestinationSeen) -> DestinationSeen:
    """The same destination in two files. What failed more often in a row has the word."""
    worse = max(one, other, key=lambda seen: (seen.failures, seen.paused_until or 0.0))
    due = [at for at in (one.next_due, other.next_due) if at is not None]
    return DestinationSeen(
        one.name,
        one.deliveries + other.deliveries,
        one.held + other.held,
        one.active + other.active,
        min(due, default=None),
        worse.paused_until,
        worse.failures,
        worse.last_reply,
    )
