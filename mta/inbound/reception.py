"""Reception: one message on its way into the spool, from the first octet of its content to the 250."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.inbound.asked import Asked
from mta.interfaces import Claim, IDispatcher, IReception, ISpool, NewDelivery, SpoolBroken, SpoolFull
from mta.maillog import MailLog
from mta.message.envelope import Client, Envelope, Recipient, format_queue_id
from mta.message.header import TraceCounter
from mta.message.submission import Submission
from mta.message.timeline import Detail, Event
from mta.message.trace import received_field
from mta.net.measures import Measures
from mta.policy.addressing import Expanded
from mta.policy.expansion import ALIAS, LIST, owes_notice
from mta.smtp import replies
from mta.smtp.events import EndOfContent
from mta.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where received messages go: what a reception needs of the rest of the house.

    deadline: when somebody must look at a message that waits since a given time, even if it cannot be tried: its delay
    warning or its end, which a wish for delivery by some time brings nearer (`by`, `by_mode`). max_received: Received
    fields beyond which a message is in a loop (RFC 5321 6.3).
    """

    hostname: str
    spool: ISpool
    dispatcher: IDispatcher
    log: MailLog
    now: Callable[[], float]
    deadline: Callable[[float, float, str], float]
    max_received: int
    measures: Measures = field(default_factory=Measures)


class Group(NamedTuple):
    """Recipients, by their addresses, who share a next hop and a reverse-path.

    reverse_path: None for that of the transaction.
    """

    destination: str
    reverse_path: str | None
    recipients: dict[str, Recipient]


class Expansion(NamedTuple):
    """A forward-path that stood for others."""

    recipient: Recipient
    kind: Expanded
    into: tuple[str, ...]

    def is_told_of(self, sender: str) -> bool:
        """Does the sender want a notice of it? Where one address stood for another, that one's host answers."""
        return self.kind is not Expanded.FORWARD and owes_notice(sender, self.recipient)

    def event(self, at: float) -> Event:
        """How the recipient has ended."""
        return Event(at, "expanded", {"recipients": [self.recipient.address], "into": list(self.into)})


class Reception:
    """Keeps one message. Nothing is in the queue until `finish` has been answered; `abandon` forgets it all."""

    __slots__ = (
        "_asked",
        "_began",
        "_begun",
        "_client",
        "_expansions",
        "_groups",
        "_header",
        "_keeping",
        "_kept",
        "_sender",
        "_size",
    )

    def __init__(
        self,
        keeping: Keeping,
        client: Client,
        sender: str,
        asked: Asked,
        groups: Sequence[Group],
        forward_path: str = "",
        expansions: Sequence[Expansion] = (),
        submitted: bool = False,
        began: float | None = None,
    ) -> None:
        """sender: the reverse-path, "" for the null one. forward_path: the only one that the client gave, for the
        trace field; "" where it gave several. submitted: the content is to be completed as a submission (RFC 6409 8).
        began: when its MAIL came; None for now.
        Raises `SpoolFull` below the floor.
        """
        now = keeping.now()
        self._keeping = keeping
        self._client = client
        self._sender = sender
        self._asked = asked
        self._groups = groups
        self._expansions = expansions
        self._kept: IReception = keeping.spool.receive(now)
        self._began = now if began is None else began
        self._begun = False
        number = self._kept.id
        self._header: Submission | TraceCounter = (
            Submission(keeping.hostname, format_queue_id(number), sender, now) if submitted else TraceCounter()
        )
        field = received_field(keeping.hostname, client, number, forward_path, now)
        self._size = len(field)
        self._kept.write(field)

    def write(self, octets: bytes) -> "Deferred[None] | None":
        """Some content. A Deferred means: no more, please, until it fires."""
        if not self._begun:
            self._begun = True
            if octets[:1] in (b" ", b"\t"):
                # Else it would go on where our trace field ends, and a client would write into that (RFC 5321 4.4).
                octets = b"\r\n" + octets
        if not self._header.done:
            octets = self._header.feed(octets)
        self._size += len(octets)
        return self._kept.write(octets)

    def abandon(self) -> None:
        """The client has gone, or what it sent cannot be taken."""
        self._kept.discard()

    def finish(self, end: EndOfContent) -> "Reply | Deferred[Reply]":
        """All of the content is here: what to answer it with. A 250 is given only for what is on stable storage."""
        fault = end.fault
        header = self._header
        if not header.done and (rest := header.finish()):
            self._size += len(rest)
            self._kept.write(rest)
        if fault is None and header.fields > self._keeping.max_received:
            fault = replies.LOOP
        if fault is not None:
            self.abandon()
            return fault
        now = self._keeping.now()
        deliveries = [self._delivery(group, now) for group in self._groups]
        if self._expansions:
            deliveries += self._told_of(now)
        recipients = deliveries[0].recipients if len(deliveries) == 1 else _all_recipients(deliveries)
        client, sender = self._client, self._sender
        envelope = self._asked.envelope(sender, recipients, now, self._size, client, end.eight_bit, end.dotted)
        detail: dict[str, Detail] = {
            "client": client.address,
            "helo": client.helo,
            "protocol": client.protocol,
            "sender": sender,
            "recipients": [one.address for one in recipients],
            "size": self._size,
        }
        if client.login:
            detail["login"] = client.login
        if client.tls:
            detail["tls"] = client.tls
        events = [Event(now, "received", detail)]
        if self._expansions:
            events += [one.event(now) for one in self._expansions if not one.is_told_of(sender)]
        committed = self._kept.commit(envelope, deliveries, events)
        return committed.addCallbacks(
            self._accepted, self._refused, callbackArgs=(envelope, deliveries), errbackArgs=(deliveries,)
        )

    def _delivery(self, group: Group, now: float) -> NewDelivery:
        """A group as the spool keeps it: tried at once where there is a place for it, unless it is held."""
        keeping, asked = self._keeping, self._asked
        destination, reverse_path, recipients = group
        released = asked.released
        due = max(now, released)
        deadline = keeping.deadline(due, asked.by, asked.by_mode)
        eager = not released and keeping.dispatcher.reserve(destination)
        return NewDelivery(destination, tuple(recipients.values()), due, deadline, eager, reverse_path)

    def _told_of(self, now: float) -> Iterator[NewDelivery]:
        """Expansions whose sender wants to hear of them: each ends, with its notice, as if it were a delivery."""
        for one in self._expansions:
            if one.is_told_of(self._sender):
                name = LIST if one.kind is Expanded.LIST else ALIAS
                eager = self._keeping.dispatcher.reserve(name)
                deadline = self._keeping.deadline(now, 0.0, "")
                yield NewDelivery(name, (one.recipient,), now, deadline, eager)

    def _accepted(self, claims: list[Claim], envelope: Envelope, deliveries: Sequence[NewDelivery]) -> Reply:
        """It is on stable storage. Those deliveries that were reserved are ours to try, from memory."""
        keeping = self._keeping
        number = self._kept.id
        seconds = keeping.now() - self._began
        keeping.measures.accepted(seconds, len(envelope.recipients), envelope.size, envelope.client.tls)
        keeping.log.event(
            "received",
            number,
            client=envelope.client.address or "unix",
            helo=envelope.client.helo,
            login=envelope.client.login or None,
            sender=envelope.sender,
            size=envelope.size,
            recipients=len(envelope.recipients),
        )
        content = self._kept.content
        for claim in claims:
            keeping.dispatcher.deliver(claim, content)
        for delivery in deliveries:
            if not delivery.eager:
                keeping.dispatcher.wake(delivery.destination)
        return replies.queued(format_queue_id(number))

    def _refused(self, failure: Failure, deliveries: Sequence[NewDelivery]) -> Reply:
        """It could not be kept, so nothing of it is: the client still has it, and is told to try again."""
        for delivery in deliveries:
            if delivery.eager:
                self._keeping.dispatcher.unreserve(delivery.destination)
        failure.trap(SpoolFull, SpoolBroken)
        client = self._client
        self._keeping.log.event(
            "refused", self._kept.id, client=client.address or "unix", why=failure.getErrorMessage()
        )
        return reply_to_trouble(failure.value)


def reply_to_trouble(error: BaseException | None) -> Reply:
    """What the client is told where the spool cannot take a message now."""
    return replies.DISK_FULL if isinstance(error, SpoolFull) else replies.LOCAL_ERROR


def _all_recipients(deliveries: Sequence[NewDelivery]) -> tuple[Recipient, ...]:
    return tuple(recipient for one in deliveries for recipient in one.recipients)
