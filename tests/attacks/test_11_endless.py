"""Case 11: lines, commands, replies and recipients without end; who sends an octet a minute, and who reads nothing."""

import tracemalloc
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest
from attack_ground import BEGUN, GREETED, Victim, codes
from carry_world import DEAF, World
from spools import SqliteWorld, clock_at_start
from twisted.internet.task import Clock

from mta.inbound.door import Doorkeeper, DoorLimits
from mta.maillog import MailLog
from mta.message.outcome import Result
from mta.smtp.answers import LINES_LIMIT, REPLY_LIMIT
from mta.smtp.limits import ENDLESS_LINE


@pytest.mark.parametrize("octets", [b"x", b"\0", b"NOOP ", b"\xff"])
def test_a_line_without_end(tmp_path: Path, octets: bytes) -> None:
    victim = Victim(tmp_path)
    victim.say(GREETED)
    sent = 0
    while not victim.closed:
        victim.send(octets * 1000)
        sent += 1000 * len(octets)
        assert len(victim._wire.protocol._session._lines) <= 16_384, "of a line that is too long little is kept"
    assert sent <= ENDLESS_LINE + 8000
    assert codes(victim.heard()) == ["421"]


@pytest.mark.parametrize("octets", [b"N", b"x" * 20, b" "])
def test_an_octet_a_minute(tmp_path: Path, octets: bytes) -> None:
    victim = Victim(tmp_path)
    said = [one for _minute in range(6) for one in victim.send_all(octets) + victim.later(60, 10)]
    assert codes(said) == ["421"]
    assert victim.closed


def test_content_at_an_octet_a_minute(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    victim.begin()
    said = [one for _minute in range(70) for one in victim.send_all(b"x") + victim.later(60, 30)]
    assert codes(said) == ["421"]
    assert victim.closed
    assert victim.claims == []


@pytest.mark.parametrize(
    "line", ["NOOP", "RSET", "HELP", "EHLO client.example.com", "VRFY jones", "EXPN team", "AUTH X"]
)
def test_commands_that_lead_nowhere(tmp_path: Path, line: str) -> None:
    victim = Victim(tmp_path, auth="offered")
    victim.say(GREETED)
    said = codes(victim.say(*[line] * 500))
    assert said[-1] == "421"
    assert len(said) <= 102
    assert victim.closed


def test_commands_that_are_none(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    said = codes(victim.say(*["XYZZY"] * 500))
    assert said[-1] == "421"
    assert len(said) == 51


def test_transactions_that_are_begun_and_given_up(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    said = codes(victim.say(GREETED, *[*BEGUN[1:], "RSET"] * 500))
    assert said[-1] == "421"
    assert len(said) <= 400


def test_a_million_recipients(tmp_path: Path) -> None:
    """Of whom no more than the limit are kept; after a thousand refusals the session ends."""
    victim = Victim(tmp_path, recipients="100")
    victim.say(*BEGUN[:2])
    tracemalloc.start()
    asked = 0
    while not victim.closed:
        victim.say(*[f"RCPT TO:<r{number}@example.net>" for number in range(asked, asked + 500)])
        asked += 500
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert asked <= 2000
    assert grown < 4_000_000


class Idle:
    """A session that goes on and on."""

    deadline = inf
    in_transaction = False

    def __init__(self, client: str) -> None:
        self.client = client


def test_more_connections_than_a_client_or_all_may_have() -> None:
    clock = Clock()
    door = Doorkeeper(clock, "mail.example.org", DoorLimits(20, 5), MailLog([].append, clock))
    for number in range(20):
        client = f"192.0.2.{number // 5}"
        assert door.objection(client) is None
        door.entered(cast(Any, Idle(client)))
        if number < 19:
            refusal = door.objection("192.0.2.0")
            assert (refusal is None) == (number < 4), "the others are let in all the same"
    assert str(door.objection("198.51.100.1")).startswith("421 4.3.2 ")


@pytest.mark.parametrize("size", [250_000, 380_000])
def test_content_in_crumbs_takes_no_more_memory_than_in_blocks(folder: Path, size: int) -> None:
    """Two octets are a tenth of what Python needs to have them in a list; the content may be in a row or in a file."""
    world = SqliteWorld(clock_at_start(), folder / "spool")
    reception = world.spool.receive(world.now)
    tracemalloc.start()
    for number in range(size // 2):
        reception.write(number.to_bytes(2, "big", signed=False) if number < 65_536 else bytes([13, number % 256]))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    reception.discard()
    world.close()
    assert most < 4 * size


def test_a_reply_of_endless_lines() -> None:
    world = World()
    server = world.serve(EHLO=b"250-more\r\n" * (LINES_LIMIT + 50))
    [outcome] = world.carry(seconds=10).outcomes
    assert outcome.result is Result.DEFERRED
    assert f"more than {LINES_LIMIT} lines" in str(outcome.reply)
    assert not server.open


@pytest.mark.parametrize("begins", [b"250 ", b"", b"250-"])
def test_a_reply_line_without_end(begins: bytes) -> None:
    world = World()
    server = world.serve(EHLO=[begins + b"x" * (REPLY_LIMIT + 1)])
    [outcome] = world.carry(seconds=10).outcomes
    assert outcome.result is Result.DEFERRED
    assert len(str(outcome.reply)) < 1000
    assert not server.open


def test_replies_at_a_line_a_minute() -> None:
    """Each is in time; all together are not."""
    world = World()
    server = world.serve()
    world.carry(seconds=1)
    server.says("MAIL", b"250-wait\r\n")
    for conversation in server.conversations:
        conversation.wire.broken(ConnectionError())
    world.clock.advance(0)

    def drip() -> None:
        for conversation in server.conversations:
            conversation.wire.arrive(b"250-wait\r\n")
        world.clock.callLater(60, drip)

    world.clock.callLater(60, drip)
    [outcome] = world.carry(seconds=2 * 3600).outcomes
    assert outcome.result is Result.DEFERRED


def test_a_next_hop_that_reads_nothing() -> None:
    world = World()
    world.serve(BLOCK=DEAF)
    [outcome] = world.carry(content=b"x" * 70 + b"\r\n" * 200_000, seconds=3600).outcomes
    assert outcome.result is Result.DEFERRED


def test_a_client_that_reads_nothing_is_not_listened_to(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    victim._wire.producer.pauseProducing()  # as a connection does whose queue of replies is long
    assert victim._wire.producerState == "paused"
    victim._wire.producer.resumeProducing()
    assert victim._wire.producerState == "producing"
