"""Proxy: connections that come through a proxy wait here until its PROXY header has said whose they are.

Nothing is written before that, no greeting and no TLS. Then the protocol for the client is built, with the client's
address, and takes over the connection as if it had been there from the beginning; what had arrived behind the header
is its first octets. Where TLS is implicit they are a handshake, which the protocol begins when it is connected.

Only connections from the networks of `proxy_protocol` come here. To all others a PROXY header is a bad command.
"""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mta.maillog import MailLog
from mta.net.proxied import Proxied, read_header

# Makes the protocol for a client at this address; None: it is not let in.
Build = Callable[[str], Protocol | None]

# A proxy sends the header with its first segment. So many seconds, and so many connections at once, may lack it.
PATIENCE = 5.0
ROOM = 100


class Porch:
    """Where connections of proxies wait. One for all listeners of the relay."""

    def __init__(self, reactor: IReactorTime, log: MailLog) -> None:
        self._reactor = reactor
        self._log = log
        self._waiting: set[HeaderReader] = set()

    def admit(self, proxy: str, build: Build) -> Protocol | None:
        """The protocol for a connection from a proxy at this address; None when too many wait already."""
        if len(self._waiting) < ROOM:
            return HeaderReader(self, proxy, build)
        self.refused(proxy, f"{ROOM} connections wait for their PROXY header already")
        return None

    def entered(self, connection: "HeaderReader") -> IDelayedCall:
        """One more waits. What is returned ends its patience, unless it is cancelled."""
        self._waiting.add(connection)
        return self._reactor.callLater(PATIENCE, connection.late)

    def left(self, connection: "HeaderReader") -> None:
        """It waits no more."""
        self._waiting.discard(connection)

    def refused(self, proxy: str, why: str) -> None:
        """A connection from a proxy is closed without a word, for this reason."""
        self._log.event("refused", client=proxy or "unix", why=f"it is in proxy_protocol, but {why}")

    def close(self) -> None:
        """The relay is going down: cut off all who wait."""
        for connection in list(self._waiting):
            connection.cut_off()


class HeaderReader(Protocol):
    """A connection whose header has not come yet."""

    transport: Any

    def __init__(self, porch: Porch, proxy: str, build: Build) -> None:
        self._porch = porch
        self._proxy = proxy
        self._build = build
        self._octets = b""
        self._patience: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._patience = self._porch.entered(self)

    def dataReceived(self, data: bytes) -> None:
        self._octets += data
        try:
            header = read_header(self._octets)
        except ValueError as error:
            self._refuse(str(error))
            return
        if header is not None:
            self._leave()
            self._hand_over(header)

    def _hand_over(self, header: Proxied) -> None:
        """Put the client's protocol in our place, in the way in which Twisted's own `startTLS` does that."""
        protocol = self._build(self._client(header))
        transport = self.transport
        if protocol is None:
            transport.abortConnection()
            return
        transport.protocol = protocol
        protocol.makeConnection(transport)
        ahead = self._octets[header.length :]
        if ahead:
            transport.protocol.dataReceived(ahead)  # which is TLS, where the protocol has begun it

    def _client(self, header: Proxied) -> str:
        """The client's address, or the connection's own where the header has none.

        A client on the loopback of another machine is that machine: it is not on ours, which may do more.
        """
        if header.address is None or (_is_loopback(header.address) and not _is_loopback(self._proxy)):
            return self._proxy
        return header.address

    def late(self) -> None:
        """The header took too long."""
        self._refuse(f"no whole PROXY header came within {PATIENCE:.0f} seconds")

    def _refuse(self, why: str) -> None:
        self._porch.refused(self._proxy, why)
        self.cut_off()

    def cut_off(self) -> None:
        """Close at once."""
        self._leave()
        self.transport.abortConnection()

    def _leave(self) -> None:
        self._porch.left(self)
        if self._patience is not None and self._patience.active():
            self._patience.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Whoever goes without having said anything only wanted to see whether somebody listens here.
        self._leave()


def _is_loopback(address: str) -> bool:
    """Is this an address of the machine itself, such as the empty one of a Unix socket?"""
    return not address or ip_address(address).is_loopback
