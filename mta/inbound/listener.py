"""Listener: a listening port, and what is built for each client who is let in there."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol

from mta.inbound.conversation import Conversation, House
from mta.inbound.door import Doorkeeper
from mta.inbound.protocol import InboundProtocol
from mta.smtp.server import ServerSession, ServerSettings


class ListenerFactory(Factory):
    """Builds the sessions of one listener."""

    noisy = False

    def __init__(self, door: Doorkeeper, house: House, settings: Callable[[bool], ServerSettings]) -> None:
        """settings: of the language, for a client that may relay (who is treated leniently) or may not."""
        self._door = door
        self._house = house
        self._settings = {may_relay: settings(may_relay) for may_relay in (False, True)}

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        address: str = getattr(addr, "host", "") or ""
        if address.startswith("::ffff:"):
            address = address.removeprefix("::ffff:")  # IPv4 seen through an IPv6 socket (RFC 4291 2.5.5.2)
        objection = self._door.objection(address)
        if objection is not None:
            return self._door.refuse(address, objection)
        settings = self._settings[self._house.access.may_relay(address)]
        conversation = Conversation(self._house, address, settings.keywords)
        session = ServerSession(self._house.hostname, settings)
        return InboundProtocol(self._door, session, conversation)


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

    def close(self) -> Deferred[None]:
        """Listen no more."""
        port, self._port = self._port, None
        return succeed(None) if port is None else Deferred.fromCoroutine(_stop(port))


async def _stop(port: IListeningPort) -> None:
    stopped = port.stopListening()
    if stopped is not None:
        await stopped
