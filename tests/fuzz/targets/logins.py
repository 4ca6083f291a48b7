"""Logins: the mechanisms of SASL on both sides, and what Dovecot's auth socket says."""

from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache, partial

from scramp import ScramMechanism
from tls_in_memory import Channel
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from mta.auth.client import HIDING, SHOWING, Scram
from mta.auth.dovecot_connection import Connection, Down
from mta.auth.dovecot_lines import Answer
from mta.auth.mechanisms import cram_md5, external, login, plain
from mta.auth.scram import decoy_form, scram
from mta.auth.steps import Elsewhere, Malformed, Password, Proof, Steps, Unbound
from mta.logins import IChannel, LoginFrom
from mta.policy.account import PLUS, SCRAM_SHA_1, SCRAM_SHA_256, Account, ScramForm
from mta.smtp.login import ClientMechanism
from mta.smtp.opening import NotLoggedIn, log_in
from mta.smtp.reply import Reply
from targets.choices import Choices, cut
from targets.measures import Target, stretch
from targets.sessions import is_fit_to_show

_NONCE = "3rfcNHYJ"


def server(octets: bytes) -> None:
    """Whatever a client responds: a challenge, evidence that is as it should be, or a reason why not."""
    choices = Choices(octets)
    begin = _MECHANISMS[choices.number(len(_MECHANISMS))]
    has_initial = choices.flag()
    responses = choices.pieces()
    try:
        with stretch():
            steps = begin(next(responses, b"") if has_initial else None)
            step = next(steps)
        while True:
            if isinstance(step, bytes):
                answered: bytes | None = next(responses, b"")
            else:
                assert isinstance(step, Password | Proof | Elsewhere)
                assert step.name.isprintable(), step
                if isinstance(step, Elsewhere) or (isinstance(step, Proof) and step.account is None):
                    assert isinstance(step, Elsewhere) or step.why.isprintable()
                    return
                assert not isinstance(step, Proof) or step.account == _alice()
                answered = None
            with stretch():
                step = steps.send(answered)
    except StopIteration:
        return
    except Malformed as error:
        assert len(str(error)) < 1000
    except Unbound as error:
        assert len(str(error)) < 1000
        assert str(error).isprintable()
        assert error.reply.code in (504, 535)


def client(octets: bytes) -> None:
    """Whatever a server challenges with: a response, or a reason that can be shown why it is not believed."""
    choices = Choices(octets)
    make = _OURS[choices.number(len(_OURS))]
    dialogue = log_in(_with_nonce(make("alice", "pencil")))
    code, replied = 334, choices.pieces()
    try:
        step = next(dialogue)
        while True:
            for line in step.lines:
                assert line.count(b"\r\n") == 1 and line.endswith(b"\r\n")
            piece = next(replied, None)
            if piece is None:
                code = (235, 535, 421)[choices.number(3)]
            text = (piece or b"").decode(errors="replace")
            with stretch(_DERIVING):
                step = dialogue.send([Reply(code, "", (text,))])
    except StopIteration as end:
        assert end.value is None or isinstance(end.value, NotLoggedIn)
        if end.value is not None and end.value.reply.code == 451:
            is_fit_to_show(end.value.reply)
            assert len(end.value.reply.text) < 2000


# Deriving the key of SCRAM with as many iterations as we let a server ask for.
_DERIVING = 0.1


def _with_nonce(mechanism: ClientMechanism) -> ClientMechanism:
    """With a nonce that whoever makes up inputs can know."""
    if mechanism.name.startswith("SCRAM"):
        binding = _CHANNEL.usual() if mechanism.name.endswith(PLUS) else None
        return Scram(mechanism.name, "alice", "pencil", _NONCE, binding)
    return mechanism


def dovecot(octets: bytes) -> None:
    """Whatever comes from Dovecot's socket, cut in any way: answers to those who wait, or all of them are told why."""
    choices = Choices(octets)
    how = choices.number(256)
    wire = choices.rest()
    heard = []
    for way in (0, how):
        lost: list[str] = []
        connection = Connection(lambda _: None, lambda _, why, lost=lost: lost.append(why))
        transport = StringTransport()
        transport.protocol = connection
        connection.makeConnection(transport)
        answers: list[object] = []
        for number in range(3):
            _, answered = connection.begin("PLAIN", LoginFrom("192.0.2.1", tls=True), b"\0a\0b")
            _keep(answered, answers, number)
        for piece in cut(wire, way):
            with stretch():
                if not transport.disconnecting:
                    connection.dataReceived(piece)
        connection.close("the end")
        assert len(answers) == 3, "each has one answer"
        assert lost
        heard.append((sorted(map(repr, answers)), connection.offers))
        for offered in connection.offers:
            assert offered.name.isascii() and offered.name.isprintable()
    assert heard[0] == heard[1] or "too much" in lost[0], "the cut makes a difference"


def _keep(answered: "Deferred[Answer]", answers: list[object], number: int) -> None:
    def failed(failure: object) -> None:
        failure.trap(Down)  # type: ignore[attr-defined]
        answers.append((number, "down"))

    answered.addCallbacks(lambda answer: answers.append((number, answer)), failed)


@lru_cache
def _alice() -> Account:
    return Account("alice", "", _form(SCRAM_SHA_1), _form(SCRAM_SHA_256), "pencil")


@lru_cache
def _form(mechanism: str) -> ScramForm:
    salt, stored, key, iterations = ScramMechanism(mechanism).make_auth_info("pencil", 4096, b"0123456789abcdef")
    return ScramForm(mechanism, iterations, salt, stored, key)


def _find(name: str) -> Account | None:
    return _alice() if name == "alice" else None


def _scram(mechanism: str, elsewhere: bool, channel: IChannel | None = None) -> Callable[[bytes | None], Steps]:
    def decoy(name: str) -> ScramForm:
        return decoy_form(b"secret", mechanism.removesuffix(PLUS), name, 4096)

    return lambda initial: scram(mechanism, initial, _find, decoy, _NONCE, elsewhere, channel)


_CHANNEL = Channel({"tls-exporter": b"exported", "tls-server-end-point": b"certificate"})
_MECHANISMS: tuple[Callable[[bytes | None], Steps], ...] = (
    plain,
    login,
    lambda initial: cram_md5(initial, _find, b"<1@mail.example>"),
    lambda initial: external(initial, _find, ["alice", "bob"]),
    _scram(SCRAM_SHA_1, False),
    _scram(SCRAM_SHA_256, True),
    _scram(SCRAM_SHA_1 + PLUS, False, _CHANNEL),
    _scram(SCRAM_SHA_256 + PLUS, False, _CHANNEL),
    _scram(SCRAM_SHA_256, False, _CHANNEL),
)
_OURS = (*HIDING.values(), *SHOWING.values(), partial(Scram, SCRAM_SHA_256 + PLUS, binding=_CHANNEL.usual()))
_RESPONSES = (
    *(bytes((number,)) for number in range(6)), b"\xff", b"\0", b"alice", b"pencil", b"n,,", b"n=alice", b",r=b",
    b"y,a=", b"p=tls-exporter,,n=alice,r=b", b"p=tls-unique,,", b"p=tls-server-end-point,a=alice,", b"p=",
    b"c=" + b64encode(b"p=tls-exporter,,exported"), b"c=eSws",
    b"=2C", b"=3D", b"c=biws", b",r=3rfcNHYJ", b",p=", b"m=1", b"\xc2\xa0", b"\xe2\x80\xa8", b"\xc3\xa9", b"alice ",
    b"a" * 1024, b",", b"=",
)  # fmt: skip
_CHALLENGES = (
    *(bytes((number,)) for number in range(6)), b"\xff", b"UGFzc3dvcmQ6",
    b"cj0zcmZjTkhZSmIscz1NVEl6TkRVMk56ZzVNREV5LGk9NDA5Ng==",
    b"dj1hYWFh", b"ZT1vdGhlci1lcnJvcg==", b"=", b"ZT0bW0o=", b"\xc3\xa9",
)  # fmt: skip
_LINES = (
    b"VERSION\t1\t2\n", b"MECH\tPLAIN\tplaintext\n", b"DONE\n", b"CONT\t1\tcQ==\n", b"\tchannel_binding=tls-exporter\n",
    b"MECH\tSCRAM-SHA-1-PLUS\tchannel-binding\n", b"OK\t1\tuser=alice\n",
    b"FAIL\t2\n",
    b"FAIL\t3\tuser=a\ttemp\treason=\x01t\x01n\n", b"\x01", b"\t", b"\n", b"\xff", b"9" * 5000, b"OK", b"x" * 16_384,
)  # fmt: skip
TARGETS = (
    Target("sasl-server", server, _RESPONSES, 9216),
    Target("sasl-client", client, _CHALLENGES, 1000),
    Target("dovecot", dovecot, _LINES),
)
