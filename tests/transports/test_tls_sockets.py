"""TLS towards servers, over real sockets: aiosmtpd with Python's own TLS is the other side."""

import random
import shutil
import socket
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from carry_world import LETTER, Letter, envelope_to
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from mta.auth.client import SHOWING
from mta.dns.memory import MemoryResolver, Name
from mta.interfaces import IContent
from mta.message.outcome import Carried, Outcome, Result
from mta.net.client_tls import ClientTls
from mta.policy.routing import Hop, Via
from mta.transports.connector import Connector
from mta.transports.fitting import Fitter
from mta.transports.opener import Opener
from mta.transports.pool import Pool, PoolLimits
from mta.transports.search import Finder
from mta.transports.smtp import SmtpTransport

HOST = "127.0.0.7"  # of no other test, so that ports do not meet
CA = trustme.CA()
LARGE = b"".join(b"%07d line of a large content\r\n.\r\n" % number for number in range(100_000))


class Sink:
    """What aiosmtpd hands its messages to."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.encrypted: list[bool] = []
        self.resumed: list[bool] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.contents.append(envelope.original_content)
        self.encrypted.append(session.ssl is not None)
        tls = server.transport.get_extra_info("ssl_object")
        self.resumed.append(tls is not None and tls.session_reused)
        return "250 2.0.0 taken"


class Login:
    """Logs in with a password that is right or wrong."""

    def __init__(self, password: str) -> None:
        self._password = password
        self.bindings: list[Any] = []

    def mechanism(self, login: str, offered: Any, tls: bool, channel: Any) -> Deferred[Any]:
        assert tls
        self.bindings.append(channel.usual())
        assert "PLAIN" in offered
        return maybeDeferred(SHOWING["PLAIN"], login, self._password)


class TlsTest(TestCase):
    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        folder = Path(tempfile.mkdtemp(prefix="mta-tls-"))
        self.addCleanup(shutil.rmtree, folder)
        self.trust = folder / "trust.pem"
        CA.cert_pem.write_to_path(str(self.trust))
        self.reactor = reactor
        self.sink = Sink()
        self.names: list[str | None] = []
        self.pool = Pool(cast(IReactorTime, reactor))
        self.addCleanup(self.pool.stop)

    def context(self, *names: str, issued: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (issued or CA.issue_cert(*names)).configure_cert(context)
        context.sni_callback = lambda _, name, __: self.names.append(name)  # type: ignore[assignment]
        return context

    def serve(self, context: ssl.SSLContext, implicit: bool = False, **options: Any) -> int:
        with socket.create_server((HOST, 0)) as probe:
            port = cast(int, probe.getsockname()[1])
        if implicit:
            options["ssl_context"] = context
        else:
            options["tls_context"] = context
        controller = Controller(self.sink, hostname=HOST, port=port, ready_timeout=20, **options)
        controller.start()
        self.addCleanup(lambda: self.pool.stop().addCallback(lambda _: controller.stop()))
        return port

    def transport(self, trusted: bool = True, **options: Any) -> SmtpTransport:
        clock = cast(IReactorTime, self.reactor)
        resolver = MemoryResolver(clock)
        resolver.zones["mx.example"] = resolver.zones["mx.mail.example"] = Name(a=[HOST])
        finder = Finder(resolver, frozenset(), random.Random(1), lambda address, port: False)
        tls = ClientTls(self.trust if trusted else None)
        opener = Opener(clock, "me.example", Connector(self.reactor, self.pool), tls, **options)
        return SmtpTransport(clock, finder, opener, self.pool, Fitter(maybeDeferred))

    async def carry(self, hop: Hop, content: bytes = LETTER, **options: Any) -> Carried:
        return await self.transport(**options).carry(hop, envelope_to(), cast(IContent, Letter(content)))

    async def refused(self, context: ssl.SSLContext, host: str = "mx.example", trusted: bool = True) -> str:
        port = self.serve(context)
        carried = await self.carry(Hop(Via.SMTP, host, port, tls="verify"), trusted=trusted)
        [outcome] = carried.outcomes
        assert outcome.result is Result.DEFERRED
        assert not self.sink.contents
        return str(outcome.reply)

    async def test_messages_of_all_sizes_arrive_encrypted_over_one_session(self) -> None:
        hop = Hop(Via.SMTP, "mx.example", self.serve(self.context("mx.example")))
        for content in (LETTER, LARGE, LETTER):
            carried = await self.carry(hop, content)
            assert [outcome.result for outcome in carried.outcomes] == [Result.DELIVERED]
            assert carried.tries[0].tls == "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate not verified"
        assert self.sink.contents == [LETTER, LARGE, LETTER]
        assert self.sink.encrypted == [True] * 3
        assert self.names == ["mx.example"]

    async def test_a_certificate_that_is_verified(self) -> None:
        hop = Hop(Via.SMTP, "mx.example", self.serve(self.context("mx.example")), tls="verify")
        [tried] = (await self.carry(hop)).tries
        assert tried.tls == "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate verified for mx.example"
        assert self.sink.contents == [LETTER]

    async def test_an_older_version_and_a_wildcard(self) -> None:
        context = self.context("*.mail.example")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        hop = Hop(Via.SMTP, "mx.mail.example", self.serve(context), tls="verify")
        [tried] = (await self.carry(hop)).tries
        assert tried.tls.startswith("TLSv1.2 ECDHE-")
        assert tried.tls.endswith(", certificate verified for mx.mail.example")

    async def test_an_address_is_in_the_certificate_of_its_host(self) -> None:
        hop = Hop(Via.SMTP, HOST, self.serve(self.context(HOST)), tls="verify")
        [tried] = (await self.carry(hop)).tries
        assert tried.tls.endswith(f", certificate verified for {HOST}")
        assert self.names == [None], "an address is no server name (RFC 6066 3)"

    async def test_tls_from_the_first_octet(self) -> None:
        hop = Hop(Via.SMTPS, "mx.example", self.serve(self.context("mx.example"), implicit=True), tls="verify")
        [tried] = (await self.carry(hop, LARGE)).tries
        assert tried.tls.endswith(", certificate verified for mx.example")
        assert self.sink.contents == [LARGE]

    async def test_each_connection_resumes_the_session_of_the_one_before(self) -> None:
        self.pool = Pool(cast(IReactorTime, self.reactor), PoolLimits(messages=1))
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            for implicit in (False, True):
                context = self.context("mx.example")
                context.maximum_version = version
                port = self.serve(context, implicit)
                transport = self.transport()
                self.sink.resumed.clear()
                via = Via.SMTPS if implicit else Via.SMTP
                for tls in ("require", "verify"):
                    known = "verified for mx.example" if tls == "verify" else "not verified"
                    for _ in range(3):
                        carried = await transport.carry(
                            Hop(via, "mx.example", port, tls=tls), envelope_to(), cast(IContent, Letter(LETTER))
                        )
                        [tried] = carried.tries
                        assert tried.tls.endswith(f", certificate {known}")
                assert self.sink.resumed == [False, True, True] * 2
        assert self.sink.contents == [LETTER] * 24

    async def test_what_was_not_verified_does_not_become_so_by_resuming(self) -> None:
        self.pool = Pool(cast(IReactorTime, self.reactor), PoolLimits(messages=1))
        port = self.serve(self.context(issued=trustme.CA().issue_cert("mx.example")))
        transport = self.transport()

        async def carry(tls: Any) -> str:
            hop = Hop(Via.SMTP, "mx.example", port, tls=tls)
            carried = await transport.carry(hop, envelope_to(), cast(IContent, Letter(LETTER)))
            return str(carried.outcomes[0].reply)

        assert [await carry("require"), await carry("require")] == ["250 2.0.0 taken"] * 2
        assert self.sink.resumed == [False, True]
        assert await carry("verify") == "451 4.7.5 the certificate is signed by nobody whom this machine trusts"

    async def test_a_certificate_for_others(self) -> None:
        reply = await self.refused(self.context("a.example", "b.example"))
        assert reply == "451 4.7.5 the certificate is for a.example, b.example; not for mx.example"

    async def test_a_certificate_for_another_address(self) -> None:
        reply = await self.refused(self.context("127.0.0.3", "mx.example"), HOST)
        assert reply == "451 4.7.5 the certificate is for mx.example, 127.0.0.3; not for 127.0.0.7"

    async def test_a_common_name_does_not_count(self) -> None:
        issued = CA.issue_cert("someone@mx.example", common_name="mx.example")
        reply = await self.refused(self.context(issued=issued))
        assert reply == "451 4.7.5 the certificate is for no host by name; not for mx.example"

    async def test_a_certificate_of_a_stranger(self) -> None:
        reply = await self.refused(self.context(issued=trustme.CA().issue_cert("mx.example")))
        assert reply == "451 4.7.5 the certificate is signed by nobody whom this machine trusts"

    async def test_the_systems_trust_is_the_usual_one(self) -> None:
        reply = await self.refused(self.context("mx.example"), trusted=False)
        assert reply == "451 4.7.5 the certificate is signed by nobody whom this machine trusts"

    async def test_an_expired_certificate(self) -> None:
        days = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)
        issued = CA.issue_cert("mx.example", not_before=days[0], not_after=days[1])
        assert await self.refused(self.context(issued=issued)) == "451 4.7.5 the certificate has expired"

    async def test_a_handshake_that_cannot_succeed(self) -> None:
        """The server offers STARTTLS and has no certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        hop = Hop(Via.SMTP, "mx.example", self.serve(context))
        [tried] = (await self.carry(hop)).tries
        [note] = tried.notes
        assert note.startswith("in the clear, though the server offers TLS: the TLS handshake failed: ")
        assert note.endswith("connection lost"), "that is all that aiosmtpd has to say"
        assert self.sink.encrypted == [False]
        carried = await self.carry(Hop(Via.SMTP, "mx.example", hop.port, tls="require"))
        assert str(carried.outcomes[0].reply).startswith("451 4.7.5 the TLS handshake failed: ")
        assert len(self.sink.contents) == 1

    async def _log_in(self, password: str) -> Outcome:
        def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
            return AuthResult(success=(data.login, data.password) == (b"provider", b"right"), handled=False)

        port = self.serve(self.context("mx.example"), authenticator=authenticate, auth_required=True)
        hop = Hop(Via.SMTP, "mx.example", port, tls="verify", login="provider")
        [outcome] = (await self.carry(hop, logins=Login(password))).outcomes
        return outcome

    async def test_logging_in(self) -> None:
        outcome = await self._log_in("right")
        assert outcome.result is Result.DELIVERED
        assert self.sink.contents == [LETTER]

    async def test_what_a_login_can_be_bound_to_is_what_the_server_has(self) -> None:
        """Python's own TLS says what it is in TLS 1.2, for sessions that are resumed, too."""
        self.pool = Pool(cast(IReactorTime, self.reactor), PoolLimits(messages=1))
        context = self.context("mx.example")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        unique: list[bytes | None] = []

        def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
            tls = server.transport.get_extra_info("ssl_object")
            unique.append(tls.get_channel_binding("tls-unique"))
            return AuthResult(success=True)

        port = self.serve(context, authenticator=authenticate, auth_required=True)
        logins = Login("right")
        transport = self.transport(logins=logins)
        hop = Hop(Via.SMTP, "mx.example", port, tls="verify", login="provider")
        for _ in range(2):
            await transport.carry(hop, envelope_to(), cast(IContent, Letter(LETTER)))
        assert self.sink.resumed == [False, True]
        assert logins.bindings == [("tls-unique", octets) for octets in unique]
        assert len(set(unique)) == 2

    async def test_a_wrong_password(self) -> None:
        outcome = await self._log_in("wrong")
        assert outcome.result is Result.HELD
        assert 'login "provider" refused by mx.example[127.0.0.7]' in str(outcome.reply)
        assert not self.sink.contents
