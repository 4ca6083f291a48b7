"""History: what is known of one message, while it is in the queue and for some days after, and its content."""

from typing import NamedTuple

from mta.interfaces import IContent
from mta.message.envelope import Envelope, recipients_from_json
from mta.message.timeline import Event, events_from_json
from mta.spool.content import ContentFiles, Octets
from mta.spool.keeping import REMOVE_TIMELINE
from mta.spool.store import Store

PURGE = 1_000  # rows that one purge removes, at most

CONTENT = "SELECT size, file, body FROM message WHERE id = ?"
HERE = "SELECT envelope, events FROM message WHERE id = ?"
RECIPIENTS = "SELECT recipients FROM delivery WHERE message = ? ORDER BY id"
GONE = "SELECT received, ended, sender, result, events FROM timeline WHERE message = ?"
MORE = "SELECT events FROM event WHERE message = ? ORDER BY id"
EXPIRED = "SELECT message FROM timeline WHERE ended < ? ORDER BY ended LIMIT ?"
REMOVE_SOME_EVENTS = "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE message = ? LIMIT ?)"
FORGET_PAUSES = """
    DELETE FROM destination WHERE name IN
        (SELECT name FROM destination WHERE next_due IS NULL AND paused_until < ? LIMIT ?)
"""


class Story(NamedTuple):
    """What is known of a message.

    envelope: with the recipients that are still in the queue; None when the message has gone. ended: when that was,
    in seconds since 1970. result: how its recipients ended, some of the words "delivered failed discarded expanded
    dropped".
    """

    id: int
    sender: str
    received: float
    envelope: Envelope | None
    ended: float | None
    result: str
    events: list[Event]


def story(store: Store, message: int) -> Story | None:
    """What is known of a message; None where it was never here, or has been purged."""
    more = [text for (text,) in store.rows(MORE, (message,))]
    here = store.row(HERE, (message,))
    if here is not None:
        rows = store.rows(RECIPIENTS, (message,))
        recipients = tuple(one for (packed,) in rows for one in recipients_from_json(packed))
        envelope = Envelope.from_json(here[0], recipients)
        events = events_from_json("".join([here[1], *more]))
        return Story(message, envelope.sender, envelope.received, envelope, None, "", events)
    gone = store.row(GONE, (message,))
    if gone is None:
        return None
    received, ended, sender, result, begun = gone
    return Story(message, sender, received, None, ended, result, events_from_json("".join([begun, *more])))


def content(store: Store, files: ContentFiles, message: int) -> IContent | None:
    """The content of a message in the queue; None where it is not there."""
    row = store.row(CONTENT, (message,))
    if row is None:
        return None
    size, file, body = row
    return files.open(message, size) if file else Octets(body)


def purge(store: Store, before: float) -> int:
    """As `ISpool.purge`. A story that is too long for one purge goes in several."""
    store.db.execute(FORGET_PAUSES, (before, PURGE))
    removed = 0
    for (message,) in store.rows(EXPIRED, (before, PURGE)):
        store.db.execute(REMOVE_SOME_EVENTS, (message, PURGE - removed))
        removed += store.db.changes()
        if removed < PURGE:
            store.db.execute(REMOVE_TIMELINE, (message,))
            removed += 1
        if removed >= PURGE:
            break
    return removed
