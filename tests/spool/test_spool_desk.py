"""The operator's side: what is listed, and what the verbs do, beside a worker and without one."""

import os
from pathlib import Path

import pytest
from spools import SqliteWorld, clock_at_start, kill

from mta.interfaces import Claim, IContent, NewDelivery, Pause, Record, SpoolBroken
from mta.message.envelope import CLI_WORKER, WORKERS, Recipient
from mta.message.timeline import Event
from mta.spool.desk import Desk
from mta.spool.disk import Disk
from mta.spool.listing import Outlook, Totals
from mta.spool.matching import EVERYTHING, Selection


@pytest.fixture
def world(tmp_path: Path):
    made = SqliteWorld(clock_at_start(), tmp_path / "spool")
    yield made
    made.close()


@pytest.fixture
def desk(world: SqliteWorld):
    with world.desk() as desk:
        yield desk


def ids(*messages: int) -> Selection:
    return Selection(ids=frozenset(messages))


def states(desk: Desk, **filters) -> dict[str, str]:
    return {to.address: to.state for one in desk.queue(**filters) for to in one.recipients}


# Listing


def test_nothing_is_listed_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with Desk(tmp_path / "nowhere") as desk:
        assert (desk.queue(), desk.totals(), desk.story(1), desk.content(1)) == ([], Totals(), None, None)
        assert desk.drop(EVERYTHING) == 0
    assert not (tmp_path / "nowhere").exists()


def test_a_message_is_listed_with_its_recipients(world: SqliteWorld, desk: Desk) -> None:
    message, [claim] = world.commit(["a@x", "b@x"], "x", eager=True)
    world.record(claim, world.waiting(claim, to=["b@x"], due=60))
    [one] = desk.queue()
    assert (one.id, one.size, one.sender, one.created) == (message, 21, "s@example.org", world.now)
    [to] = one.recipients
    assert to == ("b@x", "deferred", world.now + 60, "450 4.2.0 later", "x", 1, "", None)


def test_states(world: SqliteWorld, desk: Desk) -> None:
    world.commit(["active@x"], "x", eager=True)
    world.commit(["ready@y"], "y")
    world.commit(["later@y"], "y", due=world.now + 5)
    held, _ = world.commit(["held@y"], "y")
    desk.hold(ids(held))
    _, [claim] = world.commit(["paused@z"], "z", eager=True)
    world.record(claim, world.waiting(claim, due=0), pause=Pause(world.now + 60, 1, "451 down"))
    world.commit(["never@z"], "z")
    expected = {
        "active@x": "active",
        "ready@y": "ready",
        "later@y": "deferred",
        "held@y": "held",
        "paused@z": "deferred",
        "never@z": "deferred",
    }
    assert states(desk) == expected
    for state in ("active", "ready", "deferred", "held"):
        assert states(desk, state=state) == {to: its for to, its in expected.items() if its == state}
    shown = {to.address: to for one in desk.queue() for to in one.recipients}
    assert (shown["never@z"].last_reply, shown["never@z"].next_attempt) == ("451 down", world.now + 60)
    assert (shown["held@y"].next_attempt, shown["active@x"].next_attempt) == (None, None)
    assert desk.totals() == Totals(6, 6 * 21, waiting=4, active=1, held=1)
    assert desk.totals().recipients == 6


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(to="example.net"), {"a@example.net", "b@example.net", "c@Example.NET"}),
        (Selection(to="B@example.net"), {"b@example.net"}),
        (Selection(to="@example.net"), {"a@example.net", "b@example.net", "c@Example.NET"}),
        (Selection(to="*@other.example"), {"d@other.example"}),
        (Selection(to="smtp://hub:25"), {"a@example.net", "d@other.example"}),
        (Selection(to="ample.net"), set()),
        (Selection(to="net"), set()),
        (Selection(to="exämple.net"), {"e@exämple.net"}),
        (Selection(to="EXÄMPLE.net"), {"e@exämple.net"}),
        (Selection(sender="s@example.org"), {"a@example.net", "d@other.example", "c@Example.NET", "e@exämple.net"}),
        (Selection(sender="EXAMPLE.org"), {"a@example.net", "d@other.example", "c@Example.NET", "e@exämple.net"}),
        (Selection(sender="<>"), {"b@example.net"}),
        (Selection(sender=""), {"b@example.net"}),
        (Selection(sender="xample.org"), set()),
        (Selection(sender="<s@example.org>", to="other.example"), {"d@other.example"}),
        (EVERYTHING, {"a@example.net", "d@other.example", "b@example.net", "c@Example.NET", "e@exämple.net"}),
    ],
)
def test_selections(world: SqliteWorld, desk: Desk, selection: Selection, expected: set[str]) -> None:
    world.commit(["a@example.net", "d@other.example"], "smtp://hub:25")
    world.commit(["b@example.net"], "example.net", sender="")
    world.commit(["c@Example.NET"], "example.net")
    world.commit(["e@exämple.net"], "exämple.net")
    assert set(states(desk, selection=selection)) == expected


def test_the_oldest_are_listed_up_to_the_limit(world: SqliteWorld, desk: Desk) -> None:
    messages = [world.commit([f"{n}@x", f"{n}b@x"], f"d{n % 3}")[0] for n in range(9)]
    assert [one.id for one in desk.queue(limit=4)] == messages[:4]
    assert [one.id for one in desk.queue(Selection(to="x"), limit=4)] == messages[:4]
    assert desk.queue(limit=0) == []
    assert [one.id for one in desk.queue(ids(messages[3], messages[1], 5))] == [messages[1], messages[3]]


def test_the_files_of_all_workers_are_one_queue(tmp_path: Path) -> None:
    clock = clock_at_start()
    worlds = [SqliteWorld(clock, tmp_path / "spool", worker=number) for number in (0, 1)]
    messages = [worlds[n % 2].commit([f"{n}@x"])[0] for n in range(4)]
    with worlds[0].desk() as desk:
        assert [one.id for one in desk.queue()] == messages == sorted(messages)
        assert desk.totals().messages == 4
        assert all(desk.story(one) is not None and desk.content(one) is not None for one in messages)
        assert desk.hold(EVERYTHING) == 4
        assert set(states(desk).values()) == {"held"}
    for world in worlds:
        assert world.due() == []
        world.close()


def test_a_content_can_be_read(world: SqliteWorld, desk: Desk) -> None:
    for content in (b"small", b"large" * 100_000):
        message, _ = world.commit(content=content)
        found = desk.content(message)
        assert found is not None
        assert (found.size, b"".join(found.blocks())) == (len(content), content)


# Verbs


def test_a_verb_is_for_the_recipients_that_are_meant(world: SqliteWorld, desk: Desk) -> None:
    message, _ = world.commit(["a@one", "b@two", "c@one"], "smtp://hub:25", due=world.now + 50)
    assert desk.hold(Selection(to="one")) == 2
    assert states(desk) == {"a@one": "held", "b@two": "deferred", "c@one": "held"}
    assert desk.drop(Selection(to="c@one")) == 1
    assert states(desk) == {"a@one": "held", "b@two": "deferred"}
    assert desk.retry(EVERYTHING) == 1
    assert states(desk) == {"a@one": "held", "b@two": "ready"}
    [claim] = world.claim("smtp://hub:25")
    assert claim.envelope.recipients == (Recipient("b@two"),)
    assert world.record(claim)
    assert desk.release(Selection(sender="example.org")) == 1
    [claim] = world.claim("smtp://hub:25")
    assert world.record(claim)
    assert world.story(message).result == "delivered dropped"
    assert [event.kind for event in world.story(message).events] == [
        "received", "held", "dropped", "retried", "delivered", "released", "delivered", "ended",
    ]  # fmt: skip
    assert desk.totals() == Totals()


def test_a_wish_is_for_the_recipients_that_are_meant(world: SqliteWorld, desk: Desk) -> None:
    message, [claim] = world.commit(["a@one", "b@two", "c@three"], "smtp://hub:25", eager=True)
    assert desk.drop(Selection(to="one")) == 1
    assert desk.hold(Selection(to="c@three")) == 1
    assert world.record(claim, world.waiting(claim, due=50))
    assert states(desk) == {"b@two": "deferred", "c@three": "held"}
    assert [(event.kind, event.detail["recipients"]) for event in world.story(message).events[1:]] == [
        ("dropped", ["a@one"]),
        ("held", ["c@three"]),
    ]


def test_many_are_changed_in_several_transactions(world: SqliteWorld) -> None:
    rests: list[float] = []
    deliveries = [NewDelivery("x", (Recipient(f"{n}@x"),), world.now, world.now + 9) for n in range(1203)]
    message, _ = world.commit(deliveries=deliveries)
    with Desk(world.folder, world.clock.seconds, rest=rests.append) as desk:
        assert desk.hold(EVERYTHING) == 1203
        assert len(rests) == 8, "25, 50, 100, 200, and then 250 at most"
        assert desk.totals().held == 1203
        assert desk.release(Selection(to="x")) == 1203
        assert desk.drop(ids(message)) == 1203
        assert desk.totals() == Totals()
    assert world.story(message).result == "dropped"


def test_verbs_take_what_they_can(world: SqliteWorld, desk: Desk) -> None:
    message, _ = world.commit()
    assert desk.release(ids(message)) == 0
    assert desk.hold(ids(message)) == 1
    assert desk.hold(ids(message)) == 0
    assert desk.retry(ids(message)) == 0
    assert desk.drop(ids(message, 77)) == 1
    assert desk.drop(ids(message)) == 0


def test_a_dropped_message_takes_its_content_file_with_it(world: SqliteWorld, desk: Desk) -> None:
    message, _ = world.commit(content=b"x" * 300_000)
    folder = world.folder / "content" / "0"
    assert len(list(folder.iterdir())) == 1
    desk.drop(ids(message))
    assert list(folder.iterdir()) == []


def compose(world: SqliteWorld, desk: Desk, seen: list[tuple[Claim, bytes]]):
    def record(claim: Claim, content: IContent) -> Record:
        seen.append((claim, b"".join(content.blocks())))
        notice = world.notice(claim)._replace(id=desk.new_id(world.now))
        events = (Event(world.now, "failed", {"recipients": [one.address for one in claim.envelope.recipients]}),)
        return Record(claim, world.now, notices=(notice,), events=events)

    return record


def test_bounce_settles_what_waits_in_one_transaction_with_the_notice(world: SqliteWorld, desk: Desk) -> None:
    message, _ = world.commit(["a@one", "b@two"], "hub", due=world.now + 50)
    held, _ = world.commit(["h@one"], "hub")
    desk.hold(ids(held))
    seen: list[tuple[Claim, bytes]] = []
    assert desk.bounce(Selection(to="one"), compose(world, desk, seen)) == 2
    assert [(claim.message, claim.wish, content) for claim, content in seen] == [
        (message, "bounce", b"Subject: x\r\n\r\nhello\r\n"),
        (held, "bounce", b"Subject: x\r\n\r\nhello\r\n"),
    ]
    assert states(desk) == {"b@two": "deferred", "s@example.org": "ready"}
    assert world.story(held).result == "failed"
    assert world.story(message).envelope.recipients == (Recipient("b@two"),)
    notices = world.claim("example.org")
    assert [claim.envelope.notice_for for claim in notices] == [message, held]
    assert {claim.message % WORKERS for claim in notices} == {CLI_WORKER}


def test_bounce_of_what_is_being_tried_is_a_wish(world: SqliteWorld, desk: Desk) -> None:
    _, [claim] = world.commit(eager=True)
    seen: list[tuple[Claim, bytes]] = []
    assert desk.bounce(EVERYTHING, compose(world, desk, seen)) == 1
    assert seen == []
    assert [to.wish for one in desk.queue() for to in one.recipients] == ["bounce"]
    world.record(claim, world.waiting(claim))
    assert [one.wish for one in world.claim()] == ["bounce"]


def test_a_bounce_that_cannot_be_composed_changes_nothing(world: SqliteWorld, desk: Desk) -> None:
    world.commit()

    def fail(claim: Claim, content: IContent) -> Record:
        raise ValueError("no")

    before = desk.queue()
    with pytest.raises(ValueError, match="no"):
        desk.bounce(EVERYTHING, fail)
    assert desk.queue() == before


# Without a worker


def test_without_a_worker_nothing_is_active(world: SqliteWorld) -> None:
    message, _ = world.commit(["a@x", "b@y"], eager=True)
    kill(world.spool)
    with world.desk() as desk:
        assert states(desk) == {"a@x": "ready", "b@y": "ready"}
        assert states(desk, state="ready") == {"a@x": "ready", "b@y": "ready"}
        assert states(desk, state="active") == {}
        assert [event.kind for event in desk.story(message).events] == ["received"], "looking changes nothing"
        assert desk.drop(Selection(to="x")) == 1
        assert states(desk) == {"b@y": "ready"}
        assert [event.kind for event in desk.story(message).events] == ["received", "unknown", "dropped"]
    found = world.start()
    assert (found.messages, found.unknown) == (1, 0)


def test_without_a_worker_wishes_of_the_dead_are_granted_by_the_next_verb(world: SqliteWorld) -> None:
    message, _ = world.commit(eager=True)
    other, _ = world.commit(destination="other")
    world.operate("drop", message)
    kill(world.spool)
    with world.desk() as desk:
        assert desk.hold(ids(other)) == 1
        assert desk.story(message).result == "dropped"
    world.start()


def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda descriptor, user, group: given.append((user, group)))
    Disk().create(tmp_path / "new").close()
    assert given == [(tmp_path.stat().st_uid, tmp_path.stat().st_gid)]
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_what_is_held_is_told_by_destination_over_all_workers(world: SqliteWorld) -> None:
    other = SqliteWorld(world.clock, world.folder, worker=1)
    for where, reply in [(world, "535 5.7.8 no"), (other, "535 5.7.8 still no")]:
        _, [claim] = where.commit(["a@x", "b@x"], "store", eager=True)
        where.record(claim, where.waiting(claim, state="held", last_reply=reply))
    silent, _ = world.commit()
    with world.desk() as desk:
        desk.hold(ids(silent))
        assert desk.held() == [("store", 4, "535 5.7.8 still no")]
    other.close()


def test_an_old_or_new_schema_is_left_alone(world: SqliteWorld) -> None:
    world.spool._writer._committer._store.db.execute("PRAGMA user_version = 7")
    with pytest.raises(SpoolBroken, match="schema 7"):
        world.desk()
    world.spool._writer._committer._store.db.execute("PRAGMA user_version = 1")


# How things stand with a destination


def test_the_outlook_of_a_destination(world: SqliteWorld, desk: Desk) -> None:
    assert desk.outlook("x") == Outlook()
    _, [claim] = world.commit(["a@x"], "x", eager=True)
    world.commit(["b@x", "c@x"], "x")
    held, _ = world.commit(["d@x"], "x")
    desk.hold(ids(held))
    until = world.now + 60
    world.record(claim, world.waiting(claim, due=60), pause=Pause(until, 3, "451 4.4.1 refused"))
    assert desk.outlook("x") == Outlook(2, 1, until, 3, "451 4.4.1 refused")
    assert desk.outlook("y") == Outlook()
