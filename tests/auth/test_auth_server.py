"""The server's side of each mechanism, against clients that are not ours and the examples of the RFCs."""

import hmac
from base64 import b64decode, b64encode
from pathlib import Path
from smtplib import SMTP

import pytest
from login_ground import IN_THE_CLEAR, INSIDE_TLS, PASSWORD, Ground, alice, quick_hash, refusal, rfc_form
from scramp import ScramClient, ScramException
from zope.interface.verify import verifyObject

from mta.logins import Challenge, IAuthentication, IExchange, LoggedIn, LoginFrom
from mta.policy.account import SCRAM_SHA_1, SCRAM_SHA_256, Account
from mta.policy.pattern import Pattern

ALICE = LoggedIn("Alice@example.org", (Pattern.parse("alice@example.org"),))
WRONG = "535 5.7.8 the name or the password is wrong"
MALFORMED = "501 5.5.2 this is not what the mechanism expects here; start again with AUTH"
CERTIFICATE = INSIDE_TLS._replace(certificate=("other@example.org", "alice@example.org"))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path, alice(), Account("bob", quick_hash("secret")))


def test_it_is_what_the_seam_says(ground: Ground) -> None:
    verifyObject(IAuthentication, ground.auth)
    verifyObject(IExchange, ground.begin("PLAIN"))


# ---- What is offered

ALL = ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN")


def test_the_strongest_stands_first(ground: Ground) -> None:
    assert ground.auth.mechanisms(INSIDE_TLS) == ALL
    assert ground.auth.mechanisms(CERTIFICATE) == ("EXTERNAL", *ALL)
    assert ground.auth.mechanisms(IN_THE_CLEAR) == ALL[:3]


def test_only_what_some_account_can_use_is_offered(tmp_path: Path) -> None:
    form = rfc_form(SCRAM_SHA_1, "QSXCR+Q6sek8bf92")
    for account, offered in (
        (Account("a", quick_hash("x")), ("PLAIN", "LOGIN")),
        (Account("a", scram_sha_1=form), ("SCRAM-SHA-1", "PLAIN", "LOGIN")),
        (Account("a", cram_md5="x"), ("CRAM-MD5", "PLAIN", "LOGIN")),
        (Account("a"), ()),
    ):
        ground = Ground(tmp_path, account)
        assert ground.auth.mechanisms(INSIDE_TLS) == offered
    assert Ground(tmp_path).auth.mechanisms(CERTIFICATE) == ()


def test_what_an_account_may_send_as_is_known_without_its_login(ground: Ground) -> None:
    assert ground.auth.senders("alice@EXAMPLE.org") == ALICE.senders
    assert ground.auth.senders("bob") == ground.auth.senders("nobody") == ()


def test_what_is_not_offered_does_not_begin(ground: Ground) -> None:
    for mechanism in ("PLAIN", "LOGIN", "EXTERNAL", "GSSAPI", ""):
        assert ground.auth.begin(mechanism, IN_THE_CLEAR) is None


# ---- PLAIN and LOGIN


def test_plain(ground: Ground) -> None:
    assert ground.login("PLAIN", b"\0alice@example.org\0pencil") == ALICE
    assert ground.login("PLAIN", None, b"\0alice@example.org\0pencil") == ALICE
    assert ground.login("PLAIN", b"\0bob\0secret") == LoggedIn("bob")


def test_the_case_of_a_name_does_not_matter_that_of_a_password_does(ground: Ground) -> None:
    assert ground.plain("ALICE@EXAMPLE.org", PASSWORD) == ALICE
    assert refusal(ground.plain("alice@example.org", "Pencil")) == WRONG


def test_an_authorization_identity_is_the_name_itself_or_nothing(ground: Ground) -> None:
    assert ground.login("PLAIN", b"Alice@example.org\0alice@example.org\0pencil") == ALICE
    assert refusal(ground.login("PLAIN", b"bob\0alice@example.org\0pencil")) == WRONG
    assert ground.logged[-1][1]["why"] == "asks to act as somebody else"


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\0",
        b"alice\0pencil",
        b"\0\0pencil",
        b"\0alice\0",
        b"\0a\0b\0c",
        b"\0\xff\0x",
        b"\0a\x07\0x",
        b"\0a\0" + b"x" * 1025,
    ],
)
def test_plain_that_is_none(ground: Ground, response: bytes) -> None:
    assert refusal(ground.login("PLAIN", response)) == MALFORMED


def test_names_and_passwords_are_prepared(tmp_path: Path) -> None:
    ground = Ground(tmp_path, Account("IX", quick_hash("a b")))
    assert ground.plain("\u2168", "a\u00a0\u00adb") == LoggedIn("IX")  # RFC 4013 3: Roman nine, soft hyphen


def test_login(ground: Ground) -> None:
    assert ground.login("LOGIN", None) == Challenge(b"Username:")
    assert ground.login("LOGIN", None, b"alice@example.org") == Challenge(b"Password:")
    assert ground.login("LOGIN", None, b"alice@example.org", b"pencil") == ALICE
    assert ground.login("LOGIN", b"alice@example.org", b"pencil") == ALICE
    assert refusal(ground.login("LOGIN", None, b"alice@example.org", b"pen")) == WRONG
    assert refusal(ground.login("LOGIN", None, b"", b"")) == WRONG


def test_unknown_and_wrong_look_the_same_and_cost_the_same(ground: Ground) -> None:
    for name in ("alice@example.org", "nobody"):
        assert refusal(ground.plain(name, "wrong")) == WRONG
    assert ground.threads.done == 2


class Smtplib(SMTP):
    """The standard library's client, whose commands go to an exchange."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self.ground = ground
        self.user, self.password = "alice@example.org", PASSWORD
        self.word: object = None

    def docmd(self, cmd: str, args: str = "") -> tuple[int, bytes]:
        if cmd == "AUTH":
            mechanism, _, encoded = args.partition(" ")
            self.exchange = self.ground.begin(mechanism)
            response = b64decode(encoded) if encoded else None
        else:
            response = b64decode(cmd)
        self.word = self.ground.word(self.exchange, response)
        if isinstance(self.word, Challenge):
            return 334, b64encode(self.word.octets)
        return (235 if isinstance(self.word, LoggedIn) else 535), b""


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("early", [True, False])
def test_smtplib(ground: Ground, mechanism: str, early: bool) -> None:
    client = Smtplib(ground)
    speak = getattr(client, f"auth_{mechanism.lower().replace('-', '_')}")
    client.auth(mechanism, speak, initial_response_ok=early)
    assert client.word == ALICE


# ---- CRAM-MD5


def test_the_example_of_rfc_2195(tmp_path: Path) -> None:
    ground = Ground(tmp_path, Account("tim", cram_md5="tanstaaftanstaaf"), nonce="1896.697170952")
    challenge = ground.login("CRAM-MD5", None)
    assert challenge == Challenge(b"<1896.697170952.1800000000@mail.test>")
    # The digest of the RFC is over its own challenge.
    own = b"<1896.697170952@postoffice.reston.mci.net>"
    from mta.auth.mechanisms import cram_md5
    from mta.auth.steps import Proof

    steps = cram_md5(None, ground.accounts.find, own)
    assert next(steps) == own
    proof = steps.send(b"tim b913a602c7eda7a495b4e6e7334d3890")
    assert proof == Proof("tim", ground.accounts.find("tim"))


def test_cram_md5_refuses(ground: Ground) -> None:
    challenge = ground.login("CRAM-MD5", None)
    assert isinstance(challenge, Challenge)
    right = hmac.digest(b"pencil", challenge.octets, "md5").hex().encode()
    nothing = hmac.digest(b"", challenge.octets, "md5").hex().encode()
    assert ground.login("CRAM-MD5", None, b"alice@example.org " + right.upper()) == ALICE
    for response in (b"alice@example.org " + right[:-1], b"nobody " + right, b"bob " + nothing, b"nobody " + nothing):
        assert refusal(ground.login("CRAM-MD5", None, response)) == WRONG
    for response in (b"", b"alice", b" " + right):
        assert refusal(ground.login("CRAM-MD5", None, response)) == MALFORMED
    assert refusal(ground.login("CRAM-MD5", b"alice@example.org " + right)) == MALFORMED  # RFC 4954 4


# ---- EXTERNAL


def test_external(ground: Ground) -> None:
    assert ground.login("EXTERNAL", b"", client=CERTIFICATE) == ALICE
    assert ground.login("EXTERNAL", None, b"", client=CERTIFICATE) == ALICE
    assert ground.login("EXTERNAL", b"alice@example.org", client=CERTIFICATE) == ALICE
    assert refusal(ground.login("EXTERNAL", b"bob", client=CERTIFICATE)) == WRONG
    assert refusal(ground.login("EXTERNAL", b"other@example.org", client=CERTIFICATE)) == WRONG
    other = LoginFrom("192.0.2.7", True, True, ("other@example.org",))
    assert refusal(ground.login("EXTERNAL", b"", client=other)) == WRONG


# ---- SCRAM


def scram(ground: Ground, client: ScramClient, mechanism: str) -> object:
    """scramp's client logs in; what becomes of it. The server's proof is checked by it."""
    exchange = ground.begin(mechanism, IN_THE_CLEAR)
    word = ground.word(exchange, client.get_client_first().encode())
    if not isinstance(word, Challenge):
        return word
    client.set_server_first(word.octets.decode())
    word = ground.word(exchange, client.get_client_final().encode())
    if not isinstance(word, Challenge):
        return word
    client.set_server_final(word.octets.decode())
    return ground.word(exchange, b"")


@pytest.mark.parametrize("mechanism", [SCRAM_SHA_1, SCRAM_SHA_256])
def test_scram(ground: Ground, mechanism: str) -> None:
    assert scram(ground, ScramClient([mechanism], "alice@example.org", PASSWORD), mechanism) == ALICE
    for name, password in (("alice@example.org", "wrong"), ("nobody", PASSWORD), ("bob", "secret")):
        assert refusal(scram(ground, ScramClient([mechanism], name, password), mechanism)) == WRONG


RFC_DIALOGUES = {
    SCRAM_SHA_1: (  # RFC 5802 5
        "QSXCR+Q6sek8bf92",
        "3rfcNHYJY1ZVvWVs7j",
        "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    SCRAM_SHA_256: (  # RFC 7677 3
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


@pytest.mark.parametrize("mechanism", RFC_DIALOGUES)
def test_the_examples_of_the_rfcs(tmp_path: Path, mechanism: str) -> None:
    salt, nonce, *messages = RFC_DIALOGUES[mechanism]
    form = rfc_form(mechanism, salt)
    user = Account("user")._replace(**{mechanism.lower().replace("-", "_"): form})
    ground = Ground(tmp_path, user, nonce=nonce)
    exchange = ground.begin(mechanism)
    assert ground.word(exchange, messages[0].encode()) == Challenge(messages[1].encode())
    assert ground.word(exchange, messages[2].encode()) == Challenge(messages[3].encode())
    assert ground.word(exchange, b"") == LoggedIn("user")


class AuthorizingClient(ScramClient):  # type: ignore[misc]
    """scramp's client, which has no authorization identity, with one."""

    def __init__(self, mechanism: str, user: str, password: str, authorization: str) -> None:
        super().__init__([mechanism], user, password)
        header = f"n,a={authorization},"

        class Header:
            def make_cbind_input(self, _: object) -> bytes:
                return header.encode()

            def __str__(self) -> str:
                return header

        self.gs2_header = Header()


def test_scram_with_an_authorization_identity(ground: Ground) -> None:
    def client(whom: str) -> ScramClient:
        return AuthorizingClient(SCRAM_SHA_256, "alice@example.org", PASSWORD, whom)

    assert scram(ground, client("ALICE@example.org"), SCRAM_SHA_256) == ALICE
    assert refusal(scram(ground, client("bob"), SCRAM_SHA_256)) == WRONG


def test_the_salt_of_somebody_unknown_is_always_the_same(ground: Ground) -> None:
    def salt(name: str, mechanism: str = SCRAM_SHA_256) -> bytes:
        word = ground.login(mechanism, f"n,,n={name},r=abc".encode())
        assert isinstance(word, Challenge)
        assert word.octets.endswith(b",i=50000")
        octets = b64decode(word.octets.split(b",s=")[1].partition(b",")[0])
        assert len(octets) == 16
        return octets

    assert salt("nobody") == salt("Nobody") != salt("nobody", SCRAM_SHA_1)
    assert len({salt("nobody"), salt("bob"), salt("somebody"), salt("alice@example.org")}) == 4


@pytest.mark.parametrize(
    "first",
    [
        b"", b"n,,", b"n,,n=alice", b"p=tls-unique,,n=alice,r=x", b"n,a=b=c,n=alice,r=x", b"x,,n=alice,r=x", b"\xff",
        b"n,,m=x,n=alice,r=x", b"n,,n=al=ice,r=x", b"n,,n=alice,r=" + b"x" * 5000, b"n,b=c,n=alice,r=x",
        b"n,,r=x,n=alice",
    ],
)  # fmt: skip
def test_a_first_message_that_is_none(ground: Ground, first: bytes) -> None:
    assert refusal(ground.login(SCRAM_SHA_256, first)) == MALFORMED


def test_a_final_message_that_is_none_or_not_of_this_exchange(ground: Ground) -> None:
    first = b"n,,n=alice@example.org,r=abc"
    proof = b64encode(bytes(32))
    for final, said in (
        (b"", MALFORMED),
        (b"c=biws,r=abc,p=" + proof, MALFORMED),
        (b"c=biws,r=abc3rfcNHYJ", MALFORMED),
        (b"c=biws,r=abc3rfcNHYJ,p=*", MALFORMED),
        (b"c=biws,r=abc3rfcNHYJ,p=AAAA", WRONG),
        (b"c=biws,r=abc3rfcNHYJ,p=" + proof, WRONG),
        (b"c=eSws,r=abc3rfcNHYJ,p=" + proof, WRONG),
    ):
        assert refusal(ground.login(SCRAM_SHA_256, first, final)) == said, final


def test_nothing_may_follow_the_servers_proof(ground: Ground) -> None:
    client = ScramClient([SCRAM_SHA_256], "alice@example.org", PASSWORD)
    exchange = ground.begin(SCRAM_SHA_256)
    word = ground.word(exchange, client.get_client_first().encode())
    assert isinstance(word, Challenge)
    client.set_server_first(word.octets.decode())
    assert isinstance(ground.word(exchange, client.get_client_final().encode()), Challenge)
    assert refusal(ground.word(exchange, b"more")) == MALFORMED


def test_a_server_without_the_password_is_found_out_by_scramp(tmp_path: Path) -> None:
    """That the test above would notice a wrong proof of ours."""
    account = alice()
    assert account.scram_sha_256 is not None
    ground = Ground(tmp_path, account._replace(scram_sha_256=account.scram_sha_256._replace(server_key=bytes(32))))
    with pytest.raises(ScramException):
        scram(ground, ScramClient([SCRAM_SHA_256], "alice@example.org", PASSWORD), SCRAM_SHA_256)
