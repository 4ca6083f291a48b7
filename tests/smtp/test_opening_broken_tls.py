"""TLS that breaks when the handshake is over is no better than none."""

import pytest
from client_script import BYE, HANDSHAKE, LOST, heard, play

from mta.smtp.client import Ending, How, Stage
from mta.smtp.opening import Security, Unprotected, open_up

BEGINNING = [
    (None, ["220 mx.example"]),
    ("EHLO me.example\r\n", ["250-mx.example\r\n250 STARTTLS"]),
    ("STARTTLS\r\n", ["220 go ahead"]),
    (HANDSHAKE, ["220 2.0.0 encrypted"]),
]


@pytest.mark.parametrize("required", [True, False])
def test_a_session_that_is_lost_at_its_first_command_has_no_tls(required: bool) -> None:
    security = Security(wanted=True, required=required)
    answer = play(open_up("me.example", False, security), *BEGINNING, ("EHLO me.example\r\n", [LOST]))
    assert isinstance(answer, Unprotected)
    assert str(answer.reply) == "451 4.7.5 TLS is of no use: connection lost"


def test_a_server_that_says_why_it_leaves_is_believed() -> None:
    answer = play(open_up("me.example", False, Security(wanted=True)), *BEGINNING, ("EHLO me.example\r\n", [BYE]))
    assert answer == Ending(How.LOST, heard(BYE), Stage.GREETING)
