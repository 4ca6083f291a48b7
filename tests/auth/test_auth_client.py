"""Our side of a login upstream, against servers that are not ours and the examples of the RFCs; which one is chosen."""

from pathlib import Path

import pytest
from scramp import ScramMechanism
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from mta.auth.client import MOST_ITERATIONS, CramMd5, Login, Plain, Scram
from mta.auth.logins import Logins, Upstream
from mta.config.reading import read_password
from mta.logins import ILogins
from mta.policy.account import SCRAM_SHA_1, SCRAM_SHA_256
from mta.smtp.login import ClientMechanism
from mta.smtp.reply import Reply

RFC = {
    SCRAM_SHA_1: (  # RFC 5802 5
        "fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    SCRAM_SHA_256: (  # RFC 7677 3
        "rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


@pytest.mark.parametrize("mechanism", RFC)
def test_scram_as_in_the_rfcs(mechanism: str) -> None:
    nonce, first, final, proof = RFC[mechanism]
    client = Scram(mechanism, "user", "pencil", nonce)
    assert client.initial() == f"n,,n=user,r={nonce}".encode()
    assert client.respond(first.encode()) == final.encode()
    assert client.respond(proof.encode()) == b""
    client.succeeded()


@pytest.mark.parametrize("mechanism", RFC)
def test_scram_with_a_server_of_scramp(mechanism: str) -> None:
    made = ScramMechanism(mechanism).make_auth_info("pass,word=", 5000)
    server = ScramMechanism(mechanism).make_server(lambda name: made if name == "us,er=" else None)
    client = Scram(mechanism, "us,er=", "pass,word=")
    server.set_client_first((client.initial() or b"").decode())
    server.set_client_final(client.respond(server.get_server_first().encode()).decode())
    assert client.respond(server.get_server_final().encode()) == b""
    client.succeeded()


def test_a_server_that_does_not_know_the_password_is_found_out() -> None:
    nonce, first, _, proof = RFC[SCRAM_SHA_256]

    def begun() -> Scram:
        client = Scram(SCRAM_SHA_256, "user", "pencil", nonce)
        client.initial()
        client.respond(first.encode())
        return client

    for wrong in (proof.replace("6", "7", 1), "e=other-error", "v=", "", "x"):
        with pytest.raises(ValueError, match=r"\w"):
            begun().respond(wrong.encode())
    with pytest.raises(ValueError, match="not UTF-8"):
        begun().respond(b"\xff")
    with pytest.raises(ValueError, match="has not proved that it knows the password"):
        begun().succeeded()
    proved = begun()
    proved.respond(proof.encode())
    with pytest.raises(ValueError, match="goes on after its proof"):
        proved.respond(b"")


@pytest.mark.parametrize("iterations", ["1", "4095", str(MOST_ITERATIONS + 1), "9999999999", "x", "-5000", ""])
def test_a_server_cannot_ask_for_too_little_or_too_much_work(iterations: str) -> None:
    nonce, first, _, _ = RFC[SCRAM_SHA_256]
    client = Scram(SCRAM_SHA_256, "user", "pencil", nonce)
    client.initial()
    with pytest.raises(ValueError, match=r"\w"):
        client.respond(first.replace("i=4096", f"i={iterations}").encode())


def test_a_nonce_that_is_not_ours_is_refused() -> None:
    _, first, _, _ = RFC[SCRAM_SHA_256]
    client = Scram(SCRAM_SHA_256, "user", "pencil", "another")
    client.initial()
    with pytest.raises(ValueError, match="nonce"):
        client.respond(first.encode())


def test_cram_md5_as_in_rfc_2195() -> None:
    client = CramMd5("tim", "tanstaaftanstaaf")
    assert client.initial() is None
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert client.respond(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    with pytest.raises(ValueError, match="more than one"):
        client.respond(challenge)
    client.succeeded()


def test_plain_and_login() -> None:
    plain = Plain("tim", "tanstaaftanstaaf")
    assert plain.initial() == plain.respond(b"") == b"\0tim\0tanstaaftanstaaf"  # RFC 4616 4
    with pytest.raises(ValueError, match="goes on"):
        plain.respond(b"more?")
    login = Login("tim", "secret")
    assert login.initial() is None
    assert [login.respond(b"Username:"), login.respond(b"Password:")] == [b"tim", b"secret"]
    with pytest.raises(ValueError, match="more than user and password"):
        login.respond(b"Colour:")


# ---- Which one


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "provider"
    path.write_text("pencil\n")
    return path


def result(waiting: "Deferred[ClientMechanism | Reply]") -> ClientMechanism | Reply:
    found: list[ClientMechanism | Reply] = []
    waiting.addCallback(found.append)
    return found[0]


def logins(path: Path) -> Logins:
    return Logins({"provider": Upstream("shop", path)}, read_password)


CHOICES = (
    (("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"), "SCRAM-SHA-256", "SCRAM-SHA-256"),
    (("PLAIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS"), "SCRAM-SHA-1", "SCRAM-SHA-1"),
    (("LOGIN", "PLAIN", "CRAM-MD5"), "CRAM-MD5", "CRAM-MD5"),
    (("LOGIN", "PLAIN"), "PLAIN", None),
    (("LOGIN",), "LOGIN", None),
    (("GSSAPI", "XOAUTH2"), None, None),
    ((), None, None),
)


@pytest.mark.parametrize(("offered", "inside_tls", "in_the_clear"), CHOICES)
def test_the_strongest_that_is_safe(
    secret: Path, offered: tuple[str, ...], inside_tls: str | None, in_the_clear: str | None
) -> None:
    for tls, expected in ((True, inside_tls), (False, in_the_clear)):
        found = result(logins(secret).mechanism("provider", offered, tls, None))
        if expected is None:
            assert isinstance(found, Reply)
            assert str(found).startswith("451 4.7.0 cannot log in as provider: the server offers ")
        else:
            assert not isinstance(found, Reply)
            assert found.name == expected


def test_it_says_what_to_do(secret: Path) -> None:
    found = result(logins(secret).mechanism("provider", ["PLAIN"], False, None))
    assert isinstance(found, Reply)
    assert found.text.endswith("offers PLAIN, which is safe only inside TLS (set tls: require)")


def test_the_seam(secret: Path) -> None:
    verifyObject(ILogins, logins(secret))


def initial(entries: Logins) -> bytes | str | None:
    found = result(entries.mechanism("provider", ["PLAIN"], True, None))
    return found.text if isinstance(found, Reply) else found.initial()


def test_the_password_is_read_again_when_it_has_changed(secret: Path) -> None:
    entries = logins(secret)
    assert initial(entries) == b"\0shop\0pencil"
    secret.write_bytes(b"with space \r\n")
    assert initial(entries) == b"\0shop\0with space "
    secret.unlink()  # as when privileges were dropped
    assert initial(entries) == b"\0shop\0with space "


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"x" * 1025, "is longer than 1024 octets"),
        (b"\xff", "is not UTF-8"),
        (b"one\ntwo\n", "must hold the password alone"),
    ],
)
def test_a_password_file_that_is_none(secret: Path, octets: bytes | None, why: str) -> None:
    if octets is None:
        secret.unlink()
    else:
        secret.write_bytes(octets)
    text = initial(logins(secret))
    assert isinstance(text, str)
    assert text.startswith(f"login provider: {secret} {why}")
