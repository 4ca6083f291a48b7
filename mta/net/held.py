"""Held: listening sockets that one process makes and keeps, and others take their connections from.

Of a TCP address there is a socket for each of them, among which the kernel shares out what comes in (SO_REUSEPORT);
what waits at the socket of a process that has died is there for the next one that is given it. A Unix socket has no
such share, so they all accept from the same one.
"""

import socket
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.protocol import Factory

from mta.net.eager import UnixPort

BACKLOG = 1024


class Held(Protocol):
    """Sockets of one address."""

    @property
    def descriptors(self) -> Sequence[int]:
        """One for each process that is to accept from them."""

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
                where = one.getsockname()  # where the port was 0, the others get the same
                one.listen(BACKLOG)
        except OSError:
            self.close()
            raise
        self.descriptors = [one.fileno() for one in self._sockets]

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

    def close(self) -> None:
        """As in `Held`; its name goes."""
        self._port.stopListening()


class _OnlyHeld(UnixPort):
    """Listens, and accepts nobody."""

    def startReading(self) -> None:
        pass

    def stopReading(self) -> None:
        pass
