"""`mta.operating.forecast`: what it says comes true, and it changes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import clockwork
import pytest
from clockwork import BEGINNING, GREYLISTED, HOUR, MINUTE, House, OnDisk
from spools import SqliteWorld
from twisted.internet.task import Clock

from mta.config.load import load
from mta.config.model import Config
from mta.interfaces import NewDelivery, SpoolBroken
from mta.message.envelope import Recipient
from mta.message.outcome import held
from mta.operating.forecast import Forecast, Prospect, changes, forecast
from mta.operating.rehearsal import NOT_TRIED, Shortest
from mta.policy.retry import RetryPolicy
from mta.spool.desk import Desk
from mta.spool.duplicate import duplicate
from mta.spool.matching import Selection

WARN, GIVE_UP = HOUR, 5 * HOUR
POLICY = RetryPolicy((5 * MINUTE, HOUR), WARN, GIVE_UP)
RETRY = "retry: {after: [5m, 1h], warn: 1h, give_up: 5h}\n"
A_MOMENT = 2.0  # seconds: how late what is due may be found
REFUSED_LOGIN = held(535, "5.7.8", "wrong password", "mx.login.test[192.0.2.9]:25")


def config(folder: Path, text: str = RETRY, name: str = "mta.yml") -> Config:
    file = folder / name
    file.write_text(f"hostname: relay.test\npostmaster: postmaster@up.test\nspool: {folder / 'spool'}\n{text}")
    return load(file)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A relay's delivery side on the real store, where chance adds nothing to any wait."""
    monkeypatch.setattr(clockwork.random, "Random", lambda seed: Shortest())
    clock = Clock()
    clock.rightNow = BEGINNING
    made = House(OnDisk(clock, tmp_path / "spool"), clock, POLICY, poll=HOUR * 1000)
    made.transport.answer("later.test", GREYLISTED)
    made.transport.down.add("down.test")
    made.manager.start()
    yield made
    made.store.close()


def look(house: House, folder: Path, *configs: Config, **more: int) -> list[Forecast]:
    now = house.clock.seconds()
    with Desk(folder / "spool", lambda: now) as desk:
        return forecast(desk, list(configs) or [config(folder)], now, **more)


def of(found: Forecast) -> dict[str, Prospect]:
    return {one.now.address: one for one in found.prospects}


class Came(NamedTuple):
    """What came true of a recipient after some time."""

    tries: list[float]
    warned: float | None
    ended: float | None


def came(house: House, message: int, address: str, since: float) -> Came:
    tries, warned, ended = [], None, None
    events = house.story(message).events
    tried = {event.at for event in events if event.kind == "attempt"}
    for event in events:
        concerned = address in event.detail.get("recipients", ())
        if event.at > since and concerned and event.kind in ("deferred", "failed"):
            if event.at in tried:
                tries.append(event.at)
            ended = event.at if event.kind == "failed" else None
        if event.kind == "notice" and event.detail["about"] == "delayed":
            warned = event.at
    return Came(tries, warned, ended)


def test_it_comes_true(house: House, tmp_path: Path) -> None:
    """Of a greylisting host, and of one that is down, with a crowd that waits for it."""
    messages = {"a@later.test": house.submit("a@later.test")}
    for number in range(5):
        messages[f"u{number}@down.test"] = house.submit(f"u{number}@down.test")
        house.run(10)
    house.run_until(40 * MINUTE)
    since = house.clock.seconds()
    [found] = look(house, tmp_path)
    assert found.left_out == 0
    house.run_until(GIVE_UP + HOUR)
    assert house.messages == 0
    expected: dict[str, list[float]] = {"later.test": [], "down.test": []}
    happened: dict[str, list[float]] = {"later.test": [], "down.test": []}
    for address, prospect in of(found).items():
        real = came(house, messages[address], address, since)
        assert prospect.warned == pytest.approx(real.warned, abs=A_MOMENT)
        assert prospect.ended == pytest.approx(real.ended, abs=A_MOMENT)
        assert (prospect.end, prospect.is_told) == ("failed", True)
        expected[address.rpartition("@")[2]] += prospect.tries
        happened[address.rpartition("@")[2]] += real.tries
    # Which one of a crowd goes ahead is not told by what is stored; how often the host is tried, and when, is.
    for domain, tries in expected.items():
        assert sorted(tries) == pytest.approx(sorted(happened[domain]), abs=A_MOMENT)
    assert len(expected["later.test"]) >= 5
    assert len(expected["down.test"]) < 5 * 5, "a host that is down is not tried once for each message"


def test_the_same_for_one_message(house: House, tmp_path: Path) -> None:
    house.submit("a@later.test")
    for number in range(3):
        last = house.submit(f"u{number}@down.test")
    house.run_until(10 * MINUTE)
    [whole] = look(house, tmp_path)
    [one] = look(house, tmp_path, message=last)
    assert [prospect.message for prospect in one.prospects] == [last]
    assert one.prospects[0].is_like(of(whole)["u2@down.test"])
    assert not one.prospects[0].is_like(of(whole)["a@later.test"])
    [none] = look(house, tmp_path, message=1)
    assert none.prospects == []


def test_each_worker_s_file_is_run_forward(tmp_path: Path) -> None:
    clock = Clock()
    clock.rightNow = BEGINNING
    for number in (0, 1, 2):
        world = SqliteWorld(clock, tmp_path / "spool", worker=number, workers=3)
        world.commit([f"u{number}@x.test"], "x.test")
        world.close()
    with Desk(tmp_path / "spool", clock.seconds) as desk:
        [found] = forecast(desk, [config(tmp_path)], clock.seconds())
    assert sorted(of(found)) == ["u0@x.test", "u1@x.test", "u2@x.test"]
    assert {one.ended for one in found.prospects} == {found.prospects[0].ended}
    assert found.prospects[0].ended == pytest.approx(BEGINNING + GIVE_UP, abs=A_MOMENT)


def test_a_recipient_by_two_ways_is_two(tmp_path: Path) -> None:
    """As himself and as the member of a list, whose owner is told then."""
    clock = Clock()
    clock.rightNow = BEGINNING
    world = SqliteWorld(clock, tmp_path / "spool")
    to = (Recipient("u@x.test"),)
    until = BEGINNING + WARN
    ways = [NewDelivery("x.test", to, BEGINNING, until), NewDelivery("x.test", to, BEGINNING, until, False, "owner@o")]
    world.commit(deliveries=ways)
    world.close()
    with Desk(tmp_path / "spool", clock.seconds) as desk:
        [found] = forecast(desk, [config(tmp_path)], clock.seconds())
    assert [one.reverse_path for one in found.prospects] == ["s@example.org", "owner@o"]
    assert all((one.end, one.is_told, len(one.tries) > 3, one.warned is not None) == ("failed", True, True, True)
               for one in found.prospects)  # fmt: skip


def test_the_queue_is_not_touched(house: House, tmp_path: Path) -> None:
    house.submit("a@later.test", "b@down.test")
    house.run_until(MINUTE)
    db = apsw.Connection(str(tmp_path / "spool" / "queue-0.db"))
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]

    def everything() -> list[object]:
        return [db.execute(f"SELECT * FROM {name}").fetchall() for name in tables]

    before = everything()
    [found] = look(house, tmp_path)
    assert len(found.prospects) == 2
    assert everything() == before
    db.close()


def test_what_its_sender_asked_for(house: House, tmp_path: Path) -> None:
    now = house.clock.seconds()
    house.submit(Recipient("quiet@later.test", "NEVER"), Recipient("only@later.test", "FAILURE"))
    house.submit("r@later.test", by=now + 2 * HOUR, by_mode="R")
    house.submit("null@later.test", sender="")
    house.submit("released@later.test", released=now + 3 * HOUR)
    house.run_until(MINUTE)
    found = of(look(house, tmp_path)[0])
    assert (found["quiet@later.test"].warned, found["quiet@later.test"].is_told) == (None, False)
    assert (found["only@later.test"].warned, found["only@later.test"].is_told) == (None, True)
    assert found["r@later.test"].ended == pytest.approx(now + 2 * HOUR, abs=A_MOMENT)
    assert found["r@later.test"].reply.startswith("554 5.4.7")
    assert (found["null@later.test"].end, found["null@later.test"].is_told) == ("failed", False)
    assert found["released@later.test"].tries[0] == pytest.approx(now + 3 * HOUR, abs=A_MOMENT)
    assert found["released@later.test"].ended == pytest.approx(now + 3 * HOUR + GIVE_UP, abs=A_MOMENT)


def test_what_is_held_and_what_waits_behind_it(house: House, tmp_path: Path) -> None:
    house.transport.answer("login.test", REFUSED_LOGIN)
    house.submit("first@login.test")
    house.run(1)
    house.submit("second@login.test")
    house.run(1)
    found = of(look(house, tmp_path)[0])
    assert (found["first@login.test"].now.state, found["first@login.test"].tries) == ("held", [])
    assert found["first@login.test"].ended is None
    assert (found["second@login.test"].end, found["second@login.test"].is_told) == ("held", False)
    assert found["second@login.test"].ended is not None


def test_what_was_never_tried_has_to_wait(house: House, tmp_path: Path) -> None:
    house.submit("new@new.test", silent=True)
    house.run()
    [found] = look(house, tmp_path)
    [one] = found.prospects
    assert one.tries[0] == pytest.approx(house.clock.seconds(), abs=A_MOMENT)
    assert one.ended == pytest.approx(house.clock.seconds() + GIVE_UP, abs=A_MOMENT)
    assert one.reply == NOT_TRIED


def test_most_that_is_looked_at(house: House, tmp_path: Path) -> None:
    first = house.submit("a@later.test")
    house.submit("b@later.test")
    house.submit("c@later.test")
    house.run_until(MINUTE)
    told: list[tuple[int, int]] = []
    now = house.clock.seconds()
    with Desk(tmp_path / "spool", lambda: now) as desk:
        [found] = forecast(desk, [config(tmp_path)], now, limit=1, progress=lambda *far: told.append(far))
    assert ([one.message for one in found.prospects], found.left_out) == ([first], 2)
    assert found.to_json()["left_out"] == 2
    assert told == sorted(told)


def test_what_has_left_the_queue_meanwhile_is_not_told_of(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = house.submit("a@later.test")
    house.submit("b@later.test", "c@down.test")
    house.run_until(MINUTE)
    now = house.clock.seconds()

    def end_first(desk: Desk, *more: Any) -> list[int]:
        with Desk(tmp_path / "spool", lambda: now) as other:
            other.drop(Selection(ids=frozenset({gone})))
            other.drop(Selection(to="down.test"))
        return duplicate(desk, *more)

    monkeypatch.setattr("mta.operating.forecast.duplicate", end_first)
    assert list(of(look(house, tmp_path)[0])) == ["b@later.test"]


def test_an_operator_s_wish_decides(house: House, tmp_path: Path) -> None:
    house.transport.holding = True
    house.submit("a@later.test")
    house.run(1)
    house.operate("drop")
    [one] = look(house, tmp_path)[0].prospects
    assert (one.now.state, one.now.wish, one.end) == ("active", "drop", "")
    house.transport.let_go()


def test_a_copy_that_cannot_be_made(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house.submit("a@later.test")
    house.run_until(MINUTE)
    monkeypatch.setattr("mta.operating.forecast._MEMORY", tmp_path / "nowhere")
    assert look(house, tmp_path)[0].prospects[0].end == "failed", "where there is no such place, another one will do"

    def full(*_: object) -> list[int]:
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr("mta.operating.forecast.duplicate", full)
    with pytest.raises(SpoolBroken, match="cannot be copied and run forward: database or disk is full"):
        look(house, tmp_path)


# A new configuration

ROUTES = """\
routes:
  - {to: later.test, via: "smtp://[192.0.2.1]:26", name: new}
  - {to: refused.test, via: 550 5.7.1 no more of this}
  - {to: gone.test, via: discard}
"""


def test_what_a_new_configuration_would_do(house: House, tmp_path: Path) -> None:
    for domain in ("refused.test", "gone.test", "same.test"):
        house.transport.answer(domain, GREYLISTED)
    house.submit("a@later.test", "b@refused.test", "c@gone.test", "d@same.test")
    house.run_until(MINUTE)
    before, after = look(house, tmp_path, config(tmp_path), config(tmp_path, RETRY + ROUTES, "new.yml"))
    found = {one.before.now.address: one for one in changes(before, after)}
    assert set(found) == {"a@later.test", "b@refused.test", "c@gone.test"}
    moved, refused, gone = found.values()
    assert (moved.before.way.to, moved.after.way.to) == ("later.test", "smtp://192.0.2.1:26")
    assert moved.after.way.why == "routes[0] (new): to later.test"
    assert moved.after.ended == pytest.approx(moved.before.ended, abs=A_MOMENT)
    assert (refused.after.way.is_refused, refused.after.end, refused.after.is_told) == (True, "failed", True)
    assert refused.after.reply == "550 5.7.1 no more of this"
    assert (gone.after.end, gone.after.is_told) == ("discarded", False)
    assert refused.after.ended < refused.before.ended
    assert refused.to_json()["after"]["end"] == "failed"


def test_other_times(house: House, tmp_path: Path) -> None:
    """A longer schedule: what is stored of the next try stays, and the rest follows the new one."""
    house.submit("a@later.test")
    house.run_until(MINUTE)
    longer = config(tmp_path, "retry: {after: [30m], warn: never, give_up: 1d}\n", "new.yml")
    before, after = look(house, tmp_path, config(tmp_path), longer)
    [change] = changes(before, after)
    assert change.before.tries[0] == change.after.tries[0]
    assert change.after.tries[1] - change.after.tries[0] == pytest.approx(30 * MINUTE, abs=A_MOMENT)
    assert (change.before.warned, change.after.warned) == (pytest.approx(BEGINNING + WARN, abs=A_MOMENT), None)
    assert change.after.ended == pytest.approx(BEGINNING + 24 * HOUR, abs=A_MOMENT)


def test_the_same_configuration_changes_nothing(house: House, tmp_path: Path) -> None:
    for number in range(4):
        house.submit(f"a{number}@later.test", f"b{number}@down.test")
    house.run_until(MINUTE)
    before, after = look(house, tmp_path, config(tmp_path), config(tmp_path, RETRY, "new.yml"))
    assert len(before.prospects) == 8
    assert changes(before, after) == []


def test_another_number_of_the_same_rule_is_no_change(house: House, tmp_path: Path) -> None:
    house.submit("a@later.test")
    house.run_until(MINUTE)
    routes = RETRY + "routes: [{to: other.test, via: discard}, {to: later.test, via: mx}]\n"
    before, after = look(house, tmp_path, config(tmp_path), config(tmp_path, routes, "new.yml"))
    assert before.prospects[0].way.why != after.prospects[0].way.why
    assert changes(before, after) == []


def test_local_names_that_have_gone(house: House, tmp_path: Path) -> None:
    (tmp_path / "directory.yml").write_text("later.test:\n  mailboxes:\n    b:\n")
    house.submit("a@later.test", "b@later.test")
    house.run_until(MINUTE)
    before, after = look(
        house, tmp_path, config(tmp_path), config(tmp_path, f"{RETRY}directory: directory.yml\n", "n.yml")
    )
    [change] = changes(before, after)
    assert (change.after.now.address, change.after.end) == ("a@later.test", "failed")
    assert change.after.reply.startswith("550 5.1.1")
