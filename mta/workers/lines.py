"""Lines: what the supervisor and its workers say to one another, over pairs of sockets."""

import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

Lost = Callable[[], None]
GO = b"go\n"  # to a worker that is ready: let clients in
WEBHOOKS = "webhooks"  # to the parent of the workers: have at hand what they are told with
MOST_OCTETS = 65536  # of what is asked at once
MOST_DESCRIPTORS = 250  # and of what comes with it; Linux allows 253


def adopt(reactor: Any, connection: socket.socket, protocol: Protocol) -> None:
    """Have the reactor serve a connection from now on. One that it cannot serve is as good as one that has ended."""
    connection.setblocking(False)
    try:
        reactor.adoptStreamConnection(connection.fileno(), connection.family, _Only(protocol))
    except OSError:  # too many open files
        protocol.connectionLost(Failure())
    finally:
        connection.close()


@implementer(IReadDescriptor)
class Ear:
    """Hears lines, and the descriptors that come with them, and that the other side says nothing more.

    The line stays open, whatever the reactor does with it: nothing but the end of our process is the end of the line.
    """

    def __init__(
        self, reactor: Any, line: socket.socket, told: Callable[[bytes, deque[int]], None], ended: Lost
    ) -> None:
        """line: stays the caller's. told: is given each line, and the descriptors that have come, of which it takes
        those that belong to the line: several lines may come at once, with the descriptors of all.
        """
        self._reactor = reactor
        self._line = line
        self._told = told
        self._ended = ended
        self._octets = b""
        self._descriptors = deque[int]()
        line.setblocking(False)
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._line.fileno()

    def logPrefix(self) -> str:
        return "supervisor"

    def doRead(self) -> None:
        try:
            octets, descriptors, _, _ = socket.recv_fds(self._line, MOST_OCTETS, MOST_DESCRIPTORS)
            if octets:
                self._take(octets, descriptors)
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # it has gone without having heard all
        self._reactor.removeReader(self)
        self._ended()

    def _take(self, octets: bytes, descriptors: Sequence[int]) -> None:
        self._octets += octets
        self._descriptors += descriptors
        *lines, self._octets = self._octets.split(b"\n")
        for line in lines:
            self._told(line, self._descriptors)

    def connectionLost(self, reason: Failure) -> None:
        """Of the reactor, which stops."""


class Words(LineOnlyReceiver):
    """Lines that are taken one by one. lost: is called when the other side has gone."""

    delimiter = b"\n"
    transport: Any

    def __init__(self, told: Callable[[bytes], None], lost: Lost) -> None:
        self._told = told
        self._lost = lost

    def end(self) -> None:
        """Say nothing more; what the other side says is still heard."""
        if self.connected:
            self.transport.loseWriteConnection()

    def lineReceived(self, line: bytes) -> None:
        self._told(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        self._lost()


class LogLines(Protocol):
    """Lines of a log: whole ones are handed on, each by itself, as whoever writes it had them."""

    def __init__(self, log: Callable[[str], None], lost: Lost) -> None:
        self._log = log
        self._lost = lost
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        lines, end, self._rest = (self._rest + data).rpartition(b"\n")
        if end:
            for line in lines.decode(errors="backslashreplace").split("\n"):
                self._log(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._rest:
            self._log(self._rest.decode(errors="backslashreplace"))
        self._lost()


class _Only(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self._protocol
