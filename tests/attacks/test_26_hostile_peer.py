"""Case 26: a next hop that lies about what it has taken, or says nothing, too much, or the wrong thing."""

from typing import Any

import pytest
from carry_world import DEAF, HANG_UP, SILENT, Server, World
from OpenSSL import SSL

from mta.message.outcome import Carried, Result

LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcde\r\n" * 20_000


def carried(world: World, **how: Any) -> Carried:
    return world.carry(seconds=4000, **how)


@pytest.mark.parametrize(
    "script",
    [
        {"DATA": "250 2.0.0 taken already"},
        {"DATA": ["354 go\r\n250 2.0.0 taken already"]},
        {"GREETING": "220 mx\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken"},
        {"MAIL": "250 ok\r\n250 ok\r\n354 go\r\n250 taken"},
        {"RCPT": "250 ok\r\n354 go\r\n250 taken"},
        {"MAIL": "354 go"},
        {"RCPT": "354 go"},
        {"DATA": SILENT},
        {"DATA": HANG_UP},
        {"DATA": DEAF},
        {"DATA": "220 what"},
        {"DATA": "421 4.3.2 going down"},
        {"MAIL": "421 4.3.2 going down"},
        {"RCPT": "421 4.3.2 going down"},
        {"GREETING": SILENT},
        {"EHLO": "354 go"},
        {"CONTENT": "354 go on"},
        {"CONTENT": b"25 2.0.0 taken\r\n"},
        {"CONTENT": b"2500 taken\r\n"},
        {"CONTENT": b"taken\r\n"},
        {"CONTENT": "250-taken\r\n550 not"},
        {"CONTENT": b"\r\n250 taken\r\n"},
        {"CONTENT": b"250 taken, without an end"},
    ],
)
@pytest.mark.parametrize("content", [b"Subject: small\r\n\r\n", LARGE])
def test_nothing_counts_as_taken_that_was_not(script: dict[str, Any], content: bytes) -> None:
    world = World()
    server = world.serve(**script)
    [outcome] = carried(world, content=content).outcomes
    assert outcome.result is Result.DEFERRED
    assert not server.open


@pytest.mark.parametrize("early", ["250 2.0.0 taken", "354 go on", "220 hello"])
def test_a_250_before_the_end_of_the_content(early: str) -> None:
    world = World()
    world.serve(BLOCK=early)
    [outcome] = carried(world, content=LARGE).outcomes
    assert outcome.result is Result.DEFERRED
    assert "before the end of the content" in str(outcome.reply)


@pytest.mark.parametrize("last", [HANG_UP, SILENT, DEAF, b"??? what\r\n", b"250-taken\r\n"])
def test_a_last_reply_that_is_lost_is_not_known_and_no_other_host_is_asked(last: str | bytes) -> None:
    """It may have the mail. It is tried again later, and counted (RFC 1047)."""
    world = World()
    world.serve(CONTENT=last)
    backup = Server()
    world.host("backup.example.net", "192.0.2.2", backup)
    [outcome] = carried(world).outcomes
    assert outcome.result is Result.DEFERRED
    assert outcome.unknown
    assert backup.messages == []


def test_an_alert_of_tls_behind_the_dot() -> None:
    world = World()
    server = world.serve(CONTENT=SILENT)

    def alert() -> None:
        for one in server.conversations:
            one.wire.broken(SSL.Error([("SSL routines", "", "bad record mac")]))

    world.clock.callLater(5, alert)
    [outcome] = carried(world).outcomes
    assert (outcome.result, outcome.unknown) == (Result.DEFERRED, True)
    assert "bad record mac" in str(outcome.reply)


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "DATA", "CONTENT"])
@pytest.mark.parametrize("reply", [b"554 " + b"x" * 1_000_000 + b"\r\n", b"550-x\r\n" * 100_000, b"\0" * 1_000_000])
def test_a_reply_of_a_megabyte(verb: str, reply: bytes) -> None:
    world = World()
    world.serve(**{verb: reply})
    done = carried(world)
    assert done.outcomes[0].result is not Result.DELIVERED
    assert len(repr(done)) < 20_000, "little of it is kept"


def test_recipients_are_told_apart_by_their_own_replies() -> None:
    """A 250 too few is not somebody else's."""
    world = World()
    server = world.serve(RCPT=["550 5.1.1 no", "250 ok", "451 4.2.1 later"], CONTENT="250 2.0.0 taken")
    outcomes = carried(world, content=b"x\r\n").outcomes
    assert [one.result for one in outcomes] == [Result.FAILED]
    three = world.carry("a@example.net", "b@example.net", "c@example.net", seconds=10).outcomes
    assert [one.result for one in three] == [Result.DELIVERED, Result.DEFERRED, Result.DEFERRED]
    assert [paths for _, paths, _ in server.messages if paths] == [("a@example.net",)]
