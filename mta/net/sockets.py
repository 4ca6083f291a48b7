"""TCP and Unix sockets: listening, connecting, and handing over what listens.

Their connections do what Twisted's do, in fewer calls where nothing is special: what is written is kept until the end
of the turn (see `poller`), and then sent, mostly whole. They need to know how Twisted keeps what is queued
(`dataBuffer`, `_tempDataBuffer`), which tests/net/test_sockets.py watches. Reactors that make their own transports (the
simulation's) are simply asked.
"""

import os
import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.posixbase import PosixReactorBase
from twisted.python import log
from twisted.python.failure import Failure
from twisted.python.lockfile import FilesystemLock

PassOn = Callable[[socket.socket], bool]

_AT_ONCE = 100  # clients who are let in before others have their turn


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


class _Server(_Brief, tcp.Server):  # type: ignore[misc]  # both have `disconnecting`
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


def _serve(client: socket.socket, address: Any, port: Any, number: int, factory: Any, reactor: Any) -> None:
    """Build what serves a client, as `_Server` wants it. Where that fails, the socket is still open."""
    kind = IPv4Address if len(address) == 2 else IPv6Address
    protocol = factory.buildProtocol(kind("TCP", *address))
    if protocol is None:
        client.close()
        return
    connection = _Server(client, protocol, address, port, number, reactor)
    try:
        protocol.makeConnection(connection)
    except BaseException:
        connection.connectionLost(Failure())  # before it is closed, or the reactor would look at what is not there
        raise


class _Client(_Brief, tcp.Client):  # type: ignore[misc]  # both have `disconnecting`
    pass


class _Port(tcp.Port):
    transport = _Server  # type: ignore[assignment]
    # Who listens may have handed the socket over to somebody, who is to find it listening.
    _shouldShutdown = False
    pass_on: PassOn | None = None  # may have another process serve a client

    def doRead(self: Any) -> None:
        """As in `tcp.Port`, to which all is left that goes wrong: it knows what to do without a free descriptor."""
        for _ in range(_AT_ONCE):
            try:
                # `accept` would look up names for two numbers: a twentieth of what a brief session costs.
                descriptor, address = self.socket._accept()
            except BlockingIOError:
                return
            except OSError:
                super().doRead()
                return
            client = socket.socket(self.addressFamily, self.socketType, 0, descriptor)
            try:
                self._let_in(client, address)
            except BaseException:
                log.err()
                client.close()

    def _let_in(self: Any, client: socket.socket, address: Any) -> None:
        if self.pass_on is not None and self.pass_on(client):
            client.close()
            return
        if len(address) == 4:  # of IPv6, which may have a scope
            host, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
            address = (host, *address[1:])
        self.sessionno += 1
        _serve(client, address, self, self.sessionno, self.factory, self.reactor)

    def createInternetSocket(self) -> socket.socket:
        listening = cast(socket.socket, super().createInternetSocket())
        if self.addressFamily == socket.AF_INET6:
            # So that 0.0.0.0:25 and [::]:25 can be listened on side by side, whatever the system's default is.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return listening


class _Connector(tcp.Connector):
    def _makeTransport(self) -> tcp.Client:
        return _Client(self.host, self.port, self.bindAddress, self, self.reactor)


class _UnixServer(_Brief, unix.Server):  # type: ignore[misc]  # both have `disconnecting`
    pass


class UnixPort(unix.Port):
    """A Unix socket that listens."""

    transport = _UnixServer
    _shouldShutdown = False  # as above
    is_handed_over = False

    def connectionLost(self, reason: Any) -> None:
        if self.is_handed_over:  # its name and the lock beside it stay
            tcp.Port.connectionLost(self, reason)
        else:
            super().connectionLost(reason)


class _AdoptedUnixPort(UnixPort):
    """One that another process has made, keeps, and will remove."""

    def startListening(self: Any) -> None:
        tcp._reservedFD.reserve()
        self._shouldShutdown = False
        self.socket, self._preexistingSocket = self._preexistingSocket, None
        self.fileno = self.socket.fileno
        self.factory.doStart()
        self.connected = True
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        tcp.Port.connectionLost(self, reason)


class InheritedUnixPort(_AdoptedUnixPort):
    """One that this process has made, before its program was executed anew."""

    def startListening(self: Any) -> None:
        super().startListening()
        self.lockFile = FilesystemLock((self._bindPath + b".lock").decode(errors="surrogateescape"))
        self.lockFile.locked = True  # it names this process

    def connectionLost(self, reason: Any) -> None:
        UnixPort.connectionLost(self, reason)


def listen(reactor: Any, address: str, port: int, factory: Any, backlog: int = 1024) -> IListeningPort:
    """Listen on an IP address ("0.0.0.0" for all of IPv4, "::" of IPv6) and port. Raises `CannotListenError`."""
    if not isinstance(reactor, PosixReactorBase):
        return cast(IListeningPort, reactor.listenTCP(port, factory, backlog=backlog, interface=address))
    listening = _Port(port, factory, backlog, address, reactor)
    listening.startListening()
    return cast(IListeningPort, listening)


def listen_unix(reactor: Any, path: str, factory: Any, backlog: int = 1024) -> IListeningPort:
    """Listen on a Unix socket that everybody on this machine may use. Raises `CannotListenError`."""
    if not isinstance(reactor, PosixReactorBase):
        return cast(IListeningPort, reactor.listenUNIX(path, factory, backlog=backlog, mode=0o666, wantPID=True))
    listening = UnixPort(path.encode(), factory, backlog, 0o666, reactor, wantPID=1)
    listening.startListening()
    return cast(IListeningPort, listening)


def adopt(reactor: Any, descriptor: int, factory: Any, pass_on: PassOn | None = None) -> IListeningPort:
    """Accept from a listening socket that another process has made. The descriptor is ours from now on.

    pass_on: asked for each client at a TCP socket whether somebody else has been given it.
    """
    with socket.socket(fileno=descriptor) as theirs:
        if theirs.family == socket.AF_UNIX:
            listening = _AdoptedUnixPort._fromListeningDescriptor(reactor, descriptor, factory)
        else:
            listening = _Port._fromListeningDescriptor(reactor, descriptor, theirs.family, factory)
            listening.pass_on = pass_on
    listening.startListening()
    return cast(IListeningPort, listening)


def take(reactor: Any, client: socket.socket, factory: Any) -> None:
    """Serve a client over TCP whom another process has accepted. The socket is ours from now on."""
    try:
        address = tcp._getpeername(client)
    except OSError:  # it has gone
        client.close()
        return
    try:
        _serve(client, address, None, address[1], factory, reactor)
    except BaseException:
        client.close()
        raise


def inherit(reactor: Any, descriptor: int, factory: Any) -> IListeningPort:
    """Accept from a listening socket that this process had before its program was executed anew, see `hand_over`. The
    descriptor is ours from now on, and the name of a Unix socket is removed at the end."""
    with socket.socket(fileno=descriptor) as one:
        if one.family != socket.AF_UNIX:
            return adopt(reactor, one.detach(), factory)
        listening = InheritedUnixPort._fromListeningDescriptor(reactor, descriptor, factory)
    listening.startListening()
    return cast(IListeningPort, listening)


def hand_over(port: Any) -> int:
    """A descriptor of a listening socket, which stays open, and listens, when the port is closed. Who connects
    meanwhile waits."""
    if isinstance(port, UnixPort):
        port.is_handed_over = True
    return os.dup(port.fileno())


def connect(reactor: Any, host: str, port: int, factory: Any, timeout: float) -> IConnector:
    """Connect to an IP address; `timeout` in seconds. The factory is told of success and failure, as ever."""
    if not isinstance(reactor, PosixReactorBase):
        return cast(IConnector, reactor.connectTCP(host, port, factory, timeout=timeout))
    connector = _Connector(host, port, factory, timeout, None, reactor)
    connector.connect()
    return cast(IConnector, connector)


def connect_unix(reactor: Any, path: str, factory: Any, timeout: float) -> IConnector:
    """Connect to a Unix socket. LMTP to a neighbour is not where the time goes: Twisted's own transport does."""
    return cast(IConnector, reactor.connectUNIX(path, factory, timeout=timeout))
