"""Any sequence of commands, pipelined and cut in any way, gets the replies that a model of the session says: none out
of order, none too many, none too few."""

import os
import re
from collections.abc import Callable
from random import Random

import pytest
from fake_owner import EVERYTHING, FakeOwner
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from session_model import SECRET, Model

from mta.smtp.limits import SessionLimits
from mta.smtp.settings import ServerSettings

PATIENT = ServerSettings(extensions=EVERYTHING, limits=SessionLimits(1 << 30, 1 << 30, 1 << 30))
REPLY = re.compile(rb"([2-5][0-9]{2})([ -]).*\r\n")
LINES = [b"NOOP", b"MAIL FROM:<>", b"QUIT", b".", b"..", b"", b"RCPT TO:<a@b>", b"\x80\xff"]
said = 0  # commands, in all machines

Utterance = tuple[bytes, list[int]]


def codes(octets: bytes) -> list[int]:
    """The replies, each by its code. What is no reply is an error."""
    found, at = [], 0
    while at < len(octets):
        match = REPLY.match(octets, at)
        assert match, octets[at : at + 80]
        if match[2] == b" ":
            found.append(int(match[1]))
        at = match.end()
    return found


def content(chance: Random) -> tuple[bytes, bool]:
    """Content as it goes on the wire, and whether it holds a bare LF."""
    lines = [chance.choice(LINES) for _ in range(chance.randrange(6))]
    stuffed = [b"." + line if line.startswith(b".") else line for line in lines]
    bare = chance.random() < 0.1
    if bare:
        stuffed.insert(chance.randrange(len(stuffed) + 1), b"a\nb")
    return b"".join(line + b"\r\n" for line in stuffed) + b".\r\n", bare


def chunk(chance: Random) -> tuple[bytes, bool]:
    """The octets of a chunk, which may look like commands, and whether there is a bare LF in them."""
    lines = [chance.choice(LINES) for _ in range(chance.randrange(4))]
    bare = chance.random() < 0.1
    if bare:
        lines.append(b"a\nb")
    return b"".join(line + b"\r\n" for line in lines), bare


COMMANDS: list[Callable[[Model, Random], Utterance]] = [
    lambda model, _: model.helo(b"HELO"),
    lambda model, _: model.helo(b"EHLO"),
    lambda model, _: model.helo(b"eHLo"),
    *[lambda model, _: model.say_mail(b"<smith@client.example> SIZE=10", good=True, binary=False)] * 4,
    lambda model, _: model.say_mail(b"<> BODY=BINARYMIME", good=True, binary=True),
    lambda model, _: model.say_mail(b"<smith@client.example", good=False, binary=False),
    *[lambda model, chance: _recipient(model, chance)] * 5,
    *[lambda model, chance: model.say_data(*content(chance))] * 3,
    *[lambda model, chance: _chunk(model, chance)] * 4,
    lambda model, _: model.rset(),
    lambda model, _: model.etrn(),
    lambda model, chance: model.auth(chance.choice([None, SECRET, b"d3Jvbmc=", b"="])),
    lambda model, _: model.simple(b"NOOP", 250),
    lambda model, _: model.simple(b"HELP", 214),
    lambda model, _: model.simple(b"VRFY jones", 252),
    lambda model, _: model.simple(b"EXPN staff", 252),
    lambda model, _: model.simple(b"XYZZY", 500),
    lambda model, _: model.simple(b"SEND FROM:<>", 502),
    lambda model, _: model.simple(b"NOOP".ljust(3000, b"x"), 500),
    lambda model, _: model.simple(
        b"BDAT ten", 503 if not model.mail else 501 if model.accepted else 554 if model.refused else 503
    ),
    lambda model, _: model.simple(b"*", 500),
    lambda model, _: model.simple(SECRET, 500),
]


def _recipient(model: Model, chance: Random) -> Utterance:
    if chance.random() < 0.2:
        return model.say_rcpt(b"<unknown@example.org>", 550)
    if chance.random() < 0.1:
        return model.say_rcpt(b"<>", 501)
    return model.say_rcpt(b"<jones@example.org> NOTIFY=NEVER", 250)


def _chunk(model: Model, chance: Random) -> Utterance:
    octets, bare = chunk(chance)
    return model.say_bdat(octets, chance.random() < 0.5, bare)


class AnySequence(RuleBasedStateMachine):
    """A session, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = FakeOwner(PATIENT)
        self.owner.most_recipients = 1 << 30
        self.model = Model()
        assert codes(self.owner.greet()) == [220]

    @rule(seed=st.integers(0, 1 << 32), number=st.integers(1, 25))
    def say(self, seed: int, number: int) -> None:
        """Some commands at once, in segments of any size."""
        global said
        said += number
        chance = Random(seed)
        wire, expected = b"", []
        ends = []  # how much has been said when so many replies are due at the most
        for _ in range(number):
            octets, owed = chance.choice(COMMANDS)(self.model, chance)
            wire += octets
            expected += owed
            ends.append((len(wire), len(expected)))
        heard: list[int] = []
        at = 0
        while at < len(wire):
            size = chance.choice([1, 2, 7, 100, 5000])
            heard += codes(self.owner.hear(wire[at : at + size]))
            at += size
            finished = max((count for end, count in ends if end <= at), default=0)
            assert len(heard) >= finished, "a reply too few"
            assert heard == expected[: len(heard)]
        assert heard == expected


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        AnySequence,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_fifty_thousand_commands() -> None:
    before = said
    while said - before < 50_000:
        _run(100, 50)


@pytest.mark.soak
def test_a_million_commands() -> None:
    before = said
    while said - before < int(os.environ.get("COMMANDS", "1000000")):
        _run(500, 100)
