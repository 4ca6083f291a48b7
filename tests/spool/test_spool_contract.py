"""What every spool promises (`ISpool`): the real one and its twin pass the same tests."""

import pytest
from spools import DEADLINE, World
from zope.interface.verify import verifyObject

from mta.interfaces import IContent, IReception, ISpool, NewDelivery, Pause
from mta.message.envelope import Recipient
from mta.message.timeline import Event


def to(*addresses: str) -> tuple[Recipient, ...]:
    return tuple(Recipient(one) for one in addresses)


# Keeping and claiming


def test_it_provides_the_interfaces(world: World) -> None:
    verifyObject(ISpool, world.spool)
    reception = world.spool.receive(world.now)
    reception.content = None
    verifyObject(IReception, reception)
    _, [claim] = world.commit(eager=True)
    verifyObject(IContent, world.wait(world.spool.content(claim)))


def test_what_was_kept_comes_back_as_it_was(world: World) -> None:
    content = bytes(range(256)) * 40
    message, [] = world.commit(["a@example.net", "b@example.net"], content=content)
    [claim] = world.claim()
    assert (claim.message, claim.destination, claim.attempts, claim.warned) == (message, "example.net", 0, False)
    assert claim.envelope.recipients == to("a@example.net", "b@example.net")
    assert (claim.envelope.sender, claim.envelope.size, claim.envelope.received) == ("s@example.org", 10240, world.now)
    assert claim.due == world.now
    assert world.content(claim) == content
    assert world.kinds(message) == ["received"]


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 262144, 262145, 1_000_000])
def test_content_of_any_size_comes_back_in_blocks(world: World, size: int) -> None:
    content = bytes(i % 251 for i in range(size))
    _, [claim] = world.commit(content=content, eager=True)
    kept = world.wait(world.spool.content(claim))
    assert kept.size == size
    blocks = list(kept.blocks())
    assert b"".join(blocks) == content
    assert all(len(block) <= 65536 for block in blocks)
    assert b"".join(kept.blocks()) == content, "it can be read again"


def test_the_content_at_hand_is_the_content_kept(world: World) -> None:
    reception = world.spool.receive(world.now)
    reception.write(b"one ")
    reception.write(b"two")
    [claim] = world.wait(reception.commit(*_simple(world, eager=True)))
    assert b"".join(reception.content.blocks()) == b"one two" == world.content(claim)


def _simple(world: World, eager: bool = False):
    from mta.message.envelope import Envelope

    recipients = to("a@example.net")
    envelope = Envelope("s@example.org", recipients, world.now, 7)
    return envelope, [NewDelivery("example.net", recipients, world.now, world.now + 9, eager)], ()


def test_nothing_is_in_the_queue_before_the_commit(world: World) -> None:
    reception = world.spool.receive(world.now)
    reception.write(b"x" * 300_000)
    reception.discard()
    reception.discard()
    world.spool.receive(world.now).discard()
    assert world.due() == []
    assert world.story(reception.id) is None


def test_eager_deliveries_are_claimed_by_the_commit(world: World) -> None:
    deliveries = [
        NewDelivery("one", to("a@one", "b@one"), world.now, world.now + 9, eager=True),
        NewDelivery("two", to("c@two"), world.now, world.now + 9, eager=False),
        NewDelivery("three", to("d@three"), world.now, world.now + 9, eager=True),
    ]
    message, claims = world.commit(deliveries=deliveries)
    assert [(claim.destination, claim.envelope.recipients) for claim in claims] == [
        ("one", to("a@one", "b@one")),
        ("three", to("d@three")),
    ]
    assert world.claim("one") == []
    assert [one.destination for one in world.due()] == ["two"]
    for claim in [*claims, *world.claim("two")]:
        assert claim.message == message
        assert world.record(claim)
    assert world.story(message).result == "delivered"


def test_a_message_without_deliveries_ends_at_once(world: World) -> None:
    reception = world.spool.receive(world.now)
    events = (Event(world.now, "received", {}), Event(world.now, "discarded", {"recipients": ["a@x"]}))
    envelope, _, _ = _simple(world)
    assert world.wait(reception.commit(envelope, [], events)) == []
    assert world.kinds(reception.id) == ["received", "discarded", "ended"]
    assert world.story(reception.id).result == "discarded"


def test_who_is_expanded_into_others_is_part_of_the_result(world: World) -> None:
    reception = world.spool.receive(world.now)
    expanded = Event(world.now, "expanded", {"recipients": ["list@example.net"], "into": ["a@example.net"]})
    envelope, deliveries, _ = _simple(world)
    world.wait(reception.commit(envelope, deliveries, (Event(world.now, "received", {}), expanded)))
    assert world.story(reception.id).ended is None
    [claim] = world.claim()
    assert world.record(claim)
    assert world.story(reception.id).result == "delivered expanded"
    assert world.kinds(reception.id) == ["received", "expanded", "delivered", "ended"]


def test_a_list_without_members_ends_at_once(world: World) -> None:
    reception = world.spool.receive(world.now)
    expanded = Event(world.now, "expanded", {"recipients": ["list@example.net"], "into": []})
    world.wait(reception.commit(_simple(world)[0], [], (expanded,)))
    story = world.story(reception.id)
    assert (story.result, story.ended, story.sender) == ("expanded", world.now, "s@example.org")


def test_there_is_room_until_there_is_none(world: World) -> None:
    assert world.spool.has_room(10_000)


def test_ids_rise_and_are_never_twice(world: World) -> None:
    ids = [world.commit()[0], world.spool.new_id(world.now), world.commit()[0], world.spool.new_id(world.now)]
    assert ids == sorted(set(ids))
    world.restart()
    assert world.spool.new_id(world.now - 100) > ids[2]


def test_claims_are_the_earliest_due_up_to_the_limit(world: World) -> None:
    late, _ = world.commit(due=world.now - 1)
    early, _ = world.commit(due=world.now - 2)
    world.commit(due=world.now + 1)
    world.commit(destination="elsewhere", due=world.now - 3)
    assert [claim.message for claim in world.claim(limit=1)] == [early]
    assert [claim.message for claim in world.claim(limit=5)] == [late]
    assert world.claim() == []


# What is due


def test_due_tells_destinations_longest_due_first(world: World) -> None:
    for destination, ago in [("one", 1.0), ("three", 3.0), ("two", 2.0), ("later", -50.0)]:
        world.commit(destination=destination, due=world.now - ago)
    assert [(one.destination, one.next_due) for one in world.due()] == [
        ("three", world.now - 3),
        ("two", world.now - 2),
        ("one", world.now - 1),
    ]
    assert [one.destination for one in world.due(limit=2)] == ["three", "two"]
    assert [one.destination for one in world.due(limit=1, skip=frozenset({"three", "one"}))] == ["two"]


def test_where_nothing_is_due_the_next_is_told(world: World) -> None:
    assert world.due() == []
    for destination, wait in [("one", 10.0), ("two", 5.0)]:
        world.commit(destination=destination, due=world.now + wait)
    [one] = world.due()
    assert (one.destination, one.next_due) == ("two", world.now + 5)
    [one] = world.due(skip=frozenset({"two"}))
    assert one.destination == "one"
    assert world.due(skip=frozenset({"one", "two"})) == []


def test_what_is_claimed_is_not_due(world: World) -> None:
    world.commit(due=world.now - 2)
    world.commit(due=world.now + 7)
    [claim] = world.claim()
    assert [one.next_due for one in world.due()] == [world.now + 7]
    world.wait(world.spool.release([claim]))
    assert [one.next_due for one in world.due()] == [world.now - 2]


def test_a_paused_destination_is_not_due_until_its_pause_ends(world: World) -> None:
    _, [claim] = world.commit(eager=True)
    pause = Pause(world.now + 60, 3, "451 4.4.1 connection refused")
    assert world.record(claim, world.waiting(claim, due=5), pause=pause)
    [one] = world.due()
    assert one == ("example.net", world.now + 60, world.now + 60, 3, "451 4.4.1 connection refused")
    world.commit(due=world.now)
    assert world.due()[0].next_due == world.now + 60
    world.clock.advance(60)
    assert world.due()[0].next_due == world.now
    assert len(world.claim()) == 2


def test_the_failures_of_a_destination_outlive_its_claims(world: World) -> None:
    _, [claim] = world.commit(eager=True)
    world.record(claim, world.waiting(claim, due=5), pause=Pause(world.now + 60, 3, "451 no"))
    world.clock.advance(60)
    [claim] = world.claim()
    assert world.due() == []
    world.record(claim, world.waiting(claim, due=5))
    assert world.due()[0].failures == 3


def test_the_end_of_a_pause_is_news_too(world: World) -> None:
    _, [claim] = world.commit(eager=True)
    world.commit()
    world.record(claim, world.waiting(claim, due=90), pause=Pause(world.now + 60, 3, "451 no"))
    [claim] = world.wait(world.spool.overdue(world.now + 2 * DEADLINE, 1))
    world.record(claim, pause=Pause(0.0, 0, ""))
    [one] = world.due()
    assert (one.paused_until, one.failures, one.last_reply) == (0.0, 0, "")


def test_mail_that_was_never_tried_inherits_the_last_reply_of_its_destination(world: World) -> None:
    _, [claim] = world.commit(eager=True)
    world.record(claim, world.waiting(claim, due=5), pause=Pause(world.now + 60, 1, "451 4.4.1 connection refused"))
    world.commit(deadline=world.now + 10)
    [claim] = world.wait(world.spool.overdue(world.now + 10, 5))
    assert (claim.last_reply, claim.attempts) == ("451 4.4.1 connection refused", 0)


# Deadlines


def test_overdue_claims_what_is_past_its_deadline_also_in_a_pause(world: World) -> None:
    _, [claim] = world.commit(eager=True)
    world.record(claim, world.waiting(claim, due=5, deadline=world.now + 20), pause=Pause(world.now + 60, 1, "451 no"))
    second, _ = world.commit(destination="other", due=world.now + 900, deadline=world.now + 10)
    world.commit(destination="third", due=world.now + 900, deadline=world.now + 30)
    assert world.wait(world.spool.next_deadline()) == world.now + 10
    assert world.wait(world.spool.overdue(world.now + 9, 5)) == []
    claims = world.wait(world.spool.overdue(world.now + 20, 5))
    assert [one.message for one in claims] == [second, claim.message]
    assert world.wait(world.spool.next_deadline()) == world.now + 30
    world.wait(world.spool.overdue(world.now + 30, 5))
    assert world.wait(world.spool.next_deadline()) is None


# Recording


def test_a_message_goes_with_its_last_recipient_and_its_timeline_stays(world: World) -> None:
    message, [claim] = world.commit(["a@example.net", "b@example.net"], eager=True)
    assert world.record(claim, world.waiting(claim, to=["b@example.net"]), kind="delivered")
    assert world.story(message).envelope.recipients == to("b@example.net")
    world.clock.advance(300)
    [claim] = world.claim()
    assert (claim.attempts, claim.last_reply) == (1, "450 4.2.0 later")
    assert world.record(claim, kind="failed")
    story = world.story(message)
    assert (story.envelope, story.ended, story.result) == (None, world.now, "delivered failed")
    assert (story.sender, story.received) == ("s@example.org", world.now - 300)
    assert [event.kind for event in story.events] == ["received", "delivered", "failed", "ended"]
    assert world.due() == []


def test_recipients_who_part_ways_wait_apart(world: World) -> None:
    message, [claim] = world.commit(["a@x", "b@x", "c@x", "d@x"], eager=True)
    assert world.record(
        claim,
        world.waiting(claim, to=["b@x"], due=10),
        world.waiting(claim, to=["c@x"], due=20, destination="elsewhere", attempts=0),
        world.waiting(claim, to=["d@x"], state="held", warned=True),
    )
    world.clock.advance(20)
    assert {one.destination for one in world.due()} == {"example.net", "elsewhere"}
    [first], [second] = world.claim(), world.claim("elsewhere")
    assert (first.envelope.recipients, second.envelope.recipients) == (to("b@x"), to("c@x"))
    assert (first.attempts, second.attempts) == (1, 0)
    assert world.record(first)
    assert world.record(second)
    assert world.story(message).envelope.recipients == to("d@x"), "what is held stays"
    world.operate("release", message)
    [third] = world.claim()
    assert third.warned
    assert world.record(third)
    assert world.story(message).result == "delivered"


def test_a_record_is_stored_once(world: World) -> None:
    message, [claim] = world.commit(eager=True)
    assert world.record(claim, world.waiting(claim))
    assert not world.record(claim)
    world.clock.advance(300)
    [again] = world.claim()
    assert again.fence > claim.fence
    more = {"pause": Pause(world.now + 50, 9, "no"), "notices": (world.notice(claim),)}
    assert not world.record(claim, **more)
    assert not world.record(claim, world.waiting(claim), **more)
    assert world.kinds(message) == ["received"]
    assert world.due() == [], "neither the pause nor the notice was stored"
    assert world.record(again)
    assert not world.record(again)


def test_notices_are_stored_with_their_cause_and_wait(world: World) -> None:
    message, [claim] = world.commit(eager=True)
    notice = world.notice(claim)
    assert world.record(claim, kind="failed", notices=(notice,))
    assert world.story(message).result == "failed"
    [due] = world.due()
    assert (due.destination, due.next_due) == ("example.org", world.now)
    [kept] = world.claim("example.org")
    assert (kept.message, kept.envelope.sender, kept.envelope.notice_for) == (notice.id, "", message)
    assert world.content(kept) == notice.content
    assert world.kinds(notice.id) == ["received"]


def test_release_puts_claims_back_as_they_were(world: World) -> None:
    message, _ = world.commit(due=world.now - 7)
    [claim] = world.claim()
    world.wait(world.spool.release([claim]))
    [again] = world.claim()
    assert again == claim._replace(fence=again.fence)
    assert not world.record(claim), "it is somebody else's now"
    assert world.record(again)
    world.wait(world.spool.release([again]))
    assert world.due() == []
    assert world.kinds(message) == ["received", "delivered", "ended"]


# Wishes


def test_a_wish_does_not_touch_what_was_delivered(world: World) -> None:
    message, [claim] = world.commit(eager=True)
    world.operate("drop", message)
    assert world.record(claim)
    assert world.story(message).result == "delivered"


def test_drop_ends_what_would_wait(world: World) -> None:
    message, [claim] = world.commit(["a@x", "b@x"], eager=True)
    world.operate("drop", message)
    assert world.record(claim, world.waiting(claim, to=["b@x"]))
    story = world.story(message)
    assert story.result == "delivered dropped"
    assert [event.detail for event in story.events if event.kind == "dropped"] == [
        {"recipients": ["b@x"], "by": "operator"}
    ]
    assert world.due() == []


def test_hold_keeps_what_would_wait(world: World) -> None:
    message, [claim] = world.commit(eager=True)
    world.operate("hold", message)
    assert world.record(claim, world.waiting(claim))
    world.clock.advance(3 * DEADLINE)
    assert world.due() == []
    assert world.wait(world.spool.overdue(world.now, 9)) == []
    world.operate("release", message)
    assert len(world.claim()) == 1
    assert world.kinds(message) == ["received", "held", "released"]


def test_a_hold_can_be_taken_back(world: World) -> None:
    message, [claim] = world.commit(eager=True)
    world.operate("hold", message)
    world.operate("release", message)
    assert world.record(claim, world.waiting(claim, due=5))
    assert world.due()[0].next_due == world.now + 5


def test_retry_makes_what_would_wait_due_at_once(world: World) -> None:
    message, [claim] = world.commit(eager=True)
    world.operate("retry", message)
    assert world.record(claim, world.waiting(claim, due=5000))
    [again] = world.claim()
    assert again.wish == ""
    assert world.record(again, world.waiting(again, due=5000))
    assert world.claim() == [], "it is granted once"


def test_bounce_is_left_to_the_next_claim_also_in_a_pause(world: World) -> None:
    message, [claim] = world.commit(eager=True)
    world.operate("bounce", message)
    assert world.record(claim, world.waiting(claim, due=5000), pause=Pause(world.now + 600, 1, "451 no"))
    assert world.due()[0].next_due == world.now + 600
    [again] = world.wait(world.spool.overdue(world.now, 9))
    assert (again.message, again.wish) == (message, "bounce")
    assert world.record(again, kind="failed")
    assert world.story(message).result == "failed"


def test_released_claims_have_their_wish_granted(world: World) -> None:
    messages = [world.commit()[0] for _ in range(4)]
    claims = world.claim()
    for message, verb in zip(messages, ["drop", "hold", "retry", "bounce"], strict=True):
        world.operate(verb, message)
    world.wait(world.spool.release(claims))
    assert world.story(messages[0]).result == "dropped"
    assert {(one.message, one.wish) for one in world.claim()} == {(messages[2], ""), (messages[3], "bounce")}


def test_verbs_on_what_waits_take_effect_at_once(world: World) -> None:
    held, dropped, retried = (world.commit(due=world.now + 500)[0] for _ in range(3))
    world.operate("hold", held)
    world.operate("drop", dropped)
    world.operate("retry", retried)
    assert [claim.message for claim in world.claim()] == [retried]
    assert world.story(dropped).result == "dropped"
    world.clock.advance(500)
    world.operate("retry", held)
    assert world.claim() == [], "what is held stays held"


def test_retry_ends_the_pause_of_a_destination(world: World) -> None:
    message, [claim] = world.commit(eager=True)
    world.record(claim, world.waiting(claim), pause=Pause(world.now + 600, 4, "451 no"))
    world.operate("retry", message)
    assert world.due() == [("example.net", world.now, 0.0, 4, "451 no")]


def test_release_ends_the_pause_of_a_destination(world: World) -> None:
    """What was held for a password that was wrong is tried at once when that has been corrected."""
    message, [claim] = world.commit(eager=True)
    pause = Pause(world.now + 600, 2, "535 5.7.8 login refused")
    world.record(claim, world.waiting(claim, state="held", last_reply="535 5.7.8 login refused"), pause=pause)
    assert world.due() == []
    world.operate("release", message)
    assert world.due() == [("example.net", world.now, 0.0, 2, "535 5.7.8 login refused")]
    assert len(world.claim()) == 1


def test_changes_by_others_are_noticed_once(world: World) -> None:
    message, _ = world.commit(due=world.now + 500)
    world.wait(world.spool.changes())
    world.commit()
    assert not world.wait(world.spool.changes()), "our own do not count"
    world.operate("retry", message)
    assert world.wait(world.spool.changes())
    assert not world.wait(world.spool.changes())


# Stopping, dying, starting


def test_a_clean_stop_puts_claims_back(world: World) -> None:
    message, [claim] = world.commit(eager=True, due=world.now)
    waiting, _ = world.commit(destination="other", due=world.now + 50)
    found = world.restart()
    assert (found.messages, found.unknown, found.destinations) == (2, 0, 2)
    assert world.kinds(message) == ["received"]
    [again] = world.claim()
    assert again.message == message
    assert not world.record(claim)
    assert world.due()[0].next_due == world.now + 50
    assert world.story(waiting) is not None


def test_after_a_crash_what_was_being_tried_is_due_and_unknown(world: World) -> None:
    message, [claim] = world.commit(["a@x", "b@x"], eager=True, due=world.now)
    world.commit(destination="other", due=world.now + 50)
    world.clock.advance(5)
    found = world.crash()
    assert (found.messages, found.unknown, found.destinations) == (2, 1, 2)
    assert not world.record(claim), "the dead one's record is refused"
    assert [(one.destination, one.next_due) for one in world.due()] == [("example.net", world.now)]
    [again] = world.claim()
    assert again.attempts == 0
    story = world.story(message)
    assert [(event.kind, event.at, event.detail) for event in story.events[1:]] == [
        ("unknown", world.now, {"recipients": ["a@x", "b@x"]})
    ]
    assert world.record(again)


def test_wishes_are_granted_after_a_crash(world: World) -> None:
    messages = [world.commit(eager=True)[0] for _ in range(3)]
    for message, verb in zip(messages, ["drop", "hold", "bounce"], strict=True):
        world.operate(verb, message)
    assert world.crash().unknown == 3
    assert world.story(messages[0]).result == "dropped"
    assert [(one.message, one.wish) for one in world.claim()] == [(messages[2], "bounce")]


def test_pauses_outlive_a_restart(world: World) -> None:
    _, [claim] = world.commit(eager=True)
    world.record(claim, world.waiting(claim, due=5), pause=Pause(world.now + 60, 3, "451 no"))
    world.restart()
    assert world.due() == [("example.net", world.now + 60, world.now + 60, 3, "451 no")]


# History


def test_pauses_are_told_of_at_the_start_those_that_end_last(world: World) -> None:
    ends = {"long.test": 900.0, "short.test": 60.0, "over.test": -60.0, "middle.test": 300.0}
    pauses = {name: Pause(world.now + end, 2, f"451 4.4.1 {name} is down") for name, end in ends.items()}
    for name, pause in {**pauses, "fine.test": Pause(0.0, 0, "")}.items():
        world.commit(destination=name)
        [claim] = world.claim(name)
        world.record(claim, world.waiting(claim), pause=pause)
    in_order = [(name, pauses[name]) for name in ("over.test", "short.test", "middle.test", "long.test")]
    for most, told in (0, []), (2, in_order[2:]), (4, in_order), (10, in_order):
        world.wait(world.spool.stop())
        assert list(world.start(most).pauses) == told


def test_a_claim_tells_of_the_pause_of_its_destination(world: World) -> None:
    _, [claim] = world.commit(eager=True)
    assert (claim.paused_until, claim.failures) == (0.0, 0)
    until = world.now + 60
    world.record(claim, world.waiting(claim, due=5), pause=Pause(until, 3, "451 no"))
    world.commit(deadline=world.now + 10)
    _, [eager] = world.commit(eager=True)
    assert (eager.paused_until, eager.failures) == (0.0, 0), "it was not asked for"
    world.restart()
    [overdue] = world.wait(world.spool.overdue(world.now + 10, 5))
    claims = [overdue, *world.claim()]
    assert [(one.paused_until, one.failures) for one in claims] == [(until, 3)] * 2
    world.record(overdue, pause=Pause(0.0, 0, ""))
    world.clock.advance(5)
    [claim] = world.claim()
    assert (claim.paused_until, claim.failures) == (0.0, 0)


def test_purge_removes_what_ended_long_ago(world: World) -> None:
    old, [claim] = world.commit(eager=True)
    world.record(claim, world.waiting(claim))
    world.clock.advance(300)
    [claim] = world.claim()
    world.record(claim)
    world.clock.advance(10)
    new, [claim] = world.commit(eager=True)
    world.record(claim)
    here, _ = world.commit()
    assert world.wait(world.spool.purge(world.now - 10)) == 0, "it ended exactly then, not before"
    while world.wait(world.spool.purge(world.now)):
        pass
    assert world.story(old) is None
    assert world.story(new).result == "delivered"
    assert world.story(here).envelope is not None
