"""LMTP: a final reply for each recipient, over TCP and Unix sockets."""

import pytest
from carry_world import HANG_UP, LETTER, Server, World

from mta.message.outcome import Result
from mta.policy.routing import Hop, Via

DELIVERED, DEFERRED, FAILED = Result.DELIVERED, Result.DEFERRED, Result.FAILED
STORE = "/run/store/lmtp"
HOPS = [(Hop(Via.LMTP_UNIX, path=STORE), f"unix:{STORE}"), (Hop(Via.LMTP, "127.0.0.1", port=24), "[127.0.0.1]:24")]


def world_with(server: Server) -> World:
    world = World()
    world.servers[STORE] = world.servers["127.0.0.1", 24] = server
    return world


@pytest.mark.parametrize(("hop", "host"), HOPS)
def test_each_recipient_has_a_final_reply(hop: Hop, host: str) -> None:
    server = Server(
        RCPT=["250 ok", "550 5.1.1 unknown", "250 ok", "250 ok"],
        CONTENT="250 2.0.0 kept\r\n552 5.2.2 full\r\n450 4.2.0 locked",
    )
    world = world_with(server)
    carried = world.carry("a@example.net", "x@example.net", "b@example.net", "c@example.net", hop=hop)
    assert [(outcome.result, str(outcome.reply), outcome.host) for outcome in carried.outcomes] == [
        (DELIVERED, "250 2.0.0 kept", host),
        (FAILED, "550 5.1.1 unknown", host),
        (FAILED, "552 5.2.2 full", host),
        (DEFERRED, "450 4.2.0 locked", host),
    ]
    assert server.heard[0] == "LHLO me.example"
    assert server.messages[0][2] == LETTER
    assert world.carry("a@example.net", "b@example.net", "c@example.net", hop=hop).reached
    assert server.connections == 1
    assert not world.resolver.asked


def test_replies_that_are_missing_are_not_known() -> None:
    hop = HOPS[0][0]
    world = world_with(Server(CONTENT=b"250 2.0.0 kept\r\n"))
    carrying = world.carry("a@example.net", "b@example.net", hop=hop, seconds=600)
    assert [(outcome.result, outcome.unknown) for outcome in carrying.outcomes] == [
        (DELIVERED, False),
        (DEFERRED, True),
    ]
    world = world_with(Server(CONTENT=HANG_UP))
    carrying = world.carry("a@example.net", "b@example.net", hop=hop)
    assert [(outcome.result, outcome.unknown) for outcome in carrying.outcomes] == [(DEFERRED, True)] * 2


def test_a_refusal_before_the_end_of_a_large_content_is_the_first_recipients_alone() -> None:
    server = Server(BLOCK=["550 5.2.2 full"])
    carried = world_with(server).carry("a@example.net", "b@example.net", hop=HOPS[0][0], content=b"x" * 78 * 4000)
    assert [(outcome.result, outcome.reply.code) for outcome in carried.outcomes] == [(FAILED, 550), (DEFERRED, 451)]
    assert not any(outcome.unknown for outcome in carried.outcomes)


def test_a_socket_that_is_not_there() -> None:
    carried = World().carry(hop=HOPS[0][0])
    assert [(outcome.result, str(outcome.reply)) for outcome in carried.outcomes] == [
        (DEFERRED, "451 4.4.1 connection refused")
    ]
    assert not carried.reached


def test_who_speaks_only_smtp_is_no_store() -> None:
    world = world_with(Server(LHLO="500 5.5.1 what?"))
    carried = world.carry(hop=HOPS[0][0])
    assert [(outcome.result, str(outcome.reply)) for outcome in carried.outcomes] == [
        (DEFERRED, "451 4.5.0 the server does not speak LMTP: 500 5.5.1 what?")
    ]
