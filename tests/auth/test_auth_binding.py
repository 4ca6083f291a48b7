"""Logins that are bound to their connection (SCRAM with -PLUS), on both sides, and whoever stands in between."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from login_ground import IN_THE_CLEAR, INSIDE_TLS, PASSWORD, Ground, alice, refusal
from scramp import ScramClient
from test_auth_client import logins, result
from test_auth_server import ALICE, MALFORMED, WRONG
from tls_in_memory import Channel, client_end, server_end, server_tls, shake
from twisted.internet.task import Clock

from mta.auth.client import Plain, Scram
from mta.auth.dovecot import Dovecot
from mta.auth.dovecot_lines import Offer
from mta.logins import Challenge, IChannel, IExchange, LoginFrom
from mta.net.channel import Channel as TlsChannel
from mta.net.tls import ServerTls
from mta.policy.account import PLUS, SCRAM_SHA_1, SCRAM_SHA_256
from mta.smtp.login import Binding, ClientMechanism

BOUND = (SCRAM_SHA_256 + PLUS, SCRAM_SHA_1 + PLUS)
SOME = {"tls-exporter": b"exported", "tls-unique": b"finished", "tls-server-end-point": b"certificate"}
DOWNGRADE = "535 5.7.8 channel binding is offered here, and you were told that it is not: somebody is in between"


def bound(channel: IChannel | None = None) -> LoginFrom:
    """A client inside a TLS that logins can be bound to."""
    return INSIDE_TLS._replace(channel=channel or Channel(SOME))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path, alice())


def log_in(ground: Ground, exchange: IExchange, client: ClientMechanism) -> object:
    """Our client and our server: what becomes of it. The server's proof is checked."""
    word: Any = ground.word(exchange, client.initial())
    while isinstance(word, Challenge):
        word = ground.word(exchange, client.respond(word.octets))
    if word == ALICE:
        client.succeeded()
    return word


def why(ground: Ground) -> str:
    [(kind, fields)] = ground.logged
    assert kind == "login-failed"
    return str(fields["why"])


# ---- What is offered


def test_it_is_offered_inside_our_own_tls_alone(ground: Ground) -> None:
    assert ground.auth.mechanisms(bound())[:4] == (*BOUND, SCRAM_SHA_256, SCRAM_SHA_1)
    for client in (INSIDE_TLS, IN_THE_CLEAR):
        assert not [name for name in ground.auth.mechanisms(client) if name.endswith(PLUS)]
        assert ground.auth.begin(BOUND[0], client) is None


def test_it_is_offered_where_some_account_has_the_form(tmp_path: Path) -> None:
    ground = Ground(tmp_path, alice()._replace(scram_sha_256=None))
    assert [name for name in ground.auth.mechanisms(bound()) if name.startswith("SCRAM")] == [BOUND[1], SCRAM_SHA_1]
    assert ground.auth.begin("CRAM-MD5-PLUS", bound()) is None


def test_it_is_not_offered_where_dovecot_has_the_mechanism_too(tmp_path: Path) -> None:
    dovecot = Dovecot(lambda _: pytest.fail("it is not asked here"), Clock())
    dovecot._tried = 1e12
    dovecot._offers = (Offer(SCRAM_SHA_256, False), Offer("PLAIN", True))
    ground = Ground(tmp_path, alice(), dovecot=dovecot)
    assert [name for name in ground.auth.mechanisms(bound()) if name.endswith(PLUS)] == [BOUND[1]]
    dovecot._offers = (Offer(SCRAM_SHA_256, False), Offer(SCRAM_SHA_1, False))
    assert not [name for name in ground.auth.mechanisms(bound()) if name.endswith(PLUS)]
    client = Scram(SCRAM_SHA_256, "alice@example.org", PASSWORD, binding=Binding("tls-exporter", b""))
    assert log_in(ground, ground.begin(SCRAM_SHA_256, bound()), client) == ALICE, 'then "y" is right'


# ---- Logins


@pytest.mark.parametrize("mechanism", BOUND)
@pytest.mark.parametrize("kind", SOME)
def test_it_logs_in(ground: Ground, mechanism: str, kind: str) -> None:
    for password, expected in ((PASSWORD, str(ALICE)), ("wrong", WRONG)):
        client = Scram(mechanism, "alice@example.org", password, binding=Binding(kind, SOME[kind]))
        assert str(log_in(ground, ground.begin(mechanism, bound()), client)) == expected
    assert why(ground) == "wrong password"


@pytest.mark.parametrize("mechanism", BOUND)
@pytest.mark.parametrize("kind", ["tls-unique", "tls-server-end-point"])
def test_scramp_logs_in(ground: Ground, mechanism: str, kind: str) -> None:
    """A client that is not ours."""
    client = ScramClient([mechanism], "alice@example.org", PASSWORD, channel_binding=(kind, SOME[kind]))
    exchange = ground.begin(mechanism, bound())
    word = ground.word(exchange, client.get_client_first().encode())
    assert isinstance(word, Challenge)
    client.set_server_first(word.octets.decode())
    word = ground.word(exchange, client.get_client_final().encode())
    assert isinstance(word, Challenge)
    client.set_server_final(word.octets.decode())
    assert ground.word(exchange, b"") == ALICE


def test_who_does_not_bind_logs_in_as_before(ground: Ground) -> None:
    client = Scram(SCRAM_SHA_256, "alice@example.org", PASSWORD)
    assert (client.initial() or b"").startswith(b"n,,")
    client = Scram(SCRAM_SHA_256, "alice@example.org", PASSWORD)
    assert log_in(ground, ground.begin(SCRAM_SHA_256, bound()), client) == ALICE


def test_the_octets_are_asked_for_when_a_client_wants_them_and_not_before(ground: Ground) -> None:
    asked: list[str] = []

    class Counting(Channel):
        def binding(self, kind: str) -> bytes | None:
            asked.append(kind)
            return super().binding(kind)

    client = bound(Counting({"tls-exporter": b"exported"}))
    ground.auth.mechanisms(client)
    assert log_in(ground, ground.begin("PLAIN", client), Plain("alice@example.org", PASSWORD)) == ALICE
    exchange = ground.begin(BOUND[0], client)
    assert asked == []
    mechanism = Scram(BOUND[0], "alice@example.org", PASSWORD, binding=Binding("tls-exporter", b"exported"))
    assert log_in(ground, exchange, mechanism) == ALICE
    assert asked == ["tls-exporter"]


def test_the_salt_of_somebody_unknown_is_the_same_with_and_without(ground: Ground) -> None:
    """As it is for those who are there: a name cannot be probed by asking both ways."""
    for name in ("nobody", "alice@example.org"):
        first = f"n={name},r=abc".encode()
        assert ground.login(BOUND[0], b"p=tls-exporter,," + first, client=bound()) == ground.login(
            SCRAM_SHA_256, b"n,," + first, client=bound()
        )


@pytest.mark.parametrize(
    ("mechanism", "header", "said"),
    [
        (BOUND[0], "n,,", MALFORMED),
        (BOUND[0], "y,,", MALFORMED),
        (BOUND[0], "p=,,", MALFORMED),
        (BOUND[0], "p,,", MALFORMED),
        (BOUND[0], "p=tls exporter,,", MALFORMED),
        (BOUND[0], "p=" + "x" * 101 + ",,", MALFORMED),
        (SCRAM_SHA_256, "p=tls-exporter,,", MALFORMED),
        (SCRAM_SHA_256, "p=tls-nonsense,,", MALFORMED),
        (BOUND[0], "p=tls-unique-for-telnet,,", "504 5.5.4 channel bindings here are tls-exporter (TLS 1.3), "),
        (BOUND[0], "p=TLS-EXPORTER,,", "504 5.5.4 channel bindings here are tls-exporter (TLS 1.3), "),
    ],
)
def test_a_header_that_does_not_fit(ground: Ground, mechanism: str, header: str, said: str) -> None:
    first = f"{header}n=alice@example.org,r=abc".encode()
    assert refusal(ground.login(mechanism, first, client=bound())).startswith(said)
    assert why(ground).isprintable()


# ---- Somebody stands in between


@pytest.mark.parametrize("mechanism", [SCRAM_SHA_256, SCRAM_SHA_1])
def test_a_client_that_was_told_of_no_channel_binding_is_refused(ground: Ground, mechanism: str) -> None:
    """RFC 5802 6: "y" says that it could bind; somebody has taken the names with -PLUS out of the list."""
    client = Scram(mechanism, "alice@example.org", PASSWORD, binding=Binding("tls-exporter", b"exported"))
    assert (client.initial() or b"").startswith(b"y,,")
    client = Scram(mechanism, "alice@example.org", PASSWORD, binding=Binding("tls-exporter", b"exported"))
    assert refusal(log_in(ground, ground.begin(mechanism, bound()), client)) == DOWNGRADE
    assert "somebody may stand in between" in why(ground)


def test_where_it_is_not_offered_a_client_may_say_so(ground: Ground) -> None:
    """As behind a proxy in which TLS ends."""
    client = Scram(SCRAM_SHA_256, "alice@example.org", PASSWORD, binding=Binding("tls-exporter", b"of the proxy"))
    assert log_in(ground, ground.begin(SCRAM_SHA_256, INSIDE_TLS), client) == ALICE


def test_a_y_that_is_made_an_n_on_the_way_is_found_out(ground: Ground) -> None:
    """The proof covers what the client has said."""
    client = Scram(SCRAM_SHA_256, "alice@example.org", PASSWORD, binding=Binding("tls-exporter", b"exported"))
    exchange = ground.begin(SCRAM_SHA_256, bound())
    word = ground.word(exchange, (client.initial() or b"").replace(b"y,,", b"n,,"))
    assert isinstance(word, Challenge)
    final = client.respond(word.octets)
    assert refusal(ground.word(exchange, final)) == WRONG


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ServerTls, ServerTls]:
    """The server's, and somebody's who has a certificate of his own."""
    return server_tls(tmp_path_factory.mktemp("ours")), server_tls(tmp_path_factory.mktemp("his"))


@pytest.mark.parametrize("kind", ["usual", "tls-server-end-point"])
def test_a_login_that_is_relayed_between_two_connections_is_refused(
    ground: Ground, tls: tuple[ServerTls, ServerTls], kind: str
) -> None:
    """Real TLS: the client's ends at a man in the middle, who has another one with us and hands on each message."""
    ours, his = tls
    client_tls, his_server, his_client, our_server = client_end(), server_end(his), client_end(), server_end(ours)
    shake(client_tls, his_server)
    shake(his_client, our_server)
    channel = TlsChannel(client_tls.connection, False)
    binding = channel.usual() if kind == "usual" else Binding(kind, channel.binding(kind) or b"")
    assert binding is not None
    here = bound(TlsChannel(our_server.connection, True))
    client = Scram(BOUND[0], "alice@example.org", PASSWORD, binding=binding)
    assert refusal(log_in(ground, ground.begin(BOUND[0], here), client)) == WRONG
    assert why(ground) == "bound to another TLS connection than this one: somebody may stand in between"

    there = bound(TlsChannel(his_server.connection, True))
    client = Scram(BOUND[0], "alice@example.org", PASSWORD, binding=binding)
    assert log_in(ground, ground.begin(BOUND[0], there), client) == ALICE, "were he the server, it would do"


def test_octets_in_the_final_message_that_are_not_those_of_the_connection(ground: Ground) -> None:
    for octets in (b"", b"exporte", b"exported!", b"finished"):
        repeated = b64encode(b"p=tls-exporter,," + octets)
        final = b"c=" + repeated + b",r=abc3rfcNHYJ,p=" + b64encode(bytes(32))
        first = b"p=tls-exporter,,n=alice@example.org,r=abc"
        assert refusal(ground.login(BOUND[0], first, final, client=bound())) == WRONG


# ---- Our side of a login upstream

CHOICES = (
    (("PLAIN", SCRAM_SHA_256, *BOUND), BOUND[0], b"p=tls-exporter,,"),
    (("PLAIN", SCRAM_SHA_256, BOUND[1]), BOUND[1], b"p=tls-exporter,,"),
    (("PLAIN", SCRAM_SHA_256, SCRAM_SHA_1), SCRAM_SHA_256, b"y,,"),
    (("PLAIN", SCRAM_SHA_1), SCRAM_SHA_1, b"y,,"),
    # It can bind, in a way that we do not know: it would take a "y" for somebody's doing.
    (("SCRAM-SHA-512-PLUS", "SCRAM-SHA-512", SCRAM_SHA_256), SCRAM_SHA_256, b"n,,"),
    (("PLAIN", "CRAM-MD5"), "CRAM-MD5", None),
    (("PLAIN",), "PLAIN", b"\0shop\0pencil"),
)


@pytest.mark.parametrize(("offered", "name", "begins"), CHOICES)
def test_we_bind_where_we_can(tmp_path: Path, offered: tuple[str, ...], name: str, begins: bytes | None) -> None:
    path = tmp_path / "provider"
    path.write_text("pencil\n")
    channel = Channel({"tls-exporter": b"exported"})
    found = result(logins(path).mechanism("provider", offered, True, channel))
    assert isinstance(found, Scram) or not name.startswith("SCRAM")
    assert getattr(found, "name", "") == name
    initial = found.initial()
    assert initial is None if begins is None else initial is not None and initial.startswith(begins)


@pytest.mark.parametrize("channel", [None, Channel({})])
def test_we_do_not_where_there_is_nothing_to_bind_to(tmp_path: Path, channel: Channel | None) -> None:
    path = tmp_path / "provider"
    path.write_text("pencil\n")
    found = result(logins(path).mechanism("provider", (*BOUND, SCRAM_SHA_1), True, channel))
    assert isinstance(found, Scram)
    assert found.name == SCRAM_SHA_1
    assert (found.initial() or b"").startswith(b"n,,"), "the server can bind, so it is not told that we could"
