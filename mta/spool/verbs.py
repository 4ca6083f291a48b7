"""Verbs: what an operator does to deliveries of one queue file; each call is for one transaction.

A verb is for the recipients that are meant and for no others, so a delivery that has both parts in two. On a delivery
that is being tried a verb becomes a wish (see `wishes`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mta.interfaces import Claim, Record
from mta.message.envelope import Recipient, recipients_from_json, recipients_to_json
from mta.message.timeline import Event
from mta.spool import wishes
from mta.spool.claims import claim_one
from mta.spool.keeping import addresses, tell
from mta.spool.listing import View, find
from mta.spool.matching import Selection
from mta.spool.pace import Pace
from mta.spool.settling import COPY_DELIVERY, REMOVE_DELIVERY, record
from mta.spool.store import LAST_DELIVERY, Store

CHUNK = 250  # deliveries to a transaction, at most: a worker that wants to commit meanwhile waits for all of them
BREATH = 0.003  # seconds between two transactions, for a worker that wants to commit

OF_MESSAGE = "SELECT id FROM delivery WHERE message = ?"
READ = """
    SELECT delivery.id, message, delivery.destination, state, due > ?1 OR coalesce(paused_until, 0) > ?1, wish, sender,
        reverse_path, recipients
    FROM delivery LEFT JOIN destination ON destination.name = delivery.destination WHERE delivery.id = ?2
"""
SET_RECIPIENTS = "UPDATE delivery SET recipients = ? WHERE id = ?"
SET_WISH = "UPDATE delivery SET wish = ? WHERE id = ?"
HOLD = "UPDATE delivery SET state = 'held' WHERE id = ?"
RELEASE = "UPDATE delivery SET state = 'waiting', due = ? WHERE id = ?"
RETRY = "UPDATE delivery SET due = ? WHERE id = ?"
LIFT_PAUSE = "UPDATE destination SET paused_until = 0 WHERE name = ? AND paused_until > 0"

Compose = Callable[[Claim], Record]
"""Settles a claim whose wish is "bounce", and writes the notice that is owed."""


class Row(NamedTuple):
    """What is meant of a delivery. later: it is not to be tried yet."""

    id: int
    message: int
    destination: str
    state: str
    later: bool
    wish: str
    sender: str
    reverse_path: str | None
    recipients: tuple[Recipient, ...]


def chunks(store: Store, selection: Selection, view: View, pace: Pace) -> Iterator[list[int]]:
    """The deliveries that have something of a selection, as many at a time as the pace allows.

    What is added after the first chunk was read is not among them.
    """
    last = store.value(LAST_DELIVERY)
    chunk: list[int] = []
    for number in _numbers(store, selection, last, view):
        chunk.append(number)
        if len(chunk) >= pace.size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def apply(store: Store, verb: str, numbers: Sequence[int], selection: Selection) -> int:
    """Do "hold", "release", "retry" or "drop" to what is meant of these deliveries. To how many recipients."""
    done = 0
    for row, is_whole in _meant(store, numbers, selection):
        if row.state == "active":
            _wish(store, row, verb, is_whole)
        elif not _VERBS[verb](store, row):
            continue
        done += len(row.recipients)
    return done


def bounce(store: Store, numbers: Sequence[int], selection: Selection, compose: Compose) -> int:
    """End what is meant of these deliveries as failed, with the notices that are owed. How many recipients."""
    done = 0
    for row, is_whole in _meant(store, numbers, selection):
        if row.state == "active":
            _wish(store, row, wishes.BOUNCE, is_whole)
        else:
            if row.state == "held":
                _move(store, row, "waiting")
                store.db.execute(RELEASE, (store.now(), row.id))
            claim = claim_one(store, row.id)
            if claim is None:
                continue
            record(store, compose(claim._replace(wish=wishes.BOUNCE)))
        done += len(row.recipients)
    return done


def _numbers(store: Store, selection: Selection, last: int, view: View) -> Iterator[int]:
    if selection.ids is None:
        for number, _ in find(store, selection, last, None, view):
            yield number
    else:
        for message in sorted(selection.ids):
            for (number,) in store.rows(OF_MESSAGE, (message,)):
                yield number


def _meant(store: Store, numbers: Sequence[int], selection: Selection) -> Iterator[tuple[Row, bool]]:
    """What is meant of the deliveries, as they are now, and whether that is all of one.

    Where it is not, and the delivery waits or is held, what is meant has been given a delivery of its own.
    """
    store.renew_ids()
    for number in numbers:
        found = store.row(READ, (store.now(), number))
        if found is None:
            continue
        *columns, packed = found
        row = Row._make((*columns, recipients_from_json(packed)))
        meant = tuple(one for one in row.recipients if selection.has_recipient(row.destination, one.address))
        if not meant or not selection.has_sender(row.sender, row.reverse_path):
            continue
        is_whole = len(meant) == len(row.recipients)
        if not is_whole:
            key = row.id if row.state == "active" else _part(store, row, meant)
            row = row._replace(id=key, recipients=meant)
        yield row, is_whole


def _part(store: Store, row: Row, meant: tuple[Recipient, ...]) -> int:
    """Give some recipients a delivery of their own; its number."""
    others = tuple(one for one in row.recipients if one not in meant)
    number = store.next_id()
    store.db.execute(COPY_DELIVERY, (number, row.id))
    store.db.execute(SET_RECIPIENTS, (recipients_to_json(meant), number))
    store.db.execute(SET_RECIPIENTS, (recipients_to_json(others), row.id))
    return number


def _wish(store: Store, row: Row, verb: str, is_whole: bool) -> None:
    wish = wishes.add(row.wish, verb, None if is_whole else addresses(row.recipients))
    store.db.execute(SET_WISH, (wish, row.id))


def _hold(store: Store, row: Row) -> bool:
    if row.state != "waiting":
        return False
    store.db.execute(HOLD, (row.id,))
    _move(store, row, "held")
    _tell(store, row, "held")
    return True


def _release(store: Store, row: Row) -> bool:
    if row.state != "held":
        return False
    store.db.execute(RELEASE, (store.now(), row.id))
    store.db.execute(LIFT_PAUSE, (row.destination,))  # what it was held for has been mended: find out at once
    _move(store, row, "waiting")
    _tell(store, row, "released")
    return True


def _retry(store: Store, row: Row) -> bool:
    if row.state != "waiting":
        return False
    if row.later:
        store.db.execute(RETRY, (store.now(), row.id))
        store.db.execute(LIFT_PAUSE, (row.destination,))
        store.stale[row.destination] = None
        _tell(store, row, "retried")
    return True


def _drop(store: Store, row: Row) -> bool:
    store.db.execute(REMOVE_DELIVERY, (row.id,))
    store.counts[row.state] -= len(row.recipients)
    store.stale[row.destination] = None
    _tell(store, row, "dropped")
    return True


_VERBS: dict[str, Callable[[Store, Row], bool]] = {
    "hold": _hold,
    "release": _release,
    "retry": _retry,
    "drop": _drop,
}


def _move(store: Store, row: Row, state: str) -> None:
    store.counts[row.state] -= len(row.recipients)
    store.counts[state] += len(row.recipients)
    store.stale[row.destination] = None


def _tell(store: Store, row: Row, kind: str) -> None:
    now = store.now()
    told = Event(now, kind, {"recipients": addresses(row.recipients), "by": wishes.OPERATOR})
    tell(store, row.message, now, (told,), row.destination)
