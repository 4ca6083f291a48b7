"""Sessions that are kept and used again, and when they are not."""

from typing import Any

import pytest
from carry_world import HANG_UP, HOP, LETTER, SILENT, Letter, Server, World, envelope_to

from mta.message.outcome import Result
from mta.policy.routing import Hop, Via
from mta.transports.pool import PoolLimits

DELIVERED, DEFERRED, FAILED = Result.DELIVERED, Result.DEFERRED, Result.FAILED
RSET_MAIL = ["RSET", f"MAIL FROM:<s@example.com> SIZE={len(LETTER)}"]


def test_a_session_is_used_again() -> None:
    world = World()
    server = world.serve()
    for _ in range(3):
        assert world.carry().outcomes[0].result is DELIVERED
    assert server.connections == 1
    assert len(server.messages) == 3
    assert world.resolver.asked["MX", "example.net"] == 1
    assert "RSET" not in server.heard


def test_a_session_is_free_when_its_message_is_done() -> None:
    world = World()
    server = world.serve()
    second = world.smtp.carry(HOP, *_letter()).addCallback(lambda _: world.smtp.carry(HOP, *_letter()))
    assert world.result(second).outcomes[0].result is DELIVERED
    assert server.connections == 1


def _letter() -> tuple[Any, Any]:
    return envelope_to(), Letter(LETTER)


def test_two_messages_at_once_need_two_sessions_and_keep_them() -> None:
    world = World()
    server = world.serve()
    both = [world.smtp.carry(HOP, *_letter()) for _ in range(2)]
    for one in both:
        assert world.result(one).outcomes[0].result is DELIVERED
    assert server.connections == 2
    assert world.pool.resting == 2
    both = [world.smtp.carry(HOP, *_letter()) for _ in range(2)]
    for one in both:
        assert world.result(one).outcomes[0].result is DELIVERED
    assert server.connections == 2


def test_sessions_belong_to_their_destination() -> None:
    world = World()
    server = world.serve()
    world.carry()
    world.carry(hop=Hop(Via.SMTP, "192.0.2.1"))
    assert server.connections == 2


def test_an_idle_session_is_left_politely() -> None:
    world = World()
    server = world.serve()
    world.carry()
    world.run(19.9)
    assert server.open == 1
    assert "QUIT" not in server.heard
    world.run(0.2)
    assert server.heard[-1] == "QUIT"
    assert not server.open
    assert not world.pool.open
    assert world.clock.getDelayedCalls() == []


def test_use_prolongs_the_rest() -> None:
    world = World()
    server = world.serve()
    for _ in range(5):
        world.carry()
        world.run(15)
    assert server.connections == 1
    world.run(6)
    assert not server.open


@pytest.mark.parametrize("farewell", [SILENT, HANG_UP, "500 what?", b"nonsense\r\n"])
def test_whatever_is_said_to_quit_the_connection_is_closed(farewell: str) -> None:
    world = World()
    server = world.serve(QUIT=farewell)
    world.carry()
    world.run(20 + (10 if farewell == SILENT else 0) + 0.001)
    assert server.heard[-1] == "QUIT"
    assert not server.open
    assert not world.pool.open


def test_a_session_ends_after_so_many_messages() -> None:
    world = World(PoolLimits(messages=3))
    server = world.serve()
    for _ in range(7):
        assert world.carry().outcomes[0].result is DELIVERED
    assert server.connections == 3
    assert server.heard.count("QUIT") == 2


def test_a_session_ends_at_an_age() -> None:
    world = World(PoolLimits(age=30))
    server = world.serve()
    for _ in range(5):
        world.carry()
        world.run(10)
    assert server.connections == 2


def test_too_many_idle_sessions_the_longest_at_rest_goes() -> None:
    world = World(PoolLimits(sessions=2))
    servers = []
    for number in range(3):
        servers.append(world.host(f"mx.d{number}.example", f"192.0.2.{number}", Server(), f"d{number}.example"))
        world.carry(hop=Hop(Via.MX, f"d{number}.example"))
    world.clock.advance(0)
    assert [server.open for server in servers if server] == [0, 1, 1]
    assert world.pool.resting == 2
    assert world.pool.open == 2


def test_a_session_that_the_peer_closed_meanwhile_is_forgotten() -> None:
    world = World()
    server = world.serve()
    world.carry()
    server.hang_up()
    world.clock.advance(0)
    assert not world.pool.open
    assert not world.pool.resting
    assert world.carry().outcomes[0].result is DELIVERED
    assert server.connections == 2


@pytest.mark.parametrize("unasked", [b"421 4.4.2 idle too long\r\n", b"250 hello again\r\n", b"nonsense\r\n"])
def test_a_session_that_speaks_up_while_idle_is_closed(unasked: bytes) -> None:
    world = World()
    server = world.serve()
    world.carry()
    server.conversations[0].wire.arrive(unasked)
    world.clock.advance(0)
    assert not world.pool.open
    assert world.carry().outcomes[0].result is DELIVERED


@pytest.mark.parametrize("dead", ["421 4.4.2 idle too long", HANG_UP, SILENT])
def test_a_session_that_turns_out_dead_is_no_failure(dead: str) -> None:
    world = World()
    server = world.serve()
    world.carry()
    server.says("MAIL", [dead, "250 ok"])
    if dead == SILENT:
        server.says("RCPT", [SILENT, "250 ok"])
        server.says("DATA", [SILENT, "354 go"])
    carried = world.carry(seconds=300.001)
    assert [outcome.result for outcome in carried.outcomes] == [DELIVERED]
    assert [tried.text for tried in carried.tries] == ["250 2.0.0 taken"]
    assert server.connections == 2
    assert len(server.messages) == 2


def test_a_session_that_is_dead_for_the_second_time_is_one() -> None:
    world = World()
    server = world.serve()
    world.carry()
    server.says("MAIL", "421 4.3.2 down for repairs")
    carried = world.carry()
    assert [str(outcome.reply) for outcome in carried.outcomes] == ["421 4.3.2 down for repairs"]
    assert [outcome.result for outcome in carried.outcomes] == [DEFERRED]
    assert len(carried.tries) == 1
    assert server.connections == 2


def test_a_used_session_that_dies_later_in_the_transaction_is_a_failure_of_that_host() -> None:
    world = World()
    server = world.serve()
    world.carry()
    backup = world.host("backup.example.net", "192.0.2.2", Server())
    server.says("DATA", HANG_UP)
    carried = world.carry()
    assert carried.outcomes[0].host == "backup.example.net[192.0.2.2]:25"
    assert [tried.host for tried in carried.tries] == [
        "mx.example.net[192.0.2.1]:25",
        "backup.example.net[192.0.2.2]:25",
    ]
    assert server.connections == 1
    assert backup is not None
    assert len(backup.messages) == 1
    dialogue = carried.tries[0].dialogue
    assert dialogue[0] == f"C: {RSET_MAIL[1]}", "only what was said of this message"


@pytest.mark.parametrize(
    "script",
    [
        {"RCPT": ["550 5.1.1 unknown", "250 ok"], "DATA": ["503 5.5.1 no recipients", "354 go"]},
        {"MAIL": ["550 5.7.1 no", "250 ok"], "RCPT": ["503 no", "250 ok"], "DATA": ["503 no", "354 go"]},
        {"DATA": ["554 5.7.1 no", "354 go"]},
    ],
)
def test_a_refused_transaction_is_reset_before_the_next(script: dict[str, list[str]]) -> None:
    world = World()
    server = world.serve(**script)
    assert world.carry().outcomes[0].result is FAILED
    assert world.carry().outcomes[0].result is DELIVERED
    assert world.carry().outcomes[0].result is DELIVERED
    assert server.connections == 1
    assert server.heard.count("RSET") == 1
    where = server.heard.index("RSET")
    assert server.heard[where : where + 2] == RSET_MAIL


def test_a_session_that_does_not_let_itself_be_reset_is_replaced() -> None:
    world = World()
    server = world.serve(DATA=["554 5.7.1 no", "354 go"], RSET="500 5.5.1 what?")
    world.carry()
    assert world.carry().outcomes[0].result is DELIVERED
    assert server.connections == 2


def test_a_refused_content_leaves_a_good_session() -> None:
    world = World()
    server = world.serve(CONTENT=["554 5.7.1 spam", "250 2.0.0 taken"])
    assert world.carry().outcomes[0].result is FAILED
    assert world.carry().outcomes[0].result is DELIVERED
    assert server.connections == 1
    assert "RSET" not in server.heard


def test_stopping_leaves_idle_sessions_and_waits_for_the_others() -> None:
    world = World()
    server = world.serve(CONTENT=["250 2.0.0 taken", SILENT])
    world.carry()
    running = world.smtp.carry(HOP, *_letter())
    idle = world.host("mx.other.example", "192.0.2.9", Server(), "other.example")
    world.carry(hop=Hop(Via.MX, "other.example"))
    stopped: list[None] = []
    world.smtp.stop().addCallback(stopped.append)
    world.run(1)
    assert idle is not None
    assert not idle.open
    assert not stopped
    assert server.open == 1
    server.conversations[0].wire.arrive(b"250 2.0.0 taken at last\r\n")
    world.clock.advance(0)
    assert world.result(running).outcomes[0].result is DELIVERED
    assert stopped == [None]
    assert not server.open
    assert world.result(world.smtp.stop()) is None


def test_stopping_cuts_those_who_do_not_come_back_in_time() -> None:
    world = World()
    server = world.serve(CONTENT=SILENT)
    running = world.smtp.carry(HOP, *_letter())
    world.run(1)
    stopped: list[None] = []
    world.pool.stop(2).addCallback(stopped.append)
    world.run(1)
    assert not stopped
    assert server.open == 1
    world.run(2)
    assert stopped == [None]
    assert not server.open
    outcome = world.result(running).outcomes[0]
    assert (outcome.result, outcome.unknown) == (DEFERRED, True)


def test_nobody_else_is_tried_once_sessions_were_cut() -> None:
    world = World()
    world.serve(MAIL=SILENT)
    other = world.host("mx2.example", "192.0.2.2", Server())
    running = world.smtp.carry(HOP, *_letter())
    world.run(1)
    world.pool.stop(2)
    world.run(3)
    assert world.result(running).outcomes[0].result is DEFERRED
    assert other is not None
    assert other.connections == 0
