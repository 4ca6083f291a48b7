"""Outbox: what webhooks are owed, for those who tell them. It stands in the queue file; see `owing`."""

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.message.envelope import first_id_at
from mta.message.timeline import events_from_json
from mta.outbox import IOutbox, Owed, Standing, Subscription
from mta.spool.store import Store
from mta.spool.writer import Writer

Result = TypeVar("Result")

SUBSCRIBED = "SELECT url FROM webhook"
UNSUBSCRIBE = "DELETE FROM webhook WHERE url = ?"
SUBSCRIBE = "INSERT INTO webhook (url, kinds) VALUES (?, ?) ON CONFLICT (url) DO UPDATE SET kinds = excluded.kinds"
STANDS = "UPDATE webhook SET standing = ? WHERE url = ?"
OWED = "SELECT id, message, sender, destination, event FROM owed WHERE url = ? ORDER BY id LIMIT ?"
WAITING = "SELECT count(*) FROM owed WHERE url = ?"
TOLD = "DELETE FROM owed WHERE id = ?"
FORGET = "DELETE FROM owed WHERE id IN (SELECT id FROM owed WHERE url = ? AND id < ? ORDER BY id LIMIT ?)"
NEXT_URL = "SELECT min(url) FROM owed WHERE url > ?"
FORGET_ALL = "DELETE FROM owed WHERE id IN (SELECT id FROM owed WHERE url = ? LIMIT ?)"


@implementer(IOutbox)
class Outbox:
    """See `IOutbox`."""

    def __init__(self, writer: Writer, subscribed: dict[str, frozenset[str]]) -> None:
        """subscribed: who is, as the file has it."""
        self._writer = writer
        self._subscribed = subscribed

    def subscribe(self, subscriptions: Sequence[Subscription]) -> "Deferred[None]":
        """As in `IOutbox`. Where it is as it was, nothing is written."""
        wanted = dict(subscriptions)
        if wanted == self._subscribed:
            return succeed(None)

        def subscribe(store: Store) -> None:
            gone = [one for one in store.rows(SUBSCRIBED) if one[0] not in wanted]
            store.db.executemany(UNSUBSCRIBE, gone)
            store.db.executemany(SUBSCRIBE, [(url, " ".join(sorted(kinds))) for url, kinds in wanted.items()])
            store.hooks = wanted

        def subscribed(_: None) -> None:
            self._subscribed = wanted

        return self._writer.submit(subscribe).addCallback(subscribed)

    def owed(self, url: str, limit: int) -> "Deferred[list[Owed]]":
        """As in `IOutbox`."""

        def owed(store: Store) -> list[Owed]:
            return [Owed(*key, *events_from_json(event)) for *key, event in store.rows(OWED, (url, limit))]

        return self._when_convenient(owed)

    def waiting(self, url: str) -> "Deferred[int]":
        """As in `IOutbox`."""
        return self._when_convenient(lambda store: int(store.value(WAITING, (url,))))

    def told(self, url: str, events: Sequence[int], at: float) -> "Deferred[None]":
        """As in `IOutbox`."""

        def told(store: Store) -> None:
            store.db.executemany(TOLD, [(event,) for event in events])
            store.db.execute(STANDS, (json.dumps(Standing(at)), url))

        return self._when_convenient(told)

    def failed(self, url: str, standing: Standing) -> "Deferred[None]":
        """As in `IOutbox`."""

        def failed(store: Store) -> None:
            store.db.execute(STANDS, (json.dumps(standing), url))

        return self._when_convenient(failed)

    def forget(self, url: str, before: float, limit: int) -> "Deferred[int]":
        """As in `IOutbox`."""

        def forget(store: Store) -> int:
            store.db.execute(FORGET, (url, first_id_at(before), limit))
            return store.db.changes()

        return self._when_convenient(forget)

    def forget_others(self, limit: int) -> "Deferred[int]":
        """As in `IOutbox`."""

        def forget(store: Store) -> int:
            forgotten = 0
            url = store.value(NEXT_URL, ("",))
            while url is not None and forgotten < limit:
                if url not in store.hooks:
                    store.db.execute(FORGET_ALL, (url, limit - forgotten))
                    forgotten += store.db.changes()
                url = store.value(NEXT_URL, (url,))
            return forgotten

        return self._when_convenient(forget)

    def _when_convenient(self, what: Callable[[Store], Result]) -> "Deferred[Result]":
        """Mail goes first: it may wait a little to share a commit."""
        return self._writer.submit(what, urgent=False)
