"""Sockets: listening, connecting, and handing over what listens, over TCP and at Unix sockets.

Reactors that make their own transports (the simulation's) are simply asked.
"""

import os
import socket
from contextlib import suppress
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.posixbase import PosixReactorBase

from mta.net.connections import Connector, serve
from mta.net.ports import AdoptedUnixPort, InheritedUnixPort, PassOn, Port, UnixPort
from mta.net.spare import spare


def listen(reactor: Any, address: str, port: int, factory: Any, backlog: int = 1024) -> IListeningPort:
    """Listen on an IP address ("0.0.0.0" for all of IPv4, "::" of IPv6) and port. Raises `CannotListenError`."""
    if not isinstance(reactor, PosixReactorBase):
        return cast(IListeningPort, reactor.listenTCP(port, factory, backlog=backlog, interface=address))
    listening = Port(port, factory, backlog, address, reactor)
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

    pass_on: asked for each client at a TCP socket, and whether we have room for it: has somebody else been given it?
    """
    with socket.socket(fileno=descriptor) as theirs:
        if theirs.family == socket.AF_UNIX:
            listening = AdoptedUnixPort._fromListeningDescriptor(reactor, descriptor, factory)
        else:
            listening = Port._fromListeningDescriptor(reactor, descriptor, theirs.family, factory)
            listening.pass_on = pass_on
    listening.startListening()
    return cast(IListeningPort, listening)


def take(reactor: Any, client: socket.socket, factory: Any) -> None:
    """Serve a client over TCP whom another process has accepted. The socket is ours from now on.

    Where its descriptor was the last one, it is told what the factory's `turn_away` says, as in `ports`.
    """
    try:
        address = tcp._getpeername(client)
    except OSError:  # it has gone
        client.close()
        return
    if not spare.keep() and hasattr(factory, "turn_away"):
        with client, suppress(OSError):
            client.send(factory.turn_away(address[0]))
        spare.keep()
        return
    try:
        serve(client, address, None, address[1], factory, reactor)
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
    connector = Connector(host, port, factory, timeout, None, reactor)
    connector.connect()
    return cast(IConnector, connector)


def connect_unix(reactor: Any, path: str, factory: Any, timeout: float) -> IConnector:
    """Connect to a Unix socket. LMTP to a neighbour is not where the time goes: Twisted's own transport does."""
    return cast(IConnector, reactor.connectUNIX(path, factory, timeout=timeout))
