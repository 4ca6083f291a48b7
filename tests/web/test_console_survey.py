"""The queue from afar: from indexes, by bounded reads, over the files of several workers."""

import re
from pathlib import Path

import pytest
from console_ground import Ground
from spools import SqliteWorld, clock_at_start

from mta.operating import overview
from mta.spool import survey
from mta.spool.listing import View
from mta.spool.matching import EVERYTHING, Selection
from mta.spool.store import Store
from mta.spool.survey import Bounded

DAY = 86400.0
QUESTIONS = {
    name: value
    for name, value in vars(survey).items()
    if name.isupper() and not name.startswith("_") and isinstance(value, str)
}


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_no_question_reads_a_whole_table(ground: Ground, name: str) -> None:
    """A table is searched by an index, or read in the order of one up to a limit."""
    question = QUESTIONS[name].replace("{condition}", "1")

    def explain(store: Store, view: View) -> list[str]:
        named = {"after": 0, "until": 9, "state": None, "limit": 1, **view.values}
        values = named if ":" in question else (1,) * (2 if "?2" in question else question.count("?"))
        return [row[3] for row in store.rows(f"EXPLAIN QUERY PLAN {question}", values)]

    [plan] = ground.spools.desk().ask(explain)
    scans = [step for step in plan if re.match(r"SCAN (delivery|message|timeline|event)\b", step)]
    assert not [step for step in scans if "USING" not in step and "LIMIT" not in question], plan
    if scans:
        assert "LIMIT" in question or "min(" in question, plan


def test_what_is_counted_ends_at_a_limit(monkeypatch: pytest.MonkeyPatch, ground: Ground) -> None:
    monkeypatch.setattr(survey, "MOST", 10)
    monkeypatch.setattr(survey, "SEARCHED", 10)
    monkeypatch.setattr(survey, "STRETCH", 5)
    monkeypatch.setattr(survey, "FEW", 3)
    for number in range(25):
        ground.spools.commit(to=(f"a{number}@x.test",), destination="x.test")
    desk, now = ground.spools.desk(), ground.clock.seconds()
    seen = overview.overview(desk, now)
    assert seen["states"]["ready"] == {"number": 10, "more": True}
    assert seen["ages"][0]["number"] == 10 and seen["ages"][0]["more"]
    assert seen["destinations"][0]["waiting"] == {"number": 10, "more": True}
    assert desk.ask(lambda store, view: survey.destination(store, "x.test").place) != [None]
    found = overview.page(desk, Selection(sender="nobody@x.test"), None, 0, 100)
    assert found["looked"] and not found["messages"]
    assert overview.page(desk, Selection(to="a24@x.test"), None, found["next"] or 0, 100)["looked"]
    last = overview.page(desk, Selection(to="a24@x.test"), None, 0, 100)
    pages = 0
    while last["next"] is not None:
        last = overview.page(desk, Selection(to="a24@x.test"), None, last["next"], 100)
        pages += 1
    assert len(last["messages"]) == 1 and pages == 2


def test_several_files_are_one_queue_in_order(tmp_path: Path) -> None:
    clock = clock_at_start()
    worlds = [SqliteWorld(clock, tmp_path / "spool", worker=number, workers=2) for number in range(2)]
    try:
        numbers = []
        for turn in range(60):
            clock.advance(1.0)
            number, _ = worlds[turn % 2].commit(
                to=(f"a{turn}@x.test",), destination=f"d{turn % 3}.test", due=clock.seconds() + DAY
            )
            numbers.append(number)
        desk = worlds[0].desk()
        for chosen in (EVERYTHING, Selection(to="x.test")):
            shown, after = [], 0
            for _ in range(5):
                page = overview.page(desk, chosen, None, after, 25)
                shown += [one["recipients"][0]["address"] for one in page["messages"]]
                after = page["next"]
                if after is None:
                    break
            assert shown == [f"a{turn}@x.test" for turn in range(60)]
        seen = overview.overview(desk, clock.seconds())
        assert [(one["name"], one["waiting"]["number"]) for one in seen["destinations"]] == [
            ("d0.test", 20), ("d1.test", 20), ("d2.test", 20),
        ]  # fmt: skip
        assert [(one["number"], one["messages"], one["alive"]) for one in seen["workers"]] == [
            (0, 30, True),
            (1, 30, True),
        ]
        assert seen["totals"]["messages"] == 60 and seen["oldest"] == pytest.approx(numbers[0] / 256e6)
        found = overview.destination(desk, "d1.test", 5)
        assert found["waiting"] == {"number": 20, "more": False} and len(found["messages"]) == 5
    finally:
        for world in worlds:
            world.close()


def test_a_number_that_was_counted_so_far_is_told_as_such() -> None:
    assert [survey.bounded(number, 3) for number in (2, 3, 4)] == [Bounded(2), Bounded(3), Bounded(3, True)]
