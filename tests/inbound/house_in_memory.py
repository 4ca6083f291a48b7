"""A listener in memory, with all that stands behind it but sockets: what is said to it, and what it leaves behind."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dialogue_ground import client_address, write_configuration
from tls_in_memory import Channel
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mta.auth.accounts import AccountsFile
from mta.auth.authentication import Authentication
from mta.config.accounts import read_accounts
from mta.config.load import load
from mta.config.model import Config
from mta.inbound import protocol
from mta.inbound.door import Doorkeeper, DoorLimits
from mta.inbound.house import House
from mta.inbound.listener import ListenerFactory
from mta.inbound.manners import Manners
from mta.inbound.proxy import Porch
from mta.inbound.reception import Keeping
from mta.interfaces import Claim, ICheck, IContent, ISpool
from mta.maillog import MailLog
from mta.policy.addressing import Addressing
from mta.smtp.address import domain_of
from mta.spool.memory import MemorySpool

KEYS_OF_LISTENER = (
    "tls", "auth", "plaintext_auth", "auth_equals", "bare_lf", "source_routes", "vrfy", "etrn", "proxy_protocol",
    "xclient",
)  # fmt: skip


class Dispatcher:
    """Keeps what it is told to deliver, as if no next hop ever answered."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.contents: list[bytes] = []

    def reserve(self, destination: str) -> bool:
        return True

    def unreserve(self, destination: str) -> None:
        pass

    def deliver(self, claim: Claim, content: IContent | None) -> None:
        assert content is not None
        self.claims.append(claim)
        self.contents.append(b"".join(content.blocks()))

    def wake(self, destination: str) -> None:
        pass

    def start_queue(self, domain: str, destination: str) -> "Deferred[int]":
        def waits(claim: Claim) -> bool:
            if not domain:
                return claim.destination == destination
            names = [domain_of(one.address) for one in claim.envelope.recipients]
            return any(name.endswith(domain) if domain.startswith(".") else name == domain for name in names)

        return succeed(sum(map(waits, self.claims)))


class Inline:
    """Threads that are none."""

    def run(self, work: Any) -> "Deferred[Any]":
        return succeed(work())

    def stop(self) -> "Deferred[None]":
        return succeed(None)


class Certificates:
    """Stands for a certificate, which nobody looks at here."""

    def creator(self) -> None:
        return None


class Wire(StringTransport):
    """A connection on which nothing is encrypted, but the moment is known when it would be."""

    awaits_tls = False

    def startTLS(self, creator: object) -> None:
        self.awaits_tls = True

    def abortConnection(self) -> None:
        self.loseConnection()


class InMemory:
    """A listener of a relay in memory, as the peer of a dialogue. cut: octets per read, 0 for all at once.

    It is set as a `With:` line of these settings says. folder: for its files. checks: of the house. spool: makes
    another one than the twin in memory, of a clock.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, str],
        cut: int = 0,
        checks: Sequence[ICheck] = (),
        spool: Callable[[Clock], ISpool] | None = None,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(time.time())
        self.spool: Any = spool(self.clock) if spool else MemorySpool(self.clock.seconds, self.clock)
        self._checks = tuple(checks)
        self.dispatcher = Dispatcher()
        self.lines: list[str] = []
        self._cut = cut
        self._octets = b""
        self._wire = Wire()
        self._certificate = ("alice@example.org",) if "certificate" in settings else ()
        factory = self._listener(configuration(folder, tuple(settings.items())))
        session = factory.buildProtocol(IPv4Address("TCP", client_address(settings), 40_000))
        assert session is not None
        self._wire.protocol = session
        session.makeConnection(self._wire)
        if settings.get("tls") == "implicit" and "proxy" not in settings:
            self.encrypt()

    def send(self, octets: bytes) -> None:
        step = self._cut or len(octets)
        for at in range(0, len(octets), step):
            if not self._wire.disconnecting:
                self._wire.protocol.dataReceived(octets[at : at + step])
                self._settle()

    def encrypt(self) -> None:
        assert self._wire.awaits_tls, "the server does not wait for a handshake"
        self._wire.awaits_tls = False
        with (
            patch.object(protocol, "describe", return_value="TLSv1.3 TLS_AES_256_GCM_SHA384"),
            patch.object(protocol, "certificate_names", return_value=self._certificate),
            patch.object(protocol, "channel_of", return_value=Channel({"tls-exporter": b"of this connection"})),
        ):
            self._wire.protocol.handshakeCompleted()
        self._settle()

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self._settle()

    def line(self) -> str | None:
        self._octets += self._wire.value()
        self._wire.clear()
        if not self._octets:
            assert self._wire.disconnecting, "the server says nothing, and does not close either"
            return None
        line, crlf, self._octets = self._octets.partition(b"\r\n")
        assert crlf
        return line.decode("utf-8")

    def rest(self) -> bytes:
        return self._octets + bytes(self._wire.value())

    def _settle(self) -> None:
        """Let everybody who was asked answer."""
        for _ in range(5):
            self.clock.advance(0)

    def _listener(self, config: Config) -> ListenerFactory:
        """The first listener of a configuration, with a house of its own."""
        clock = self.clock
        log = MailLog(self.lines.append, clock)
        self.spool.start()
        routing, directory = config.routing(), config.directory()
        assert config.accounts is not None
        assert config.accounts.file is not None
        accounts = AccountsFile(config.accounts.file, read_accounts, clock, log.event)
        house = House(
            hostname=config.hostname,
            postmaster=config.postmaster,
            keeping=Keeping(
                config.hostname,
                self.spool,
                self.dispatcher,
                log,
                clock.seconds,
                deadline=lambda since, by, mode: since + config.retry.give_up,
                max_received=config.limits.received,
            ),
            access=config.access(),
            routing=routing,
            directory=directory,
            addressing=Addressing(directory, routing, config.postmaster),
            authentication=Authentication(clock, log.event, Inline(), config.hostname, accounts),
            checks=self._checks,
        )
        entry = config.listen[0]
        manners = Manners(
            **{key: getattr(entry, key) for key in KEYS_OF_LISTENER},
            message_size=config.limits.message_size,
            recipients=config.limits.recipients,
        )
        door = Doorkeeper(clock, config.hostname, DoorLimits(connections=10, connections_per_client=10), log)
        return ListenerFactory(door, Porch(clock, log), house, manners, Certificates())


@lru_cache
def configuration(folder: Path, settings: tuple[tuple[str, str], ...]) -> Config:
    return load(write_configuration(folder, dict(settings)))
