"""Connector: opens connections to the places that a search has found."""

import os
from collections.abc import Callable
from typing import Any

from twisted.internet import error
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from mta.net import sockets
from mta.net.client_tls import ClientHandshake
from mta.smtp import limits
from mta.transports.pool import Pool
from mta.transports.search import Place
from mta.transports.session import Session

_LONGEST_PATH = 107  # octets of a Unix socket's path (unix(7)); Twisted has no good end for a longer one


class Connector:
    """Opens sessions, which `pool` counts from then on. reactor: with connectTCP, connectUNIX and the time."""

    def __init__(
        self,
        reactor: Any,
        pool: Pool,
        connect: Callable[..., IConnector] = sockets.connect,
        connect_unix: Callable[..., IConnector] = sockets.connect_unix,
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._connect = connect
        self._connect_unix = connect_unix

    @property
    def is_closed(self) -> bool:
        """Should nobody open another session?"""
        return self._pool.is_cut

    def open(self, place: Place, handshake: ClientHandshake | None = None) -> Session:
        """A session that is being connected. It can hold its first dialogue already, which learns if that fails.

        handshake: for TLS, if the dialogue comes to it.
        """
        session = Session(self._reactor, str(place), self._pool.forget, handshake)
        self._pool.watch(session)
        factory = _Factory(session)
        try:
            if place.port:
                self._connect(self._reactor, place.address, place.port, factory, limits.CLIENT_CONNECT)
            elif len(os.fsencode(place.address)) > _LONGEST_PATH:
                session.connection_failed(f"the socket's path is too long: {place.address}")
            else:
                self._connect_unix(self._reactor, place.address, factory, limits.CLIENT_CONNECT)
        except OSError as failed:  # no descriptor is left: Twisted leaves that to its caller for Unix sockets
            session.connection_failed(str(failed))
        return session


class _Factory(ClientFactory):
    """Makes the one connection of a session."""

    noisy = False

    def __init__(self, session: Session) -> None:
        self._session = session

    def buildProtocol(self, addr: IAddress | None) -> Session:
        return self._session

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._session.connection_failed(_in_words(reason.value))


def _in_words(failed: BaseException | None) -> str:
    """Why there is no connection: "connection refused"."""
    if isinstance(failed, error.TimeoutError):
        return "connection timed out"
    if isinstance(failed, error.ConnectError) and isinstance(failed.osError, int):
        return os.strerror(failed.osError).lower()
    return str(failed)
