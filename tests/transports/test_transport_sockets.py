"""The same over real sockets on the loopback, with another program's server behind them."""

import random
import socket
import tempfile
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller, UnixSocketController
from aiosmtpd.lmtp import LMTP
from carry_world import LETTER, Letter, envelope_to
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from mta.dns.memory import MemoryResolver
from mta.interfaces import IContent
from mta.message.outcome import Carried, Result
from mta.policy.routing import Hop, Via
from mta.transports.connector import Connector
from mta.transports.fitting import Fitter
from mta.transports.lmtp import LmtpTransport
from mta.transports.opener import Opener
from mta.transports.pool import Pool
from mta.transports.search import Finder
from mta.transports.smtp import SmtpTransport

HOST = "127.0.0.2"
LARGE = b"".join(b"%07d line of a large content\r\n.\r\n" % number for number in range(30_000))


def free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return cast(int, probe.getsockname()[1])


class Sink:
    """What aiosmtpd hands its messages to."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.sessions: set[Any] = set()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("unknown"):
            return "550 5.1.1 unknown"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.contents.append(envelope.original_content)
        self.sessions.add(session.peer)
        return "250 2.0.0 taken"


class Store(UnixSocketController):
    def factory(self) -> LMTP:
        return LMTP(self.handler)


class SocketTest(TestCase):
    """aiosmtpd runs in a thread of its own."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        clock = cast(IReactorTime, reactor)
        self.pool = Pool(clock)
        self.sink = Sink()
        finder = Finder(MemoryResolver(clock), frozenset(), random.Random(1), lambda address, port: False)
        opener = Opener(clock, "me.example", Connector(reactor, self.pool))
        parts = clock, finder, opener, self.pool, Fitter(maybeDeferred)
        self.smtp = SmtpTransport(*parts)
        self.lmtp = LmtpTransport(*parts)
        self.addCleanup(self.pool.stop)

    def start(self, controller: Any) -> None:
        controller.start()
        self.addCleanup(self.deferred_stop, controller)

    def deferred_stop(self, controller: Any) -> Deferred[None]:
        """Not before our own connections are closed."""
        return self.pool.stop().addCallback(lambda _: controller.stop())

    def carry(self, transport: SmtpTransport, hop: Hop, content: bytes, *recipients: str) -> Deferred[Carried]:
        return transport.carry(hop, envelope_to(*recipients), cast(IContent, Letter(content)))

    async def test_messages_of_all_sizes_arrive_over_one_connection(self) -> None:
        port = free_port()
        self.start(Controller(self.sink, hostname=HOST, port=port))
        hop = Hop(Via.SMTP, HOST, port=port)
        for content in (LETTER, LARGE, LETTER):
            carried = await self.carry(self.smtp, hop, content, "a@example.net", "unknown@example.net")
            assert [outcome.result for outcome in carried.outcomes] == [Result.DELIVERED, Result.FAILED]
            assert carried.outcomes[0].host == f"[{HOST}]:{port}"
        assert self.sink.contents == [LETTER, LARGE, LETTER]
        assert len(self.sink.sessions) == 1
        both = [self.carry(self.smtp, hop, LARGE) for _ in range(2)]
        for carried in await gatherResults(both):
            assert carried.outcomes[0].result is Result.DELIVERED
        assert self.sink.contents[3:] == [LARGE, LARGE]

    async def test_a_store_behind_a_unix_socket(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = str(Path(folder.name) / "lmtp")
        self.start(Store(self.sink, path))
        carried = await self.carry(self.lmtp, Hop(Via.LMTP_UNIX, path=path), LETTER)
        assert [(outcome.result, outcome.host) for outcome in carried.outcomes] == [(Result.DELIVERED, f"unix:{path}")]
        assert self.sink.contents == [LETTER]

    async def test_nobody_listens(self) -> None:
        carried = await self.carry(self.smtp, Hop(Via.SMTP, HOST, port=1), LETTER)
        assert [str(outcome.reply) for outcome in carried.outcomes] == ["451 4.4.1 connection refused"]
        carried = await self.carry(self.lmtp, Hop(Via.LMTP_UNIX, path="/nowhere/at/all"), LETTER)
        assert [str(outcome.reply) for outcome in carried.outcomes] == ["451 4.4.1 no such file or directory"]
        carried = await self.carry(self.lmtp, Hop(Via.LMTP_UNIX, path="/" + "long" * 100), LETTER)
        assert "path is too long" in str(carried.outcomes[0].reply)
