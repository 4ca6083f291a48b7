"""A server whose TLS breaks behind the handshake: mail goes in the clear where it may, and waits where it may not."""

from carry_world import HANG_UP, World

from mta.message.outcome import Result
from mta.policy.routing import Hop, Via

OFFERS = "250-mx\r\n250 STARTTLS"


def test_mail_goes_in_the_clear_where_it_may() -> None:
    world = World()
    server = world.serve(EHLO=[OFFERS, HANG_UP, OFFERS], STARTTLS="220 go ahead")
    carried = world.carry()
    assert [outcome.result for outcome in carried.outcomes] == [Result.DELIVERED]
    [tried] = carried.tries
    assert tried.tls == ""
    assert tried.notes[0].startswith("in the clear, though the server offers TLS: TLS is of no use: connection lost")
    assert server.connections == 2


def test_mail_waits_where_it_must_be_encrypted() -> None:
    world = World()
    server = world.serve(EHLO=[OFFERS, HANG_UP], STARTTLS="220 go ahead")
    carried = world.carry(hop=Hop(Via.MX, "example.net", tls="require"))
    assert [outcome.result for outcome in carried.outcomes] == [Result.DEFERRED]
    assert "4.7.5 TLS is of no use: connection lost" in str(carried.outcomes[0].reply)
    assert server.connections == 1
    assert server.messages == []
