"""Ports: TCP and Unix sockets that listen, made here, by another process, or here before the program was begun anew."""

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, cast

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python import log
from twisted.python.lockfile import FilesystemLock

from mta.net.connections import Server, UnixServer, begin, serve
from mta.net.spare import spare

PassOn = Callable[[socket.socket, bool], bool]

_AT_ONCE = 100  # clients who are let in before others have their turn
_SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REST = 0.2  # seconds for which who connects waits in the kernel's queue, where nothing can be done for him
_SELDOM = 60.0  # seconds between two lines that say so

_log = Logger()


class _Accepting:
    """Mixed in before a `tcp.Port`: what is done for each client, in fewer calls, and where there is no room for him.

    Where no descriptor is left, another process serves him, or he is told what the factory's `turn_away` says of his
    address. Where neither can be, he waits in the kernel's queue until one is free.
    """

    # Who listens may have handed the socket over to somebody, who is to find it listening.
    _shouldShutdown = False
    pass_on: PassOn | None = None
    _resting: IDelayedCall | None = None
    _complained = float("-inf")

    def startListening(self: Any) -> None:
        """As in `tcp.Port`."""
        super().startListening()  # type: ignore[misc]
        spare.keep()

    def doRead(self: Any) -> None:
        """As in `tcp.Port`, to which is left what else goes wrong."""
        for _ in range(_AT_ONCE):
            try:
                # `accept` would look up names for two numbers: a twentieth of what a brief session costs.
                descriptor, address = self.socket._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SHORTAGE:
                    self._do_without(error)
                else:
                    super().doRead()  # type: ignore[misc]
                return
            client = socket.socket(self.addressFamily, self.socketType, 0, descriptor)
            try:
                self._let_in(client, address)
            except BaseException:
                log.err()
                client.close()

    def stopReading(self: Any) -> None:
        """As in `tcp.Port`."""
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()
        super().stopReading()  # type: ignore[misc]

    def _do_without(self: Any, error: OSError) -> None:
        """Nobody can be let in."""
        if monotonic() - self._complained >= _SELDOM:
            self._complained = monotonic()
            _log.error("who connects cannot be served: {error}", error=error.strerror)
        turn_away = getattr(self.factory, "turn_away", None)
        for _ in range(_AT_ONCE if turn_away is not None else 0):
            if not spare.give():
                break
            try:
                descriptor, address = self.socket._accept()
                with socket.socket(self.addressFamily, self.socketType, 0, descriptor) as client:
                    self._send_away(client, address, turn_away)
            except BlockingIOError:
                return
            except OSError:
                break
            finally:
                spare.keep()
        self.stopReading()
        self._resting = self.reactor.callLater(_REST, self._rested)

    def _send_away(self: Any, client: socket.socket, address: Any, turn_away: Callable[[str], bytes]) -> None:
        try:
            if self.pass_on is None or not self.pass_on(client, False):
                word = turn_away(address[0] if self.addressFamily != socket.AF_UNIX else "")
                with suppress(OSError):  # he has gone
                    client.send(word)
        except Exception:
            log.err()

    def _rested(self: Any) -> None:
        self._resting = None
        spare.keep()
        self.startReading()


class Port(_Accepting, tcp.Port):
    """A TCP socket that listens. pass_on: may have another process serve a client. It is told whether we have room."""

    transport = Server  # type: ignore[assignment]

    def _let_in(self: Any, client: socket.socket, address: Any) -> None:
        if self.pass_on is not None and self.pass_on(client, True):
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


class UnixPort(_Accepting, unix.Port):
    """A Unix socket that listens."""

    transport = UnixServer
    is_handed_over = False

    def _let_in(self: Any, client: socket.socket, address: Any) -> None:
        protocol = self.factory.buildProtocol(self._buildAddr(address))
        if protocol is None:
            client.close()
            return
        self.sessionno += 1
        begin(protocol, self.transport(client, protocol, address, self, self.sessionno, self.reactor))

    def connectionLost(self, reason: Any) -> None:
        if self.is_handed_over:  # its name and the lock beside it stay
            tcp.Port.connectionLost(self, reason)
        else:
            super().connectionLost(reason)


class AdoptedUnixPort(UnixPort):
    """One that another process has made, keeps, and will remove."""

    def startListening(self: Any) -> None:
        tcp._reservedFD.reserve()
        spare.keep()
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
