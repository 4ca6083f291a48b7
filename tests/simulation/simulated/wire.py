"""The wire: connections, what becomes of the octets on it, and how either end finds out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from simulated.network import Process

LATENCY = 0.002  # seconds from one end of a connection to the other
BLOCK = 16_384  # octets that arrive in one piece, at most

Watch = Callable[[str], None]
"""Is told that something is about to happen ("before") and that it has happened ("after")."""

Fate = Callable[["Transport", bytes], Sequence[tuple[float, bytes]] | None]
"""What becomes of octets on their way: pieces, each with the seconds it is late; None where the connection breaks."""


def unwatched(moment: str) -> None:
    """Nobody minds."""


def unread(octets: bytes) -> None:
    """Nobody reads along."""


def untroubled(transport: Transport, octets: bytes) -> Sequence[tuple[float, bytes]] | None:
    """All of it arrives in one piece, in time."""
    return [(0.0, octets)]


class EndOfWriting(Exception):
    """The other end has half-closed the connection."""


@implementer(ITransport)
class Transport:
    """One end of a connection. What is written arrives at the other end after `LATENCY`, in order.

    connector: on the side that has made the connection. written, received: octets, the latter by live code.
    """

    other: Transport

    def __init__(self, process: Process, host: Any, peer: Any, protocol: Any, connector: Any = None) -> None:
        self.process = process
        self.protocol = protocol
        self.connected = True
        self.disconnecting = False
        self.written = self.received = 0
        self._has_left = False
        self._latest = 0.0  # when the last of what is on its way arrives
        self._host, self._peer = host, peer
        self._connector = connector
        self._paused = False
        self._arrived: list[bytes | Exception] = []
        self._producer: Any = None

    @property
    def is_accepted(self) -> bool:
        """Has the other end made the connection?"""
        return self._connector is None

    def begin(self) -> None:
        """The connection has been made."""
        self.process.joined(self)
        self.process.perform(self.protocol.makeConnection, self)

    def getHost(self) -> Any:
        return self._host

    def getPeer(self) -> Any:
        return self._peer

    # What its process does

    def write(self, data: bytes) -> None:
        if self.connected and not self._has_left and self.process.alive:
            self.written += len(data)
            self.process.at_write(data)
            for start in range(0, len(data), BLOCK):
                self._send(data[start : start + BLOCK])

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self.process.callLater(0, self._catch_up)

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if streaming:
            return  # no room is ever short here, so a producer that pushes is never told anything
        self._producer = producer
        self.process.callLater(0, self._pull)

    def _pull(self) -> None:
        if self._producer is not None and self.connected:
            self._producer.resumeProducing()
            self.process.callLater(LATENCY, self._pull)

    def unregisterProducer(self) -> None:
        self._producer = None
        if self.disconnecting:
            self._leave(ConnectionDone())

    def loseConnection(self, reason: Any = None) -> None:
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            if self._producer is None:
                self._leave(ConnectionDone())

    def loseWriteConnection(self) -> None:
        """Half-close: nothing more is written, and what the other end has to say is still heard."""
        if self.connected and not self._has_left:
            self._has_left = True
            self._send(EndOfWriting())

    def abortConnection(self) -> None:
        if self.connected and not self._has_left:
            self.disconnecting = True
            self._leave(ConnectionLost())

    def _leave(self, why: Exception) -> None:
        self._has_left = True
        self._send(why)
        self.process.callLater(0, self._end, why)

    def vanish(self) -> None:
        """The process has been killed: the kernel tells the other end, nobody tells the protocol."""
        self.connected = False
        self._send(ConnectionLost())

    # What arrives

    def _send(self, what: bytes | Exception) -> None:
        # The world's own timers: what has left a process arrives though the process dies.
        world = self.process.world
        pieces: Sequence[tuple[float, bytes | Exception]] | None = [(0.0, what)]
        if isinstance(what, bytes):
            pieces = world.fate(self, what)
        if pieces is None:
            self._break()
            return
        for late, piece in pieces:
            self._latest = max(self._latest, world.seconds() + LATENCY + late)
            world.callLater(self._latest - world.seconds(), self.other.arrive, piece)

    def _break(self) -> None:
        """The network fails: both ends find out, and what is on its way is lost."""
        for end in (self, self.other):
            end._has_left = True
            self.process.world.callLater(LATENCY, end._end, ConnectionLost())

    def arrive(self, what: bytes | Exception) -> None:
        """Something from the other end."""
        if not self.connected:
            return
        if self._paused:
            self._arrived.append(what)
        elif isinstance(what, EndOfWriting):
            self._end_reading()
        elif isinstance(what, Exception):
            self._end(what)
        elif not self.disconnecting:
            watch = self.process.at_answer if self._connector is not None else unwatched
            watch("before")
            self.process.perform(self._receive, what)
            watch("after")

    def _receive(self, octets: bytes) -> None:
        self.received += len(octets)
        self.protocol.dataReceived(octets)

    def _end_reading(self) -> None:
        """The other end will write no more. Who does not care for the difference takes it for the end."""
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.process.perform(self.protocol.readConnectionLost)
        else:
            self.loseConnection()

    def _catch_up(self) -> None:
        while self._arrived and not self._paused:
            self.arrive(self._arrived.pop(0))

    def _end(self, why: Exception) -> None:
        if not self.connected:
            return
        self.connected = False
        if self._producer is not None:
            self.process.perform(self._producer.stopProducing)
        self.process.perform(self.protocol.connectionLost, Failure(why))
        if self._connector is not None:
            self.process.perform(self._connector.factory.clientConnectionLost, self._connector, Failure(why))
