"""The lines in which destinations wait for a place."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from mta.delivery.destination import Destination
from mta.delivery.turns import Bounds, Turns
from mta.policy.window import Window


class Line:
    """Turns, and who had one."""

    def __init__(self, deliveries: int, strangers: int) -> None:
        self.begun: list[tuple[str, Any]] = []
        bounds = Bounds(deliveries=deliveries, strangers=strangers)
        self.turns = Turns(Clock(), bounds, lambda: 0, lambda one, claim: self.begun.append((one.name, claim)))

    def stand(self, name: str, claims: str, answers: bool = False) -> Destination:
        one = Destination(name, Window(5))
        one.ready, one.answers = list(claims), answers  # type: ignore[arg-type]
        self.turns.queue(one, 0.0)
        return one


def test_a_destination_that_has_answered_stands_among_strangers_no_more() -> None:
    line = Line(deliveries=4, strangers=2)
    good = line.stand("good", "ab")
    line.stand("dead", "c")
    line.stand("dead too", "d")
    line.turns.work()
    assert line.begun == [("good", "a"), ("dead", "c")]
    good.answers = True
    line.turns.leave(good)
    line.turns.queue(good, 0.0)
    line.turns.work()
    assert sorted(line.begun[2:]) == [("dead too", "d"), ("good", "b")]
    assert line.turns.in_flight == 3


@pytest.mark.parametrize("answers", [True, False])
def test_who_stands_in_one_line_is_not_kept_waiting_by_the_other_that_is_empty(answers: bool) -> None:
    line = Line(deliveries=9, strangers=9)
    line.stand("one", "abc", answers)
    for _ in range(3):
        line.turns.work()
    assert [claim for _, claim in line.begun] == ["a", "b", "c"]


def test_a_place_in_the_strangers_line_that_was_left_gives_no_second_turn() -> None:
    line = Line(deliveries=1, strangers=1)
    line.stand("first", "x")
    good = line.stand("good", "ab")
    line.turns.work()
    good.answers = True
    line.turns.queue(good, 0.0)
    for one in ("first", "good", "good"):
        assert line.begun[-1][0] == one
        line.turns.leave(good if one == "good" else Destination("first", Window(5)))
        line.turns.work()
    assert line.begun == [("first", "x"), ("good", "a"), ("good", "b")]
