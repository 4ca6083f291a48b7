"""Owing: what webhooks are to be told is written with what it tells of. Where there are none, nothing is done.

Who is told stands in the queue file, so that the `mta` command, which writes there too, need not know of webhooks.
`outbox` is the side of those who tell.
"""

from collections.abc import Sequence

from mta.message.timeline import Event, events_to_json
from mta.spool.store import Store

OWE = "INSERT INTO owed (id, url, message, sender, destination, event) VALUES (?, ?, ?, ?, ?, ?)"
DISOWN = "DELETE FROM owed WHERE id > ?1 AND message = ?1"  # what is owed of it was made after it
SENDER = "SELECT envelope ->> 0 FROM message WHERE id = ?"


def owe(store: Store, message: int, events: Sequence[Event], sender: str | None, destination: str = "") -> None:
    """Have those who are subscribed be told. sender: None to look it up: the message is still here."""
    rows = [
        (store.next_id(), url, message, sender, destination, events_to_json((event,)))
        for url, kinds in store.hooks.items()
        for event in events
        if event.kind in kinds
    ]
    if rows:
        if sender is None:
            found = store.value(SENDER, (message,))
            rows = [(key, url, number, found, *rest) for key, url, number, _, *rest in rows]
        store.db.executemany(OWE, rows)


def disown(store: Store, message: int) -> None:
    """Nobody is told of a message whose commit failed."""
    if store.hooks:
        store.db.execute(DISOWN, (message,))
