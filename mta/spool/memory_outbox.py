"""Memory outbox: the twin of the outbox that forgets everything with its process."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.message.envelope import QueueIds, first_id_at
from mta.message.timeline import Event
from mta.outbox import IOutbox, Owed, Standing, Subscription


@implementer(IOutbox)
class MemoryOutbox:
    """See `IOutbox`. ask: has something done in the way in which the spool answers."""

    def __init__(self, ask: Callable[[Callable[[], Any]], "Deferred[Any]"], now: Callable[[], float]) -> None:
        self._ask = ask
        self._now = now
        self._ids = QueueIds()
        self._hooks: dict[str, frozenset[str]] = {}
        self.standings: dict[str, Standing] = {}
        self._owed: list[tuple[str, Owed]] = []

    def owe(self, message: int, events: Iterable[Event], sender: str, destination: str = "") -> None:
        """Have those who are subscribed be told."""
        self._owed += [
            (url, Owed(self._ids.next(self._now()), message, sender, destination, event))
            for event in events
            for url, kinds in self._hooks.items()
            if event.kind in kinds
        ]

    def subscribe(self, subscriptions: Sequence[Subscription]) -> "Deferred[None]":
        """As in `IOutbox`."""

        def subscribe() -> None:
            self._hooks = dict(subscriptions)

        return self._ask(subscribe)

    def owed(self, url: str, limit: int) -> "Deferred[list[Owed]]":
        """As in `IOutbox`."""
        return self._ask(lambda: [one for to, one in self._owed if to == url][:limit])

    def waiting(self, url: str) -> "Deferred[int]":
        """As in `IOutbox`."""
        return self._ask(lambda: sum(to == url for to, _ in self._owed))

    def told(self, url: str, events: Sequence[int], at: float) -> "Deferred[None]":
        """As in `IOutbox`."""

        def told() -> None:
            self._remove(lambda _, one: one.id in events, len(events))
            self.standings[url] = Standing(at)

        return self._ask(told)

    def failed(self, url: str, standing: Standing) -> "Deferred[None]":
        """As in `IOutbox`."""

        def failed() -> None:
            self.standings[url] = standing

        return self._ask(failed)

    def forget(self, url: str, before: float, limit: int) -> "Deferred[int]":
        """As in `IOutbox`."""
        first = first_id_at(before)
        return self._ask(lambda: self._remove(lambda to, one: to == url and one.id < first, limit))

    def forget_others(self, limit: int) -> "Deferred[int]":
        """As in `IOutbox`."""
        return self._ask(lambda: self._remove(lambda to, _: to not in self._hooks, limit))

    def _remove(self, is_meant: Callable[[str, Owed], bool], limit: int) -> int:
        """Up to `limit` of those, the oldest first. How many."""
        meant = [pair for pair in self._owed if is_meant(*pair)][:limit]
        self._owed = [pair for pair in self._owed if pair not in meant]
        return len(meant)
