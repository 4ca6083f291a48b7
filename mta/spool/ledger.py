"""Ledger: what a queue file has of each message, in the order of their ids, for whoever adds it up.

It is read in stretches, each in a read transaction of its own that takes some milliseconds: so a message is seen as it
is at one moment, whatever is recorded meanwhile, and the write-ahead log is not kept from being emptied.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mta.message.envelope import WORKERS
from mta.spool import listing
from mta.spool.listing import Totals
from mta.spool.store import Row, Store

AT_ONCE = 5_000  # messages that are counted in one read transaction, which takes some milliseconds
LOOKS = 3  # at a longer queue, until nobody has written meanwhile
STRETCH = 400  # messages that are read at a time, at most

LAST = """
    SELECT max((SELECT coalesce(max(id), 0) FROM message), (SELECT coalesce(max(message), 0) FROM timeline),
        (SELECT coalesce(max(message), 0) FROM delivery))
"""
ENDS_OF_STRETCH = (
    "SELECT id FROM message WHERE id > ? AND id <= ? ORDER BY id LIMIT 1 OFFSET ?",
    "SELECT message FROM timeline WHERE message > ? AND message <= ? ORDER BY message LIMIT 1 OFFSET ?",
    "SELECT message FROM delivery WHERE message > ? AND message <= ? ORDER BY message LIMIT 1 OFFSET ?",
)
MESSAGES = "SELECT id, events FROM message WHERE id > ? AND id <= ?"
STORIES = "SELECT message, ended, events FROM timeline WHERE message > ? AND message <= ?"
DELIVERIES = "SELECT message, state, recipients FROM delivery WHERE message > ? AND message <= ? ORDER BY message, id"
# A try that has ended nobody is of no interest, and may be long: its dialogue is in it.
EVENTS = """
    SELECT message, events FROM event WHERE message > ? AND message <= ?
        AND (ends != '' OR instr(events, '"unknown"') OR instr(events, '"notice"') OR instr(events, '"received"'))
    ORDER BY message, id
"""
KNOWN = "SELECT EXISTS (SELECT 1 FROM message WHERE id = ?1) OR EXISTS (SELECT 1 FROM timeline WHERE message = ?1)"

ROUTED = "SELECT id, sender, reverse_path, destination, recipients FROM delivery WHERE id > ? ORDER BY id LIMIT ?"
SIZES = "SELECT id, size FROM message WHERE id > ? ORDER BY id LIMIT ?"
STATES = "SELECT id, state, json_array_length(recipients) FROM delivery WHERE id > ? ORDER BY id LIMIT ?"
QUEUED_IDS = "SELECT id FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
GONE_IDS = "SELECT message FROM timeline WHERE message BETWEEN ? AND ? ORDER BY message LIMIT ?"


class Entry(NamedTuple):
    """A message as it is at one moment.

    is_queued: it is in the queue. ended: when it ended, in seconds since 1970; None where it has not. waiting: states
    of deliveries ("waiting", "active", "held") with their recipients, packed as they are stored. events: of its
    timeline, lines of JSON; those that change nothing for anybody may be missing.
    """

    id: int
    is_queued: bool
    ended: float | None
    waiting: list[tuple[str, str]]
    events: list[str]


def after_time(at: float) -> int:
    """The id before those that are given from a time on, in seconds since 1970."""
    return int(at * 1_000_000) * WORKERS - 1


def last(store: Store) -> int:
    """The largest id of a message that anything is known of; 0 where there is none."""
    return int(store.value(LAST))


def end_of_stretch(store: Store, after: int, last: int) -> int:
    """The id up to which to read at once, of those behind `after`; `last` where that is not too much."""
    ends = [store.row(query, (after, last, STRETCH)) for query in ENDS_OF_STRETCH]
    return min([last, *(int(row[0]) for row in ends if row is not None)])


def read(store: Store, after: int, end: int) -> list[Entry]:
    """The messages behind the id `after`, up to `end`, in order."""
    bounds = (after, end)
    with store.reading():
        messages = store.rows(MESSAGES, bounds)
        stories = store.rows(STORIES, bounds)
        deliveries = store.rows(DELIVERIES, bounds)
        events = store.rows(EVENTS, bounds)
    more = _by_message(events)
    waiting = _by_message(deliveries)
    begun: dict[int, str] = dict(messages)
    gone = {message: (ended, events) for message, ended, events in stories}
    found = []
    for number in sorted(begun.keys() | gone.keys() | waiting.keys()):
        ended, first = gone.get(number, (None, begun.get(number, "")))
        lines = [first, *(text for (text,) in more.get(number, ()))]
        states = [(state, packed) for state, packed in waiting.get(number, ())]
        found.append(Entry(number, number in begun, ended, states, lines))
    return found


def knows(store: Store, message: int) -> bool:
    """Is or was this message here, as far as is known?"""
    return bool(store.value(KNOWN, (message,)))


def totals(store: Store) -> tuple[Totals, Totals] | None:
    """What a file says that there is in it, and what there is. None where that cannot be told: the queue is long, and
    somebody writes all the time.
    """
    if listing.totals(store).messages <= AT_ONCE:
        with store.reading():
            return listing.totals(store), _counted(store)
    for _ in range(LOOKS):
        version, said = store.version(), listing.totals(store)
        found = _counted(store)
        if store.version() == version:
            return said, found
    return None


def _counted(store: Store) -> Totals:
    """All of it, read a stretch at a time."""
    messages = octets = after = 0
    while rows := store.rows(SIZES, (after, STRETCH)):
        messages += len(rows)
        octets += sum(size for _, size in rows)
        after = rows[-1][0]
    states = dict.fromkeys(("waiting", "active", "held"), 0)
    after = 0
    while rows := store.rows(STATES, (after, STRETCH)):
        for _, state, recipients in rows:
            states[state] += recipients
        after = rows[-1][0]
    return Totals(messages, octets, **states)


class Routed(NamedTuple):
    """Recipients of a message who wait together. reverse_path: whom they get it from. recipients: packed, as stored."""

    reverse_path: str
    destination: str
    recipients: str


def routed(store: Store) -> Iterator[Routed]:
    """Who waits where, of all that is in the queue, read a stretch at a time."""
    after = 0
    while rows := store.rows(ROUTED, (after, STRETCH)):
        for _, sender, reverse_path, destination, recipients in rows:
            yield Routed(sender if reverse_path is None else reverse_path, destination, recipients)
        after = rows[-1][0]


def ids(store: Store, first: int, last: int, limit: int, gone: bool) -> list[int]:
    """The first ids from one to another of what is in the queue, or of what has gone."""
    return [number for (number,) in store.rows(GONE_IDS if gone else QUEUED_IDS, (first, last, limit))]


def _by_message(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """Rows, without the message that each of them begins with, by that."""
    found: dict[int, list[Row]] = defaultdict(list)
    for message, *rest in rows:
        found[message].append(tuple(rest))
    return found
