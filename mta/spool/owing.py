"""Owing: what webhooks are to be told is written with what it tells of. Where there are none, nothing is done.

Who is told stands in the queue file, so that the `mta` command, which writes there too, need not know of webhooks.
`outbox` is the side of those who tell.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from mta.message.timeline import Event, events_from_json, events_to_json
from mta.outbox import Standing
from mta.spool.store import Store

OWE = "INSERT INTO owed (id, url, message, sender, destination, event) VALUES (?, ?, ?, ?, ?, ?)"
DISOWN = "DELETE FROM owed WHERE id > ?1 AND message = ?1"  # what is owed of it was made after it
OLDEST = "SELECT event FROM owed WHERE url = ? ORDER BY id LIMIT 1"
WAITING = "SELECT count(*) FROM owed WHERE url = ?"
STANDING = "SELECT standing FROM webhook WHERE url = ?"
SENDER = "SELECT envelope ->> 0 FROM message WHERE id = ?"


class Pending(NamedTuple):
    """What a webhook is owed. waiting: events. oldest: when the first of them was, in seconds since 1970. standing: how
    it goes with telling it.
    """

    url: str
    kinds: frozenset[str]
    waiting: int = 0
    oldest: float | None = None
    standing: Standing = Standing()


def pending(store: Store) -> list[Pending]:
    """What those are owed who are subscribed."""
    found = []
    for url, kinds in store.hooks.items():
        first = store.row(OLDEST, (url,))
        oldest = None if first is None else events_from_json(first[0])[0].at
        standing = Standing(*json.loads(store.value(STANDING, (url,)) or "[]"))
        found.append(Pending(url, kinds, store.value(WAITING, (url,)), oldest, standing))
    return found


def together(parts: Sequence[Pending]) -> list[Pending]:
    """The same of several queue files, by URL."""
    whole: dict[str, Pending] = {}
    for one in parts:
        known = whole.get(one.url, Pending(one.url, one.kinds))
        ages = [at for at in (known.oldest, one.oldest) if at is not None]
        kinds, waiting = known.kinds | one.kinds, known.waiting + one.waiting
        standing = _worse(known.standing, one.standing)
        whole[one.url] = Pending(one.url, kinds, waiting, min(ages, default=None), standing)
    return [whole[url] for url in sorted(whole)]


def _worse(one: Standing, other: Standing) -> Standing:
    """What is to be said of two processes that tell the same webhook: the trouble, if either has any."""
    return max(one, other, key=lambda standing: (bool(standing.failures), standing.tried or 0.0))


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
