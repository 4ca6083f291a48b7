"""Survey: how a queue looks from afar, and its pages, from indexes and by bounded reads.

No question here reads a whole queue, however long that is: what is more than `MOST` is said to be more.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from mta.message.envelope import WORKERS
from mta.spool.listing import _FROM, _STATE, QueuedMessage, View, message
from mta.spool.matching import EVERYTHING, Selection
from mta.spool.store import Store

MOST = 100_000  # entries of an index that one question looks at
SEARCHED = 50_000  # rows of `delivery` that are looked at for one page
NAMES = 5_000  # destinations that are compared
FEW = 200  # deliveries that are counted of each of them, before the largest are counted
STRETCH = 5_000  # rows that are read at a time, so that no read stands in the way of the write-ahead log for long

READY = """
    SELECT count(*) FROM (SELECT due FROM delivery INDEXED BY delivery_waiting
        WHERE state = 'waiting' AND destination = ? LIMIT ?) WHERE due <= ?
"""
OPEN = "SELECT name FROM destination WHERE next_due <= ? AND paused_until <= ? ORDER BY next_due LIMIT ?"
AGED = """
    SELECT count(*) FROM (SELECT DISTINCT message FROM delivery INDEXED BY delivery_message
        WHERE message >= ? AND message < ? LIMIT ?)
"""
OLDEST = "SELECT min(message) FROM delivery INDEXED BY delivery_message"
NAMED = "SELECT name, next_due, paused_until, failures, last_reply FROM destination ORDER BY name LIMIT ?"
ONE = "SELECT name, next_due, paused_until, failures, last_reply FROM destination WHERE name = ?"
WAITING = """
    SELECT count(*) FROM (SELECT 1 FROM delivery INDEXED BY delivery_waiting
        WHERE state = 'waiting' AND destination = ? LIMIT ?)
"""
HELD = """
    SELECT count(*) FROM (SELECT 1 FROM delivery INDEXED BY delivery_held
        WHERE state = 'held' AND destination = ? LIMIT ?)
"""
ACTIVE = """
    SELECT count(*) FROM delivery INDEXED BY delivery_active WHERE state = 'active' AND destination = ?
"""
REPLIES = """
    SELECT last_reply, count(*) FROM (SELECT last_reply FROM delivery
        WHERE destination = ?1 AND state = 'waiting' LIMIT ?2) WHERE last_reply != '' GROUP BY last_reply
"""
FIRST = """
    SELECT DISTINCT message FROM (
        SELECT message FROM (SELECT message FROM delivery INDEXED BY delivery_waiting
            WHERE state = 'waiting' AND destination = ?1 ORDER BY priority DESC, due LIMIT ?2)
        UNION ALL SELECT message FROM (SELECT message FROM delivery INDEXED BY delivery_held
            WHERE state = 'held' AND destination = ?1 LIMIT ?2)
        UNION ALL SELECT message FROM (SELECT message FROM delivery INDEXED BY delivery_active
            WHERE state = 'active' AND destination = ?1 LIMIT ?2)
    )
"""
STUCK = """
    SELECT destination, count(*), max(last_reply) FROM (SELECT destination, last_reply FROM delivery
        INDEXED BY delivery_held WHERE state = 'held' LIMIT ?) WHERE last_reply != '' GROUP BY destination
"""
UP_TO = "SELECT message FROM delivery INDEXED BY delivery_message WHERE message > ? ORDER BY message LIMIT 1 OFFSET ?"
FIND = """
    SELECT message, destination, recipients, sender, reverse_path FROM delivery
    WHERE message > :after AND message <= :until AND {condition} ORDER BY message
"""
FIND_IN_STATE = f"""
    SELECT delivery.message, delivery.destination, recipients, sender, reverse_path {_FROM}
    WHERE delivery.message > :after AND delivery.message <= :until AND {{condition}} AND {_STATE} = :state
    ORDER BY delivery.message
"""
IN_ORDER = "SELECT id FROM message WHERE id > ? ORDER BY id LIMIT ?"
_LAST = (1 << 63) - 1


class Bounded(NamedTuple):
    """A number that was counted so far. more: there is more of it."""

    number: int
    more: bool = False


class Place(NamedTuple):
    """A destination. waiting: deliveries. next_due, paused_until: seconds since 1970; None and 0 for none."""

    name: str
    waiting: Bounded
    next_due: float | None
    paused_until: float
    failures: int
    last_reply: str


class Stuck(NamedTuple):
    """What is held for a destination after something was said."""

    destination: str
    deliveries: int
    last_reply: str


class Page(NamedTuple):
    """A page of the queue. after: where the next one begins; None where there is none.

    looked: the rows that may be looked at for one page ended it, so that it may be short of what it could have.
    """

    messages: list[QueuedMessage]
    after: int | None
    looked: bool = False


class Detail(NamedTuple):
    """What is known of one destination. replies: what was said last to deliveries that wait, with how many."""

    place: Place | None
    held: Bounded
    active: int
    replies: list[tuple[str, int]]


def bounded(number: int, most: int) -> Bounded:
    """A number that was counted up to one more than a limit."""
    return Bounded(min(number, most), number > most)


def ready(store: Store, now: float) -> Bounded:
    """Deliveries that are due, and whose destination is not paused."""
    total, left = 0, MOST
    for (name,) in store.rows(OPEN, (now, now, NAMES)):
        total += store.rows(READY, (name, left, now))[0][0]
        left = MOST - total
        if left <= 0:
            return Bounded(MOST, True)
    return Bounded(total)


def ages(store: Store, since: Sequence[float]) -> list[Bounded]:
    """Messages that arrived between each two of these times in seconds since 1970, the latest first.

    A queue id tells when its message arrived.
    """
    edges = [_number(at) for at in since]
    return [bounded(store.rows(AGED, (older, newer, MOST + 1))[0][0], MOST) for newer, older in pairwise(edges)]


def oldest(store: Store) -> float | None:
    """When the oldest message arrived, in seconds since 1970; None where there is none."""
    number = store.rows(OLDEST)[0][0]
    return None if number is None else arrived(number)


def arrived(number: int) -> float:
    """When a message was given its queue id, in seconds since 1970."""
    return number / (WORKERS * 1_000_000)


def places(store: Store, limit: int) -> tuple[list[Place], bool]:
    """The destinations that most waits for, and whether there are more than were compared."""
    rows = store.rows(NAMED, (NAMES + 1,))
    few = [(store.rows(WAITING, (row[0], FEW + 1))[0][0], row) for row in rows[:NAMES]]
    few.sort(key=lambda one: (-one[0], -one[1][3], one[1][0]))
    counted = [one for one in few if one[0] > FEW]
    share = max(FEW, MOST // max(1, len(counted)))
    largest = [_place(store, row, share) for _, row in counted]
    largest.sort(key=lambda one: (-one.waiting.number, one.name))
    rest = [_of(row, Bounded(number)) for number, row in few if number <= FEW]
    return [*largest, *rest][:limit], len(rows) > NAMES


def destination(store: Store, name: str) -> Detail:
    """One destination. A file that knows nothing of it has no place for it."""
    row = store.row(ONE, (name,))
    return Detail(
        None if row is None else _place(store, row, MOST),
        bounded(store.rows(HELD, (name, MOST + 1))[0][0], MOST),
        store.rows(ACTIVE, (name,))[0][0],
        [(reply, number) for reply, number in store.rows(REPLIES, (name, FEW))],
    )


def first(store: Store, name: str, limit: int) -> list[int]:
    """Numbers of messages that wait for a destination, are being tried there, or held, up to a limit of each."""
    return [number for (number,) in store.rows(FIRST, (name, limit))]


def stuck(store: Store) -> list[Stuck]:
    """What is held after something was said, of the first `STRETCH` deliveries that are held."""
    return [Stuck(*row) for row in store.rows(STUCK, (STRETCH,))]


def page(store: Store, selection: Selection, state: str | None, after: int, limit: int, view: View) -> Page:
    """Messages behind a number that have recipients of a selection in a state (None for any), the oldest first."""
    if selection == EVERYTHING and state is None:
        numbers = [number for (number,) in store.rows(IN_ORDER, (after, limit + 1))]
        looked = None
    else:
        numbers, looked = _found(store, selection, state, after, limit + 1, view)
    found = (message(store, number, selection, state, view) for number in numbers[:limit])
    messages = [one for one in found if one is not None]
    if len(numbers) > limit:
        return Page(messages, numbers[limit - 1])
    return Page(messages, looked, looked is not None)


def _found(
    store: Store, selection: Selection, state: str | None, after: int, limit: int, view: View
) -> tuple[list[int], int | None]:
    """Numbers of messages, and up to where was looked, where that is not the end."""
    numbers: dict[int, None] = {}
    for until in _stretches(store, after):
        for number in _matching(store, selection, state, after, until, view):
            numbers[number] = None
            if len(numbers) == limit:
                return list(numbers), None
        after = until
        if until == _LAST:
            return list(numbers), None
    return list(numbers), after


def _stretches(store: Store, after: int) -> Iterator[int]:
    """The ends of stretches of rows that follow one another, as many as one question may look at."""
    for _ in range(SEARCHED // STRETCH):
        row = store.row(UP_TO, (after, STRETCH - 1))
        after = _LAST if row is None else row[0]
        yield after


def _matching(
    store: Store, selection: Selection, state: str | None, after: int, until: int, view: View
) -> Iterator[int]:
    condition, values = selection.condition()
    asked = {**values, **view.values, "after": after, "until": until, "state": state}
    query = (FIND if state is None else FIND_IN_STATE).format(condition=condition)
    for number, name, recipients, sender, reverse_path in store.rows(query, asked):
        if selection.has_sender(sender, reverse_path) and selection.has_any(name, recipients):
            yield number


def _place(store: Store, row: tuple[str, float | None, float, int, str], most: int) -> Place:
    return _of(row, bounded(store.rows(WAITING, (row[0], most + 1))[0][0], most))


def _of(row: tuple[str, float | None, float, int, str], waiting: Bounded) -> Place:
    name, next_due, paused_until, failures, last_reply = row
    return Place(name, waiting, next_due, paused_until, failures, last_reply)


def _number(at: float) -> int:
    """The least number of a message that arrived at a time."""
    return int(min(max(at, 0.0) * 1_000_000 * WORKERS, _LAST))
