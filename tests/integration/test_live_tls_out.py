"""TLS and logins towards Postfix, with Dovecot's accounts behind it: our transports, no relay around them."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from peers.dovecot import Accounts, running_accounts
from peers.ground import Loopback, free_port, greets, wait_until
from peers.postfix import Postfix, running_postfix
from reading import with_lf
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from mta.auth.client import HIDING, SHOWING
from mta.auth.logins import Logins, Upstream
from mta.config.reading import read_password
from mta.dns.memory import MemoryResolver, Name
from mta.interfaces import IContent
from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Carried, Result, Try
from mta.net.client_tls import ClientTls
from mta.policy.routing import Hop, Via
from mta.transports.connector import Connector
from mta.transports.fitting import Fitter
from mta.transports.opener import Opener
from mta.transports.pool import Pool, PoolLimits
from mta.transports.search import Finder
from mta.transports.smtp import SmtpTransport

SMALL = b"Subject: hello\r\n\r\n.dot\r\nthe end\r\n"
LARGE = SMALL + b"".join(b"%07d a line of a large content\r\n" % number for number in range(100_000))
CA = trustme.CA()

MAIN = """
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtpd_tls_chain_files = {folder}/mx.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/auth
smtpd_tls_auth_only = yes
message_size_limit = 50000000
"""
# Behind each port another way to have TLS, or a login, or to fail at it.
SERVICES = {
    "talkative": "-o smtpd_tls_loglevel=2",
    "implicit": "-o smtpd_tls_wrappermode=yes",
    "old": "-o smtpd_tls_mandatory_protocols=TLSv1 -o smtpd_tls_protocols=TLSv1",
    "lacking": "-o smtpd_tls_CAfile={folder}/none.pem",
    "without": "-o smtpd_tls_security_level=none",
    "submission": "-o smtpd_sasl_auth_enable=yes -o smtpd_tls_security_level=encrypt"
    " -o smtpd_client_restrictions=permit_sasl_authenticated,reject",
    "clear": "-o smtpd_sasl_auth_enable=yes -o smtpd_tls_security_level=none -o smtpd_tls_auth_only=no"
    " -o smtpd_client_restrictions=permit_sasl_authenticated,reject",
}


class Upstreams:
    """Postfix at many ports of one address. ports: by the names of `SERVICES`, and "usual"."""

    def __init__(self, postfix: Postfix, folder: Path) -> None:
        self.postfix = postfix
        self.folder = folder
        self.ports = {"usual": 25}
        keep(folder, "mx.post.test")
        with (folder / "etc" / "main.cf").open("a") as main, (folder / "etc" / "master.cf").open("a") as master:
            main.write(MAIN.format(folder=folder))
            for name, options in SERVICES.items():
                port = self.ports[name] = free_port(postfix.address)
                master.write(f"{postfix.address}:{port} inet n - n - - smtpd {options.format(folder=folder)}\n")
        mechanisms = ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256")
        self.accounts = Accounts(folder, {"shop": "right"}, mechanisms)


def keep(folder: Path, *names: str) -> None:
    """The certificate that Postfix shows: it is read by each new process of its."""
    issued = CA.issue_cert(*names)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (folder / "mx.pem").write_bytes(issued.private_key_pem.bytes() + chain)


@pytest.fixture(scope="module")
def upstreams(scratch: Path, loopback: Loopback) -> Iterator[Upstreams]:
    folder = scratch / "tls-out"
    address = loopback.address()
    postfix = Postfix(folder, address, "mx.post.test", "post.test", ["bob"])
    hosts = Upstreams(postfix, folder)
    with running_accounts(hosts.accounts), running_postfix(postfix):
        for name, port in hosts.ports.items():
            if name != "implicit":
                wait_until(lambda port=port: greets(address, port), f"Postfix greets at {port}")  # type: ignore[misc]
        yield hosts
    shutil.rmtree(folder / "run", ignore_errors=True)


class LiveTlsTest(TestCase):
    timeout = 60

    @pytest.fixture(autouse=True)
    def _ground(self, upstreams: Upstreams, tmp_path: Path) -> None:
        self.upstreams = upstreams
        self.folder = tmp_path

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        clock = cast(IReactorTime, reactor)
        self.pool = Pool(clock)
        self.addCleanup(self.pool.stop)
        (self.folder / "right").write_text("right\n")
        (self.folder / "wrong").write_text("wrong\n")
        CA.cert_pem.write_to_path(str(self.folder / "trust.pem"))
        resolver = MemoryResolver(clock)
        for host in ("mx.post.test", "other.post.test"):
            resolver.zones[host] = Name(a=[self.upstreams.postfix.address])
        entries = {name: Upstream("shop", self.folder / name) for name in ("right", "wrong", "gone")}
        finder = Finder(resolver, frozenset(), random.Random(1), lambda address, port: False)
        tls = ClientTls(self.folder / "trust.pem")
        opener = Opener(clock, "me.test", Connector(reactor, self.pool), tls, Logins(entries, read_password))
        self.transport = SmtpTransport(clock, finder, opener, self.pool, Fitter(maybeDeferred))

    async def carry(
        self, service: str, content: bytes = SMALL, host: str = "mx.post.test", via: Via = Via.SMTP, **hop: Any
    ) -> Carried:
        hop_there = Hop(via, host, self.upstreams.ports[service], **hop)
        envelope = Envelope("s@sender.test", (Recipient("bob@post.test"),), self.reactor.seconds())  # type: ignore[attr-defined]
        return await self.transport.carry(hop_there, envelope, cast(IContent, Blocks(content)))

    async def delivered(self, service: str, content: bytes = SMALL, **hop: Any) -> Try:
        """The try that delivered it: Postfix has every octet, and saw the same TLS as we did."""
        mailbox = self.upstreams.folder / "mail" / "bob" / "new"
        for path in mailbox.glob("*"):
            path.unlink()
        carried = await self.carry(service, content, **hop)
        [outcome] = carried.outcomes
        assert outcome.result is Result.DELIVERED, outcome
        [message] = self.upstreams.postfix.wait_for("bob", 1)
        trace, _, body = message.partition(b"\n\n")  # fields that we did not send are Postfix's own
        assert body == with_lf(content).partition(b"\n\n")[2]
        [tried] = carried.tries
        assert (b"(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384" in trace) is bool(tried.tls)
        return tried

    async def put_off(self, service: str, **hop: Any) -> str:
        [outcome] = (await self.carry(service, **hop)).outcomes
        assert outcome.result is Result.DEFERRED
        return str(outcome.reply)

    async def test_starttls_with_small_and_large_messages(self) -> None:
        for content in (SMALL, LARGE, SMALL):
            tried = await self.delivered("usual", content)
            assert tried.tls == "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate not verified"

    async def test_a_verified_certificate(self) -> None:
        tried = await self.delivered("usual", tls="verify")
        assert tried.tls == "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate verified for mx.post.test"

    async def test_sessions_are_resumed(self) -> None:
        """Postfix gives no new ticket to who resumes, and no ticket of TLS 1.3 is used twice."""
        self.pool._limits = PoolLimits(messages=1)
        for resumed in (False, True, False, True):
            before = len(self.upstreams.postfix.log)
            tried = await self.delivered("talkative", tls="verify")
            assert tried.tls == "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate verified for mx.post.test"
            assert ("Reusing old session (RFC 5077 session ticket)" in self.upstreams.postfix.log[before:]) is resumed

    async def test_the_certificate_of_another_host(self) -> None:
        reply = await self.put_off("usual", host="other.post.test", tls="verify")
        assert reply == "451 4.7.5 the certificate is for mx.post.test; not for other.post.test"
        tried = await self.delivered("usual", host="other.post.test", tls="require")
        assert tried.tls.endswith("certificate not verified")

    async def test_implicit_tls(self) -> None:
        for content in (SMALL, LARGE):
            tried = await self.delivered("implicit", content, via=Via.SMTPS, tls="verify")
            assert tried.tls.endswith("verified for mx.post.test")
        reply = await self.put_off("usual", via=Via.SMTPS)
        assert reply.startswith("451 4.7.5 the TLS handshake failed: ")

    async def test_a_handshake_that_fails(self) -> None:
        tried = await self.delivered("old")
        assert tried.notes[0].startswith("in the clear, though the server offers TLS: the TLS handshake failed: ")
        reply = await self.put_off("old", tls="require")
        assert reply.startswith("451 4.7.5 the TLS handshake failed: ")
        assert "protocol" in reply

    async def test_starttls_that_is_refused(self) -> None:
        why = "STARTTLS refused: 454 4.7.0 TLS not available due to local problem"
        tried = await self.delivered("lacking")
        assert tried.notes == (f"in the clear, though the server offers TLS: {why}",)
        assert await self.put_off("lacking", tls="require") == f"451 4.7.4 {why}"

    async def test_no_tls_at_all(self) -> None:
        tried = await self.delivered("without")
        assert (tried.tls, tried.notes) == ("", ())
        reply = await self.put_off("without", tls="require")
        assert reply == "451 4.7.4 TLS is required here, and mx.post.test does not offer STARTTLS"

    async def test_logging_in(self) -> None:
        tried = await self.delivered("submission", login="right", tls="verify")
        assert tried.tls.endswith("verified for mx.post.test")
        assert "sasl_method=SCRAM-SHA-256, sasl_username=shop" in self.upstreams.postfix.log
        assert (await self.delivered("clear", login="right")).tls == ""

    async def test_each_mechanism_by_itself(self) -> None:
        """Postfix takes what is left of the list that Dovecot gives it."""
        for name in (*HIDING, *SHOWING):
            self.transport._opener._logins = Only(name, self.transport._opener._logins)
            await self.delivered("submission", login="right", tls="require")
            await self.pool.stop()
            assert f"sasl_method={name}, sasl_username=shop" in self.upstreams.postfix.log

    async def test_a_wrong_password_holds(self) -> None:
        carried = await self.carry("submission", login="wrong")
        [outcome] = carried.outcomes
        assert outcome.result is Result.HELD
        assert f'login "wrong" refused by mx.post.test[{self.upstreams.postfix.address}]' in str(outcome.reply)
        assert ": 535 5.7.8 Error: authentication failed" in str(outcome.reply)
        assert not carried.reached
        assert "wrong\n" not in str(carried.tries[0].dialogue)
        assert "C: (secret)" in carried.tries[0].dialogue

    async def test_a_password_that_is_not_there_holds(self) -> None:
        [outcome] = (await self.carry("submission", login="gone")).outcomes
        assert outcome.result is Result.HELD
        assert str(self.folder / "gone") in str(outcome.reply)


class Only:
    """Logins as if the server offered one mechanism."""

    def __init__(self, name: str, logins: Any) -> None:
        self._name = name
        self._logins = getattr(logins, "_logins", logins)

    def mechanism(self, login: str, offered: Any, tls: bool, channel: Any) -> Any:
        assert self._name in offered
        return self._logins.mechanism(login, [self._name], tls, channel)


class Blocks:
    """Content in memory."""

    def __init__(self, octets: bytes) -> None:
        self.size = len(octets)
        self._octets = octets

    def blocks(self) -> Iterator[bytes]:
        for start in range(0, self.size, 65_536):
            yield self._octets[start : start + 65_536]
