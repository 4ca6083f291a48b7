"""Rushing: what waits for a domain or a destination is made due now (ETRN, RFC 1985), in steps between other commits.

A destination is found by its index. A domain's recipients can wait for any destination, so all deliveries are looked
through for them. Either way a step is small, however long the queue, and whoever wants to commit comes in between.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import apsw
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mta.interfaces import SpoolBroken
from mta.message.envelope import Recipient, recipients_from_json
from mta.smtp.address import domain_of
from mta.spool import database
from mta.spool.folder import Folder
from mta.spool.store import NEXT_PRIORITY, Row, Store
from mta.spool.verbs import BREATH, CHUNK, LIFT_PAUSE, RETRY

STRETCH = 2_000  # deliveries that one step looks through for a domain, which takes some milliseconds

_FIND = "SELECT due, id, message, destination, attempts, recipients FROM delivery"
# Two questions, since SQLite does not go by the index for (due, id) > (?, ?), and many can be due at the same moment.
DUE_WITH = f"""{_FIND}
    WHERE destination = ? AND state = 'waiting' AND priority = ? AND due = ? AND id > ? ORDER BY id LIMIT ?
"""
DUE_AFTER = f"""{_FIND}
    WHERE destination = ? AND state = 'waiting' AND priority = ? AND due > ? ORDER BY due, id LIMIT ?
"""
END_OF_STRETCH = "SELECT id FROM delivery WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?"
OF_DOMAIN = f"""{_FIND}
    WHERE id > :after AND id <= :end AND +state = 'waiting'
        AND (instr(lower(recipients), :part) OR instr(lower(destination), :part)) ORDER BY id LIMIT :limit
"""


class Target(NamedTuple):
    """What is meant: recipients in a domain (".example.org": in its subdomains), or, where it is "", a destination."""

    domain: str
    destination: str

    def concerns(self, destination: str, recipients: Iterable[Recipient]) -> bool:
        """Is a delivery meant that waits for this destination, with these recipients?"""
        if not self.domain:
            return destination == self.destination
        return self._is_domain(destination) or any(self._is_domain(domain_of(one.address)) for one in recipients)

    def _is_domain(self, name: str) -> bool:
        return name.endswith(self.domain) if self.domain.startswith(".") else name == self.domain


class Place(NamedTuple):
    """How far the work has come: the delivery that was looked at last. For a domain the id says it all."""

    priority: int
    due: float
    id: int


class Step(NamedTuple):
    """What a step has found. messages: how many. destinations: where they wait. place: None where it was the last."""

    messages: int
    destinations: frozenset[str]
    place: Place | None


Submit = Callable[[Callable[[Store], Step]], "Deferred[Step]"]

_log = Logger()
_BEGINNING = Place(1 << 31, -1.0, 0)
_END = (1 << 63) - 1


async def rush(target: Target, now: float, submit: Submit) -> int:
    """As `ISpool.rush`. submit: has a step done, in a transaction of its own."""
    messages = 0
    lifted: frozenset[str] = frozenset()
    place: Place | None = _BEGINNING
    while place is not None:
        step = await submit(partial(_step, target, now, place, lifted))
        messages += step.messages
        lifted |= step.destinations
        place = step.place
    return messages


class Elsewhere:
    """The same in the files of other workers, who notice within a second. messages: how many, in the end."""

    def __init__(
        self, folder: Folder, workers: Sequence[int], now: Callable[[], float], rest: Callable[[float], object] | None
    ) -> None:
        """rest: sleeps for some seconds between two steps; None for no rest."""
        self._folder = folder
        self._workers = workers
        self._now = now
        self._rest = rest
        self.messages = 0

    def rush(self, target: Target, now: float) -> None:
        """Do it. Blocks."""
        for worker in self._workers:
            try:
                self._rush(worker, target, now)
            except (apsw.Error, OSError, SpoolBroken) as error:
                _log.error("queue {worker} cannot be started: {error}", worker=worker, error=error)

    def _rush(self, worker: int, target: Target, now: float) -> None:
        lock = self._folder.write_lock(worker)
        try:
            store = Store(database.attach(self._folder.queue(worker), self._folder.vfs), lock, worker, self._now)
            try:
                lifted: frozenset[str] = frozenset()
                place: Place | None = _BEGINNING
                while place is not None:
                    with store.transaction():
                        step = _step(target, now, place, lifted, store)
                    store.checkpoint()
                    self.messages += step.messages
                    lifted |= step.destinations
                    place = step.place
                    if self._rest is not None:
                        self._rest(BREATH)
            finally:
                store.close()
        finally:
            lock.close()


def is_held_back(attempts: int, due: float, now: float) -> bool:
    """Is it for its sender to say when it is released (RFC 4865)? Nothing else is due later that was never tried, or
    the clock has been set back, and `hastening` sees to it."""
    return not attempts and due > now


def _step(target: Target, now: float, place: Place, lifted: frozenset[str], store: Store) -> Step:
    """lifted: destinations whose pause an earlier step has ended. A new one has a reason of its own."""
    rows, following = (_of_domain if target.domain else _of_destination)(store, target, place)
    messages: set[int] = set()
    destinations: set[str] = set()
    for due, number, message, destination, attempts, packed in rows:
        if is_held_back(attempts, due, now) or not target.concerns(destination, recipients_from_json(packed)):
            continue
        messages.add(message)
        destinations.add(destination)
        if due > now:
            store.db.execute(RETRY, (now, number))
            store.stale[destination] = None
    for destination in sorted(destinations - lifted):
        store.db.execute(LIFT_PAUSE, (destination,))
        store.stale[destination] = None
    return Step(len(messages), frozenset(destinations), following)


def _of_destination(store: Store, target: Target, place: Place) -> tuple[list[Row], Place | None]:
    """Priority by priority, each by its due time. What is made due now is behind us, where it is not met again."""
    key = (target.destination, place.priority, place.due)
    rows = store.rows(DUE_WITH, (*key, place.id, CHUNK))
    rows += store.rows(DUE_AFTER, (*key, CHUNK - len(rows)))
    if len(rows) == CHUNK:
        due, number, *_ = rows[-1]
        return rows, Place(place.priority, due, number)
    priority = store.value(NEXT_PRIORITY, (target.destination, place.priority))
    return rows, None if priority is None else _BEGINNING._replace(priority=priority)


def _of_domain(store: Store, target: Target, place: Place) -> tuple[list[Row], Place | None]:
    """A stretch of all deliveries, in the order of their ids, or as much of it as a step can take."""
    stretch = store.row(END_OF_STRETCH, (place.id, STRETCH - 1))
    end = stretch[0] if stretch is not None else _END
    part = target.domain if target.domain.isascii() else ""  # SQLite's lower() knows nothing else; "" is everywhere
    rows = store.rows(OF_DOMAIN, {"after": place.id, "end": end, "part": part, "limit": CHUNK})
    if len(rows) == CHUNK:
        return rows, place._replace(id=rows[-1][1])
    return rows, None if stretch is None else place._replace(id=end)
