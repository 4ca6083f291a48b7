"""Listener: a listening port, and what is built for each client who is let in there."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol

from mta.inbound.conversation import Conversation
from mta.inbound.door import Doorkeeper
from mta.inbound.house import House
from mta.inbound.manners import Manners
from mta.inbound.protocol import InboundProtocol
from mta.inbound.proxy import Porch
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
        """tls: the certificate to show; None where there is none."""
        self._door = door
        self._porch = porch
        self._house = house
        self._manners = manners
        self._tls = tls

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        address = plain_address(getattr(addr, "host", None) or "")
        proxies = self._manners.proxy_protocol
        if proxies and in_networks(address, proxies):
            return self._porch.admit(address, self._build)
        return self._build(address)

    def _build(self, address: str) -> Protocol | None:
        objection = self._door.objection(address)
        if objection is not None:
            return self._door.refuse(address, objection)
        conversation = Conversation(self._house, self._manners, address)
        session = ServerSession(self._house.hostname, conversation.settings)
        return InboundProtocol(self._door, session, conversation, self._tls, self._manners.tls == "implicit")


class Listener:
    """One listening port: bound before privileges are dropped, closed first when the relay goes down."""

    def __init__(self, name: str, listen: Callable[[Factory], IListeningPort], factory: ListenerFactory) -> None:
        self.name = name
        self._listen = listen
        self._factory = factory
        self._port: IListeningPort | None = None

    def bind(self) -> None:
        """Begin to listen, unless that has been done. Raises `CannotListenError`."""
        if self._port is None:
            self._port = self._listen(self._factory)

    @property
    def is_bound(self) -> bool:
        """Does it listen?"""
        return self._port is not None

    def close(self) -> Deferred[None]:
        """Listen no more."""
        port, self._port = self._port, None
        return succeed(None) if port is None else Deferred.fromCoroutine(_stop(port))


async def _stop(port: IListeningPort) -> None:
    stopped = port.stopListening()
    if stopped is not None:
        await stopped
