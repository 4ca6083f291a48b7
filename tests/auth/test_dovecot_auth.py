"""Dovecot's auth socket as a source of accounts: the real Dovecot, and one in memory that misbehaves."""

import contextlib
import os
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.peers.dovecot import Accounts, is_2_4, running_accounts
from login_ground import IN_THE_CLEAR, INSIDE_TLS, Ground, alice, refusal
from tls_in_memory import Channel
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from mta.auth import dovecot_lines as lines
from mta.auth.authentication import Authentication
from mta.auth.client import CramMd5, Scram
from mta.auth.dovecot import WAITS, Dovecot
from mta.logins import Challenge, IExchange, LoggedIn, LoginFrom
from mta.net.threads import NoThreads
from mta.smtp.login import Binding, ClientMechanism

WRONG = "535 5.7.8 the name or the password is wrong"
UNAVAILABLE = "454 4.7.0 logins cannot be checked now; try again later"

MECHANISMS = ("plain", "login", "cram-md5", "digest-md5", "scram-sha-1", "scram-sha-256", "anonymous", "external")
# Dovecot knows them from 2.4 on.
BINDING = ("scram-sha-1-plus", "scram-sha-256-plus")
BOUND = INSIDE_TLS._replace(channel=Channel({"tls-exporter": b"exported"}))


@contextlib.contextmanager
def running_dovecot() -> Iterator[Path]:
    """A Dovecot that knows carol, whose password is "pencil". The path of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="mta-dove", dir="/tmp"))  # a short path: it holds sockets
    folder.chmod(0o755)
    try:
        mechanisms = (*MECHANISMS, *(BINDING if is_2_4() else ()))
        with running_accounts(Accounts(folder, {"carol@example.org": "pencil"}, mechanisms)) as accounts:
            yield accounts.socket
    finally:
        shutil.rmtree(folder)


class TestRealDovecot(TestCase):
    """The whole of it: our exchanges, Dovecot's verdict."""

    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        socket = stack.enter_context(running_dovecot())
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.dovecot = Dovecot(lambda factory: UNIXClientEndpoint(reactor, str(socket)).connect(factory), reactor)
        ground = Ground(self.folder, alice())
        self.auth = Authentication(reactor, self.log, NoThreads(), "mail.test", ground.accounts, self.dovecot)
        self.alone = Authentication(reactor, self.log, NoThreads(), "mail.test", None, self.dovecot)

    def log(self, kind: str, **fields: Any) -> None:
        self.logged.append((kind, fields))

    def test_logging_in(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._logging_in())

    async def _logging_in(self) -> None:
        assert self.alone.mechanisms(INSIDE_TLS) == ("PLAIN", "LOGIN")  # not known yet
        await self.dovecot.connected()
        offered = {"CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"}
        assert set(self.alone.mechanisms(INSIDE_TLS)) == {*offered, "PLAIN", "LOGIN"}
        assert set(self.alone.mechanisms(IN_THE_CLEAR)) == offered
        assert self.auth.mechanisms(INSIDE_TLS)[:3] == ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5")

        carol = LoggedIn("carol@example.org")

        async def right_and_wrong(auth: Authentication) -> None:
            assert await self.say(auth, "PLAIN", b"\0carol@example.org\0pencil") == carol
            assert await self.say(auth, "LOGIN", b"carol@example.org", b"pencil") == carol
            for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
                assert await self.speak(auth, Scram(mechanism, "carol@example.org", "pencil")) == carol
                wrong = Scram(mechanism, "carol@example.org", "pen")
                assert refusal(await self.speak(auth, wrong)) == WRONG
            assert refusal(await self.say(auth, "PLAIN", b"\0carol@example.org\0pen")) == WRONG
            assert refusal(await self.say(auth, "PLAIN", b"\0nobody@example.org\0pen")) == WRONG

        # Whatever is wrong is answered at Dovecot's next half second: the two wait for that together.
        await gatherResults([Deferred.fromCoroutine(right_and_wrong(auth)) for auth in (self.alone, self.auth)])
        await gatherResults([Deferred.fromCoroutine(self.bound(auth)) for auth in (self.alone, self.auth)])
        assert await self.speak(self.alone, CramMd5("carol@example.org", "pencil")) == carol
        # What stands in the file is not Dovecot's to judge.
        assert isinstance(await self.say(self.auth, "PLAIN", b"\0alice@example.org\0pencil"), LoggedIn)
        assert refusal(await self.say(self.alone, "PLAIN", b"\0alice@example.org\0pencil")) == WRONG
        assert isinstance(await self.speak(self.auth, Scram("SCRAM-SHA-256", "alice@example.org", "pencil")), LoggedIn)
        assert {kind for kind, _ in self.logged} == {"login-failed"}

        # It is lost, and made again with the next login.
        protocol = await self.dovecot.connected()
        lost: Deferred[None] = Deferred()
        was_lost = protocol.connectionLost

        def connection_lost(*words: Any) -> None:
            was_lost(*words)
            lost.callback(None)

        protocol.connectionLost = connection_lost  # type: ignore[method-assign]
        protocol.transport.loseConnection()  # type: ignore[union-attr]
        await lost
        assert await self.say(self.auth, "PLAIN", b"\0carol@example.org\0pencil") == carol
        await self.auth.stop()
        await self.alone.stop()
        assert refusal(await self.say(self.alone, "PLAIN", b"\0carol@example.org\0pencil")) == UNAVAILABLE

    async def bound(self, auth: Authentication) -> None:
        """Dovecot that can is told what the login is bound to; for one that cannot, it is not offered."""
        known = {name for name in auth.mechanisms(BOUND) if name.endswith("-PLUS")}
        assert known == ({name.upper() for name in BINDING} if is_2_4() else set())
        for mechanism in known:
            for octets, expected in ((b"exported", str(LoggedIn("carol@example.org"))), (b"of another", WRONG)):
                client = Scram(mechanism, "carol@example.org", "pencil", binding=Binding("tls-exporter", octets))
                assert str(await self.speak(auth, client, BOUND)) == expected

    @staticmethod
    async def say(auth: Authentication, mechanism: str, *responses: bytes) -> object:
        exchange = auth.begin(mechanism, INSIDE_TLS)
        assert exchange is not None
        for response in responses:
            word = await exchange.respond(response)
        return word

    @staticmethod
    async def speak(auth: Authentication, client: ClientMechanism, where: LoginFrom = INSIDE_TLS) -> object:
        exchange = auth.begin(client.name, where)
        assert exchange is not None
        word = await exchange.respond(client.initial())
        while isinstance(word, Challenge):
            word = await exchange.respond(client.respond(word.octets))
        if isinstance(word, LoggedIn):
            client.succeeded()
        return word


# ---- One that misbehaves

HELLO = b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tSCRAM-SHA-256\tmutual-auth\nSPID\t7\nCUID\t1\nCOOKIE\tab\nDONE\n"


class FakeDovecot:
    """The other end of the socket, in the hands of a test."""

    def __init__(self, clock: Clock) -> None:
        self.source = Dovecot(self.connect, clock)
        self.connections = 0
        self.up = True

    def connect(self, factory: IProtocolFactory) -> "Deferred[Any]":
        self.connections += 1
        if not self.up:
            return fail(ConnectError("no such file"))
        self.protocol: Any = factory.buildProtocol(None)  # type: ignore[arg-type]
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)

    def say(self, octets: bytes) -> None:
        self.protocol.dataReceived(octets)

    def heard(self) -> bytes:
        octets = self.transport.value()
        self.transport.clear()
        return octets


class Talk:
    """One login over it."""

    def __init__(self, folder: Path) -> None:
        self.ground = Ground(folder)
        self.fake = FakeDovecot(self.ground.clock)
        self.auth = Authentication(
            self.ground.clock, self.ground.log, self.ground.threads, "mail.test", None, self.fake.source, key=b"x"
        )

    def begin(self, response: bytes, mechanism: str = "PLAIN", client: LoginFrom = INSIDE_TLS) -> list[object]:
        exchange = self.auth.begin(mechanism, client)
        assert exchange is not None
        words: list[object] = []
        exchange.respond(response).addBoth(words.append)
        return words


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


def test_what_is_said(talk: Talk) -> None:
    words = talk.begin(b"\0carol\0pencil")
    assert talk.fake.heard() == f"VERSION\t1\t3\nCPID\t{os.getpid()}\n".encode()
    talk.fake.say(HELLO)
    response = b64encode(b"\0carol\0pencil")
    assert (
        talk.fake.heard() == b"AUTH\t1\tPLAIN\tservice=smtp\tsecured\trip=192.0.2.7\tnologin\tresp=" + response + b"\n"
    )
    assert words == []
    talk.fake.say(b"OK\t1\tuser=ca\x01trol\textra\n")
    assert words == [LoggedIn("ca\trol")]
    assert talk.ground.clock.getDelayedCalls() == []


def test_what_is_passed_on_verbatim(talk: Talk) -> None:
    talk.auth.mechanisms(IN_THE_CLEAR)
    talk.fake.say(HELLO)
    assert talk.auth.mechanisms(IN_THE_CLEAR) == ("SCRAM-SHA-256",)
    talk.fake.heard()
    exchange = talk.auth.begin("SCRAM-SHA-256", LoginFrom("unix", False))
    assert exchange is not None
    words: list[object] = []
    exchange.respond(b"first\0").addBoth(words.append)
    assert talk.fake.heard() == b"AUTH\t1\tSCRAM-SHA-256\tservice=smtp\tnologin\tresp=" + b64encode(b"first\0") + b"\n"
    talk.fake.say(b"CONT\t1\t" + b64encode(b"challenge") + b"\n")
    assert words == [Challenge(b"challenge")]
    exchange.respond(b"").addBoth(words.append)
    assert talk.fake.heard() == b"CONT\t1\t\n"
    talk.fake.say(b"FAIL\t1\tuser=carol\treason=because\n")
    assert refusal(words[-1]) == WRONG
    assert talk.ground.logged[-1][1]["account"] == "carol"


OF_2_4 = (
    b"VERSION\t1\t3\nMECH\tPLAIN\tplaintext\nMECH\tSCRAM-SHA-256\tmutual-auth\n"
    b"MECH\tSCRAM-SHA-256-PLUS\tmutual-auth\tchannel-binding\nSPID\t7\nCUID\t1\nCOOKIE\tab\nDONE\n"
)


def begun(talk: Talk, first: bytes) -> tuple[IExchange, list[object]]:
    """A login that is bound, as far as Dovecot's first answer."""
    talk.auth.mechanisms(BOUND)
    talk.fake.say(OF_2_4)
    talk.fake.heard()
    exchange = talk.auth.begin("SCRAM-SHA-256-PLUS", BOUND)
    assert exchange is not None
    words: list[object] = []
    exchange.respond(first).addBoth(words.append)
    request = b"AUTH\t1\tSCRAM-SHA-256-PLUS\tservice=smtp\tsecured\trip=192.0.2.7\tnologin\tresp=" + b64encode(first)
    assert talk.fake.heard() == request + b"\n"
    return exchange, words


def test_it_is_told_what_a_login_is_bound_to(talk: Talk) -> None:
    exchange, words = begun(talk, b"p=tls-exporter,,n=carol,r=abc")
    assert talk.auth.mechanisms(BOUND) == ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")
    assert talk.auth.mechanisms(INSIDE_TLS) == ("SCRAM-SHA-256", "PLAIN", "LOGIN")
    talk.fake.say(b"CONT\t1\t" + b64encode(b"challenge") + b"\tchannel_binding=tls-exporter\n")
    assert words == [Challenge(b"challenge")]
    exchange.respond(b"final").addBoth(words.append)
    assert talk.fake.heard() == b"CONT\t1\t%b\tchannel_binding=%b\n" % (b64encode(b"final"), b64encode(b"exported"))
    talk.fake.say(b"CONT\t1\t" + b64encode(b"v=proof") + b"\n")
    exchange.respond(b"").addBoth(words.append)
    assert talk.fake.heard() == b"CONT\t1\t\n", "once is enough"
    talk.fake.say(b"OK\t1\tuser=carol\n")
    assert words[1:] == [Challenge(b"v=proof"), LoggedIn("carol")]


def test_a_binding_that_there_is_none_of_is_no_guess_at_a_password(talk: Talk) -> None:
    begun(talk, b"p=tls-unique,,n=carol,r=abc")
    for number in range(2, 30):
        words = talk.begin(b"p=tls-unique,,n=carol,r=abc", "SCRAM-SHA-256-PLUS", BOUND)
        talk.fake.say(b"CONT\t%d\t" % number + b64encode(b"challenge") + b"\tchannel_binding=tls-unique\n")
        assert [refusal(word)[:30] for word in words] == ["504 5.5.4 channel bindings her"], number
    kind, fields = talk.ground.logged[-1]
    assert (kind, fields["why"]) == ("login-failed", "this connection has no channel binding of that type")


def test_names_of_both_sources_are_bound_by_one_offer(tmp_path: Path) -> None:
    """The file's alice here, Dovecot's carol there; 2.3 cannot, and then nobody is offered it."""
    ground = Ground(tmp_path, alice())
    fake = FakeDovecot(ground.clock)
    auth = Authentication(ground.clock, ground.log, ground.threads, "mail.test", ground.accounts, fake.source)
    auth.mechanisms(BOUND)
    fake.say(OF_2_4)
    assert auth.mechanisms(BOUND)[:2] == ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS")
    fake.heard()
    for name in (b"alice@example.org", b"carol"):
        exchange = auth.begin("SCRAM-SHA-256-PLUS", BOUND)
        assert exchange is not None
        exchange.respond(b"p=tls-exporter,,n=%b,r=abc" % name)
        assert (b"AUTH\t1\tSCRAM-SHA-256-PLUS\t" in fake.heard()) == (name == b"carol")
    exchange = auth.begin("SCRAM-SHA-256", BOUND)
    assert exchange is not None
    words: list[object] = []
    exchange.respond(b"y,,n=carol,r=abc").addBoth(words.append)
    assert refusal(*words).startswith("535 5.7.8 channel binding is offered here")
    assert fake.heard() == b""


ENDS = {
    b"FAIL\t1\tuser=carol\n": WRONG,
    b"FAIL\t1\tuser=carol\ttemp\n": UNAVAILABLE,
    b"FAIL\t1\tcode=temp_fail\n": UNAVAILABLE,
    b"OK\t1\n": UNAVAILABLE,
    b"CONT\t1\tAAAA\n": UNAVAILABLE,
    b"CONT\t1\t*\n": UNAVAILABLE,
    b"OK\tx\n": UNAVAILABLE,
    b"\xff\n": UNAVAILABLE,
    b"OK\t1\tuser=\x01x\n": UNAVAILABLE,
    b"x" * 20000: UNAVAILABLE,
    b"VERSION\t2\t0\n": UNAVAILABLE,
}


@pytest.mark.parametrize("end", ENDS)
def test_how_it_ends(talk: Talk, end: bytes) -> None:
    words = talk.begin(b"\0carol\0pencil")
    talk.fake.say(HELLO)
    talk.fake.say(end)
    assert [refusal(word) for word in words] == [ENDS[end]]
    assert [call for call in talk.ground.clock.getDelayedCalls() if call.active()] == []


def test_it_is_down(talk: Talk) -> None:
    talk.fake.up = False
    for _ in range(30):  # none of which count as guesses
        assert refusal(*talk.begin(b"\0carol\0pencil")) == UNAVAILABLE
    assert talk.ground.logged[-1][0] == "login-not-checked"
    assert talk.ground.logged[-1][1]["why"].startswith("Dovecot is out of reach")
    talk.fake.up = True
    words = talk.begin(b"\0carol\0pencil")
    talk.fake.say(HELLO)
    talk.fake.say(b"OK\t1\tuser=carol\n")
    assert words == [LoggedIn("carol")]


def test_looks_that_nobody_waits_for_are_rare(talk: Talk) -> None:
    talk.fake.up = False
    for _ in range(10):
        assert talk.auth.mechanisms(INSIDE_TLS) == ("PLAIN", "LOGIN")
    assert talk.fake.connections == 1
    talk.ground.clock.advance(1)
    talk.auth.mechanisms(INSIDE_TLS)
    assert talk.fake.connections == 2


def test_it_does_not_introduce_itself(talk: Talk) -> None:
    words = talk.begin(b"\0carol\0pencil")
    talk.ground.clock.advance(WAITS)
    assert [refusal(word) for word in words] == [UNAVAILABLE]
    assert talk.fake.transport.disconnecting


def test_it_does_not_answer(talk: Talk) -> None:
    words = talk.begin(b"\0carol\0pencil")
    talk.fake.say(HELLO)
    talk.ground.clock.advance(WAITS)
    assert [refusal(word) for word in words] == [UNAVAILABLE]
    talk.fake.say(b"OK\t1\tuser=carol\n")  # too late, and of no use to the next one
    others = talk.begin(b"\0dave\0pencil")
    assert others == []
    talk.fake.say(b"OK\t2\tuser=dave\n")
    assert others == [LoggedIn("dave")]


def test_the_connection_is_lost(talk: Talk) -> None:
    words = talk.begin(b"\0carol\0pencil")
    talk.fake.say(HELLO)
    talk.fake.protocol.connectionLost()
    assert [refusal(word) for word in words] == [UNAVAILABLE]
    again = talk.begin(b"\0carol\0pencil")
    talk.fake.say(HELLO + b"OK\t1\tuser=carol\n")
    assert again == [LoggedIn("carol")]
    assert talk.fake.connections == 2


def test_stopping(talk: Talk) -> None:
    words = talk.begin(b"\0carol\0pencil")
    talk.fake.say(HELLO)
    talk.auth.stop()
    assert [refusal(word) for word in words] == [UNAVAILABLE]
    assert talk.fake.transport.disconnecting
    assert refusal(*talk.begin(b"\0carol\0pencil")) == UNAVAILABLE
    assert talk.ground.clock.getDelayedCalls() == []


# ---- Lines


def test_words_survive_escaping() -> None:
    for word in ("", "plain", "\0\x01\t\r\n", "\x011", "é", "\x01\x01t"):
        assert lines.words_of(lines.line("AUTH", word).removesuffix(b"\n")) == ["AUTH", word]


def test_what_is_not_offered() -> None:
    for line in ("MECH ANONYMOUS", "MECH X private", "MECH EXTERNAL", "MECH A=B", "MECH " + "X" * 21):
        assert lines.offer(line.split()) is None
    for line in ("MECH SCRAM-SHA-1-PLUS mutual-auth", "MECH GS2-KRB5-PLUS channel-binding"):
        assert lines.offer(line.split()) is None
    assert lines.offer(["MECH", "SCRAM-SHA-1-PLUS", "channel-binding"]) == lines.Offer("SCRAM-SHA-1-PLUS", False, True)
    assert lines.offer(["MECH", "xoauth2"]) == lines.Offer("XOAUTH2", True)
    assert lines.offer(["MECH", "DIGEST-MD5", "dictionary"]) == lines.Offer("DIGEST-MD5", False)
