"""A world for transports: a clock, a DNS in memory, and servers that say what a script tells them to.

Nothing waits in reality: what is sent arrives when the clock is advanced, be it by nothing.
"""

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar, cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,  # noqa: A004
    TimeoutError,  # noqa: A004
)
from twisted.internet.interfaces import IConnector, IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mta.dns.memory import MemoryResolver, Name
from mta.interfaces import IContent
from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Carried
from mta.net.client_tls import ClientHandshake, ClientTls
from mta.net.resumption import Shelf
from mta.policy.exchangers import Exchanger
from mta.policy.routing import Hop, Via
from mta.smtp.reply import Reply
from mta.transports.connector import Connector
from mta.transports.fitting import Fitter
from mta.transports.lmtp import LmtpTransport
from mta.transports.opener import Opener
from mta.transports.pool import Pool, PoolLimits
from mta.transports.search import Finder
from mta.transports.smtp import SmtpTransport

START = 1_700_000_000.0
T = TypeVar("T")

SILENT = "(silent)"  # no reply at all
HANG_UP = "(hangs up)"  # the connection ends, without a reply
DEAF = "(deaf)"  # nothing is read any more

TLS_WORKS = "(works)"
TLS_SILENT = "(silent)"

Script = str | bytes | Sequence[str | bytes]


class Server:
    """A server with replies by verb; of several the next is taken each time, and the last stays.

    `CONTENT` is what it says on having read the end of the content (LMTP: several lines in one string), `BLOCK` what
    it does for each piece of content before, `GREETING` what it begins with. `messages`: contents it has said 2yz to,
    with the paths. `heard`: all command lines. `connections`: how many there were; `open`: how many there are.
    `tls`: what becomes of a handshake: TLS_WORKS, or TLS_SILENT, or why it fails; `resumes`: may it go on with an
    earlier session, or does that break it; `implicit`: it comes first; `lingers`: it never answers the goodbye of TLS.
    """

    def __init__(self, pipelining: bool = True, **script: Script) -> None:
        ehlo = "250-mx\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n" + ("250 PIPELINING" if pipelining else "250 HELP")
        usual = {
            "GREETING": "220 mx ESMTP",
            "EHLO": ehlo,
            "LHLO": ehlo,
            "HELO": "250 mx",
            "MAIL": "250 2.1.0 sender ok",
            "RCPT": "250 2.1.5 recipient ok",
            "DATA": "354 go ahead",
            "BLOCK": SILENT,
            "CONTENT": "250 2.0.0 taken",
            "RSET": "250 2.0.0 reset",
            "QUIT": "221 2.0.0 bye",
        }
        self._script: dict[str, list[str | bytes]] = {}
        for verb, said in {**usual, **script}.items():
            self.says(verb, said)
        self.messages: list[tuple[str, tuple[str, ...], bytes]] = []
        self.heard: list[str] = []
        self.conversations: list[Conversation] = []
        self.tls = TLS_WORKS
        self.resumes = True
        self.implicit = False
        self.lingers = False

    def says(self, verb: str, said: Script) -> None:
        self._script[verb] = [said] if isinstance(said, str | bytes) else list(said)

    def next(self, verb: str) -> str | bytes:
        said = self._script.get(verb, ["500 5.5.1 what?"])
        return said.pop(0) if len(said) > 1 else said[0]

    @property
    def connections(self) -> int:
        return len(self.conversations)

    @property
    def open(self) -> int:
        return sum(conversation.wire.connected for conversation in self.conversations)

    def hang_up(self) -> None:
        """End all connections."""
        for conversation in self.conversations:
            conversation.wire.broken(ConnectionDone())


class Conversation:
    """One connection as its server sees it."""

    def __init__(self, server: Server, wire: "Wire") -> None:
        self.server = server
        self.wire = wire
        self.reads = True
        self._rest = b""
        self._content: bytes | None = None
        self._chunk = 0  # octets of a chunk that is to come
        self._sender, self._recipients = "", list[str]()

    def begin(self) -> None:
        self._say("GREETING")

    def receive(self, octets: bytes) -> None:
        self._rest += octets
        while self._rest and self.reads:
            if self._content is not None:
                if not self._read_content():
                    return
            elif self._chunk:
                if len(self._rest) < self._chunk:
                    return
                self._read_chunk()
            elif b"\r\n" in self._rest:
                line, _, self._rest = self._rest.partition(b"\r\n")
                self._command(line.decode())
            else:
                return

    def _command(self, line: str) -> None:
        self.server.heard.append(line)
        verb = line.partition(" ")[0]
        path = line[line.find("<") + 1 : line.find(">")]
        if verb == "BDAT":
            self._chunk = int(line.split()[1])
            return
        code = self._say(verb)
        if verb == "MAIL" and code == 250:
            self._sender, self._recipients = path, []
        elif verb == "RCPT" and code in (250, 251):
            self._recipients.append(path)
        elif verb == "DATA" and code == 354:
            self._content = b"\r\n"
        elif verb == "QUIT" and code == 221:
            self.wire.broken(ConnectionDone())

    def _read_content(self) -> bool:
        assert self._content is not None
        self._content += self._rest
        self._rest = b""
        end = self._content.find(b"\r\n.\r\n")
        if end < 0:
            self._say("BLOCK")
            return False
        content, self._rest, self._content = self._content[2 : end + 2], self._content[end + 5 :], None
        if content.startswith(b"."):
            content = content[1:]
        code = self._say("CONTENT")
        if code == 250:
            kept = content.replace(b"\r\n.", b"\r\n")  # whatever stands behind the dot (RFC 5321 4.5.2)
            self.server.messages.append((self._sender, tuple(self._recipients), kept))
        return True

    def _read_chunk(self) -> None:
        chunk, self._rest, self._chunk = self._rest[: self._chunk], self._rest[self._chunk :], 0
        if self._say("CONTENT") == 250:
            self.server.messages.append((self._sender, tuple(self._recipients), chunk))

    def _say(self, verb: str) -> int:
        said = self.server.next(verb)
        if said == HANG_UP:
            self.reads = False
            self.wire.broken(ConnectionLost())
        elif said == DEAF:
            self.reads = False
        elif isinstance(said, bytes):
            self.wire.arrive(said)
        elif said != SILENT:
            self.wire.arrive(said.encode() + b"\r\n")
            return int(said[:3])
        return 0


class Wire:
    """The client's transport. What is written waits in a queue while the server does not read."""

    def __init__(self, clock: Clock, protocol: Any, server: Server) -> None:
        self.clock = clock
        self.protocol = protocol
        self.connected = True
        self.conversation = Conversation(server, self)
        self.written: list[bytes] = []
        self._queue: list[bytes] = []
        self._producer: Any = None
        self._leaving = False
        server.conversations.append(self.conversation)

    def write(self, octets: bytes) -> None:
        if self.connected and not self._leaving:
            self.written.append(octets)
            self._queue.append(octets)
            self.clock.callLater(0, self._flush)

    def _flush(self) -> None:
        while self._queue and self.conversation.reads and self.connected:
            self.conversation.receive(self._queue.pop(0))
        if self._queue or not self.connected:
            return
        if self._producer is not None:
            self._producer.resumeProducing()
        elif self._leaving:
            self.broken(ConnectionDone())

    def startTLS(self, handshake: Any) -> None:
        """What the server says in the clear from now on is no part of a handshake."""
        server = self.conversation.server
        if handshake.offered and not server.resumes:
            self.broken(SSL.Error([("SSL routines", "", "binder does not verify")]))
        elif server.tls == TLS_WORKS:
            self.clock.callLater(0, self._encrypted)
        elif server.tls != TLS_SILENT:
            self.broken(SSL.Error([("SSL routines", "", server.tls)]))

    def _encrypted(self) -> None:
        if self.connected:
            self.protocol.handshakeCompleted()
            if self.conversation.server.implicit:
                self.conversation.begin()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert not streaming
        self._producer = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def loseConnection(self) -> None:
        if self.conversation.server.lingers:
            return
        self._leaving = True
        self.clock.callLater(0, self._flush)

    def abortConnection(self) -> None:
        self._queue.clear()
        self.broken(ConnectionLost())

    def arrive(self, octets: bytes) -> None:
        self.clock.callLater(0, self._arrived, octets)

    def _arrived(self, octets: bytes) -> None:
        if self.connected:
            self.protocol.dataReceived(octets)

    def broken(self, why: Exception) -> None:
        """The connection ends for both, behind what has been sent."""
        self.clock.callLater(0, self._lost, why)

    def _lost(self, why: Exception) -> None:
        if self.connected:
            self.connected = False
            self.protocol.connectionLost(Failure(why))


class ScriptedHandshake(ClientHandshake):
    """Judges certificates as it is told to, and keeps sessions that have nothing in them."""

    def __init__(self, host: str, verify: bool, shelf: Shelf | None) -> None:
        super().__init__(cast(Any, None), host, verify, shelf)
        self._resumed = shelf.take() if shelf is not None else None

    def keep_session(self, transport: Any) -> None:
        if self._shelf is not None:
            self._shelf.keep(cast(Any, object()))

    def described(self, transport: Any) -> str:
        return f"TLSv1.3 CIPHER, certificate {'verified for ' + self._host if self.verified else 'not verified'}"


class ScriptedTls(ClientTls):
    """TLS without octets. `wrong`: hosts with a certificate that is not theirs. `asked`: what was to be verified.
    `offered`: was a session to be resumed?"""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: set[str] = set()
        self.asked: list[tuple[str, bool]] = []
        self.offered: list[bool] = []

    def handshake(self, host: str, verify: bool, shelf: Shelf | None = None) -> ClientHandshake:
        self.asked.append((host, verify))
        handshake = ScriptedHandshake(host, verify, shelf)
        self.offered.append(handshake.offered)
        if verify and host in self.wrong:
            handshake.fault = f"the certificate is for a.example; not for {host}"
        handshake.verified = verify and host not in self.wrong
        return handshake


class ScriptedLogins:
    """Logs in as it is told to. `asked`: with which entry, where what was offered, and inside TLS or not."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...], bool]] = []
        self.answer: Any = Reply(451, "4.7.0", ("no login is expected here",))

    def mechanism(self, login: str, offered: Collection[str], tls: bool, channel: Any) -> Deferred[Any]:
        self.asked.append((login, tuple(offered), tls))
        return succeed(self.answer)


class Letter:
    """A content, in blocks, which may fail in the middle."""

    def __init__(self, octets: bytes, block: int = 65_536, fails: OSError | None = None) -> None:
        self.octets = octets
        self.size = len(octets)
        self._block = block
        self._fails = fails

    def blocks(self) -> Iterator[bytes]:
        for start in range(0, self.size, self._block):
            yield self.octets[start : start + self._block]
            if self._fails is not None:
                raise self._fails


LETTER = b"Subject: hello\r\n\r\nHello,\r\n.\r\n..dots\r\nbye\r\n"
HOP = Hop(Via.MX, "example.net")


class World:
    """Servers by (address, port) or by path, a DNS, and the transports under test."""

    def __init__(self, limits: PoolLimits = PoolLimits(), refuse_private: bool = False) -> None:  # noqa: B008
        self.clock = Clock()
        self.clock.rightNow = START
        self.resolver = MemoryResolver(cast(IReactorTime, self.clock))
        self.servers: dict[tuple[str, int] | str, Server] = {}
        self.unreachable: set[str] = set()
        self.ourselves: set[tuple[str, int]] = set()
        self.asked: list[str] = []  # the addresses that were connected to, or tried
        self.pool = Pool(cast(IReactorTime, self.clock), limits)
        self.connector = Connector(self.clock, self.pool, self._connect, self._connect_unix)
        self.finder = Finder(
            self.resolver,
            frozenset({"me.example"}),
            random.Random(1),
            lambda address, port: (address, port) in self.ourselves,
            refuse_private,
        )
        clock = cast(IReactorTime, self.clock)
        self.tls = ScriptedTls()
        self.logins = ScriptedLogins()
        opener = Opener(clock, "me.example", self.connector, self.tls, self.logins)
        parts = clock, self.finder, opener, self.pool, Fitter(maybeDeferred)
        self.smtp = SmtpTransport(*parts)
        self.lmtp = LmtpTransport(*parts)

    def host(self, name: str, address: str, server: Server | None = None, domain: str = "example.net") -> Server | None:
        """A host with an MX record of the domain, each less preferred than the one before."""
        entry = self.resolver.zones.setdefault(domain, Name())
        if all(exchanger.host != name for exchanger in entry.mx):
            entry.mx.append(Exchanger(len(entry.mx), name))
        records = self.resolver.zones.setdefault(name, Name())
        (records.aaaa if ":" in address else records.a).append(address)
        if server is not None:
            self.servers[address, 25] = server
        return server

    def serve(self, **script: Script) -> Server:
        """The usual case: example.net with one host, mx.example.net at 192.0.2.1."""
        server = Server(**cast(Any, script))
        self.host("mx.example.net", "192.0.2.1", server)
        return server

    def _connect(self, reactor: object, host: str, port: int, factory: Any, timeout: float) -> IConnector:
        assert reactor is self.clock
        self.asked.append(f"{host}:{port}")
        return self._open((host, port), host in self.unreachable, factory, timeout)

    def _connect_unix(self, reactor: object, path: str, factory: Any, timeout: float) -> IConnector:
        self.asked.append(path)
        return self._open(path, path in self.unreachable, factory, timeout)

    def _open(self, key: tuple[str, int] | str, silent: bool, factory: Any, timeout: float) -> IConnector:
        connector = cast(IConnector, object())

        def failed(error: Exception) -> None:
            factory.clientConnectionFailed(connector, Failure(error))

        def connected() -> None:
            protocol = factory.buildProtocol(None)
            wire = Wire(self.clock, protocol, self.servers[key])
            protocol.makeConnection(wire)
            if not self.servers[key].implicit:
                wire.conversation.begin()

        if silent:
            self.clock.callLater(timeout, failed, TimeoutError())
        elif key not in self.servers:
            self.clock.callLater(0, failed, ConnectionRefusedError(111))
        else:
            self.clock.callLater(0, connected)
        return connector

    def run(self, seconds: float) -> None:
        """Let time pass, event by event."""
        self._run(lambda: False, seconds)

    def _run(self, done: Callable[[], bool], seconds: float) -> None:
        end = self.clock.seconds() + seconds
        self.clock.advance(0)
        while not done():
            upcoming = min((call.getTime() for call in self.clock.getDelayedCalls()), default=end)
            if upcoming > end:
                break
            self.clock.advance(max(0, upcoming - self.clock.seconds()))
            if upcoming == end:
                break
        else:
            return
        self.clock.advance(max(0, end - self.clock.seconds()))

    def result(self, deferred: Deferred[T], seconds: float = 0) -> T:
        """What a Deferred fires with, within so much time."""
        results: list[T] = []
        failures: list[Failure] = []
        deferred.addCallbacks(results.append, failures.append)
        self._run(lambda: bool(results or failures), seconds)
        for failure in failures:
            failure.raiseException()
        assert results, "it did not fire"
        return results[0]

    def carry(
        self,
        *recipients: str,
        content: IContent | Letter | bytes = LETTER,
        hop: Hop = HOP,
        seconds: float = 0,
        **envelope: Any,
    ) -> Carried:
        """Carry a letter; the clock is advanced by up to `seconds` for it."""
        letter = Letter(content) if isinstance(content, bytes) else content
        transport = self.lmtp if hop.via in (Via.LMTP, Via.LMTP_UNIX) else self.smtp
        return self.result(transport.carry(hop, envelope_to(*recipients, **envelope), cast(IContent, letter)), seconds)


def envelope_to(*recipients: str, **fields: Any) -> Envelope:
    """An envelope from s@example.com, to a@example.net where nobody is named."""
    everybody = tuple(Recipient(address) for address in recipients or ("a@example.net",))
    return Envelope(**{"sender": "s@example.com", "recipients": everybody, "received": START, **fields})
