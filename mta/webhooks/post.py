"""Post: a request to a webhook, with limits on all of it. Only the status of the answer counts."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, NoReturn

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionAborted, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from mta.webhooks.hook import NotNow

AGENT = f"mta/{version('mta')}"
PATIENCE = 10.0  # seconds until there must be an answer
REST = 2.0  # seconds that the rest of it may take, which nobody reads
LARGEST = 64 * 1024  # octets of an answer, its header included; what is longer ends the connection
MOST_SAID = 200  # characters of a reason, some of which is the receiver's own words


class _Bounded(ProtocolWrapper):
    """Ends a connection on which an answer is too long: the client's parser keeps a header of any size."""

    _octets = 0

    def write(self, data: bytes) -> None:
        """A request begins, or goes on."""
        self._octets = 0
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Likewise."""
        self._octets = 0
        super().writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        """Something of an answer."""
        self._octets += len(data)
        if self._octets > LARGEST:
            self.abortConnection()
        else:
            super().dataReceived(data)


class _BoundedFactory(WrappingFactory):
    protocol = _Bounded
    noisy = False


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """Another one, with bounds on what comes back."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def connect(self, factory: IProtocolFactory) -> "Deferred[Any]":
        """As in `IStreamClientEndpoint`."""
        connecting: Deferred[Any] = self._endpoint.connect(_BoundedFactory(factory))
        return connecting.addCallback(lambda bounded: bounded.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where to connect for a URL."""

    def __init__(self, reactor: Any, patience: float) -> None:
        self._reactor = reactor
        self._patience = patience
        self._policy = BrowserLikePolicyForHTTPS()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """As in `IAgentEndpointFactory`."""
        endpoint: Any = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=self._patience)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Endpoint(endpoint)


class _Unread(Protocol):
    """Lets the rest of an answer go by, so that the connection can be used again."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(self._cut)

    def dataReceived(self, data: bytes) -> None:
        """Something of it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """All of it, or the connection has ended."""
        if not self.ended.called:
            self.ended.callback(None)

    def _cut(self, _: object = None) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class Post:
    """Posts to webhooks. A connection is kept for each host, for what comes next."""

    def __init__(self, reactor: Any, patience: float = PATIENCE) -> None:
        self._reactor = reactor
        self._patience = patience
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = 1
        self._client = HTTPClient(Agent.usingEndpointFactory(reactor, _Endpoints(reactor, patience), self._pool))

    async def __call__(self, url: str, headers: Mapping[str, str], octets: bytes) -> None:
        """Raises `NotNow` where it has not been taken: any answer but 2yz, and none in time. Redirects are not
        followed."""
        told: dict[bytes | str, bytes | str] = {"User-Agent": AGENT}
        told.update(headers.items())
        answer = self._client.post(
            url,
            data=octets,
            headers=told,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        answer.addTimeout(self._patience, self._reactor, self._too_late)
        try:
            response = await answer
        except NotNow:
            raise
        except Exception as error:
            raise NotNow(_shortened(self._why(error))) from error
        rest = _Unread()
        response.deliverBody(rest)
        await rest.ended.addTimeout(REST, self._reactor, lambda *_: None)
        if not 200 <= response.code < 300:
            phrase = bytes(response.phrase).decode("latin-1")
            raise NotNow(_shortened(f"{response.code} {phrase}".rstrip()))

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._pool.closeCachedConnections()

    def _too_late(self, failure: object, seconds: float) -> NoReturn:
        raise NotNow(f"no answer within {seconds:g} s")

    def _why(self, error: Exception) -> str:
        match error:
            case DNSLookupError():
                return "the host is not known"
            case ConnectError():
                return f"cannot be connected to: {error}"
            case ResponseFailed() | ResponseNeverReceived() | RequestTransmissionFailed() if error.reasons:
                if error.reasons[0].check(ConnectionAborted):
                    return f"its answer is longer than {LARGEST} octets"
                return f"the connection broke: {error.reasons[0].getErrorMessage()}"
            case _:
                return f"{type(error).__name__}: {error}"


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_SAID else f"{text[: MOST_SAID - 1]}…"
