"""Lines: what the supervisor and its workers say to one another, over pairs of sockets."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

Lost = Callable[[], None]
GO = b"go\n"  # to a worker that is ready: let clients in
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
    """Hears that the other side says nothing more, and is deaf to what it says before.

    The line stays open, whatever the reactor does with it: nothing but the end of our process is the end of the line.
    """

    def __init__(self, reactor: Any, line: socket.socket, ended: Lost) -> None:
        """line: stays the caller's."""
        self._reactor = reactor
        self._line = line
        self._ended = ended
        line.setblocking(False)
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._line.fileno()

    def logPrefix(self) -> str:
        return "supervisor"

    def doRead(self) -> None:
        try:
            if self._line.recv(MOST_OCTETS):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # it has gone without having heard all
        self._reactor.removeReader(self)
        self._ended()

    def connectionLost(self, reason: Failure) -> None:
        """Of the reactor, which stops."""


class Words(LineOnlyReceiver):
    """Lines that are taken one by one. lost: is called when the other side has gone."""

    delimiter = b"\n"
    transport: Any

    def __init__(self, told: Callable[[bytes], None], lost: Lost) -> None:
        self._told = told
        self._lost = lost

    def say(self, words: bytes) -> None:
        """Say something to the other side."""
        if self.connected:
            self.transport.write(words)

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
