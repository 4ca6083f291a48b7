"""How a session is opened: the dialogues of STARTTLS and AUTH, by tables."""

from base64 import b64encode

import pytest
from client_script import BYE, HANDSHAKE, LOST, Turn, heard, play

from mta.smtp import limits
from mta.smtp.asking import Peer
from mta.smtp.client import Ending, How, Stage
from mta.smtp.opening import CHALLENGES_LIMIT, NotLoggedIn, Security, Unprotected, log_in, open_up
from mta.smtp.steps import Commands, NoHandshake, OwnReply

MAY = Security(wanted=True)
REQUIRE = Security(wanted=True, required=True)
IMPLICIT = Security(implicit=True, required=True)

GREETING: Turn = (None, ["220 mx.example"])
OFFERS: Turn = ("EHLO me.example\r\n", ["250-mx.example\r\n250-STARTTLS\r\n250 AUTH PLAIN"])
OFFERS_NOT: Turn = ("EHLO me.example\r\n", ["250-mx.example\r\n250 SIZE 10"])
GO: Turn = ("STARTTLS\r\n", ["220 go ahead"])
DONE: Turn = (HANDSHAKE, ["220 2.0.0 encrypted"])
INSIDE: Turn = ("EHLO me.example\r\n", ["250-other.example\r\n250 AUTH LOGIN"])
BAD = NoHandshake(451, "4.7.5", ("the TLS handshake failed: wrong version number",))


@pytest.mark.parametrize(
    ("security", "turns", "result"),
    [
        (Security(), [GREETING, OFFERS], Peer("mx.example", {"STARTTLS": "", "AUTH": "PLAIN"})),
        (MAY, [GREETING, OFFERS_NOT], Peer("mx.example", {"SIZE": "10"})),
        # What counts is what the server says of itself inside.
        (MAY, [GREETING, OFFERS, GO, DONE, INSIDE], Peer("other.example", {"AUTH": "LOGIN"})),
        (IMPLICIT, [DONE, GREETING, OFFERS], Peer("mx.example", {"STARTTLS": "", "AUTH": "PLAIN"})),
        (
            MAY,
            [GREETING, OFFERS, GO, DONE, ("EHLO me.example\r\n", ["500 what?"]), ("HELO me.example\r\n", ["250 mx"])],
            Peer("mx", {}),
        ),
        (
            MAY,
            [GREETING, OFFERS, GO, DONE, ("EHLO me.example\r\n", ["554 5.7.1 no"])],
            Ending(How.REFUSED, heard("554 5.7.1 no"), Stage.GREETING),
        ),
        (MAY, [GREETING, OFFERS, ("STARTTLS\r\n", [BYE])], Ending(How.LOST, heard(BYE), Stage.GREETING)),
        (MAY, [GREETING, OFFERS, GO, (HANDSHAKE, [BAD])], Unprotected(BAD)),
        (IMPLICIT, [(HANDSHAKE, [BAD])], Unprotected(BAD)),
        # The session ended for another reason than its TLS.
        (MAY, [GREETING, OFFERS, GO, (HANDSHAKE, [LOST])], Ending(How.LOST, LOST, Stage.GREETING)),
        (IMPLICIT, [(HANDSHAKE, [LOST])], Ending(How.LOST, LOST, Stage.GREETING)),
        (MAY, [(None, ["554 no"])], Ending(How.REFUSED, heard("554 no"), Stage.GREETING)),
    ],
)
def test_opening(security: Security, turns: list[Turn], result: object) -> None:
    assert play(open_up("me.example", False, security), *turns) == result


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([OFFERS_NOT], "TLS is required here, and mx.example does not offer STARTTLS"),
        ([OFFERS, ("STARTTLS\r\n", ["454 4.7.0 not now"])], "STARTTLS refused: 454 4.7.0 not now"),
        ([OFFERS, ("STARTTLS\r\n", ["554 5.7.0 never"])], "STARTTLS refused: 554 5.7.0 never"),
        ([OFFERS, ("STARTTLS\r\n", ["250 ok"])], "STARTTLS refused: 250 ok"),
        ([OFFERS, ("STARTTLS\r\n", [LOST])], "no TLS: 451 4.4.2 connection lost"),
    ],
)
def test_without_tls_it_is_put_off_and_never_bounced(turns: list[Turn], why: str) -> None:
    answer = play(open_up("me.example", False, REQUIRE), GREETING, *turns)
    assert answer == Unprotected(OwnReply(451, "4.7.4", (why,)))


def test_starttls_in_lmtp() -> None:
    lhlo = "LHLO me.example\r\n"
    turns: list[Turn] = [(lhlo, ["250-mx\r\n250 STARTTLS"]), GO, DONE, (lhlo, ["250-mx\r\n250 SIZE"])]
    assert play(open_up("me.example", True, MAY), GREETING, *turns) == Peer("mx", {"SIZE": ""}, lmtp=True)


class Mechanism:
    """Says what it is told to; "bad" is a challenge that it does not accept."""

    name = "TEST"

    def __init__(self, initial: bytes | None = None, *responses: bytes, proved: bool = True) -> None:
        self._initial = initial
        self._responses = list(responses)
        self._proved = proved
        self.challenges: list[bytes] = []
        self.success = False

    def initial(self) -> bytes | None:
        return self._initial

    def respond(self, challenge: bytes) -> bytes:
        if challenge == b"bad":
            raise ValueError("the nonce is not mine")
        self.challenges.append(challenge)
        return self._responses.pop(0)

    def succeeded(self) -> None:
        if not self._proved:
            raise ValueError("it did not prove that it knows the password")
        self.success = True


def b64(octets: bytes) -> str:
    return b64encode(octets).decode()


WELCOME = "235 2.7.0 welcome"


@pytest.mark.parametrize(
    ("mechanism", "turns", "challenges"),
    [
        (Mechanism(b"\0user\0secret"), [("AUTH TEST AHVzZXIAc2VjcmV0\r\n", [WELCOME])], []),
        (Mechanism(b""), [("AUTH TEST =\r\n", [WELCOME])], []),
        (
            Mechanism(None, b"user", b"secret", b""),
            [
                ("AUTH TEST\r\n", [f"334 {b64(b'Username:')}"]),
                (f"{b64(b'user')}\r\n", ["334 "]),
                (f"{b64(b'secret')}\r\n", [f"334 {b64(b'v=proof')}"]),
                ("\r\n", [WELCOME]),
            ],
            [b"Username:", b"", b"v=proof"],
        ),
        # A response that does not fit into AUTH's own line waits for a challenge.
        (
            Mechanism(b"x" * limits.AUTH_LINE),
            [("AUTH TEST\r\n", ["334 "]), (f"{b64(b'x' * limits.AUTH_LINE)}\r\n", [WELCOME])],
            [],
        ),
    ],
)
def test_logging_in(mechanism: Mechanism, turns: list[Turn], challenges: list[bytes]) -> None:
    assert play(log_in(mechanism), *turns) is None
    assert mechanism.success
    assert mechanism.challenges == challenges


def test_the_longest_initial_response_goes_with_the_command() -> None:
    room = limits.AUTH_LINE - len("AUTH TEST \r\n")
    fits, does_not = b"x" * (room // 4 * 3), b"x" * (room // 4 * 3 + 1)
    step = next(log_in(Mechanism(fits)))
    assert isinstance(step, Commands)
    assert len(step.lines[0]) <= limits.AUTH_LINE
    step = next(log_in(Mechanism(does_not)))
    assert isinstance(step, Commands)
    assert step.lines == (b"AUTH TEST\r\n",)


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        ("535 5.7.8 no", True),
        ("534 5.7.9 too weak", True),
        ("504 5.5.4 unknown", True),
        ("530 5.7.0 STARTTLS first", True),
        ("454 4.7.0 later", False),
        ("432 4.7.12 change it", False),
        (BYE, False),
        (LOST, False),
    ],
)
def test_a_login_that_fails(reply: str | OwnReply, refused: bool) -> None:
    mechanism = Mechanism(b"it")
    assert play(log_in(mechanism), (f"AUTH TEST {b64(b'it')}\r\n", [reply])) == NotLoggedIn(heard(reply), refused)
    assert not mechanism.success


@pytest.mark.parametrize(
    ("challenge", "why"),
    [
        ("334 not base64!", "a challenge that is not base64"),
        ("334 YWJ", "a challenge that is not base64"),
        ("334-YWJj\r\n334 YWJj", "a challenge that is not base64"),
        (f"334 {b64(b'bad')}", "the nonce is not mine"),
    ],
)
def test_a_bad_challenge_cancels(challenge: str, why: str) -> None:
    answer = play(log_in(Mechanism()), ("AUTH TEST\r\n", [challenge]), ("*\r\n", ["501 5.7.0 cancelled"]))
    assert answer == NotLoggedIn(OwnReply(451, "4.7.0", (f"the server's part of TEST is wrong: {why}",)), False)


def test_a_server_that_asks_for_ever_is_left() -> None:
    mechanism = Mechanism(None, *[b""] * CHALLENGES_LIMIT)
    asks: list[Turn] = [("\r\n", ["334 "])] * CHALLENGES_LIMIT
    answer = play(log_in(mechanism), ("AUTH TEST\r\n", ["334 "]), *asks, ("*\r\n", ["501 5.7.0 cancelled"]))
    assert "no end" in answer.reply.text
    assert not answer.refused


def test_a_server_that_does_not_prove_itself_is_not_believed() -> None:
    answer = play(log_in(Mechanism(b"it", proved=False)), (f"AUTH TEST {b64(b'it')}\r\n", [WELCOME]))
    assert "did not prove" in answer.reply.text
    assert not answer.refused


def test_secrets_are_marked() -> None:
    dialogue = log_in(Mechanism(b"it", b"secret"))
    steps = [next(dialogue), dialogue.send([heard("334 ")])]
    assert all(isinstance(step, Commands) and step.secret for step in steps)
