"""Memory: the twin of the spool that forgets everything with its process, for tests and for trying things out.

It keeps to `ISpool` as exactly as the real one: fences, wishes, pauses, timelines, ids. It can be stopped and started,
and started without having been stopped, as after a crash.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from mta.interfaces import (
    Anew,
    Claim,
    Due,
    IContent,
    IReception,
    ISpool,
    NewDelivery,
    Pause,
    Record,
    Recovered,
    SpoolFull,
)
from mta.message.envelope import Envelope, QueueIds
from mta.message.timeline import Event
from mta.spool import wishes
from mta.spool.content import Octets
from mta.spool.hastening import is_held_back as is_for_its_sender
from mta.spool.history import PURGE, Story
from mta.spool.keeping import ENDS, addresses
from mta.spool.memory_outbox import MemoryOutbox
from mta.spool.memory_rows import Delivery, Message
from mta.spool.rushing import Target, is_held_back

Result = TypeVar("Result")

NO_PAUSE = Pause(0.0, 0, "")


@implementer(IReception)
class MemoryReception:
    """See `IReception`."""

    content: IContent

    def __init__(self, spool: "MemorySpool", message: int) -> None:
        self.id = message
        self._spool = spool
        self._blocks: list[bytes] = []

    def write(self, octets: bytes) -> "Deferred[None] | None":
        """As in `IReception`."""
        self._blocks.append(octets)
        return None

    def commit(
        self, envelope: Envelope, deliveries: Sequence[NewDelivery], events: Sequence[Event]
    ) -> "Deferred[list[Claim]]":
        """As in `IReception`."""
        content = Octets(b"".join(self._blocks))
        self.content = content
        return self._spool.keep(Message(self.id, envelope, content, list(events)), deliveries)

    def discard(self) -> None:
        """As in `IReception`."""
        self._blocks = []


@implementer(ISpool)
class MemorySpool:
    """See `ISpool`. What it holds may be looked at.

    is_full: set it, and everything new is refused with `SpoolFull`. messages: what has something left to do, by id.
    pauses: what was last heard of the destinations that something waits for, or that are paused. gone: the stories of
    messages that have ended. outbox: what webhooks are owed.
    """

    def __init__(self, now: Callable[[], float], reactor: IReactorTime | None = None, *, worker: int = 0) -> None:
        """now: seconds since 1970. With a reactor, answers come in a later turn of it; without one, at once."""
        self.is_full = False
        self.messages: dict[int, Message] = {}
        self.pauses: dict[str, Pause] = {}
        self.gone: dict[int, Story] = {}
        self._now = now
        self._reactor = reactor
        self._ids = QueueIds(worker)
        self._delivery_ids = QueueIds(worker)
        self._changed = False
        self.outbox = MemoryOutbox(self._ask, now)

    def start(self, pauses: int = 0) -> Recovered:
        """As in `ISpool`."""
        unknown = self._put_all_back(is_known=False)
        destinations = len({one.destination for _, one in self._waiting()})
        failing = sorted((pair for pair in self.pauses.items() if pair[1].failures), key=lambda pair: pair[1].until)
        ending_last = tuple(failing[max(0, len(failing) - pauses) :])
        newest = max((event.at for message in self.messages.values() for event in message.events), default=0.0)
        return Recovered(len(self.messages), unknown, 0, destinations, pauses=ending_last, newest=newest)

    def stop(self) -> "Deferred[None]":
        """As in `ISpool`."""

        def stop() -> None:
            self._put_all_back(is_known=True)

        return self._ask(stop)

    def new_id(self, now: float) -> int:
        """As in `ISpool`."""
        return self._ids.next(now)

    def has_room(self, size: int) -> bool:
        """As in `ISpool`."""
        return not self.is_full

    def receive(self, now: float) -> MemoryReception:
        """As in `ISpool`."""
        if self.is_full:
            raise SpoolFull("memory is said to be full")
        return MemoryReception(self, self._ids.next(now))

    def keep(self, message: Message, deliveries: Sequence[NewDelivery]) -> "Deferred[list[Claim]]":
        """Put a message into the queue: what `IReception.commit` comes to."""
        return self._ask(lambda: self._keep(message, deliveries))

    def due(self, now: float, limit: int, skip: frozenset[str]) -> "Deferred[list[Due]]":
        """As in `ISpool`."""
        return self._ask(lambda: self._due(now, limit, skip))

    def claim(self, destination: str, limit: int, now: float) -> "Deferred[list[Claim]]":
        """As in `ISpool`."""

        def claim() -> list[Claim]:
            found = [pair for pair in self._waiting() if pair[1].destination == destination and pair[1].due <= now]
            found.sort(key=lambda pair: (-pair[0].envelope.priority, pair[1].due))
            return [self._claim(*pair) for pair in found[:limit]]

        return self._ask(claim)

    def overdue(self, now: float, limit: int) -> "Deferred[list[Claim]]":
        """As in `ISpool`."""

        def claim() -> list[Claim]:
            found = [pair for pair in self._waiting() if pair[1].deadline <= now]
            return [self._claim(*pair) for pair in sorted(found, key=lambda pair: pair[1].deadline)[:limit]]

        return self._ask(claim)

    def next_deadline(self) -> "Deferred[float | None]":
        """As in `ISpool`."""
        return self._ask(lambda: min((one.deadline for _, one in self._waiting()), default=None))

    def content(self, claim: Claim) -> "Deferred[IContent]":
        """As in `ISpool`."""

        def content() -> IContent:
            return self.messages[claim.message].content

        return self._ask(content)

    def record(self, record: Record) -> "Deferred[bool]":
        """As in `ISpool`."""
        return self._ask(lambda: self._record(record))

    def release(self, claims: Sequence[Claim]) -> "Deferred[None]":
        """As in `ISpool`."""

        def release() -> None:
            for claim in claims:
                held = self._held(claim)
                if held is not None:
                    self._put_back(*held)

        return self._ask(release)

    def rush(self, domain: str, destination: str) -> "Deferred[int]":
        """As in `ISpool`."""
        return self._ask(lambda: self._rush(Target(domain, destination)))

    def hasten(self, due: float, pause: float, anew: Anew) -> "Deferred[int]":
        """As in `ISpool`."""
        return self._ask(lambda: self._hasten(due, pause, anew))

    def changes(self) -> "Deferred[bool]":
        """As in `ISpool`. The operator's side counts as another process."""

        def changes() -> bool:
            changed, self._changed = self._changed, False
            return changed

        return self._ask(changes)

    def purge(self, before: float) -> "Deferred[int]":
        """As in `ISpool`."""

        def purge() -> int:
            ended = [story.id for story in self.gone.values() if story.ended is not None and story.ended < before]
            for message in ended[:PURGE]:
                del self.gone[message]
            return len(ended[:PURGE])

        return self._ask(purge)

    def operate(self, verb: str, message: int) -> None:
        """An operator's verb on all that is left of a message: "retry", "hold", "release", "drop" or "bounce"."""
        self._changed = True
        now, here = self._now(), self.messages[message]
        for one in list(here.deliveries.values()):
            pause = self.pauses.get(one.destination, NO_PAUSE)
            waits = one.state == "waiting"
            if one.state == "active":
                one.wish = wishes.add(one.wish, verb, None)
            elif verb == "release" and not waits:
                self._lift_pause(one.destination)
                released = wishes.event(now, "released", one.recipients)
                self._settle(here, one, [wishes.Left(one.waiting()._replace(due=now))], [released], now)
            elif verb in ("drop", wishes.BOUNCE) or (verb == "hold" and waits):
                self._settle(here, one, *wishes.grant(verb, [one.waiting()], now), now)
            elif verb == "retry" and waits and max(one.due, pause.until) > now:
                self._lift_pause(one.destination)
                self._settle(here, one, *wishes.grant(verb, [one.waiting()], now), now)

    def story(self, message: int) -> Story | None:
        """What is known of a message; None where it was never here, or has been purged."""
        here = self.messages.get(message)
        if here is None:
            return self.gone.get(message)
        recipients = tuple(to for one in here.deliveries.values() for to in one.recipients)
        envelope = here.envelope._replace(recipients=recipients)
        return Story(message, envelope.sender, envelope.received, envelope, None, "", list(here.events))

    def _ask(self, action: Callable[[], Result]) -> "Deferred[Result]":
        return maybeDeferred(action) if self._reactor is None else deferLater(self._reactor, 0.0, action)

    def _waiting(self) -> list[tuple[Message, Delivery]]:
        return self._in_state("waiting")

    def _in_state(self, state: str) -> list[tuple[Message, Delivery]]:
        """All deliveries in a state, in the order in which they were made."""
        every = ((message, one) for message in self.messages.values() for one in message.deliveries.values())
        return sorted((pair for pair in every if pair[1].state == state), key=lambda pair: pair[1].id)

    def _keep(self, message: Message, deliveries: Iterable[NewDelivery]) -> list[Claim]:
        if self.is_full:
            raise SpoolFull("memory is said to be full")
        self.messages[message.id] = message
        claims = []
        for new in deliveries:
            number = self._delivery_ids.next(self._now())
            one = Delivery(number, new.destination, new.recipients, new.due, new.deadline, new.reverse_path)
            message.deliveries[number] = one
            if new.eager:
                claims.append(self._claim(message, one)._replace(last_reply="", paused_until=0.0, failures=0))
        self.outbox.owe(message.id, message.events, message.envelope.sender)
        if not message.deliveries:
            self._end(message, message.envelope.received)
        return claims

    def _rush(self, target: Target) -> int:
        now = self._now()
        messages: set[int] = set()
        destinations: set[str] = set()
        for message, one in self._waiting():
            if target.concerns(one.destination, one.recipients) and not is_held_back(one.attempts, one.due, now):
                one.due = min(one.due, now)
                messages.add(message.id)
                destinations.add(one.destination)
        for destination in destinations:
            self._lift_pause(destination)
        return len(messages)

    def _hasten(self, due: float, pause: float, anew: Anew) -> int:
        for destination, known in self.pauses.items():
            if known.until > pause:
                self._lift_pause(destination)
        late = [pair for pair in self._waiting() if pair[1].due > due]
        late = [pair for pair in late if pair[1].attempts or not is_for_its_sender(pair[0].envelope, pair[1].due)]
        for _, one in late:
            one.due = anew(one.attempts)
        return len(late)

    def _lift_pause(self, destination: str) -> None:
        if destination in self.pauses:
            self.pauses[destination] = self.pauses[destination]._replace(until=0.0)

    def _due(self, now: float, limit: int, skip: frozenset[str]) -> list[Due]:
        earliest: dict[str, float] = {}
        for _, one in self._waiting():
            earliest[one.destination] = min(one.due, earliest.get(one.destination, one.due))
        found = []
        for destination in earliest.keys() - skip:
            pause = self.pauses.get(destination, NO_PAUSE)
            found.append(Due(destination, max(earliest[destination], pause.until), *pause))
        found.sort(key=lambda one: (one.next_due, one.paused_until, one.destination))
        return [one for one in found if one.next_due <= now][:limit] or found[:1]

    def _claim(self, message: Message, one: Delivery) -> Claim:
        one.state = "active"
        one.fence += 1
        pause = self.pauses.get(one.destination, NO_PAUSE)
        last_reply = one.last_reply or pause.last_reply
        envelope = message.envelope._replace(recipients=one.recipients)
        if one.reverse_path is not None:
            envelope = envelope.on_behalf_of(one.reverse_path)
        key = (message.id, one.id, one.fence, one.destination, envelope)
        return Claim(*key, one.attempts, one.warned, one.wish, last_reply, one.due, pause.until, pause.failures)

    def _held(self, claim: Claim) -> tuple[Message, Delivery] | None:
        message = self.messages.get(claim.message)
        one = message.deliveries.get(claim.delivery) if message is not None else None
        if message is None or one is None or one.state != "active" or one.fence != claim.fence:
            return None
        return message, one

    def _record(self, record: Record) -> bool:
        held = self._held(record.claim)
        if held is None:
            return False
        message, one = held
        for new in record.notices:
            notice = Message(new.id, new.envelope, Octets(new.content), list(new.events))
            self._keep(notice, [delivery._replace(eager=False) for delivery in new.deliveries])
        if record.pause is not None:
            self.pauses[one.destination] = record.pause
        left, granted = wishes.grant(one.wish, record.waiting, record.at)
        self._settle(message, one, left, [*record.events, *granted], record.at)
        return True

    def _put_all_back(self, is_known: bool) -> int:
        active = self._in_state("active")
        for message, one in active:
            if not is_known:
                one.fence += 1
                one.due = max(one.due, self._now())
                unknown = Event(self._now(), "unknown", {"recipients": addresses(one.recipients)})
                message.events.append(unknown)
                self.outbox.owe(message.id, [unknown], message.envelope.sender, one.destination)
            self._put_back(message, one)
        return len(active)

    def _put_back(self, message: Message, one: Delivery) -> None:
        now = self._now()
        self._settle(message, one, *wishes.grant(one.wish, [one.waiting()], now), now)

    def _settle(
        self, message: Message, one: Delivery, left: Sequence[wishes.Left], events: Sequence[Event], at: float
    ) -> None:
        """Put those who stay in place of a delivery, and tell of it; where nobody is left that is the message's end."""
        deliveries = message.deliveries
        del deliveries[one.id]
        for number, (waiting, wish) in enumerate(left, 1):
            key = one.id if number == len(left) else self._delivery_ids.next(at)
            deliveries[key] = one.left_as(key, waiting, wish)
        message.deliveries = dict(sorted(deliveries.items()))
        message.events += events
        self.outbox.owe(message.id, events, message.envelope.sender, one.destination)
        self._forget_pause(one.destination)
        if not message.deliveries:
            self._end(message, at, one.destination)

    def _end(self, message: Message, at: float, destination: str = "") -> None:
        ended = Event(at, "ended", {})
        message.events.append(ended)
        self.outbox.owe(message.id, [ended], message.envelope.sender, destination)
        kinds = {event.kind for event in message.events}
        result = " ".join(kind for kind in ENDS if kind in kinds)
        sender, received = message.envelope.sender, message.envelope.received
        self.gone[message.id] = Story(message.id, sender, received, None, at, result, message.events)
        del self.messages[message.id]

    def _forget_pause(self, destination: str) -> None:
        """A destination that answers is remembered for as long as something waits for it."""
        pause = self.pauses.get(destination, NO_PAUSE)
        is_over = pause.until <= self._now() and not pause.failures
        if is_over and not any(one.destination == destination for _, one in self._waiting()):
            self.pauses.pop(destination, None)
