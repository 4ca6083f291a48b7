"""Listener: how many may come in, from where, for how long; and what is built for each who does.

One `Doorkeeper` counts for all listeners of the relay. A sweep once a second looks at the deadlines of all sessions:
ten thousand idle sessions cost a millisecond a second, and none of them a timer of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IReactorTime
from twisted.internet.protocol import Factory, Protocol

from mta.inbound.conversation import Conversation, House
from mta.inbound.protocol import InboundProtocol
from mta.maillog import MailLog
from mta.smtp import replies
from mta.smtp.limits import SERVER_COMMAND, SERVER_CONTENT
from mta.smtp.reply import Reply, render
from mta.smtp.server import Rejected, ServerSession, ServerSettings

_SWEEP = 1.0
# Beyond the limit a client is told so (421); with this many more waiting to be told, connections are just closed.
_REFUSALS = 100


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Counts, and times in seconds. content_rate: octets a second below which content takes too long."""

    connections: int
    connections_per_client: int
    idle: float = SERVER_COMMAND
    content: float = SERVER_CONTENT
    content_rate: float = 500.0
    farewell: float = 10.0


class Doorkeeper:
    """Counts the sessions of all listeners, cuts off those that take too long, and sees them out at the end."""

    def __init__(self, reactor: IReactorTime, hostname: str, limits: DoorLimits, log: MailLog) -> None:
        self.hostname = hostname
        self.limits = limits
        self.now = reactor.seconds
        self.open = True
        self._reactor = reactor
        self._log = log
        self._sessions: set[InboundProtocol] = set()
        self._clients: Counter[str] = Counter()
        self._refusing = 0
        self._sweep: IDelayedCall | None = None
        self._emptied: Deferred[None] | None = None

    @property
    def sessions(self) -> int:
        """How many there are now."""
        return len(self._sessions)

    def objection(self, address: str) -> Reply | None:
        """Why a client at this address is not let in, if so."""
        if not self.open:
            return replies.shutting_down(self.hostname)
        if len(self._sessions) >= self.limits.connections:
            return replies.too_many_connections(self.hostname)
        if self._clients[address] >= self.limits.connections_per_client:
            return replies.too_many_from_client(self.hostname)
        return None

    def refuse(self, address: str, reply: Reply) -> Protocol | None:
        """A protocol that says why and closes; None when too many are being told already."""
        self._log.event("refused", client=address, why=str(reply))
        return _Refusal(self, reply) if self._refusing < _REFUSALS else None

    def refusing(self, change: int) -> None:
        """One more, or one less, is being told that it may not come in."""
        self._refusing += change

    def entered(self, session: InboundProtocol) -> None:
        """A session has begun."""
        self._sessions.add(session)
        self._clients[session.client] += 1
        if self._sweep is None:
            self._sweep = self._reactor.callLater(_SWEEP, self._look_round)

    def left(self, session: InboundProtocol) -> None:
        """A session has ended."""
        self._sessions.discard(session)
        self._clients[session.client] -= 1
        if not self._clients[session.client]:
            del self._clients[session.client]
        if not self._sessions and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def rejected(self, session: InboundProtocol, event: Rejected) -> None:
        """The language has answered a line that is wrong, or out of order."""
        line = event.line[:120].decode("ascii", "backslashreplace")
        self._log.event("rejected", client=session.client, line=line, reply=str(event.reply))

    def _look_round(self) -> None:
        self._sweep = self._reactor.callLater(_SWEEP, self._look_round) if self._sessions else None
        now = self.now()
        for late in [session for session in self._sessions if session.deadline < now]:
            late.overdue()

    def close(self, grace: float) -> Deferred[None]:
        """Let nobody in any more, and those who are in a transaction end it, within `grace` seconds."""
        self.open = False
        for session in list(self._sessions):
            if session.in_transaction:
                session.deadline = self.now() + grace
            else:
                session.dismiss(replies.shutting_down(self.hostname))
        if not self._sessions:
            return self._closed(None)
        self._emptied = Deferred()
        cut = self._reactor.callLater(grace, self._cut_off)

        def tidy(result: None) -> None:
            if cut.active():
                cut.cancel()

        return self._emptied.addCallback(tidy).addCallback(self._closed)

    def _closed(self, _: None) -> Deferred[None]:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        return succeed(None)

    def _cut_off(self) -> None:
        for session in list(self._sessions):
            session.cut_off()


class _Refusal(Protocol):
    """Says why nobody is let in, and closes."""

    transport: Any

    def __init__(self, door: Doorkeeper, reply: Reply) -> None:
        self._door = door
        self._reply = reply

    def connectionMade(self) -> None:
        self._door.refusing(+1)
        self.transport.write(render(self._reply))
        self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        self._door.refusing(-1)


class ListenerFactory(Factory):
    """Builds the sessions of one listener."""

    noisy = False

    def __init__(self, door: Doorkeeper, house: House, settings: Callable[[bool], ServerSettings]) -> None:
        """settings: of the language, for a client that may relay (who is treated leniently) or may not."""
        self._door = door
        self._house = house
        self._settings = {may_relay: settings(may_relay) for may_relay in (False, True)}

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        address: str = getattr(addr, "host", "") or ""
        if address.startswith("::ffff:"):
            address = address.removeprefix("::ffff:")  # IPv4 seen through an IPv6 socket (RFC 4291 2.5.5.2)
        objection = self._door.objection(address)
        if objection is not None:
            return self._door.refuse(address, objection)
        settings = self._settings[self._house.access.may_relay(address)]
        conversation = Conversation(self._house, address, settings.keywords)
        session = ServerSession(self._house.hostname, settings)
        return InboundProtocol(self._door, session, conversation)


class Listener:
    """One listening port: bound before privileges are dropped, closed first when the relay goes down."""

    def __init__(self, name: str, listen: Callable[[Factory], IListeningPort], factory: ListenerFactory) -> None:
        self.name = name
        self._listen = listen
        self._factory = factory
        self._port: IListeningPort | None = None

    def bind(self) -> None:
        """Begin to listen, unless that has been done. Raises `CannotListenError`."""
        if self._port is None:
            self._port = self._listen(self._factory)

    def close(self) -> Deferred[None]:
        """Listen no more."""
        port, self._port = self._port, None
        return succeed(None) if port is None else Deferred.fromCoroutine(_stop(port))


async def _stop(port: IListeningPort) -> None:
    stopped = port.stopListening()
    if stopped is not None:
        await stopped
