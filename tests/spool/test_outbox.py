"""What webhooks are owed is written with what it tells of, and stays owed until it is said to be told (`IOutbox`)."""

from pathlib import Path
from typing import Any

from spools import SqliteWorld, World, clock_at_start, kill
from zope.interface.verify import verifyObject

from mta.interfaces import Pause
from mta.outbox import IOutbox, Standing, Subscription
from mta.spool.owing import Pending, pending, together

URL, OTHER = "http://a.test/", "http://b.test/"


def subscribe(world: World, *kinds: str, url: str = URL) -> None:
    world.wait(world.spool.outbox.subscribe([Subscription(url, frozenset(kinds))]))


def owed(world: World, url: str = URL, limit: int = 100) -> list[Any]:
    found = world.spool.outbox.owed(url, limit)
    world.wait(world.spool.next_deadline())  # it waits for something urgent to ride along with
    return world.wait(found)


def asked(world: World, deferred: Any) -> Any:
    world.wait(world.spool.next_deadline())
    return world.wait(deferred)


def test_it_provides_the_interface(world: World) -> None:
    verifyObject(IOutbox, world.spool.outbox)


def test_nobody_is_told_of_what_nobody_has_asked_for(world: World) -> None:
    subscribe(world, "delivered")
    message, [claim] = world.commit(eager=True)
    assert owed(world) == []
    assert world.record(claim)
    [one] = owed(world)
    assert (one.message, one.sender, one.destination) == (message, "s@example.org", "example.net")
    assert (one.event.kind, one.event.at, one.event.detail) == (
        "delivered",
        world.now,
        {"recipients": ["a@example.net"]},
    )
    assert owed(world, OTHER) == []


def test_all_of_a_message_is_told_in_its_order_with_ids_that_rise(world: World) -> None:
    subscribe(world, "received", "deferred", "delivered", "ended")
    message, [claim] = world.commit(["a@example.net", "b@example.net"], eager=True)
    world.record(claim, world.waiting(claim, to=["b@example.net"]))
    world.clock.advance(300)
    [claim] = world.claim()
    world.record(claim)
    found = owed(world)
    assert [one.event.kind for one in found] == ["received", "delivered", "delivered", "ended"]
    assert {one.message for one in found} == {message}
    assert {one.sender for one in found} == {"s@example.org"}
    assert [one.id for one in found] == sorted({one.id for one in found})
    assert [one.id for one in owed(world, limit=2)] == [one.id for one in found[:2]]
    assert asked(world, world.spool.outbox.waiting(URL)) == 4


def test_what_has_been_told_is_owed_no_more(world: World) -> None:
    subscribe(world, "received")
    for _ in range(3):
        world.commit()
    first, second, third = owed(world)
    asked(world, world.spool.outbox.told(URL, [first.id, third.id], world.now))
    assert owed(world) == [second]


def test_how_it_goes_is_remembered_with_what_is_owed(tmp_path: Path) -> None:
    """In the queue file, where a console of another process finds it, until somebody is not subscribed any more."""
    world = SqliteWorld(clock_at_start(), tmp_path)
    subscribe(world, "received")
    world.commit()

    def standing() -> Standing:
        with world.desk() as desk:
            [one] = together([one for each in desk.ask(lambda store, _: pending(store)) for one in each])
        assert one.waiting == 1 and one.oldest is not None
        return one.standing

    assert standing() == Standing()
    failed = Standing(world.now, 3, "500 \u202e<b>", world.now + 300)
    asked(world, world.spool.outbox.failed(URL, failed))
    subscribe(world, "received", "delivered")
    assert standing() == failed
    kill(world.spool)
    world.start()
    assert standing() == failed
    asked(world, world.spool.outbox.told(URL, [], world.now))
    assert standing() == Standing(world.now)
    world.close()


def test_of_two_processes_the_one_with_trouble_speaks() -> None:
    fine, trouble = Standing(20.0), Standing(10.0, 2, "no route", 70.0)
    parts = [
        Pending(URL, frozenset({"received"}), 1, 5.0, fine),
        Pending(URL, frozenset({"received"}), 2, 4.0, trouble),
    ]
    for one in (parts, parts[::-1]):
        assert together(one) == [Pending(URL, frozenset({"received"}), 3, 4.0, trouble)]


def test_what_an_operator_does_is_told_too(world: World) -> None:
    subscribe(world, "held", "released", "dropped")
    message, [] = world.commit(due=world.now + 50)
    for verb in ("hold", "release", "drop"):
        world.operate(verb, message)
    assert [(one.event.kind, one.destination, one.sender) for one in owed(world)] == [
        (kind, "example.net", "s@example.org") for kind in ("held", "released", "dropped")
    ]


def test_notices_that_we_send_are_messages_too(world: World) -> None:
    subscribe(world, "received", "failed")
    _, [claim] = world.commit(eager=True)
    world.record(claim, kind="failed", notices=(world.notice(claim),), pause=Pause(0.0, 0, ""))
    assert [(one.event.kind, one.sender) for one in owed(world)] == [
        ("received", "s@example.org"),
        ("received", ""),
        ("failed", "s@example.org"),
    ]


def test_a_crash_takes_nothing_of_what_is_owed_and_is_told_itself(world: World) -> None:
    subscribe(world, "received", "unknown")
    world.commit(eager=True)
    before = owed(world)
    world.crash()
    received, unknown = owed(world)
    assert [received] == before
    assert unknown.event.kind == "unknown"
    subscribe(world, "received", "unknown")
    assert owed(world) == [received, unknown], "to subscribe again changes nothing"


def test_what_is_too_old_is_forgotten_the_oldest_first(world: World) -> None:
    subscribe(world, "received")
    for _ in range(3):
        world.commit()
        world.clock.advance(10)
    outbox = world.spool.outbox
    _, second, third = owed(world)
    assert asked(world, outbox.forget(OTHER, world.now, 10)) == 0
    assert asked(world, outbox.forget(URL, world.now - 15, 1)) == 1
    assert owed(world) == [second, third]
    assert asked(world, outbox.forget(URL, world.now - 15, 10)) == 1
    assert owed(world) == [third]


def test_nothing_is_owed_to_who_is_not_subscribed_any_more(world: World) -> None:
    subscribe(world, "received")
    world.commit()
    world.commit()
    subscribe(world, "received", url=OTHER)
    world.commit()
    assert len(owed(world)) == 2
    assert asked(world, world.spool.outbox.forget_others(1)) == 1
    assert asked(world, world.spool.outbox.forget_others(10)) == 1
    assert asked(world, world.spool.outbox.forget_others(10)) == 0
    assert (owed(world), len(owed(world, OTHER))) == ([], 1)


def test_of_mail_that_could_not_be_kept_nobody_is_told(tmp_path: Path) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    subscribe(world, "received")
    store = world.spool._writer._committer._store
    message, _ = world.commit()
    assert len(owed(world)) == 1
    from mta.spool.sqlite import _unkeep

    with store.transaction():
        _unkeep(store, message)
    assert owed(world) == []
    world.close()


def test_without_webhooks_nothing_is_written(tmp_path: Path) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    world.record(world.commit(eager=True)[1][0])
    store = world.spool._writer._committer._store
    assert store.rows("SELECT * FROM owed") == [] and store.hooks == {}
    world.close()


def test_what_a_worker_that_there_is_no_more_was_to_tell_is_told_by_another(tmp_path: Path) -> None:
    clock = clock_at_start()
    second = SqliteWorld(clock, tmp_path / "spool", worker=1, workers=2)
    subscribe(second, "received", "delivered")
    second.record(second.commit(eager=True)[1][0])
    waits, _ = second.commit()
    kill(second.spool)
    first = SqliteWorld(clock, tmp_path / "spool")
    subscribe(first, "received", "delivered")
    for _ in range(20):
        clock.advance(0.05)
    assert not (tmp_path / "spool" / "queue-1.db").exists()
    assert [one.event.kind for one in owed(first)] == ["received", "delivered", "received"]
    assert [claim.message for claim in first.claim()] == [waits]
    first.close()
