"""Lines: what the supervisor and its workers say to one another, over pairs of sockets."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

Lost = Callable[[], None]
GO = b"go\n"  # to a worker that is ready: let clients in
MOST_OCTETS = 65536  # of what is asked at once
MOST_DESCRIPTORS = 250  # and of what comes with it; Linux allows 253


def adopt(reactor: Any, connection: socket.socket, protocol: Protocol) -> None:
    """Have the reactor serve a connection from now on."""
    connection.setblocking(False)
    reactor.adoptStreamConnection(connection.fileno(), connection.family, _Only(protocol))
    connection.close()


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
    """Lines of a log: whole ones are handed on, as many as there are, together."""

    def __init__(self, log: Callable[[str], None], lost: Lost) -> None:
        self._log = log
        self._lost = lost
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        lines, end, self._rest = (self._rest + data).rpartition(b"\n")
        if end:
            self._log(lines.decode(errors="backslashreplace"))

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
