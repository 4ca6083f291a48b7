"""Door: how many may come in, from where, and for how long. One `Doorkeeper` counts for all listeners of the relay.

A sweep once a second looks at the deadlines of all sessions: ten thousand idle sessions cost a millisecond a second,
and none of them a timer of its own.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Shape

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol

from mta.maillog import MailLog
from mta.net.measures import CONNECTIONS, TURNED_AWAY, Measures
from mta.net.poller import passing
from mta.net.tally import Alone, Tally
from mta.smtp import replies
from mta.smtp.events import Rejected
from mta.smtp.limits import SERVER_COMMAND, SERVER_CONTENT
from mta.smtp.reply import Reply, render

_SWEEP = 1.0
# Clients that wait for nothing read nothing: those would keep the relay from stopping.
_HASTE = 2.0
# Beyond the limit a client is told so (421); with this many more waiting to be told, connections are just closed.
_REFUSALS = 100


class Session(Shape):
    """A connection, as far as the door is concerned. deadline: when it is overdue, by the door's `now`."""

    deadline: float

    @property
    def client(self) -> str:
        """The client's address, "" on a Unix socket."""

    @property
    def in_transaction(self) -> bool:
        """Its end is worth waiting for."""

    def dismiss(self, reply: Reply) -> None:
        """Say a last word and close."""

    def overdue(self) -> None:
        """The deadline has passed."""

    def cut_off(self, reply: Reply) -> None:
        """Close, whatever is under way; with a last word where nothing is that it could be taken for an answer to."""


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
    """Counts the sessions of all listeners, cuts off those that take too long, and sees them out at the end.

    now: tells seconds that pass, whatever becomes of the machine's clock.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        hostname: str,
        limits: DoorLimits,
        log: MailLog,
        tally: Tally | Alone = Alone(),  # noqa: B008  it has no state
        measures: Measures | None = None,
    ) -> None:
        """tally: counts together with other processes that the same limits hold for."""
        self.hostname = hostname
        self.limits = limits
        self.now = passing(reactor)
        self.open = True
        self.measures = measures or Measures()
        self._reactor = reactor
        self._log = log
        self._tally = tally
        self._sessions: dict[Session, None] = {}  # in the order in which they came, as a set is not
        self._clients: Counter[str] = Counter()
        self._refusing = 0
        self._sweep: IDelayedCall | None = None
        self._emptied: Deferred[None] | None = None

    def adopt(self, hostname: str, limits: DoorLimits) -> None:
        """Go by these from now on; who is in stays."""
        self.hostname = hostname
        self.limits = limits

    @property
    def farewell(self) -> float:
        """Seconds that a client has to take its last reply, and to end TLS on its side too."""
        return self.limits.farewell if self.open else min(self.limits.farewell, _HASTE)

    @property
    def sessions(self) -> int:
        """How many there are now."""
        return len(self._sessions)

    def objection(self, address: str) -> Reply | None:
        """Why a client at this address is not let in, if so."""
        if not self.open:
            return replies.shutting_down(self.hostname)
        if len(self._sessions) + self._tally.elsewhere() >= self.limits.connections:
            return replies.too_many_connections(self.hostname)
        # A Unix socket tells no client from another; who may use it is for the rights of its folder to say.
        if address:
            theirs = self._clients[address] + self._tally.elsewhere_from(address)
            if theirs >= self.limits.connections_per_client:
                return replies.too_many_from_client(self.hostname)
        return None

    def refuse(self, address: str, reply: Reply) -> Protocol | None:
        """A protocol that says why and closes; None when too many are being told already."""
        self._turned_away(address, reply)
        return _Refusal(self, reply) if self._refusing < _REFUSALS else None

    def turn_away(self, address: str) -> bytes:
        """What to say to a client whom the process has no room for, whatever the limits are."""
        reply = (replies.too_many_connections if self.open else replies.shutting_down)(self.hostname)
        self._turned_away(address, reply)
        return render(reply)

    def _turned_away(self, address: str, reply: Reply) -> None:
        self.measures.cells[TURNED_AWAY] += 1
        self._log.event("refused", client=address, why=str(reply))

    def refusing(self, change: int) -> None:
        """One more, or one less, is being told that it may not come in."""
        self._refusing += change

    def entered(self, session: Session) -> None:
        """A session has begun."""
        self._sessions[session] = None
        self.measures.cells[CONNECTIONS] += 1
        self._clients[session.client] += 1
        self._tally.change(session.client, +1)
        if self._sweep is None:
            self._sweep = self._reactor.callLater(_SWEEP, self._look_round)

    def left(self, session: Session) -> None:
        """A session has ended."""
        self._sessions.pop(session, None)
        self._clients[session.client] -= 1
        if not self._clients[session.client]:
            del self._clients[session.client]
        if not self._sessions and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)
        self._tally.change(session.client, -1)  # last: whatever the others count, our own sessions have to end

    def next_turn(self) -> Deferred[None]:
        """Fires when the reactor has looked after everybody else."""
        turn: Deferred[None] = Deferred()
        self._reactor.callLater(0, turn.callback, None)
        return turn

    def rejected(self, session: Session, event: Rejected) -> None:
        """The language has answered a line that is wrong, or out of order."""
        self.measures.refused(event.reply.code, event.reply.enhanced)
        line = event.line[:120].decode("ascii", "backslashreplace")
        self._log.event("rejected", client=session.client, line=line, reply=str(event.reply))

    def _look_round(self) -> None:
        self._sweep = self._reactor.callLater(_SWEEP, self._look_round) if self._sessions else None
        now = self.now()
        for late in [session for session in self._sessions if session.deadline < now]:
            late.overdue()

    def close(self, grace: float) -> Deferred[None]:
        """Let nobody in any more, and those who are in a transaction end it, within `grace` seconds.

        Who has not ended it then is told (RFC 5321 3.8), and has a moment to take that.
        """
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
            session.cut_off(replies.shutting_down(self.hostname))


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
