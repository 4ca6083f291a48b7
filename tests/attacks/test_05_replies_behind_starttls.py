"""Case 5: what somebody on the way writes behind a server's 220, for our client to take as said inside TLS."""

import pytest
from carry_world import HOP, Server, World

from mta.message.outcome import Result
from mta.policy.routing import Hop, Via

REQUIRE = Hop(Via.MX, "example.net", tls="require")
OFFER = "250-mx\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250 8BITMIME"


def offering(world: World, **script: str | bytes | list[str]) -> Server:
    return world.serve(**{"EHLO": [OFFER, "250 mx"], "STARTTLS": "220 go ahead", **script})


@pytest.mark.parametrize("hop", [HOP, REQUIRE])
@pytest.mark.parametrize(
    "behind",
    [
        b"250-mx\r\n250 AUTH PLAIN\r\n",
        b"250 mx\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n250 2.0.0 taken\r\n",
        b"250-mx\r\n250-",
        b"\r\n",
        b"2",
    ],
)
def test_the_session_ends_and_nothing_was_said(behind: bytes, hop: Hop) -> None:
    world = World()
    server = offering(world, STARTTLS=b"220 go ahead\r\n" + behind)
    [outcome] = world.carry(hop=hop, seconds=60).outcomes
    assert outcome.result is Result.DEFERRED
    assert server.heard == ["EHLO me.example", "STARTTLS"]
    assert server.messages == []
    assert not server.open


def test_what_was_announced_in_the_clear_is_forgotten() -> None:
    """A mechanism or an extension that somebody has added to the list is not used inside."""
    world = World()
    server = offering(world, EHLO=[OFFER, "250-mx\r\n250 SIZE 10"])
    world.carry(seconds=60)
    assert server.heard[:3] == ["EHLO me.example", "STARTTLS", "EHLO me.example"]
    assert server.messages == [], "SIZE counts, which is only inside"
    world = World()
    server = offering(world, EHLO=["250-mx\r\n250-STARTTLS\r\n250-SIZE 10\r\n250 8BITMIME", "250 mx"])
    world.carry(seconds=60)
    assert [line for line in server.heard if line.startswith("MAIL")] == ["MAIL FROM:<s@example.com>"]
    assert len(server.messages) == 1
