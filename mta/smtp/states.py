"""States: which command may come when, and what it leads to (RFC 5321 4.1.4). One table; nothing else decides order."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from mta.smtp import replies
from mta.smtp.command import VERBS
from mta.smtp.reply import Reply


class State(Enum):
    """Where a session stands between two commands."""

    CONNECTED = "the greeting is owed"
    REFUSED = "refused by the greeting"
    GREETED = "not introduced"
    READY = "introduced, no transaction"
    SENDER = "a transaction without recipients"
    UNSERVED = "a transaction all of whose recipients were refused"
    RECIPIENTS = "a transaction with recipients"
    CONTENT = "the content is on its way"


IN_TRANSACTION = frozenset({State.SENDER, State.UNSERVED, State.RECIPIENTS, State.CONTENT})


class Step(NamedTuple):
    """A command that may come now: the state that it leads to when it is accepted, and when it is refused."""

    accepted: State
    refused: State


# Each cell: the state that an accepted command leads to (a refused one changes nothing), both states, or the reply
# that the command gets because it is out of order.
_S = State
_RCPT = Step(accepted=State.RECIPIENTS, refused=State.UNSERVED)
_COLUMNS = (b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET")
_TABLE: dict[State, tuple[State | Step | Reply, ...]] = {
    _S.GREETED: (_S.READY, _S.READY, replies.HELO_FIRST, replies.HELO_FIRST, replies.HELO_FIRST, _S.GREETED),
    _S.READY: (_S.READY, _S.READY, _S.SENDER, replies.MAIL_FIRST, replies.MAIL_FIRST, _S.READY),
    _S.SENDER: (_S.READY, _S.READY, replies.MAIL_ALREADY, _RCPT, replies.RCPT_FIRST, _S.READY),
    _S.UNSERVED: (_S.READY, _S.READY, replies.MAIL_ALREADY, _RCPT, replies.NO_VALID_RECIPIENTS, _S.READY),
    _S.RECIPIENTS: (_S.READY, _S.READY, replies.MAIL_ALREADY, _S.RECIPIENTS, _S.CONTENT, _S.READY),
}
END_OF_CONTENT = Step(accepted=State.READY, refused=State.READY)  # no verb: during content nothing else is heard
_AT_ANY_TIME = (b"NOOP", b"HELP", b"VRFY", b"QUIT")

Row = Mapping[bytes, Step | Reply]


def _row(state: State) -> Row:
    """What becomes of each verb in a state."""
    if state is State.REFUSED:
        return dict.fromkeys(VERBS, replies.REFUSED_BEFORE) | {b"QUIT": Step(state, state)}
    if state not in _TABLE:
        return {}
    cells = dict(zip(_COLUMNS, _TABLE[state], strict=True)) | dict.fromkeys(_AT_ANY_TIME, state)
    return {
        verb: Step(accepted=cell, refused=state) if isinstance(cell, State) else cell for verb, cell in cells.items()
    }


ROWS: Mapping[State, Row] = {state: _row(state) for state in State}
