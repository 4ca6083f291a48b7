"""Ports: TCP and Unix sockets that listen, made here, by another process, or here before the program was begun anew."""

import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import tcp, unix
from twisted.python import log
from twisted.python.lockfile import FilesystemLock

from mta.net.connections import Server, UnixServer, serve

PassOn = Callable[[socket.socket], bool]

_AT_ONCE = 100  # clients who are let in before others have their turn


class Port(tcp.Port):
    """A TCP socket that listens. pass_on: may have another process serve a client."""

    transport = Server  # type: ignore[assignment]
    # Who listens may have handed the socket over to somebody, who is to find it listening.
    _shouldShutdown = False
    pass_on: PassOn | None = None

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
        serve(client, address, self, self.sessionno, self.factory, self.reactor)

    def createInternetSocket(self) -> socket.socket:
        listening = cast(socket.socket, super().createInternetSocket())
        if self.addressFamily == socket.AF_INET6:
            # So that 0.0.0.0:25 and [::]:25 can be listened on side by side, whatever the system's default is.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return listening


class UnixPort(unix.Port):
    """A Unix socket that listens."""

    transport = UnixServer
    _shouldShutdown = False  # as above
    is_handed_over = False

    def connectionLost(self, reason: Any) -> None:
        if self.is_handed_over:  # its name and the lock beside it stay
            tcp.Port.connectionLost(self, reason)
        else:
            super().connectionLost(reason)


class AdoptedUnixPort(UnixPort):
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


class InheritedUnixPort(AdoptedUnixPort):
    """One that this process has made, before its program was executed anew."""

    def startListening(self: Any) -> None:
        super().startListening()
        self.lockFile = FilesystemLock((self._bindPath + b".lock").decode(errors="surrogateescape"))
        self.lockFile.locked = True  # it names this process

    def connectionLost(self, reason: Any) -> None:
        UnixPort.connectionLost(self, reason)
