"""Reception: one message on its way into the spool, from the first octet of its content to the 250."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.interfaces import Claim, IDispatcher, IReception, ISpool, NewDelivery, SpoolBroken, SpoolFull
from mta.maillog import MailLog
from mta.message.envelope import Client, Envelope, Recipient, format_queue_id
from mta.message.header import TraceCounter
from mta.message.timeline import Event
from mta.message.trace import received_field
from mta.smtp import replies
from mta.smtp.reply import Reply
from mta.smtp.server import EndOfContent


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where received messages go: what a reception needs of the rest of the house.

    deadline: when somebody must look at a message received at a given time, even if it cannot be tried (its delay
    warning or its end). max_received: Received fields beyond which a message is in a loop (RFC 5321 6.3).
    """

    hostname: str
    spool: ISpool
    dispatcher: IDispatcher
    log: MailLog
    now: Callable[[], float]
    deadline: Callable[[float], float]
    max_received: int


class Reception:
    """Keeps one message. Nothing is in the queue until `finish` has been answered; `abandon` forgets it all."""

    __slots__ = ("_begun", "_client", "_destinations", "_keeping", "_kept", "_sender", "_size", "_trace")

    def __init__(self, keeping: Keeping, client: Client, sender: str, destinations: dict[str, list[Recipient]]) -> None:
        """destinations: the forward-paths by the name of their next hop. Raises `SpoolFull` below the floor."""
        now = keeping.now()
        self._keeping = keeping
        self._client = client
        self._sender = sender
        self._destinations = destinations
        self._kept: IReception = keeping.spool.receive(now)
        self._begun = False
        self._trace = TraceCounter()
        forward_paths = [one.address for group in destinations.values() for one in group]
        field = received_field(keeping.hostname, client, self._kept.id, forward_paths, now)
        self._size = len(field)
        self._kept.write(field)

    def write(self, octets: bytes) -> "Deferred[None] | None":
        """Some content. A Deferred means: no more, please, until it fires."""
        if not self._begun:
            self._begun = True
            if octets[:1] in (b" ", b"\t"):
                # Else it would go on where our trace field ends, and a client would write into that (RFC 5321 4.4).
                octets = b"\r\n" + octets
        if not self._trace.done:
            self._trace.feed(octets)
        self._size += len(octets)
        return self._kept.write(octets)

    def abandon(self) -> None:
        """The client has gone, or what it sent cannot be taken."""
        self._kept.discard()

    def finish(self, end: EndOfContent, body: str) -> "Reply | Deferred[Reply]":
        """All of the content is here: what to answer it with. A 250 is given only for what is on stable storage."""
        fault = end.fault
        if fault is None and self._trace.fields > self._keeping.max_received:
            fault = replies.LOOP
        if fault is not None:
            self.abandon()
            return fault
        now = self._keeping.now()
        groups = self._destinations
        recipients = tuple(one for group in groups.values() for one in group)
        envelope = Envelope(self._sender, recipients, now, self._size, self._client, body, end.eight_bit, end.dotted)
        deadline = self._keeping.deadline(now)
        reserve = self._keeping.dispatcher.reserve
        deliveries = [
            NewDelivery(destination, tuple(group), now, deadline, reserve(destination))
            for destination, group in groups.items()
        ]
        received = Event(
            now,
            "received",
            {
                "client": self._client.address,
                "helo": self._client.helo,
                "protocol": self._client.protocol,
                "sender": self._sender,
                "recipients": [one.address for one in recipients],
                "size": self._size,
            },
        )
        committed = self._kept.commit(envelope, deliveries, (received,))
        return committed.addCallbacks(
            self._accepted, self._refused, callbackArgs=(envelope, deliveries), errbackArgs=(deliveries,)
        )

    def _accepted(self, claims: list[Claim], envelope: Envelope, deliveries: Sequence[NewDelivery]) -> Reply:
        """It is on stable storage. Those deliveries that were reserved are ours to try, from memory."""
        keeping = self._keeping
        number = self._kept.id
        keeping.log.event(
            "received",
            number,
            client=self._client.address or "unix",
            helo=self._client.helo,
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
        self._keeping.log.event("refused", self._kept.id, why=failure.getErrorMessage())
        return replies.DISK_FULL if failure.check(SpoolFull) else replies.LOCAL_ERROR
