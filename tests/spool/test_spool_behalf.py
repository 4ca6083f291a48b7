"""Mail that goes on from another reverse-path than it came with, and mail that goes before other mail."""

from pathlib import Path

import pytest
from spools import SqliteWorld, World, clock_at_start

from mta.interfaces import NewDelivery
from mta.message.envelope import Recipient
from mta.spool.matching import Selection

SENDER, OWNER = "s@example.org", "owner@lists.test"


def commit(world: World, eager: bool = False, reverse_path: str | None = OWNER) -> tuple[int, list]:
    """A message to somebody, and to two members of a list."""
    member = (Recipient("m@example.net"), Recipient("n@example.net"))
    return world.commit(
        deliveries=[
            NewDelivery("one", (Recipient("a@one"),), world.now, world.now + 9, eager),
            NewDelivery("example.net", member, world.now, world.now + 9, eager, reverse_path),
        ],
        ret="FULL",
        envid="QQ314159",
    )


@pytest.mark.parametrize("eager", [True, False])
def test_members_get_it_from_the_owner_of_the_list(world: World, eager: bool) -> None:
    _, claims = commit(world, eager)
    direct, member = claims or [*world.claim("one"), *world.claim()]
    envelope = direct.envelope
    assert (envelope.sender, envelope.ret, envelope.envid) == (SENDER, "FULL", "QQ314159")
    envelope = member.envelope
    assert (envelope.sender, envelope.ret, envelope.envid) == (OWNER, "", "")
    assert [one.address for one in envelope.recipients] == ["m@example.net", "n@example.net"]


def test_the_null_reverse_path_is_one_too(world: World) -> None:
    commit(world, reverse_path="")
    [claim] = world.claim()
    assert claim.envelope.sender == ""


def test_an_owner_who_is_the_sender_changes_nothing(world: World) -> None:
    commit(world, reverse_path=SENDER)
    [claim] = world.claim()
    assert (claim.envelope.sender, claim.envelope.ret) == (SENDER, "FULL")


def test_it_stays_so_for_as_long_as_they_wait(world: World) -> None:
    message, [direct, member] = commit(world, eager=True)
    world.record(direct)
    world.record(
        member, world.waiting(member, to=["m@example.net"], due=1), world.waiting(member, to=["n@example.net"], due=2)
    )
    world.clock.advance(2)
    claims = world.claim()
    assert [one.envelope.sender for one in claims] == [OWNER, OWNER]
    world.wait(world.spool.release(claims))
    world.crash()
    claims = world.claim()
    assert [one.envelope.sender for one in claims] == [OWNER, OWNER]
    for claim in claims:
        assert world.record(claim)
    story = world.story(message)
    assert (story.sender, story.result) == (SENDER, "delivered"), "the message is still its sender's"


def test_listings_find_it_by_either_and_show_its_sender(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    request.addfinalizer(world.close)
    message, _ = commit(world)
    with world.desk() as desk:

        def listed(sender: str) -> list[tuple[str, str | None]]:
            found = desk.queue(Selection(sender=sender))
            assert {(one.id, one.sender) for one in found} <= {(message, SENDER)}
            return [(to.address, to.reverse_path) for one in found for to in one.recipients]

        members = [("m@example.net", OWNER), ("n@example.net", OWNER)]
        assert listed(SENDER) == listed("example.org") == [("a@one", None), *members]
        assert listed(OWNER) == listed("LISTS.test") == members
        assert listed("<>") == listed("example.net") == []
        assert desk.hold(Selection(to="m@example.net")) == 1, "which parts them"
        assert listed(OWNER) == [("n@example.net", OWNER), ("m@example.net", OWNER)]
        assert desk.drop(Selection(sender=OWNER)) == 2
        assert desk.drop(Selection(sender=SENDER)) == 1
    assert world.story(message).sender == SENDER


def test_higher_priorities_are_claimed_first(world: World) -> None:
    def commit(priority: int, ago: float) -> int:
        return world.commit(due=world.now - ago, priority=priority)[0]

    low, ordinary, late, first = commit(-4, 9.0), commit(0, 8.0), commit(3, 1.0), commit(3, 2.0)
    assert [one.message for one in world.claim(limit=2)] == [first, late]
    claims = world.claim()
    assert [(one.message, one.envelope.priority) for one in claims] == [(ordinary, 0), (low, -4)]
    urgent = commit(9, 0.0)
    world.wait(world.spool.release(claims))
    assert [one.message for one in world.claim()] == [urgent, ordinary, low]


def test_a_part_of_a_delivery_keeps_its_priority(world: World) -> None:
    message, [claim] = world.commit(["a@x", "b@x"], eager=True, priority=5)
    ordinary, _ = world.commit(due=world.now - 100)
    world.record(claim, world.waiting(claim, to=["a@x"], due=1), world.waiting(claim, to=["b@x"], due=2))
    world.clock.advance(2)
    assert [one.message for one in world.claim()] == [message, message, ordinary]
