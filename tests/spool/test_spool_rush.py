"""Starting a queue (ETRN): what waits for a domain or a destination is due at once, in both spools."""

import pytest
from spools import MemoryWorld, World

from mta.interfaces import Claim, NewDelivery, Pause, Record
from mta.message.envelope import Envelope, Recipient
from mta.spool import rushing

ROUTE = "smtp://store.test:2525"


def rush(world: World, domain: str = "", destination: str = "") -> int:
    messages: int = world.wait(world.spool.rush(domain, destination))
    return messages


def deferred(world: World, to: str = "a@example.net", destination: str = "example.net", due: float = 500.0) -> int:
    """A message that was tried once, in vain."""
    message, [claim] = world.commit([to], destination, eager=True)
    assert world.record(claim, world.waiting(claim, due=due))
    return message


def messages(claims: list[Claim]) -> list[int]:
    return [one.message for one in claims]


@pytest.mark.parametrize("how", [{"domain": "example.net"}, {"destination": "example.net"}])
def test_what_waits_is_due_now(world: World, how: dict[str, str]) -> None:
    waits, other = deferred(world), deferred(world, "a@example.org", "example.org")
    ready, _ = world.commit()
    assert world.claim("example.org") == []
    assert rush(world, **how) == 2
    assert sorted(messages(world.claim())) == sorted([waits, ready])
    assert world.claim("example.org") == []
    assert world.story(other).ended is None


def test_a_domain_is_found_wherever_its_mail_waits(world: World) -> None:
    by_route = deferred(world, "a@Example.NET", ROUTE)
    by_mx = deferred(world, "b@example.net")
    beside = deferred(world, "c@other.test", ROUTE)
    deferred(world, "example.net@other.test", "other.test")
    deferred(world, "d@sub.example.net", "sub.example.net")
    deferred(world, "e@example.net.test", "example.net.test")
    assert rush(world, "example.net") == 2
    assert messages(world.claim(ROUTE)) == [by_route]
    assert messages(world.claim()) == [by_mx]
    assert rush(world, destination=ROUTE) == 1
    assert messages(world.claim(ROUTE)) == [beside]


def test_a_next_hop_of_that_name_is_meant_too(world: World) -> None:
    """A source route names the next hop, which need not be the mailbox's domain."""
    message = deferred(world, "a@elsewhere.test", "example.net")
    assert rush(world, "example.net") == 1
    assert messages(world.claim()) == [message]


def test_subdomains_are_meant_with_a_dot(world: World) -> None:
    deferred(world)
    deferred(world, "a@notexample.net", "notexample.net")
    below = deferred(world, "a@x.y.EXAMPLE.net", "x.y.example.net")
    assert rush(world, ".example.net") == 1
    assert messages(world.claim("x.y.example.net")) == [below]


def test_domains_in_other_letters(world: World) -> None:
    below = deferred(world, "a@Bücher.example", "bücher.example")
    assert rush(world, "bücher.example") == 1
    assert messages(world.claim("bücher.example")) == [below]


def test_a_pause_is_over(world: World) -> None:
    _, [claim] = world.commit(eager=True)
    world.commit()
    world.record(claim, world.waiting(claim), pause=Pause(world.now + 600, 4, "451 no"))
    assert world.due()[0].next_due == world.now + 600
    assert rush(world, "example.net") == 2
    assert world.due() == [("example.net", world.now, 0.0, 4, "451 no")]


def test_a_pause_without_mail_for_the_domain_stays(world: World) -> None:
    _, [claim] = world.commit(["a@other.test"], ROUTE, eager=True)
    world.record(claim, world.waiting(claim), pause=Pause(world.now + 600, 4, "451 no"))
    assert rush(world, "example.net") == 0
    assert world.due()[0].paused_until == world.now + 600


def test_what_is_held_being_tried_or_to_be_released_later_stays(world: World) -> None:
    held, _ = world.commit()
    world.operate("hold", held)
    world.commit(eager=True)
    world.commit(due=world.now + 3600)
    for how in ({"domain": "example.net"}, {"destination": "example.net"}):
        assert rush(world, **how) == 0
    assert world.claim() == []
    world.clock.advance(3600)
    assert len(world.claim()) == 1


def test_a_message_that_waits_in_parts_is_one_message(world: World) -> None:
    _, [claim] = world.commit(["a@example.net", "b@example.net"], eager=True)
    parts = [world.waiting(claim, to=[to], due=9) for to in ("a@example.net", "b@example.net")]
    world.record(claim, *parts)
    assert rush(world, "example.net") == 1
    assert len(world.claim()) == 2


def test_priorities_are_all_looked_at(world: World) -> None:
    for priority in (-9, 0, 9):
        _, [claim] = world.commit(eager=True, priority=priority)
        world.record(claim, world.waiting(claim))
    assert rush(world, destination="example.net") == 3
    assert len(world.claim()) == 3


def many(world: World, number: int) -> None:
    """Messages that were all deferred, in few commits."""
    to = (Recipient("a@example.net"),)
    for _ in range(number):
        deliveries = [NewDelivery("example.net", to, world.now, world.now + 9e6, eager=True)]
        _, [claim] = world.commit(deliveries=deliveries, content=b"x")
        world.record(claim, world.waiting(claim))


@pytest.mark.parametrize("how", [{"domain": "example.net"}, {"destination": "example.net"}])
@pytest.mark.parametrize("number", [5, 6, 7, 23])
def test_many_are_done_in_steps(
    world: World, how: dict[str, str], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rushing, "CHUNK", 3)
    monkeypatch.setattr(rushing, "STRETCH", 4)
    many(world, number)
    deferred(world, "a@other.test", "other.test")
    many(world, 1)
    assert rush(world, **how) == number + 1
    assert len(world.claim(limit=100)) == number + 1


def test_others_commit_between_its_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rushing, "CHUNK", 3)
    many(world, 30)
    order: list[str] = []
    rushed = world.spool.rush("", "example.net").addCallback(lambda _: order.append("rushed"))
    if isinstance(world, MemoryWorld):
        return  # which does it at once
    reception = world.spool.receive(world.now)
    committed = reception.commit(Envelope("s@example.org", (), world.now), (), ())
    committed.addCallback(lambda _: order.append("committed"))
    world.wait(rushed)
    assert order == ["committed", "rushed"]


def test_a_pause_that_begins_meanwhile_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first probe has failed while the rest is being made due: its news is newer."""
    monkeypatch.setattr(rushing, "CHUNK", 3)
    many(world, 30)
    pause = Pause(world.now + 600, 1, "451 no")

    def fail(claims: list[Claim]) -> None:
        [claim] = claims
        world.spool.record(Record(claim, world.now, (world.waiting(claim),), pause=pause))

    rushed = world.spool.rush("", "example.net")
    world.spool.next_deadline().addCallback(lambda _: world.spool.claim("example.net", 1, world.now).addCallback(fail))
    assert world.wait(rushed) == 30
    assert world.due()[0].paused_until == world.now + 600
