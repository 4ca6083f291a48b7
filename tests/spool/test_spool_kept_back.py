"""What stays as it was, whatever becomes of the relay meanwhile: when mail is due, and what its sender asked for."""

from spools import World

from mta.interfaces import NewDelivery
from mta.message.envelope import Envelope, Recipient


def test_mail_that_its_sender_holds_back_is_not_released_by_a_crash(world: World) -> None:
    later = world.now + 1000
    world.commit(deliveries=[NewDelivery("one", (Recipient("a@one"),), later, world.now + 5)])
    world.clock.advance(6)
    [claim] = world.wait(world.spool.overdue(world.now, 10))
    assert claim.due == later
    world.crash()
    assert world.claim("one") == []
    world.clock.advance(1000)
    [claim] = world.claim("one")
    assert claim.due == later


def test_a_source_route_does_not_make_another_sender() -> None:
    envelope = Envelope("u@c.example", (), 0.0, ret="FULL", envid="Q1")
    routed = envelope.on_behalf_of("@relay.example:u@c.example")
    assert (routed.sender, routed.ret, routed.envid) == ("@relay.example:u@c.example", "FULL", "Q1")
    for other in "owner@c.example", "@relay.example:xu@c.example", "":
        behalf = envelope.on_behalf_of(other)
        assert (behalf.sender, behalf.ret, behalf.envid) == (other, "", "")
    assert envelope._replace(sender="").on_behalf_of("@relay.example:").ret == ""
