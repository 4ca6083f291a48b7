"""The cache on a clock that stands still unless it is moved."""

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from mta.dns.cache import Cache
from mta.policy.exchangers import Answer, Found


class World:
    """A cache whose questions wait to be answered by the test."""

    def __init__(self, size: int = 3, at_once: int = 2, most_waiting: int = 4) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, Deferred[Answer[str]]]] = []
        self.cache: Cache[str] = Cache(self.clock, self._ask, size, at_once, most_waiting)

    def _ask(self, name: str) -> Deferred[Answer[str]]:
        question: Deferred[Answer[str]] = Deferred()
        self.asked.append((name, question))
        return question

    def look_up(self, name: str) -> list[Answer[str]]:
        """Where the answer will be, once it is there."""
        answers: list[Answer[str]] = []
        self.cache.look_up(name).addCallback(answers.append)
        return answers

    def answer(self, ttl: float = 10, found: Found = Found.RECORDS) -> str:
        """Answer the oldest question."""
        name, question = self.asked.pop(0)
        question.callback(Answer(found, (f"of {name}",), self.clock.seconds() + ttl))
        return name

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


@pytest.mark.parametrize("found", list(Found))
def test_answer_is_kept_until_its_time(found: Found) -> None:
    world = World()
    first = world.look_up("a")
    world.answer(ttl=10, found=found)
    world.clock.advance(9.9)
    assert world.look_up("a") == first != []
    assert world.names == []
    world.clock.advance(0.1)
    assert world.look_up("a") == []
    assert world.names == ["a"]


def test_equal_questions_are_asked_once() -> None:
    world = World()
    waiting = [world.look_up("a") for _ in range(5)]
    assert world.names == ["a"]
    world.answer()
    assert [len(answers) for answers in waiting] == [1] * 5


def test_questions_at_once_are_bounded_and_the_rest_wait_in_order() -> None:
    world = World()
    waiting = [world.look_up(name) for name in "abcd"]
    assert world.names == ["a", "b"]
    assert world.answer() == "a"
    assert world.names == ["b", "c"]
    for _ in range(3):
        world.answer()
    assert [answers[0].records for answers in waiting] == [("of a",), ("of b",), ("of c",), ("of d",)]


def test_too_many_are_refused_and_that_is_not_kept() -> None:
    world = World()
    for n in range(6):
        assert world.look_up(f"n{n}") == []
    (refused,) = world.look_up("one more")
    assert (refused.found, refused.why) == (Found.FAILED, "too many look-ups are waiting")
    assert world.look_up("n5") == []
    for _ in range(6):
        world.answer()
    assert world.look_up("one more") == []


def test_size_is_bounded_and_what_was_used_last_stays() -> None:
    world = World(size=3)
    for name in "abc":
        world.look_up(name)
        world.answer()
    world.look_up("a")
    world.look_up("d")
    world.answer()
    assert len(world.cache) == 3
    assert [bool(world.look_up(name)) for name in "adcb"] == [True, True, True, False]


def test_cancelled_waiter_hears_nothing_and_the_answer_is_kept() -> None:
    world = World()
    cancelled = world.cache.look_up("a")
    errors: list[object] = []
    cancelled.addErrback(lambda failure: errors.append(failure.trap(CancelledError)))
    cancelled.cancel()
    assert errors == [CancelledError]
    world.answer()
    assert world.look_up("a") != []


def test_waiter_may_cancel_another_and_ask_again() -> None:
    world = World()
    heard: list[str] = []
    first, second = world.cache.look_up("a"), world.cache.look_up("a")

    def on_first(answer: Answer[str]) -> None:
        heard.append("first")
        second.cancel()
        assert world.look_up("a") == [answer]

    first.addCallback(on_first)
    second.addCallbacks(lambda _: heard.append("second"), lambda _: heard.append("cancelled"))
    world.answer()
    assert heard == ["first", "cancelled"]


def test_stop_answers_everybody_and_asks_nothing_more() -> None:
    world = World()
    world.look_up("kept")
    world.answer(ttl=100)
    waiting = [world.look_up(name) for name in "abcd"]
    world.cache.stop()
    assert [answers[0].found for answers in waiting] == [Found.FAILED] * 4
    assert world.look_up("e")[0].found is Found.FAILED
    assert world.look_up("kept")[0].found is Found.RECORDS
    world.answer()
    assert world.names == ["b"]
