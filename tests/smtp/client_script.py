"""Dialogues of the asking side held by a script: what must be sent, and what is replied."""

from collections.abc import Sequence
from typing import Any

from mta.smtp.answers import AnswerReader
from mta.smtp.client import Delivery, How, Stage
from mta.smtp.reply import Reply
from mta.smtp.steps import Commands, Content, Dialogue, Greeting, Handshake, OwnReply

LOST = OwnReply(451, "4.4.2", ("connection lost",))
OK, GO, BYE = "250 2.0.0 ok", "354 go ahead", "421 4.3.2 going down"

HANDSHAKE = "(handshake)"

Said = str | OwnReply
Turn = tuple[str | bytes | None, Sequence[Said]]


def heard(said: Said) -> Reply:
    if isinstance(said, OwnReply):
        return said
    [reply] = AnswerReader().receive(said.encode() + b"\r\n")
    return reply


def play(dialogue: Dialogue[Any], *turns: Turn, cut_off: bool = False) -> Any:
    """Hold a dialogue by a script of turns: what must be sent (None: nothing; HANDSHAKE), and what is replied.

    cut_off: the connection breaks while the last content is sent.
    """
    step = next(dialogue)
    for number, (sent, said) in enumerate(turns):
        if isinstance(step, Commands):
            assert b"".join(step.lines).decode() == sent
        elif isinstance(step, Content):
            assert b"".join(step.blocks) == sent
            step.sent = not (cut_off and number == len(turns) - 1)
        elif isinstance(step, Handshake):
            assert sent == HANDSHAKE
        else:
            assert isinstance(step, Greeting)
            assert sent is None
        assert step.replies == len(said)
        try:
            step = dialogue.send([heard(one) for one in said])
        except StopIteration as end:
            assert number == len(turns) - 1, "it ended early"
            return end.value
    raise AssertionError(f"it goes on with {step}")


def ends(delivery: Delivery) -> list[tuple[How, int, Stage]]:
    return [(ending.how, ending.reply.code, ending.stage) for ending in delivery.endings]
