"""Listing: what is in the queue, as an operator sees it."""

from collections.abc import Iterator
from typing import NamedTuple

from mta.message.envelope import Envelope, recipients_from_json
from mta.spool.matching import EVERYTHING, Selection
from mta.spool.store import Store

CHUNK = 500  # rows that are read at a time, so that no read stands in the way of the write-ahead log for long

_STATE = """
    CASE state WHEN 'held' THEN 'held' WHEN 'active' THEN :active
        ELSE iif(due <= :now AND coalesce(paused_until, 0) <= :now, 'ready', 'deferred') END
"""
_FROM = "FROM delivery LEFT JOIN destination ON destination.name = delivery.destination"
FIND = f"""
    SELECT delivery.id, delivery.message, delivery.destination, recipients, sender, reverse_path {_FROM}
    WHERE delivery.id > :after AND {{condition}} AND (:state IS NULL OR {_STATE} = :state)
    ORDER BY delivery.id LIMIT :limit
"""
OLDEST = "SELECT id FROM message WHERE id > ? ORDER BY id LIMIT ?"
MESSAGE = "SELECT envelope, size FROM message WHERE id = ?"
DELIVERIES = f"""
    SELECT delivery.destination, {_STATE}, max(due, coalesce(paused_until, 0)), attempts, wish,
        coalesce(nullif(delivery.last_reply, ''), destination.last_reply, ''), recipients, reverse_path
    {_FROM} WHERE delivery.message = :message ORDER BY delivery.id
"""
HELD = """
    SELECT destination, sum(json_array_length(recipients)), last_reply, max(due) FROM delivery
    WHERE state = 'held' AND last_reply != '' GROUP BY destination
"""
DESTINATION = "SELECT paused_until, failures, last_reply FROM destination WHERE name = ?"
# In a partial index each, so that no row of the queue is read.
WAITING = "SELECT count(*) FROM delivery WHERE destination = ? AND state = 'waiting'"
HELD_THERE = "SELECT count(*) FROM delivery WHERE destination = ? AND state = 'held'"
ENDED = "SELECT count(*) FROM timeline WHERE ended > ?"
# From one name to another, both of them meant: what begins with a text, by the primary key.
DESTINATIONS = "SELECT name FROM destination WHERE next_due NOT NULL AND name BETWEEN ? AND ? ORDER BY name LIMIT ?"
TOTALS = "SELECT messages, octets, waiting, active, held FROM totals"


class Totals(NamedTuple):
    """What is in the queue. waiting, active, held: recipients."""

    messages: int = 0
    octets: int = 0
    waiting: int = 0
    active: int = 0
    held: int = 0

    @property
    def recipients(self) -> int:
        """All of them."""
        return self.waiting + self.active + self.held


class QueuedRecipient(NamedTuple):
    """A recipient who is still in the queue.

    state: "ready", "active", "deferred" or "held". next_attempt: in seconds since 1970; None while it is being tried
    or held. last_reply: of the last try, or, where there was none, of the destination's. wish: what an operator has
    asked for during the try. reverse_path: whom the mail goes on from; None where that is its sender.
    """

    address: str
    state: str
    next_attempt: float | None
    last_reply: str
    destination: str
    attempts: int
    wish: str
    reverse_path: str | None = None


class QueuedMessage(NamedTuple):
    """A message in the queue. created: when it was received. recipients: those that were asked for."""

    id: int
    size: int
    sender: str
    created: float
    recipients: tuple[QueuedRecipient, ...]


class Held(NamedTuple):
    """What is held for a destination after something was said. recipients: how many. last_reply: of the latest one."""

    destination: str
    recipients: int
    last_reply: str


class Outlook(NamedTuple):
    """How things stand with a destination. waiting, held: deliveries, one for each message or a few more.

    paused_until: in seconds since 1970, 0 for no pause. failures: tries in a row that reached nobody. last_reply: of
    the try that paused it; "" for none.
    """

    waiting: int = 0
    held: int = 0
    paused_until: float = 0.0
    failures: int = 0
    last_reply: str = ""


class View(NamedTuple):
    """How states are to be seen. alive: there is a worker; without one nothing is being tried, whatever is written."""

    now: float
    alive: bool

    @property
    def values(self) -> dict[str, str | float]:
        """For the queries."""
        return {"now": self.now, "active": "active" if self.alive else "ready"}


def queued(store: Store, selection: Selection, state: str | None, limit: int, view: View) -> list[QueuedMessage]:
    """Messages that have recipients of a selection in a state (None for any), the oldest first, up to a limit."""
    numbers: set[int] = set()
    for number in _candidates(store, selection, state, view):
        if len(numbers) == limit:
            break
        numbers.add(number)
    messages = (message(store, number, selection, state, view) for number in sorted(numbers))
    return [one for one in messages if one is not None]


def totals(store: Store) -> Totals:
    """What is in the queue."""
    return Totals(*store.rows(TOTALS)[0])


def ended(store: Store, since: float) -> int:
    """How many messages have ended since a time, in seconds since 1970."""
    return int(store.value(ENDED, (since,)))


def destinations(store: Store, beginning: str, limit: int) -> list[str]:
    """The first destinations that something waits for and whose names begin so."""
    values = (beginning, beginning + "\U0010ffff", limit)
    return [name for (name,) in store.rows(DESTINATIONS, values)]


def held(store: Store) -> list[Held]:
    """What is held after something was said, by destination."""
    return [Held(*row) for *row, _ in store.rows(HELD)]


def outlook(store: Store, destination: str) -> Outlook:
    """How things stand with a destination."""
    waiting, held_there = (store.value(query, (destination,)) for query in (WAITING, HELD_THERE))
    return Outlook(waiting, held_there, *(store.row(DESTINATION, (destination,)) or ()))


def find(store: Store, selection: Selection, last: int, state: str | None, view: View) -> Iterator[tuple[int, int]]:
    """Deliveries up to the number `last`, and their messages, that have something of a selection (not one by ids)."""
    condition, values = selection.condition()
    query = FIND.format(condition=condition)
    after = 0
    while True:
        asked = {**values, **view.values, "after": after, "state": state, "limit": CHUNK}
        rows = store.rows(query, asked)
        for after, message, destination, recipients, sender, reverse_path in rows:
            if after > last:
                return
            if selection.has_sender(sender, reverse_path) and selection.has_any(destination, recipients):
                yield after, message
        if len(rows) < CHUNK:
            return


def _candidates(store: Store, selection: Selection, state: str | None, view: View) -> Iterator[int]:
    if selection.ids is not None:
        yield from sorted(selection.ids)
    elif selection == EVERYTHING and state is None:
        after = 0
        while rows := store.rows(OLDEST, (after, CHUNK)):
            for (after,) in rows:
                yield after
    else:
        for _, message in find(store, selection, 1 << 62, state, view):
            yield message


def message(store: Store, number: int, selection: Selection, state: str | None, view: View) -> QueuedMessage | None:
    """A message, with its recipients that are meant; None where there are none."""
    row = store.row(MESSAGE, (number,))
    if row is None:
        return None
    envelope, size = Envelope.from_json(row[0], ()), row[1]
    recipients = []
    for destination, shown, next_attempt, attempts, wish, last_reply, packed, reverse_path in store.rows(
        DELIVERIES, {**view.values, "message": number}
    ):
        if (state is None or shown == state) and selection.has_sender(envelope.sender, reverse_path):
            at = next_attempt if shown in ("ready", "deferred") else None
            recipients += [
                QueuedRecipient(one.address, shown, at, last_reply, destination, attempts, wish, reverse_path)
                for one in recipients_from_json(packed)
                if selection.has_recipient(destination, one.address)
            ]
    if not recipients:
        return None
    return QueuedMessage(number, size, envelope.sender, envelope.received, tuple(recipients))
