"""Connections through a proxy: nothing is said before the header, and nothing is lost behind it."""

import socket
from collections.abc import Callable

import pytest
import trustme
from OpenSSL.SSL import TLS_CLIENT_METHOD, TLS_SERVER_METHOD, Connection, Context, Error, WantReadError, ZeroReturnError
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from mta.inbound import proxy
from mta.inbound.proxy import Porch
from mta.maillog import MailLog
from mta.net import sockets

HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 25\r\n"


class Wire(StringTransport):
    """A connection that remembers whether it was cut."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class Greeter(Protocol):
    """The real protocol: greets, then keeps what it hears."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard = b""
        self.lost = False

    def connectionMade(self) -> None:
        self.transport.write(b"220 hello " + self.address.encode() + b"\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason=None) -> None:
        self.lost = True


class Place:
    """A porch on a virtual clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.porch = Porch(self.clock, MailLog(self.lines.append, self.clock))
        self.built: list[Greeter] = []

    def build(self, address: str) -> Greeter:
        self.built.append(Greeter(address))
        return self.built[-1]

    def connect(self, address: str = "198.51.100.9", build=None) -> Wire | None:
        protocol = self.porch.admit(address, build or self.build)
        if protocol is None:
            return None
        wire = Wire()
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return wire


def client_of(header: bytes, proxy_address: str) -> str:
    place = Place()
    wire = place.connect(proxy_address)
    wire.protocol.dataReceived(header)
    return place.built[0].address


def test_the_greeting_waits_for_the_last_octet_of_the_header() -> None:
    place = Place()
    wire = place.connect()
    for octet in HEADER[:-1]:
        wire.protocol.dataReceived(bytes([octet]))
    assert (wire.value(), place.built) == (b"", [])
    wire.protocol.dataReceived(HEADER[-1:])
    assert wire.value() == b"220 hello 192.0.2.7\r\n"
    wire.protocol.dataReceived(b"QUIT\r\n")
    assert place.built[0].heard == b"QUIT\r\n"
    assert (place.lines, place.clock.getDelayedCalls()) == ([], [])


def test_what_comes_in_the_same_segment_is_heard_once_and_whole() -> None:
    place = Place()
    wire = place.connect()
    wire.protocol.dataReceived(HEADER + b"EHLO me\r\n" + HEADER)
    assert place.built[0].heard == b"EHLO me\r\n" + HEADER
    assert wire.value() == b"220 hello 192.0.2.7\r\n"


@pytest.mark.parametrize(
    ("header", "proxy_address", "client"),
    [
        (HEADER, "198.51.100.9", "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 25\r\n", "198.51.100.9", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "198.51.100.9", "198.51.100.9"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "198.51.100.9", "198.51.100.9"),
        # The proxy's loopback is not ours, where everybody may relay.
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n", "198.51.100.9", "198.51.100.9"),
        (b"PROXY TCP6 ::ffff:127.0.0.1 ::1 1 25\r\n", "198.51.100.9", "198.51.100.9"),
        (b"PROXY TCP6 ::1 ::1 1 25\r\n", "198.51.100.9", "198.51.100.9"),
        (b"PROXY TCP4 127.0.0.2 127.0.0.1 1 25\r\n", "127.0.0.1", "127.0.0.2"),
        (b"PROXY TCP4 127.0.0.2 127.0.0.1 1 25\r\n", "", "127.0.0.2"),
        (b"PROXY UNKNOWN\r\n", "", ""),
    ],
)
def test_whose_connection_it_is(header: bytes, proxy_address: str, client: str) -> None:
    assert client_of(header, proxy_address) == client


@pytest.mark.parametrize(
    ("octets", "why"), [(b"EHLO me\r\n", "does not begin"), (b"PROXY TCP4 x y 1 2\r\n", "no address")]
)
def test_without_a_header_nothing_is_said_and_the_log_says_why(octets: bytes, why: str) -> None:
    place = Place()
    wire = place.connect()
    wire.protocol.dataReceived(octets)
    assert (wire.aborted, wire.value(), place.built) == (True, b"", [])
    (line,) = place.lines
    assert "refused client=198.51.100.9" in line
    assert why in line
    wire.protocol.connectionLost()
    assert place.clock.getDelayedCalls() == []


def test_a_header_that_does_not_come_in_time() -> None:
    place = Place()
    wire = place.connect()
    wire.protocol.dataReceived(HEADER[:20])
    place.clock.advance(4.9)
    assert not wire.aborted
    place.clock.advance(0.2)
    assert (wire.aborted, wire.value(), len(place.lines)) == (True, b"", 1)


def test_no_more_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "ROOM", 3)
    place = Place()
    wires = [place.connect() for _ in range(3)]
    assert place.connect() is None
    assert "3 connections wait" in place.lines[0]
    wires[0].protocol.dataReceived(HEADER)  # let in
    wires[1].protocol.dataReceived(b"QUIT\r\n")  # refused
    wires[2].protocol.connectionLost()  # gone: it only looked whether we are there
    assert len(place.lines) == 2
    assert all(place.connect() for _ in range(3))
    assert place.connect() is None


def test_a_client_that_is_not_let_in() -> None:
    wire = Place().connect(build=lambda address: None)
    wire.protocol.dataReceived(HEADER)
    assert (wire.aborted, wire.value()) == (True, b"")


def test_those_who_wait_are_cut_off_when_the_relay_goes_down() -> None:
    place = Place()
    waiting, inside = place.connect(), place.connect()
    inside.protocol.dataReceived(HEADER)
    place.porch.close()
    assert (waiting.aborted, inside.aborted) == (True, False)
    assert place.clock.getDelayedCalls() == []


# ---- Over real sockets


@implementer(IHandshakeListener)
class Echo(Protocol):
    """Greets with the client's address, echoes until QUIT. tls: begins with a handshake."""

    def __init__(self, address: str, tls: object | None = None) -> None:
        self.address = address
        self.tls = tls
        self.paused = 0
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        if self.tls is None:
            self.greet()
        else:
            self.transport.startTLS(self.tls)

    def handshakeCompleted(self) -> None:
        self.greet()

    def greet(self) -> None:
        self.transport.write(b"220 " + self.address.encode() + b"\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)
        if data.endswith(b"QUIT\r\n"):
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def pauseProducing(self) -> None:
        self.paused += 1
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        pass

    def connectionLost(self, reason=None) -> None:
        self.lost.callback(None)


class Caller(Protocol):
    """A proxy, and the client behind it."""

    def __init__(self) -> None:
        self.heard = b""
        self.made: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.made.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason=None) -> None:
        self.lost.callback(None)


class TlsCaller(Caller):
    """A client that begins with a handshake, so that its first octets stand right behind the header."""

    def connectionMade(self) -> None:
        self.tls = Connection(Context(TLS_CLIENT_METHOD), None)
        self.tls.set_connect_state()
        self.said = False
        super().connectionMade()

    def begin(self, header: bytes) -> None:
        self.transport.write(header + self._step())

    def dataReceived(self, data: bytes) -> None:
        self.tls.bio_write(data)
        self.transport.write(self._step())

    def _step(self) -> bytes:
        """Go on as far as possible; what is to be sent."""
        try:
            self.tls.do_handshake()
            if not self.said:
                self.said = True
                self.tls.send(b"one\r\nQUIT\r\n")
            while True:
                self.heard += self.tls.recv(65536)
        except WantReadError:
            pass
        except ZeroReturnError:
            self.tls.shutdown()
        try:
            return self.tls.bio_read(65536)
        except Error:
            return b""


class SocketTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.built: list[Echo] = []

    def _echo(self, address: str, tls: object | None = None) -> Echo:
        self.built.append(Echo(address, tls))
        return self.built[-1]

    async def _call(self, build: Callable[[str], Protocol], caller: Caller) -> None:
        """Connect to a port where everybody is a proxy."""
        porch = Porch(reactor, MailLog([].append, reactor))

        class Entrance(Factory):
            noisy = False

            def buildProtocol(self, addr):
                return porch.admit(addr.host, build)

        port = sockets.listen(reactor, "127.0.0.1", 0, Entrance())
        self.addCleanup(port.stopListening)
        factory = ClientFactory.forProtocol(lambda: caller)
        factory.noisy = False
        sockets.connect(reactor, "127.0.0.1", port.getHost().port, factory, 5)
        await caller.made

    async def test_in_one_segment(self) -> None:
        caller = Caller()
        await self._call(self._echo, caller)
        caller.transport.write(HEADER + b"one\r\nQUIT\r\n")
        await caller.lost
        await self.built[0].lost
        self.assertEqual(caller.heard, b"220 192.0.2.7\r\none\r\nQUIT\r\n")

    async def test_octet_by_octet(self) -> None:
        caller = Caller()
        await self._call(self._echo, caller)
        for octet in HEADER:
            self.assertEqual(caller.heard, b"")
            caller.transport.write(bytes([octet]))
            await deferLater(reactor, 0.001)
        # So much that the replies pile up: the protocol is the producer of its transport.
        sent = b"x" * 8_000_000 + b"QUIT\r\n"
        caller.transport.pauseProducing()
        caller.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        caller.transport.write(sent)
        while not self.built or not self.built[0].paused:
            await deferLater(reactor, 0.001)
        caller.transport.resumeProducing()
        await caller.lost
        await self.built[0].lost
        self.assertEqual(caller.heard, b"220 192.0.2.7\r\n" + sent)

    async def test_a_client_that_says_something_else_hears_nothing(self) -> None:
        caller = Caller()
        await self._call(self._echo, caller)
        caller.transport.write(b"EHLO me\r\n")
        await caller.lost
        self.assertEqual((caller.heard, self.built), (b"", []))

    async def test_a_client_that_goes_is_known_to_have_gone(self) -> None:
        caller = Caller()
        await self._call(self._echo, caller)
        caller.transport.write(HEADER)
        while not caller.heard:
            await deferLater(reactor, 0.001)
        caller.transport.abortConnection()
        await self.built[0].lost

    async def test_a_handshake_right_behind_the_header(self) -> None:
        tls = ServerTls()
        caller = TlsCaller()
        await self._call(lambda address: self._echo(address, tls), caller)
        caller.begin(HEADER)
        await caller.lost
        await self.built[0].lost
        self.assertEqual(caller.heard, b"220 192.0.2.7\r\none\r\nQUIT\r\n")


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """A server's side of TLS, with a certificate of its own."""

    def __init__(self) -> None:
        self.context = Context(TLS_SERVER_METHOD)
        trustme.CA().issue_cert("mx.example.org").configure_cert(self.context)

    def serverConnectionForTLS(self, protocol) -> Connection:
        return Connection(self.context, None)
