"""Connections: they do what Twisted's do, in fewer calls where nothing is special.

What is written is kept until the end of the turn (see `poller`), and then sent, mostly whole. They need to know how
Twisted keeps what is queued (`dataBuffer`, `_tempDataBuffer`), which tests/net/test_sockets.py watches.
"""

import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure


class _Brief:
    """Mixed in before a `tcp.Connection`: what happens for each reply and command, in one call instead of several."""

    # Twisted shuts a socket down before it closes it, in case other processes have it too. No other has ours.
    _shouldShutdown = False

    def doRead(self: Any) -> Exception | None:
        """As in `tcp.Connection`."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def write(self: Any, data: bytes) -> None:
        """As in `tcp.Connection`."""
        waiting = self._tempDataLen + len(data)
        if waiting > self.bufferSize or self.dataBuffer or self.TLS or not self.connected or self._writeDisconnected:
            super().write(data)  # type: ignore[misc]
        elif data:
            self._tempDataBuffer.append(data)
            self._tempDataLen = waiting
            self.reactor.addWriter(self)

    def doWrite(self: Any) -> Any:
        """As in `abstract.FileDescriptor`."""
        if (
            self.dataBuffer
            or self._writeDisconnecting
            or (self.producer is not None and (self.producerPaused or not self.streamingProducer))
        ):
            return super().doWrite()  # type: ignore[misc]
        waiting = self._tempDataBuffer
        if waiting:
            data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
            try:
                sent = self.socket.send(data)
            except OSError:
                return super().doWrite()  # type: ignore[misc]  # which finds out what is wrong
            waiting.clear()
            self._tempDataLen = 0
            if sent < len(data):
                self.dataBuffer, self.offset = data, sent
                return None
        self.reactor.removeWriter(self)
        return self._postLoseConnection() if self.disconnecting else None


class Server(_Brief, tcp.Server):  # type: ignore[misc]  # both have `disconnecting`
    """As Twisted's, which for each client also makes up names for a log that ours does without."""

    logstr = repstr = "a client's connection"

    def __init__(
        self, client: socket.socket, protocol: Any, address: Any, port: Any, number: int, reactor: Any
    ) -> None:
        """address: of the client, as a socket tells it. port: whose client it is; None if it was accepted elsewhere."""
        FileDescriptor.__init__(self, reactor)
        client.setblocking(False)
        self.socket = client
        self.fileno = client.fileno
        self.protocol = protocol
        if len(address) != 2:
            self._addressType = IPv6Address
        self.client = address
        self.hostname = address[0]
        self.server = port
        self.sessionno = number
        self.startReading()
        self.connected = 1

    def connectionLost(self, reason: Failure) -> None:
        """As in `tcp.Connection`."""
        if not hasattr(self, "socket"):
            return  # a second time, where the first has failed
        FileDescriptor.connectionLost(self, reason)
        self._closeSocket(not isinstance(reason.value, ConnectionAborted))
        protocol = self.protocol
        del self.protocol, self.socket, self.fileno
        protocol.connectionLost(reason)


class Client(_Brief, tcp.Client):  # type: ignore[misc]  # both have `disconnecting`
    """To a server over TCP."""


class UnixServer(_Brief, unix.Server):  # type: ignore[misc]  # both have `disconnecting`
    """Of a client at a Unix socket."""


class Connector(tcp.Connector):
    """Connects over TCP."""

    def _makeTransport(self) -> tcp.Client:
        return Client(self.host, self.port, self.bindAddress, self, self.reactor)


def serve(client: socket.socket, address: Any, port: Any, number: int, factory: Any, reactor: Any) -> None:
    """Build what serves a client, as `Server` wants it. Where that fails, the socket is still open."""
    kind = IPv4Address if len(address) == 2 else IPv6Address
    protocol = factory.buildProtocol(kind("TCP", *address))
    if protocol is None:
        client.close()
        return
    begin(protocol, Server(client, protocol, address, port, number, reactor))


def begin(protocol: Any, connection: Any) -> None:
    """Give a protocol its connection. Where that fails, the connection knows that it is over."""
    try:
        protocol.makeConnection(connection)
    except BaseException:
        connection.connectionLost(Failure())  # before it is closed, or the reactor would look at what is not there
        raise
