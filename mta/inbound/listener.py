"""Listener: a listening port, and what is built for each client who is let in there."""

import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol

from mta.inbound.conversation import Conversation
from mta.inbound.door import Doorkeeper
from mta.inbound.house import House
from mta.inbound.manners import Manners
from mta.inbound.protocol import InboundProtocol
from mta.inbound.proxy import Porch
from mta.net import sockets
from mta.net.tls import ServerTls
from mta.policy.access import in_networks
from mta.smtp.ip import plain_address
from mta.smtp.server import ServerSession


class ListenerFactory(Factory):
    """Builds the sessions of one listener."""

    noisy = False

    def __init__(
        self, door: Doorkeeper, porch: Porch, house: House, manners: Manners, tls: ServerTls | None = None
    ) -> None:
        """As for `adopt`."""
        self._door = door
        self._porch = porch
        self.adopt(house, manners, tls)

    def adopt(self, house: House, manners: Manners, tls: ServerTls | None = None) -> None:
        """Who comes from now on is received so; who is here stays with what there was when he came.

        tls: the certificate to show; None where there is none.
        """
        self._house = house
        self._manners = manners
        self._tls = tls

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        address = plain_address(getattr(addr, "host", None) or "")
        proxies = self._manners.proxy_protocol
        if proxies and in_networks(address, proxies):
            return self._porch.admit(address, self._build)
        return self._build(address)

    def turn_away(self, host: str) -> bytes:
        """What to say to a client at this address ("" on a Unix socket) for whom no descriptor is left."""
        return self._door.turn_away(plain_address(host))

    def _build(self, address: str) -> Protocol | None:
        objection = self._door.objection(address)
        if objection is not None:
            return self._door.refuse(address, objection)
        conversation = Conversation(self._house, self._manners, address)
        session = ServerSession(self._house.hostname, conversation.settings)
        return InboundProtocol(self._door, session, conversation, self._tls, self._manners.tls == "implicit")


class Listener:
    """One entry of `listen`: bound before privileges are dropped, closed first when the relay goes down.

    name: its address. It has one port; where systemd has made the sockets, as many as it has given that name.
    """

    def __init__(
        self, name: str, listen: Callable[[Factory], Sequence[IListeningPort]], factory: ListenerFactory
    ) -> None:
        self.name = name
        self.adopt = factory.adopt
        self._listen = listen
        self._factory = factory
        self._ports: Sequence[IListeningPort] = ()

    def bind(self) -> None:
        """Begin to listen, unless that has been done. Raises `CannotListenError`."""
        if not self._ports:
            self._ports = self._listen(self._factory)

    @property
    def is_bound(self) -> bool:
        """Does it listen?"""
        return bool(self._ports)

    @property
    def ports(self) -> Sequence[IListeningPort]:
        """What it listens on."""
        return self._ports

    def take(self, reactor: Any, client: socket.socket) -> None:
        """Serve a client whom another process has accepted at this address. The socket is ours from now on.

        Whether we still listen there does not matter: a client who comes too late is told so.
        """
        sockets.take(reactor, client, self._factory)

    def hand_over(self) -> list[int]:
        """Descriptors of what it listens on, which stay open, and go on listening, when it is closed."""
        return [sockets.hand_over(port) for port in self._ports]

    def close(self) -> "Deferred[None]":
        """Listen no more."""
        ports, self._ports = self._ports, ()
        return Deferred.fromCoroutine(_stop(ports))


async def _stop(ports: Sequence[IListeningPort]) -> None:
    for stopped in [port.stopListening() for port in ports]:
        if stopped is not None:
            await stopped
