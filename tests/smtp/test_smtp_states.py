"""The table of what may come when, read the other way round: every cell is reached, and says what it should."""

import pytest
from fake_owner import EVERYTHING, FakeOwner

from mta.smtp.parser import VERBS
from mta.smtp.settings import ServerSettings
from mta.smtp.states import IN_TRANSACTION, ROWS, State

_TRANSACTION = [b"EHLO client", b"MAIL FROM:<>", b"RCPT TO:<jones@example.org>"]
WAYS = {
    State.GREETED: [],
    State.READY: [b"EHLO client"],
    State.SENDER: [b"EHLO client", b"MAIL FROM:<>"],
    State.UNSERVED: [b"EHLO client", b"MAIL FROM:<>", b"RCPT TO:<unknown@example.org>"],
    State.RECIPIENTS: _TRANSACTION,
    State.CONTENT: [*_TRANSACTION, b"DATA"],
    State.CHUNKS: [*_TRANSACTION, b"BDAT 0"],
    State.LOGIN: [b"EHLO client", b"AUTH PLAIN"],
}
COLUMNS = (State.GREETED, State.READY, State.SENDER, State.UNSERVED, State.RECIPIENTS, State.CHUNKS)
R, G, S, U = State.READY, State.GREETED, State.SENDER, State.UNSERVED
T, C, B, H, L = State.RECIPIENTS, State.CONTENT, State.CHUNKS, State.HANDSHAKE, State.LOGIN
# What is said in each state: the code of the reply, and the state afterwards where it is another.
TABLE: dict[bytes, tuple[int | tuple[int, State], ...]] = {
    b"HELO client": ((250, R), (250, R), (250, R), (250, R), (250, R), (250, R)),
    b"EHLO client": ((250, R), (250, R), (250, R), (250, R), (250, R), (250, R)),
    b"EHLO": (501, 501, 501, 501, 501, 501),
    b"MAIL FROM:<>": (503, (250, S), 503, 503, 503, 503),
    b"MAIL FROM:": (503, 501, 503, 503, 503, 503),
    b"RCPT TO:<jones@example.org>": (503, 503, (250, T), (250, T), 250, 503),
    b"RCPT TO:<unknown@example.org>": (503, 503, (550, U), 550, 550, 503),
    b"RCPT TO:<>": (503, 503, 501, 501, 501, 503),
    b"DATA": (503, 503, 503, 554, (354, C), 503),
    b"BDAT 0": (503, 503, 503, 554, (250, B), 250),
    b"BDAT 0 LAST": (503, 503, 503, 554, (250, R), (250, R)),
    b"BDAT": (503, 503, 503, 554, 501, 501),
    b"RSET": (250, 250, (250, R), (250, R), (250, R), (250, R)),
    b"NOOP": (250, 250, 250, 250, 250, 250),
    b"HELP": (214, 214, 214, 214, 214, 214),
    b"VRFY jones": (252, 252, 252, 252, 252, 252),
    b"EXPN staff": (252, 252, 252, 252, 252, 252),
    b"ETRN example.org": (503, 251, 503, 503, 503, 503),
    b"STARTTLS": (503, (220, H), 503, 503, 503, 503),
    b"AUTH PLAIN": (503, (334, L), 503, 503, 503, 503),
    b"AUTH PLAIN c2VjcmV0": (503, 235, 503, 503, 503, 503),
    b"XCLIENT ADDR=192.0.2.1": ((220, G), (220, G), 503, 503, 503, 503),
    b"XYZZY": (500, 500, 500, 500, 500, 500),
    b"QUIT": (221, 221, 221, 221, 221, 221),
}
CELLS: list[tuple[bytes, State, int | None, State]] = [
    (line, state, *(cell if isinstance(cell, tuple) else (cell, state)))
    for line, cells in TABLE.items()
    for state, cell in zip(COLUMNS, cells, strict=True)
] + [
    (b"NOOP", C, None, C),
    (b".", C, 250, R),
    (b"c2VjcmV0", L, 235, R),
    (b"d3Jvbmc=", L, 535, R),
    (b"*", L, 501, R),
    (b"QUIT", L, 535, R),
    (b"!", L, 501, R),
]


@pytest.mark.parametrize(("line", "state", "code", "then"), CELLS)
def test_cell(line: bytes, state: State, code: int | None, then: State) -> None:
    owner = FakeOwner(ServerSettings(extensions=EVERYTHING))
    owner.greet()
    for way in WAYS[state]:
        owner.hear(way + b"\r\n")
    assert owner.session.state is state
    answer = owner.hear(line + b"\r\n")
    assert answer[:3] == (str(code).encode() if code else b"")
    assert owner.session.state is then
    assert owner.session.in_transaction == (then in IN_TRANSACTION)
    assert owner.session.in_content == (then is State.CONTENT)


def test_every_verb_has_its_place_in_every_state_that_hears_commands() -> None:
    for state in set(State) - {State.CONNECTED, State.CONTENT, State.LOGIN, State.HANDSHAKE}:
        assert ROWS[state].keys() == VERBS
