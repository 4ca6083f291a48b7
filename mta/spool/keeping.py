"""Keeping: a message goes into the queue file, its story is told, and at its end it goes."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mta.interfaces import Claim, NewDelivery, NewMessage
from mta.message.envelope import Envelope, Recipient, recipients_to_json
from mta.message.timeline import Event, events_to_json
from mta.spool.owing import owe
from mta.spool.store import Store

ENDS = ("delivered", "failed", "discarded", "expanded", "dropped")  # the events that end a recipient

ADD_MESSAGE = "INSERT INTO message (id, received, size, file, envelope, events, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
ADD_DELIVERY = """
    INSERT INTO delivery (id, message, destination, state, priority, due, deadline, attempts, fence, warned, wish,
        last_reply, sender, recipients, reverse_path) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, 0, '', '', ?, ?, ?)
"""
# Looked at before it is removed: a statement that returns what it removes keeps a copy of each page that it changes.
DONE = """
    SELECT received, size, file, envelope ->> 0, events, EXISTS (SELECT 1 FROM event WHERE message = ?1)
    FROM message WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM delivery WHERE message = ?1)
"""
REMOVE_DONE = "DELETE FROM message WHERE id = ?"
ADD_EVENT = "INSERT INTO event (message, ends, events) VALUES (?, ?, ?)"
ENDS_SO_FAR = "SELECT DISTINCT ends FROM event WHERE message = ?"
ADD_TIMELINE = "INSERT INTO timeline (message, received, ended, sender, result, events) VALUES (?, ?, ?, ?, ?, ?)"
REMOVE_MESSAGE = "DELETE FROM message WHERE id = ? RETURNING size"
REMOVE_DELIVERIES = """
    DELETE FROM delivery WHERE message = ? RETURNING state, destination, json_array_length(recipients)
"""
REMOVE_EVENTS = "DELETE FROM event WHERE message = ?"
REMOVE_TIMELINE = "DELETE FROM timeline WHERE message = ?"


class Kept(NamedTuple):
    """A message to be kept. body: None where the content is in a content file, which is complete and synced."""

    id: int
    envelope: Envelope
    size: int
    body: bytes | None
    deliveries: Sequence[NewDelivery]
    events: Sequence[Event]


def keep(store: Store, kept: Kept) -> list[Claim]:
    """Put a message into the queue, and claim its eager deliveries."""
    envelope = kept.envelope
    file = kept.body is None
    events = events_to_json(kept.events)
    ended = _ends(kept.events)
    if ended:  # some recipients never come into the queue; the end of the message will want to know
        store.db.execute(ADD_EVENT, (kept.id, _words(ended), events))
        events = ""
    store.db.execute(ADD_MESSAGE, (kept.id, envelope.received, kept.size, file, envelope.to_json(), events, kept.body))
    store.counts["messages"] += 1
    store.counts["octets"] += kept.size
    claims: list[Claim] = []
    for one in kept.deliveries:
        number = store.next_id()
        if one.eager:
            state = "active"
            theirs = envelope if one.recipients == envelope.recipients else envelope._replace(recipients=one.recipients)
            if one.reverse_path is not None:
                theirs = theirs.on_behalf_of(one.reverse_path)
            claims.append(Claim(kept.id, number, 1, one.destination, theirs, due=one.due))
        else:
            state = "waiting"
            store.stale[one.destination] = None
        store.counts[state] += len(one.recipients)
        key = (number, kept.id, one.destination, state, envelope.priority)
        paths = (envelope.sender, recipients_to_json(one.recipients), one.reverse_path)
        store.db.execute(ADD_DELIVERY, (*key, one.due, one.deadline, one.eager, *paths))
    if store.hooks:
        owe(store, kept.id, kept.events, envelope.sender)
    if not kept.deliveries:
        tell(store, kept.id, envelope.received, ())
    return claims


def keep_notice(store: Store, notice: NewMessage) -> None:
    """Put a message of our own into the queue. Nobody has a reservation for it, so it waits."""
    deliveries = [one._replace(eager=False) for one in notice.deliveries]
    keep(store, Kept(notice.id, notice.envelope, len(notice.content), notice.content, deliveries, notice.events))


def unkeep(store: Store, message: int) -> None:
    """Take back a message whose commit failed, in case that it is there nevertheless."""
    for (size,) in store.rows(REMOVE_MESSAGE, (message,)):
        store.counts["messages"] -= 1
        store.counts["octets"] -= size
    for state, destination, recipients in store.rows(REMOVE_DELIVERIES, (message,)):
        store.counts[state] -= recipients
        store.stale[destination] = None
    store.db.execute(REMOVE_EVENTS, (message,))
    store.db.execute(REMOVE_TIMELINE, (message,))


def tell(store: Store, message: int, at: float, events: Sequence[Event], destination: str = "") -> None:
    """Add to a message's timeline. When none of its deliveries is left this is its end, and the message goes.

    destination: of the delivery that it is about.
    """
    ends = _ends(events)
    done = store.row(DONE, (message,))
    if done is None:
        if events:
            store.db.execute(ADD_EVENT, (message, _words(ends), events_to_json(events)))
            if store.hooks:
                owe(store, message, events, None, destination)
        return
    store.db.execute(REMOVE_DONE, (message,))
    received, size, file, sender, begun, has_more = done
    events = (*events, Event(at, "ended", {}))
    told = events_to_json(events)
    if store.hooks:
        owe(store, message, events, sender, destination)
    if has_more:
        store.db.execute(ADD_EVENT, (message, _words(ends), told))
        for (words,) in store.rows(ENDS_SO_FAR, (message,)):
            ends.update(words.split())
    else:
        begun += told
    store.db.execute(ADD_TIMELINE, (message, received, at, sender, _words(ends), begun))
    store.counts["messages"] -= 1
    store.counts["octets"] -= size
    if file:
        store.gone.append(message)


def addresses(recipients: Iterable[Recipient]) -> list[str]:
    """Recipients as an event names them."""
    return [one.address for one in recipients]


def _ends(events: Iterable[Event]) -> set[str]:
    return {event.kind for event in events if event.kind in ENDS}


def _words(ends: set[str]) -> str:
    return " ".join(word for word in ENDS if word in ends)
