"""TLS sessions that servers gave us: how they are kept, and what they are good for. All of it in memory."""

import gc
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from OpenSSL import SSL
from set_clock import SetClock
from tls_world import CA, keep
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from mta.config.load import load
from mta.dns.memory import MemoryResolver
from mta.ground import Ground
from mta.net.client_tls import ClientHandshake, ClientTls
from mta.net.resumption import LASTS, MOST_OF_ONE, SessionCache
from mta.net.tls import ServerTls
from mta.service import TICKETS, Relay

NOW = 1_800_000_000.0


def session(name: str) -> Any:
    return cast(Any, name)  # to a cache they are all the same


class Cache(SessionCache):
    """A cache with a clock that is turned by hand."""

    def __init__(self, **options: int) -> None:
        self.clock = Clock()
        self.clock.rightNow = NOW
        super().__init__(self.clock, **options)

    def taken(self, server: str) -> Any:
        taken = self.take(server)
        return taken and taken.session


def test_the_newest_comes_first_and_each_once() -> None:
    cache = Cache()
    for name in ("first", "second"):
        cache.shelf("mx").keep(session(name))
    assert [cache.taken("mx") for _ in range(3)] == ["second", "first", None]
    assert len(cache) == 0


def test_none_is_for_another_server() -> None:
    cache = Cache()
    cache.shelf("mx").keep(session("of mx"))
    assert cache.taken("other") is None
    cache.forget("other")
    assert cache.taken("mx") == "of mx"


def test_it_lasts_an_hour_or_as_long_as_it_may() -> None:
    cache = Cache()
    shelf = cache.shelf("mx")
    shelf.keep(session("usual"))
    shelf.keep(session("short"), NOW + 10)
    shelf.keep(session("long"), NOW + 10 * LASTS)
    cache.clock.advance(LASTS - 1)
    assert [cache.taken("mx"), cache.taken("mx"), cache.taken("mx")] == ["long", "usual", None]
    shelf.keep(session("usual"))
    cache.clock.advance(LASTS)
    assert cache.taken("mx") is None
    assert len(cache) == 0


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
def test_it_lasts_an_hour_however_the_clock_is_set(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SetClock(monkeypatch, NOW)
    cache = SessionCache(clock)
    shelf = cache.shelf("mx")
    shelf.keep(session("first"))
    clock.set(step)
    clock.advance(LASTS - 1)
    first = shelf.take()
    assert first is not None
    shelf.keep(session("second"), resumed=first)
    clock.advance(2)
    assert shelf.take() is None


def test_a_certificate_is_over_by_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a session which led to others by resuming, too."""
    clock = SetClock(monkeypatch, NOW)
    shelf = SessionCache(clock).shelf("mx")
    shelf.keep(session("first"), expires=NOW + 86_400.0)
    shelf.keep(session("second"), resumed=shelf.take())
    clock.set(-3600.0)
    again = shelf.take()
    assert again is not None
    shelf.keep(session("third"), resumed=again)
    clock.set(2 * 86_400.0)
    assert shelf.take() is None


def test_it_is_forgotten_with_the_others_of_its_server() -> None:
    cache = Cache()
    for server in ("mx", "mx", "other"):
        cache.shelf(server).keep(session(server))
    cache.shelf("mx").forget()
    assert (cache.taken("mx"), cache.taken("other"), len(cache)) == (None, "other", 0)


def test_there_are_never_too_many() -> None:
    cache = Cache(most=50)
    for number in range(MOST_OF_ONE + 5):
        cache.shelf("busy").keep(session(f"busy {number}"))
    assert len(cache) == MOST_OF_ONE
    for number in range(100):
        cache.shelf(f"mx{number}").keep(session("one"))
    assert len(cache) == 50
    assert cache.taken("busy") is None, "the server longest without a new one goes first"
    assert [cache.taken(f"mx{number}") for number in (49, 50, 99)] == [None, "one", "one"]


class Ends:
    """Our client and a server of Python's, and the octets between them carried by hand."""

    def __init__(self, folder: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, **issued: Any) -> None:
        self.cache = Cache()
        self.cache.clock.rightNow = datetime.now(UTC).timestamp()
        CA.cert_pem.write_to_path(str(folder / "trust.pem"))
        self.client = ClientTls(folder / "trust.pem")
        self._newest = newest
        self.begin_anew(CA.issue_cert("mx.example", **issued))

    def begin_anew(self, issued: trustme.LeafCert) -> None:
        """The server knows none of its sessions any more, and has another certificate."""
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.maximum_version = self._newest
        issued.configure_cert(self.server)

    def handshake(self, verify: bool = True, host: str = "mx.example") -> ClientHandshake:
        return self.client.handshake(host, verify, self.cache.shelf((host, verify)))

    def connect(self, handshake: ClientHandshake, goodbye: bool = True) -> bool:
        """A connection, and its session kept. Was an earlier one resumed, as the server has it?

        Raises `SSL.Error` where the handshake fails. goodbye: it is closed, and not broken off.
        """
        connection = handshake.clientConnectionForTLS(cast(Any, None))
        connection.set_connect_state()
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = self.server.wrap_bio(to_server, to_client, server_side=True)

        def pass_on() -> None:
            with suppress(SSL.WantReadError):
                to_server.write(connection.bio_read(100_000))
            if to_client.pending:
                connection.bio_write(to_client.read())

        for _ in range(3):
            with suppress(SSL.WantReadError):
                connection.do_handshake()
            pass_on()
            with suppress(ssl.SSLWantReadError):
                server.do_handshake()
            pass_on()
        server.write(b"250 hello")
        pass_on()
        assert connection.recv(100) == b"250 hello"
        assert handshake.is_acceptable
        handshake.keep_session(Transport(connection))
        if goodbye:
            connection.shutdown()
        return bool(server.session_reused)


class Transport:
    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection

    def getHandle(self) -> SSL.Connection:
        return self._connection


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("verify", [True, False])
def test_the_same_is_known_of_the_server_as_in_a_full_handshake(
    newest: ssl.TLSVersion, verify: bool, tmp_path: Path
) -> None:
    ends = Ends(tmp_path, newest)
    for resumed in (False, True, True, True):
        handshake = ends.handshake(verify)
        assert ends.connect(handshake) is resumed
        assert (handshake.offered, handshake.verified) == (resumed, verify)
    assert len(ends.cache) == 1


def test_a_session_of_a_handshake_that_did_not_verify_is_none_for_one_that_does(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    assert not ends.connect(ends.handshake(verify=False))
    assert not ends.connect(ends.handshake(verify=True))
    assert ends.connect(ends.handshake(verify=False))
    with pytest.raises(ValueError, match="same Context"):  # were the two ever mistaken, pyOpenSSL would refuse
        ends.connect(ends.client.handshake("mx.example", True, ends.cache.shelf(("mx.example", False))))


def test_nor_is_one_that_was_verified_for_another_name(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    assert not ends.connect(ends.handshake())
    handshake = ends.handshake(host="other.example")
    with pytest.raises(SSL.Error):
        ends.connect(handshake)
    assert not handshake.verified
    assert handshake.fault == "the certificate is for mx.example; not for other.example"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_a_server_that_does_not_go_on_with_it_is_judged_anew(newest: ssl.TLSVersion, tmp_path: Path) -> None:
    """The session was of a server that was verified; the one that is there now is another."""
    ends = Ends(tmp_path, newest)
    assert not ends.connect(ends.handshake())
    ends.begin_anew(CA.issue_cert("mx.example"))
    handshake = ends.handshake()
    assert not ends.connect(handshake)
    assert (handshake.verified, handshake.offered) == (True, False)
    for stranger, fault in (
        (CA.issue_cert("a.example"), "the certificate is for a.example; not for mx.example"),
        (trustme.CA().issue_cert("mx.example"), "the certificate is signed by nobody whom this machine trusts"),
    ):
        assert len(ends.cache) == 1
        ends.begin_anew(stranger)
        handshake = ends.handshake()
        with pytest.raises(SSL.Error):
            ends.connect(handshake)
        assert (handshake.verified, handshake.offered, handshake.fault) == (False, False, fault)
        ends.begin_anew(CA.issue_cert("mx.example"))
        assert not ends.connect(ends.handshake())


def connect(handshake: ClientHandshake, server: ServerTls) -> bool:
    """Our client and our server: is this one verified without a certificate that was shown?"""
    ours, theirs = handshake.clientConnectionForTLS(cast(Any, None)), server.connection()
    ours.set_connect_state()
    theirs.set_accept_state()
    for one, other in [(ours, theirs), (theirs, ours)] * 3:
        with suppress(SSL.WantReadError):
            one.do_handshake()
        with suppress(SSL.WantReadError):
            other.bio_write(one.bio_read(100_000))
    theirs.send(b"250 hello")
    ours.bio_write(theirs.bio_read(100_000))
    assert ours.recv(100) == b"250 hello"
    handshake.keep_session(Transport(ours))
    ours.shutdown()
    assert handshake.verified
    return handshake.offered


def test_one_relay_resumes_what_another_gave_it(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    server = ServerTls(*keep(tmp_path, "mx", CA.issue_cert("mx.example")))
    assert [connect(ends.handshake(), server) for _ in range(4)] == [False, True, True, True]
    server.renew_tickets()
    assert [connect(ends.handshake(), server) for _ in range(2)] == [False, True]


def test_a_relay_uses_no_key_of_tickets_for_longer_than_an_hour(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    keep(tmp_path, "mx", CA.issue_cert("mx.example"))
    (tmp_path / "mta.yml").write_text(
        "{hostname: mx.example, spool: spool, listen: [{address: '127.0.0.1:0'}], admin: {listen: null},"
        " tls: {certificate: mx.crt, key: mx.key}}"
    )
    reactor = MemoryReactorClock()
    ground = Ground(reactor, lambda line: None, inline=True, resolver=lambda clock, _: MemoryResolver(clock))
    relay = Relay(load(tmp_path / "mta.yml"), ground)
    [server] = relay._inward.certificates.values()
    relay.startService()
    assert [connect(ends.handshake(), server) for _ in range(2)] == [False, True]
    reactor.advance(TICKETS - 1)
    assert connect(ends.handshake(), server)
    reactor.advance(1)
    assert TICKETS <= 3600
    assert [connect(ends.handshake(), server) for _ in range(2)] == [False, True]
    relay.stopService()
    reactor.advance(TICKETS)
    assert not relay._tickets.running


def test_it_is_over_when_the_certificate_is(tmp_path: Path) -> None:
    """That of a session which led to others by resuming, too."""
    ends = Ends(tmp_path, not_after=datetime.now(UTC) + timedelta(minutes=10))
    assert [ends.connect(ends.handshake()) for _ in range(3)] == [False, True, True]
    ends.cache.clock.advance(9 * 60)
    assert ends.connect(ends.handshake())
    ends.cache.clock.advance(60)
    assert not ends.connect(ends.handshake())


@pytest.mark.parametrize("verify", [True, False])
def test_certificates_are_looked_at_once_an_hour(verify: bool, tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    found = []
    for _ in range(7):
        found.append(ends.connect(ends.handshake(verify)))
        ends.cache.clock.advance(LASTS / 3)
    assert found == [False, True, True, False, True, True, False]


def test_each_session_is_offered_once(tmp_path: Path) -> None:
    """Were one of TLS 1.3 kept by mistake that was used before, OpenSSL would not offer it."""
    ends = Ends(tmp_path)
    ends.connect(ends.handshake())
    [used] = [ends.cache.take(("mx.example", True))]
    assert used is not None
    for resumed in (True, False):
        ends.cache.forget(("mx.example", True))
        ends.cache.keep(("mx.example", True), used)
        assert ends.connect(ends.handshake()) is resumed


def test_one_of_a_connection_that_was_broken_off_is_not_offered(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    ends.connect(ends.handshake(), goodbye=False)
    gc.collect()
    assert not ends.connect(ends.handshake())


def test_without_a_shelf_nothing_is_kept_or_offered(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    for _ in range(2):
        handshake = ends.client.handshake("mx.example", True)
        assert not ends.connect(handshake)
        handshake.forget_sessions()


def test_nothing_is_kept_of_a_connection_that_is_gone(tmp_path: Path) -> None:
    ends = Ends(tmp_path)
    ends.handshake().keep_session(object())
    assert len(ends.cache) == 0
