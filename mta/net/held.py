"""Held: listening sockets that one process makes and keeps, and others take their connections from.

Of a TCP address there is a socket for each of them, among which the kernel shares out what comes in (SO_REUSEPORT);
what waits at the socket of a process that has died is there for the next one that is given it. Where there will be none
for a while, that socket is paused, and the kernel turns to the others. A Unix socket has no such share, so they all
accept from the same one.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.protocol import Factory

from mta.net.ports import InheritedUnixPort, UnixPort
from mta.net.sockets import hand_over

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

    def hand_over(self) -> list[int]:
        """Descriptors of what listens there, which stay open when this is closed; a Unix socket keeps its name."""


class HeldTcp:
    """As many sockets as there are processes, on one address."""

    def __init__(self, address: str, port: int, processes: int, inherited: Sequence[int] = ()) -> None:
        """inherited: descriptors of sockets on that address, to go on with; no more than processes. Where they are
        fewer, and no other can be bound beside them, since whoever bound them had other rights, they are shared.

        Raises `OSError`.
        """
        self._sockets = [socket.socket(fileno=one) for one in inherited]
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        [(family, *_, where), *_] = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
        )
        try:
            if self._sockets:
                where = self._sockets[0].getsockname()
            elif not port:
                with socket.socket(family, socket.SOCK_STREAM) as any_port:
                    any_port.bind(where)
                    where = any_port.getsockname()
            for number in range(len(self._sockets), processes):
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
            if not inherited:
                self.close()
                raise
            self._sockets.pop().close()  # the one that could not be bound
        self._are_shared = len(self._sockets) < processes
        self.descriptors = [self._sockets[number % len(self._sockets)].fileno() for number in range(processes)]

    def pause(self, number: int) -> None:
        """As in `Held`. It stays bound, since the rights to bind it may have been given away (Linux)."""
        if not self._are_shared:
            with suppress(OSError):  # it is paused already
                self._sockets[number].shutdown(socket.SHUT_RDWR)

    def resume(self, number: int) -> None:
        """As in `Held`."""
        if not self._are_shared:
            self._sockets[number].listen(BACKLOG)

    def close(self) -> None:
        """As in `Held`."""
        for one in self._sockets:
            one.close()

    def hand_over(self) -> list[int]:
        """As in `Held`."""
        return [os.dup(one.fileno()) for one in self._sockets]


class HeldUnix:
    """One socket in the file system, for all processes."""

    def __init__(self, reactor: Any, path: str, processes: int, inherited: Sequence[int] = ()) -> None:
        """inherited: at most one descriptor, as above.

        Raises `CannotListenError`, or `OSError` from the lock beside it.
        """
        if inherited:
            with socket.socket(fileno=inherited[0]) as one:
                self._port = _OnlyInherited._fromListeningDescriptor(reactor, one.fileno(), Factory())
        else:
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

    def hand_over(self) -> list[int]:
        """As in `Held`."""
        return [hand_over(self._port)]


class HeldGiven:
    """One socket that all processes share: one that somebody else has made, and keeps, which is systemd."""

    def __init__(self, descriptor: int, processes: int) -> None:
        self.descriptors = [descriptor] * processes

    def pause(self, number: int) -> None:
        """As in `Held`: whoever is there accepts from it."""

    def resume(self, number: int) -> None:
        """As in `Held`."""

    def close(self) -> None:
        """As in `Held`; it may be wanted again."""

    def hand_over(self) -> list[int]:
        """As in `Held`: whoever keeps it hands it over."""
        return []


class HeldBeside(HeldGiven):
    """One that is left over of an address, as there were more processes before; it has clients who wait."""

    def close(self) -> None:
        """As in `Held`."""
        os.close(self.descriptors[0])

    def hand_over(self) -> list[int]:
        """As in `Held`."""
        return [os.dup(self.descriptors[0])]


class _AcceptsNobody:
    """Mixed in before a port."""

    def startReading(self) -> None:
        pass

    def stopReading(self) -> None:
        pass


class _OnlyHeld(_AcceptsNobody, UnixPort):
    pass


class _OnlyInherited(_AcceptsNobody, InheritedUnixPort):
    pass
