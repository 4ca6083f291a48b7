"""The table of what may come when, read the other way round: every cell is reached, and says what it should."""

import pytest
from fake_owner import FakeOwner

from mta.smtp.command import VERBS
from mta.smtp.server import ServerSettings
from mta.smtp.states import IN_TRANSACTION, ROWS, State

WAYS = {
    State.GREETED: [],
    State.READY: [b"EHLO client"],
    State.SENDER: [b"EHLO client", b"MAIL FROM:<>"],
    State.UNSERVED: [b"EHLO client", b"MAIL FROM:<>", b"RCPT TO:<unknown@example.org>"],
    State.RECIPIENTS: [b"EHLO client", b"MAIL FROM:<>", b"RCPT TO:<jones@example.org>"],
    State.CONTENT: [b"EHLO client", b"MAIL FROM:<>", b"RCPT TO:<jones@example.org>", b"DATA"],
}
# What is said in each state: the code of the reply, and the state afterwards.
R, G, S, U, T, C = State.READY, State.GREETED, State.SENDER, State.UNSERVED, State.RECIPIENTS, State.CONTENT
CELLS = {
    b"HELO client": {G: (250, R), R: (250, R), S: (250, R), U: (250, R), T: (250, R)},
    b"EHLO client": {G: (250, R), R: (250, R), S: (250, R), U: (250, R), T: (250, R)},
    b"EHLO": {G: (501, G), R: (501, R), S: (501, S), U: (501, U), T: (501, T)},
    b"MAIL FROM:<>": {G: (503, G), R: (250, S), S: (503, S), U: (503, U), T: (503, T)},
    b"MAIL FROM:": {G: (503, G), R: (501, R), S: (503, S), U: (503, U), T: (503, T)},
    b"RCPT TO:<jones@example.org>": {G: (503, G), R: (503, R), S: (250, T), U: (250, T), T: (250, T)},
    b"RCPT TO:<unknown@example.org>": {G: (503, G), R: (503, R), S: (550, U), U: (550, U), T: (550, T)},
    b"RCPT TO:<>": {G: (503, G), R: (503, R), S: (501, S), U: (501, U), T: (501, T)},
    b"DATA": {G: (503, G), R: (503, R), S: (503, S), U: (554, U), T: (354, C)},
    b"RSET": {G: (250, G), R: (250, R), S: (250, R), U: (250, R), T: (250, R)},
    b"NOOP": {G: (250, G), R: (250, R), S: (250, S), U: (250, U), T: (250, T), C: (None, C)},
    b"HELP": {G: (214, G), R: (214, R), S: (214, S), U: (214, U), T: (214, T)},
    b"VRFY jones": {G: (252, G), R: (252, R), S: (252, S), U: (252, U), T: (252, T)},
    b"XYZZY": {G: (500, G), R: (500, R), S: (500, S), U: (500, U), T: (500, T)},
    b"QUIT": {G: (221, G), R: (221, R), S: (221, S), U: (221, U), T: (221, T)},
    b".": {C: (250, R)},
}


@pytest.mark.parametrize(
    ("line", "state", "code", "then"),
    [(line, state, code, then) for line, row in CELLS.items() for state, (code, then) in row.items()],
)
def test_cell(line: bytes, state: State, code: int | None, then: State) -> None:
    owner = FakeOwner(ServerSettings())
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
    for state in set(State) - {State.CONNECTED, State.CONTENT}:
        assert ROWS[state].keys() == VERBS
