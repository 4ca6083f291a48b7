"""Held: listening sockets that one process makes and keeps, and others take their connections from.

Of a TCP address there is a socket for each of them, among which the kernel shares out what comes in (SO_REUSEPORT);
what waits at the socket of a process that has died is there for the next one that is given it. Where there will be none
for a while, that socket is paused, and the kernel turns to the others. A Unix socket has no such share, so they all
accept from the same one.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.protocol import Factory

from mta.net.eager import UnixPort

BACKLOG = 1024


class Held(Protocol):
    """Sockets of one address."""

    @property
    def descriptors(self) -> Sequence[int]:
        """One for each process that is to accept from them."""

    def pause(self, number: int) -> None:
        """Nobody accepts from this one for a while: what waits at it is reset, what comes goes to the others."""

    def resume(self, number: int) -> None:
        """Somebody accepts from it again. Raises `OSError`."""

    def close(self) -> None:
        """Let go of them. Who has been given one goes on with it."""


class HeldTcp:
    """As many sockets as there are processes, on one address."""

    def __init__(self, address: str, port: int, processes: int) -> None:
        """Raises `OSError`."""
        self._sockets: list[socket.socket] = []
        [(family, *_, where), *_] = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
        )
        try:
            if not port:
                with socket.socket(family, socket.SOCK_STREAM) as any_port:
                    any_port.bind(where)
                    where = any_port.getsockname()
            for number in range(processes):
                one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                self._sockets.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                # The first one is bound alone: an address that somebody else listens on is taken, even if he shares.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, number > 0)
                one.bind(where)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                one.listen(BACKLOG)
        except OSError:
            self.close()
            raise
        self.descriptors = [one.fileno() for one in self._sockets]

    def pause(self, number: int) -> None:
        """As in `Held`. It stays bound, since the rights to bind it may have been given away (Linux)."""
        with suppress(OSError):  # it is paused already
            self._sockets[number].shutdown(socket.SHUT_RDWR)

    def resume(self, number: int) -> None:
        """As in `Held`."""
        self._sockets[number].listen(BACKLOG)

    def close(self) -> None:
        """As in `Held`."""
        for one in self._sockets:
            one.close()


class HeldUnix:
    """One socket in the file system, for all processes."""

    def __init__(self, reactor: Any, path: str, processes: int) -> None:
        """Raises `CannotListenError`, or `OSError` from the lock beside it."""
        self._port = _OnlyHeld(path.encode(), Factory(), BACKLOG, 0o666, reactor, wantPID=1)
        self._port.startListening()
        self.descriptors = [self._port.fileno()] * processes

    def pause(self, number: int) -> None:
        """As in `Held`: whoever is there accepts from it."""

    def resume(self, number: int) -> None:
        """As in `Held`."""

    def close(self) -> None:
        """As in `Held`; its name goes."""
        self._port.stopListening()


class HeldGiven:
    """One socket that somebody else has made, and keeps: systemd."""

    def __init__(self, descriptor: int, processes: int) -> None:
        self.descriptors = [descriptor] * processes

    def pause(self, number: int) -> None:
        """As in `Held`: whoever is there accepts from it."""

    def resume(self, number: int) -> None:
        """As in `Held`."""

    def close(self) -> None:
        """As in `Held`; it may be wanted again."""


class _OnlyHeld(UnixPort):
    """Listens, and accepts nobody."""

    def startReading(self) -> None:
        pass

    def stopReading(self) -> None:
        pass
