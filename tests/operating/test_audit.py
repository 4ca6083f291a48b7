"""`mta.operating.audit`: the sums of real queues match, and whatever does not is named."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from clockwork import BEGINNING, DAY, HOUR, MINUTE, NO_SUCH_USER, House, OnDisk
from house_in_memory import InMemory
from spools import SqliteWorld, clock_at_start
from twisted.internet.task import Clock

from mta.interfaces import NewDelivery
from mta.message.envelope import Recipient, format_queue_id
from mta.message.timeline import Event, events_to_json
from mta.operating.audit import MOST_NAMED, Audit, Mismatch, audit
from mta.operating.failures import failure_class
from mta.policy.retry import RetryPolicy
from mta.spool import ledger
from mta.spool.database import attach
from mta.spool.desk import Desk
from mta.spool.listing import Totals
from mta.spool.sqlite import SqliteSpool
from mta.spool.store import Store

KEPT = 7 * DAY


def books_of(folder: Path, now: float, since: float = 0.0, history: float = KEPT) -> Audit:
    with Desk(folder, lambda: now) as desk:
        return audit(desk, since, now, history)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SqliteWorld]:
    made = SqliteWorld(clock_at_start(), tmp_path / "spool")
    yield made
    made.close()


def sabotage(world: SqliteWorld, *statements: str) -> None:
    db = attach(world.folder / "queue-0.db", None)
    for one in statements:
        db.execute(one)
    db.close()


def said(world: SqliteWorld) -> list[tuple[str, str]]:
    books = books_of(world.folder, world.now)
    assert books.matches == (not books.mismatches)
    return [tuple(one) for one in books.mismatches if one.id != "queue-0"]  # which sabotage leaves as they were


# Real queues

TRANSACTIONS = (
    # A list, an alias of two, one of one, who has moved, one name twice, and the same name by two ways.
    ("a@up.test", "team@example.org", "office@example.org", "old.name@example.org", "jean.dupont@example.org"),
    ("b@up.test", "team@example.org NOTIFY=SUCCESS,FAILURE", "office@example.org NOTIFY=SUCCESS", "x@gone.test"),
    ("c@up.test", "everybody@example.org", "everybody@example.org", "postmaster@example.org"),
    ("", "x@no.test", "team@example.org"),
    ("d@up.test", "x@no.test NOTIFY=NEVER", "y@no.test", "x@later.test NOTIFY=DELAY"),
)


def receive(folder: Path, spool: Path) -> Clock:
    """Receive these as a relay does, and stop."""

    def on_disk(clock: Clock) -> SqliteSpool:
        return SqliteSpool(spool, clock, clock.seconds, inline=True)

    listener = InMemory(folder, {"relaying": "yes", "recipients": "100"}, spool=on_disk)
    listener.send(b"EHLO client.test\r\n")
    for sender, *recipients in TRANSACTIONS:
        listener.send(f"MAIL FROM:<{sender}>\r\n".encode())
        for one in recipients:
            address, _, asked = one.partition(" ")
            listener.send(f"RCPT TO:<{address}> {asked}\r\n".encode())
        listener.send(b"DATA\r\nSubject: x\r\n\r\nhello\r\n.\r\n")
    listener.send(b"QUIT\r\n")
    replies = [line[:3] for line in iter(listener.line, None)]
    assert replies.count("354") == len(TRANSACTIONS)
    assert not {"550", "501", "503"} & set(replies)
    listener.spool.stop()
    listener.wait(0)
    return listener.clock


def test_what_a_relay_has_taken_comes_out_even(tmp_path: Path) -> None:
    """Through lists, aliases, who has moved, and NOTIFY, at each moment from the first try to the last end."""
    folder = tmp_path / "spool"
    clock = receive(tmp_path, folder)
    taken = books_of(folder, clock.seconds())
    assert (taken.messages, taken.notices, taken.found) == (len(TRANSACTIONS), 0, 0)
    # Those whose sender wants to hear of it are replaced when the notice is made.
    told_of = 2
    assert taken.ended == Counter({"expanded": 3 + 2 + 1 + 1})
    assert taken.accepted == taken.queued.total() + taken.ended.total()

    house = House(OnDisk(clock, folder), clock, RetryPolicy((5 * MINUTE, HOUR), HOUR, 5 * HOUR), poll=DAY)
    house.transport.answer("x@no.test", NO_SUCH_USER)
    house.transport.answer("y@no.test", NO_SUCH_USER)
    house.transport.answer("x@gone.test", NO_SUCH_USER)
    house.transport.down.add("later.test")
    house.manager.start()
    seen = []
    for age in (0, 1, 5 * MINUTE, 2 * HOUR, 6 * HOUR):
        house.run_until(age)
        books = books_of(folder, clock.seconds())
        assert not books.mismatches
        assert books.accepted == taken.accepted
        assert books.accepted + books.made == books.ended.total() + books.queued.total()
        seen.append((books.notices, books.queued.total()))
    house.store.close()
    assert books.queued.total() == 0
    assert books.ended["expanded"] == taken.ended["expanded"] + told_of
    assert books.failures == Counter({"address": 4, "expired": 1})
    assert books.ended["failed"] == 5
    assert len(set(seen)) > 3, "it was looked at while something went on"


def test_a_killed_relay_s_unknown_results_are_counted(world: SqliteWorld) -> None:
    world.commit(["a@x", "b@x"], "x", eager=True)
    world.commit(["c@x"], "x")
    assert books_of(world.folder, world.now).unknown == 0
    world.crash()
    books = books_of(world.folder, world.now)
    assert (books.unknown, books.queued, books.found) == (2, Counter({"waiting": 3}), 0)


def test_states_and_every_end(world: SqliteWorld) -> None:
    for kind in ("delivered", "discarded", "dropped"):
        _, [claim] = world.commit([f"{kind}@x"], "x", eager=True)
        world.record(claim, kind=kind)
    held, _ = world.commit(["held@x"], "x")
    world.operate("hold", held)
    world.commit(["a@x", "b@x"], "x", eager=True)
    world.commit(["w@x"], "x")
    books = books_of(world.folder, world.now)
    assert books.ended == Counter({"delivered": 1, "discarded": 1, "dropped": 1})
    assert books.queued == Counter({"held": 1, "active": 2, "waiting": 1})
    assert (books.messages, books.accepted, books.found) == (6, 7, 0)
    assert books.to_json()["queued"] == {"waiting": 1, "active": 2, "held": 1}


# What is looked at


def test_only_what_came_since_is_counted(world: SqliteWorld) -> None:
    world.commit(["a@x"], "x")
    world.clock.advance(HOUR)
    middle = world.now
    world.commit(["b@x"], "x")
    world.clock.advance(HOUR)
    assert books_of(world.folder, world.now).messages == 2
    assert books_of(world.folder, world.now, middle).messages == 1
    assert books_of(world.folder, world.now, world.now).messages == 0


def test_more_than_a_stretch(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "STRETCH", 3)
    for number in range(20):
        _, claims = world.commit([f"u{number}@x"], "x", eager=number % 2 == 0)
        for claim in claims:
            world.record(claim)
    told: list[tuple[int, int, int]] = []
    with world.desk() as desk:
        books = audit(desk, world.now - 1, world.now + 1, KEPT, lambda *where: told.append(where))
    assert (books.messages, books.ended["delivered"], books.queued["waiting"], books.found) == (20, 10, 10, 0)
    assert len(told) > 2
    assert told == sorted(told)
    assert all(first < come_to < last for come_to, first, last in told)


def test_what_ended_before_the_history_is_not_judged(world: SqliteWorld) -> None:
    """Of a long timeline a part may have been purged already. What is in the queue is judged, however old it is."""
    old, [claim] = world.commit(["old@x"], "x", eager=True)
    world.record(claim, kind="delivered")
    world.commit(["waits@x"], "x")
    sabotage(world, f"UPDATE timeline SET events = '' WHERE message = {old}")
    assert [number for number, _ in said(world)] == [format_queue_id(old)]
    world.clock.advance(KEPT + 1)
    books = books_of(world.folder, world.now)
    assert (books.forgotten, books.messages, books.accepted, books.found) == (1, 1, 1, 0)


def test_a_message_in_two_files_is_one(tmp_path: Path) -> None:
    """While it is moved from a worker's file that is left over, the lower file has the message."""
    folder = tmp_path / "spool"
    world = SqliteWorld(clock_at_start(), folder, worker=1, workers=2)
    both, _ = world.commit(["both@x"], "x")
    world.close()
    shutil.copy(folder / "queue-1.db", folder / "queue-0.db")
    world = SqliteWorld(world.clock, folder, worker=0, workers=2)
    [claim] = world.claim("x")
    world.record(claim, kind="delivered")
    own, _ = world.commit(["own@x"], "x")
    world.close()
    with Desk(folder, lambda: world.now) as desk:
        [found] = list(desk.ledger(0.0))
        assert [(one.id, one.is_queued) for one in found] == [(both, False), (own, True)]
        books = audit(desk, 0.0, world.now, KEPT)
    assert (books.messages, books.ended, books.queued.total()) == (2, Counter({"delivered": 1}), 1)
    assert books.matches


def test_no_queue_at_all(tmp_path: Path) -> None:
    books = books_of(tmp_path / "nowhere", BEGINNING)
    assert (books.messages, books.accepted, books.matches) == (0, 0, True)


# What is not in order


def test_a_recipient_that_is_lost(world: SqliteWorld) -> None:
    message, _ = world.commit(
        deliveries=[NewDelivery(name, (Recipient(f"a@{name}"),), world.now, world.now + 9) for name in ("x", "y")],
        to=["a@x", "a@y"],
    )
    sabotage(world, "DELETE FROM delivery WHERE destination = 'x'")
    assert said(world) == [
        (format_queue_id(message), "a@x was accepted once, has ended not at all, and is not in the queue")
    ]
    sabotage(world, "DELETE FROM delivery")
    assert next(text for _, text in said(world)) == "it is in the queue, with nothing left to do"


def test_a_recipient_that_ended_twice_or_is_still_there(world: SqliteWorld) -> None:
    message, [claim] = world.commit(["a@x"], "x", eager=True)
    world.record(claim)
    again = events_to_json([Event(world.now, "delivered", {"recipients": ["a@x"]})])
    sabotage(world, f"INSERT INTO event (message, ends, events) VALUES ({message}, 'delivered', '{again}')")
    [(_, text)] = said(world)
    assert text == "a@x was accepted once, has ended twice, and is not in the queue"
    sabotage(
        world,
        "DELETE FROM event",
        f"""INSERT INTO delivery VALUES
            (1, {message}, 'x', 'held', 0, 0, 0, 0, 0, 0, '', '', 's@x', '["a@x"]', NULL)""",
    )
    [(_, text)] = said(world)
    assert text == "a@x was accepted once, has ended once, and is in the queue once"
    sabotage(world, "DELETE FROM timeline")
    assert said(world) == [
        (format_queue_id(message), "1 recipient in the queue, and there is no such message"),
    ]


def test_a_recipient_that_nobody_named(world: SqliteWorld) -> None:
    world.commit(["a@x"], "x")
    sabotage(world, """UPDATE delivery SET recipients = '["a@x","\\u001b[2J@x"]'""")
    [(_, text)] = said(world)
    assert text == "\\x1b[2J@x was accepted not at all, has ended not at all, and is in the queue once"


def test_a_failure_that_nobody_was_told_of(world: SqliteWorld) -> None:
    message, [claim] = world.commit(["a@x", "b@x"], "x", eager=True)
    world.record(claim, kind="failed")
    assert said(world) == [(format_queue_id(message), "2 recipients failed, and it does not say who was told of it")]


def test_a_notice_that_is_not_there(tmp_path: Path) -> None:
    clock = Clock()
    clock.rightNow = BEGINNING
    house = House(OnDisk(clock, tmp_path / "spool"), clock)
    house.manager.start()
    house.transport.answer("x@no.test", NO_SUCH_USER)
    message = house.submit("x@no.test")
    house.run(5)
    house.store.close()
    [_, number] = [one.id for stretch in Desk(tmp_path / "spool").ledger(0.0) for one in stretch]
    db = apsw.Connection(str(tmp_path / "spool" / "queue-0.db"))
    db.execute("DELETE FROM timeline WHERE message = ?", (number,))
    db.close()
    now = clock.seconds()
    found = books_of(tmp_path / "spool", now).mismatches
    assert Mismatch(format_queue_id(message), f"its notice {format_queue_id(number)} is not there") in found
    later = books_of(tmp_path / "spool", now + KEPT)
    assert not [one for one in later.mismatches if "notice" in one.text], "it may have been purged by then"


def test_all_are_counted_and_the_first_are_named(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.operating.audit.MOST_NAMED", 2)
    for _ in range(3):
        world.commit(["a@x"], "x")
    sabotage(world, """UPDATE delivery SET recipients = '["b@x"]'""")
    books = books_of(world.folder, world.now)
    assert (books.found, len(books.mismatches), MOST_NAMED) == (6, 2, 1000)


def test_totals_that_are_wrong(world: SqliteWorld) -> None:
    world.commit(["a@x", "b@x"], "x")
    world.commit(["c@x"], "x", eager=True)
    assert books_of(world.folder, world.now).matches
    sabotage(world, "UPDATE totals SET waiting = 1, octets = octets + 1")
    [wrong] = books_of(world.folder, world.now).mismatches
    assert wrong == (
        "queue-0",
        "its totals say 2 messages of 43 octets for 2 recipients (1 active, 0 held), "
        "and there are 2 messages of 42 octets for 3 recipients (1 active, 0 held)",
    )


def test_totals_of_a_long_queue(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are compared in short transactions, if nobody writes meanwhile."""
    monkeypatch.setattr(ledger, "AT_ONCE", 1)
    monkeypatch.setattr(ledger, "STRETCH", 2)
    for number in range(5):
        world.commit([f"u{number}@x"], "x")
    books = books_of(world.folder, world.now)
    assert (books.matches, books.uncounted) == (True, 0)
    counted = ledger._counted

    def while_mail_comes_in(store: Store) -> Totals:
        found = counted(store)
        world.commit(["more@x"], "x")
        return found

    monkeypatch.setattr(ledger, "_counted", while_mail_comes_in)
    books = books_of(world.folder, world.now)
    assert (books.matches, books.uncounted, books.to_json()["uncounted"]) == (True, 1, 1)


@pytest.mark.parametrize(
    ("reply", "why", "expected"),
    [
        ("550 5.1.1 no such user", "", "address"),
        ("552 5.2.2 mailbox full", "", "mailbox"),
        ("554-5.3.2 closed\nfor today", "", "system"),
        ("554 5.4.6 loop", "", "network"),
        ("500 5.5.1 what?", "", "protocol"),
        ("554 5.6.3 not convertible", "", "content"),
        ("550 5.7.26 DMARC", "", "policy"),
        ("451 4.4.1 connection refused", "expired", "expired"),
        ("554 5.0.0 returned by the operator of this relay", "", "operator"),
        ("554 5.0.0 something", "", "other"),
        ("550 no", "", "other"),
        ("", "", "other"),
    ],
)
def test_classes_of_failures(reply: str, why: str, expected: str) -> None:
    assert failure_class(reply, why) == expected
