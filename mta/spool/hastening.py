"""Hastening: what was put off by a clock that ran ahead, and has been set back since, is given a time anew.

Destination by destination, each by its index: a queue in order costs a few look-ups for each destination, however
long it is. A step is small, and whoever wants to commit comes in between.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from twisted.internet.defer import Deferred

from mta.interfaces import Anew
from mta.message.envelope import WORKERS, Envelope
from mta.message.timeline import events_from_json
from mta.spool.rushing import DUE_AFTER, DUE_WITH
from mta.spool.store import LAST_DELIVERY, Row, Store
from mta.spool.verbs import LIFT_PAUSE, RETRY

CHUNK = 100  # destinations, and deliveries, that one step looks at, which takes some milliseconds

DESTINATIONS_FROM = "SELECT name, paused_until FROM destination WHERE name >= ? ORDER BY name LIMIT ?"
ENVELOPE = "SELECT envelope FROM message WHERE id = ?"
LAST_EVENT = "SELECT events FROM event WHERE id = (SELECT max(id) FROM event)"

_TRIFLE = 0.001  # seconds
_ABOVE, _BELOW = 1 << 31, -1 << 31  # any priority


class Late(NamedTuple):
    """What nothing can have been put off beyond. due, pause: see `ISpool.hasten`. anew: likewise."""

    due: float
    pause: float
    anew: Anew


class Place(NamedTuple):
    """How far the work has come: the delivery that was looked at last."""

    name: str
    priority: int
    due: float
    id: int


class Step(NamedTuple):
    """What a step has done. deliveries: how many have another time now. place: None where it was the last."""

    deliveries: int
    place: Place | None


Submit = Callable[[Callable[[Store], Step]], "Deferred[Step]"]


async def hasten(late: Late, submit: Submit) -> int:
    """As `ISpool.hasten`. submit: has a step done, in a transaction of its own."""
    deliveries = 0
    place: Place | None = Place("", _ABOVE, 0.0, 0)
    while place is not None:
        step = await submit(partial(_step, late, place))
        deliveries += step.deliveries
        place = step.place
    return deliveries


def newest(store: Store) -> float:
    """What the clock said when something was last written, as far as that can be told; seconds since 1970."""
    by_ids = max(store.last_message(), int(store.value(LAST_DELIVERY))) / (WORKERS * 1_000_000)
    row = store.row(LAST_EVENT)
    return max([by_ids, *(event.at for event in events_from_json(row[0] if row else ""))])


def is_held_back(envelope: Envelope, due: float) -> bool:
    """Has its sender said when it is to be released, and is it this time (RFC 4865)?"""
    return bool(envelope.released) and due <= envelope.released + _TRIFLE


def _step(late: Late, place: Place, store: Store) -> Step:
    destinations = store.rows(DESTINATIONS_FROM, (place.name, CHUNK + 1))
    deliveries = looked = 0
    for name, paused_until in destinations:
        if paused_until > late.pause:
            store.db.execute(LIFT_PAUSE, (name,))
            store.stale[name] = None
        for priority in store.priorities(name):
            if name == place.name and priority > place.priority:
                continue
            is_begun = name == place.name and priority == place.priority
            rows = _rows(store, name, priority, place if is_begun else None, late.due, CHUNK - looked)
            deliveries += sum(_hasten(late, store, name, row) for row in rows)
            looked += len(rows)
            if looked == CHUNK:
                due, number, *_ = rows[-1]
                return Step(deliveries, Place(name, priority, due, number))
    if len(destinations) <= CHUNK:
        return Step(deliveries, None)
    return Step(deliveries, Place(destinations[-1][0], _BELOW, 0.0, 0))


def _rows(store: Store, name: str, priority: int, begun: Place | None, due: float, limit: int) -> list[Row]:
    """Deliveries of a destination and priority that are due later than that, behind a place; by their due time."""
    key = (name, priority)
    if begun is None:
        return store.rows(DUE_AFTER, (*key, due, limit))
    rows = store.rows(DUE_WITH, (*key, begun.due, begun.id, limit))
    return rows + store.rows(DUE_AFTER, (*key, begun.due, limit - len(rows)))


def _hasten(late: Late, store: Store, name: str, row: Row) -> bool:
    due, number, message, _, attempts, _ = row
    if not attempts and is_held_back(Envelope.from_json(store.value(ENVELOPE, (message,)), ()), due):
        return False
    store.db.execute(RETRY, (late.anew(attempts), number))
    store.stale[name] = None
    return True
