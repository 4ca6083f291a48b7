"""What the twin in memory has for tests of delivery, beyond what every transport has."""

from typing import cast

from carry_world import HOP, LETTER, START, Letter, envelope_to
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from mta.interfaces import IContent
from mta.message.outcome import Carried, Result, deferred
from mta.transports.memory import DELIVERED, MemoryTransport

GREYLISTED = deferred(450, "4.2.1", "later")


def transport() -> MemoryTransport:
    clock = Clock()
    clock.rightNow = START
    return MemoryTransport(cast(IReactorTime, clock))


def carry(memory: MemoryTransport, *recipients: str) -> list[Carried]:
    ended: list[Carried] = []
    memory.carry(HOP, envelope_to(*recipients), cast(IContent, Letter(LETTER))).addCallback(ended.append)
    return ended


def test_answers_come_one_after_the_other_and_the_last_stays() -> None:
    memory = transport()
    memory.answer("a@example.net", GREYLISTED, DELIVERED)
    memory.answer(HOP.destination, GREYLISTED)
    results = [
        [outcome.result for outcome in carry(memory, "a@example.net", "b@example.net")[0].outcomes] for _ in "xyz"
    ]
    assert results == [
        [Result.DEFERRED, Result.DEFERRED],
        [Result.DELIVERED, Result.DEFERRED],
        [Result.DELIVERED, Result.DEFERRED],
    ]
    assert memory.taken("a@example.net") == [LETTER, LETTER]
    assert memory.taken("b@example.net") == []
    assert [carriage.at for carriage in memory.carriages] == [START] * 3


def test_what_is_held_back_is_let_go_in_order() -> None:
    memory = transport()
    memory.holding = True
    first, second, third = (carry(memory, f"{name}@example.net") for name in "abc")
    assert memory.held == 3
    memory.let_go(1)
    assert (len(first), len(second), len(third)) == (1, 0, 0)
    memory.let_go()
    assert (len(first), len(second), len(third)) == (1, 1, 1)
    assert [carriage.taken for carriage in memory.carriages] == [(f"{name}@example.net",) for name in "abc"]
