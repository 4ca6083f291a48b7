"""States: which command may come when, and what it leads to (RFC 5321 4.1.4). One table; nothing else decides order."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from mta.smtp import replies
from mta.smtp.parser import VERBS
from mta.smtp.reply import Reply


class State(Enum):
    """Where a session stands between two commands."""

    __hash__ = object.__hash__  # each is looked up for each command, and Enum's own hashes the name in Python

    CONNECTED = "the greeting is owed"
    REFUSED = "refused by the greeting"
    GREETED = "not introduced"
    READY = "introduced, no transaction"
    SENDER = "a transaction without recipients"
    UNSERVED = "a transaction all of whose recipients were refused"
    RECIPIENTS = "a transaction with recipients"
    CONTENT = "the content is on its way"
    CHUNKS = "some of the content has come, by BDAT"
    LOGIN = "the client is to answer a challenge"
    HANDSHAKE = "TLS is being negotiated"


# Each by a name of its own: to ask an Enum for a member takes Python 3.11 as long as thirty such names.
(
    CONNECTED,
    REFUSED,
    GREETED,
    READY,
    SENDER,
    UNSERVED,
    RECIPIENTS,
    CONTENT,
    CHUNKS,
    LOGIN,
    HANDSHAKE,
) = State
IN_TRANSACTION = frozenset({SENDER, UNSERVED, RECIPIENTS, CONTENT, CHUNKS})


class Step(NamedTuple):
    """A command that may come now: the state that it leads to when it is accepted, and when it is refused."""

    accepted: State
    refused: State


# Each cell: the state that an accepted command leads to (a refused one changes nothing), both states, or the reply
# that the command gets because it is out of order.
_S = State
_RCPT = Step(accepted=State.RECIPIENTS, refused=State.UNSERVED)
_COLUMNS = (b"MAIL", b"RCPT", b"DATA", b"BDAT", b"STARTTLS", b"AUTH", b"ETRN", b"XCLIENT")
_FIRST, _LATE = replies.HELO_FIRST, replies.IN_TRANSACTION
_MAIL, _MORE = replies.MAIL_FIRST, replies.MAIL_ALREADY
_NONE, _RCPTS = replies.NO_VALID_RECIPIENTS, replies.RCPT_FIRST
_CHUNK = replies.CHUNKS_BEGUN
_TABLE: dict[State, tuple[State | Step | Reply, ...]] = {
    _S.GREETED: (_FIRST, _FIRST, _FIRST, _FIRST, _FIRST, _FIRST, _FIRST, _S.GREETED),
    _S.READY: (_S.SENDER, _MAIL, _MAIL, _MAIL, _S.HANDSHAKE, _S.READY, _S.READY, _S.GREETED),
    _S.SENDER: (_MORE, _RCPT, _RCPTS, _RCPTS, _LATE, _LATE, _LATE, _LATE),
    _S.UNSERVED: (_MORE, _RCPT, _NONE, _NONE, _LATE, _LATE, _LATE, _LATE),
    _S.RECIPIENTS: (_MORE, _S.RECIPIENTS, _S.CONTENT, _S.CHUNKS, _LATE, _LATE, _LATE, _LATE),
    _S.CHUNKS: (_MORE, _CHUNK, _CHUNK, _S.CHUNKS, _LATE, _LATE, _LATE, _LATE),
}
_BEGINS_ANEW = (b"HELO", b"EHLO", b"RSET")
_AT_ANY_TIME = (b"NOOP", b"HELP", b"VRFY", b"EXPN", b"QUIT")
# No verbs: during content nothing else is heard, a chunk is answered when it has arrived, and a client that has been
# given a challenge answers it.
GREETING = Step(accepted=GREETED, refused=REFUSED)
END_OF_CONTENT = Step(accepted=State.READY, refused=State.READY)
END_OF_CHUNK = Step(accepted=State.CHUNKS, refused=State.READY)
CHALLENGED = Step(accepted=State.READY, refused=State.READY)

Row = Mapping[bytes, Step | Reply]


def _row(state: State) -> Row:
    """What becomes of each verb in a state."""
    if state is State.REFUSED:
        return dict.fromkeys(VERBS, replies.REFUSED_BEFORE) | {b"QUIT": Step(state, state)}
    if state not in _TABLE:
        return {}
    introduced = dict.fromkeys(_BEGINS_ANEW, _S.READY)
    if state is State.GREETED:
        introduced[b"RSET"] = state
    cells = dict(zip(_COLUMNS, _TABLE[state], strict=True)) | dict.fromkeys(_AT_ANY_TIME, state) | introduced
    return {
        verb: Step(accepted=cell, refused=state) if isinstance(cell, State) else cell for verb, cell in cells.items()
    }


ROWS: Mapping[State, Row] = {state: _row(state) for state in State}
