"""Whatever happens while mail waits in memory: places, promises and octets are given back, and all of it ends."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from mta.delivery.turns import Bounds
from mta.interfaces import SpoolBroken
from mta.message.outcome import Outcome, Result
from mta.policy.retry import RetryPolicy
from mta.policy.routing import Decision, Hop, Via
from mta.policy.window import WindowLimits
from mta.smtp.reply import Reply
from mta.transports.memory import DELIVERED
from tests.delivery.clockwork import DAY, GREYLISTED, NO_SUCH_USER, House

Build = Callable[..., House]
BUSY = Outcome(Result.DEFERRED, Reply(421, "4.3.2", ("too many of you",)), "mx.busy.test[192.0.2.9]:25")
DOMAINS = ("a.test", "b.test", "c.test")
POLICY = RetryPolicy((100.0, 200.0, 600.0), warn=1500.0, give_up=4000.0)
WRITTEN = ("record", "release", "claim", "overdue", "due", "content", "keep")


@pytest.fixture
def store() -> str:
    """The real one."""
    return "on disk"


class Chance:
    """A relay to which something happens all the time."""

    def __init__(self, build: Build, seed: int) -> None:
        self.chance = random.Random(seed)
        self.moved: dict[str, str] = {}
        self.is_broken = False
        self.bounds = self.chance.choice(
            (Bounds(aside=500), Bounds(deliveries=3, strangers=2), Bounds(octets=2000), Bounds(destinations=2))
        )
        width = self.chance.choice((1, 5))
        self.house = build(
            policy=POLICY, limits=WindowLimits(width, width), bounds=self.bounds, route=self._route, poll=5.0
        )
        self.house.transport.holding = True
        self._may_break()

    def _route(self, sender: str, recipient: str) -> Decision:
        domain = recipient.rpartition("@")[2]
        return Decision(Hop(Via.MX, self.moved.get(domain, domain)), None, "test")

    def _may_break(self) -> None:
        """Give the spool a disk that fails when it is told to."""

        def failing(write: Callable[..., "Deferred[Any]"]) -> Callable[..., "Deferred[Any]"]:
            return lambda *what: fail(SpoolBroken("the disk")) if self.is_broken else write(*what)

        spool = self.house.spool
        for name in WRITTEN:
            name = name if hasattr(spool, name) else f"_{name}"
            setattr(spool, name, failing(getattr(spool, name)))

    def submit(self, number: int) -> None:
        house, reserved = self.house, []
        manager, reserve = house.manager, house.manager.reserve
        manager.reserve = lambda name: reserve(name) and (reserved.append(name) or True)  # type: ignore[func-returns-value, method-assign]
        to = [f"r{number}-{one}@{self.chance.choice(DOMAINS)}" for one in range(self.chance.choice((1, 1, 4)))]
        house.submit(*to, eager=True, content=b"x" * self.chance.choice((10, 300)))
        del manager.reserve
        house.stored.addErrback(lambda _: [manager.unreserve(name) for name in reserved] and None)

    def happen(self, number: int) -> None:
        """Let one thing happen, and some time pass."""
        house, chance = self.house, self.chance
        which = chance.random()
        if which < 0.45:
            for one in range(chance.choice((1, 12))):
                self.submit(100 * number + one)
        elif which < 0.7:
            house.transport.let_go(chance.choice((1, 9)))
        elif which < 0.75:
            house.transport.down = set(chance.sample(DOMAINS, 2))
        elif which < 0.8:
            house.transport.answer(chance.choice(DOMAINS), chance.choice((BUSY, GREYLISTED, NO_SUCH_USER, DELIVERED)))
        elif which < 0.85:
            self.is_broken = not self.is_broken
        elif which < 0.9:
            house.operate(chance.choice(("hold", "release", "drop", "retry")))
        elif which < 0.93:
            house.manager.adopt(house.means, WindowLimits(1, chance.choice((1, 8))), 7 * DAY)
        elif which < 0.96:
            self.moved[chance.choice(DOMAINS)] = chance.choice(DOMAINS)
        elif not self.is_broken:
            house.restart()
            self._may_break()
        house.run(chance.choice((0, 0.01, 0.3, 5, 100)))

    def check(self) -> None:
        """What is counted is what is there."""
        manager = self.house.manager
        turns, there = manager._turns, list(manager._destinations)
        assert turns.in_flight == sum(one.running for one in there)
        assert turns._strangers == sum(one.estranged for one in there)
        assert turns._octets == sum(one.octets for one in manager._tries)
        assert all(min(one.running, one.reserved, one.promised, one.unrecorded) >= 0 for one in there)
        assert set(manager._aside._kept) <= {claim.delivery for one in there for claim in one.ready}

    def end_well(self) -> None:
        """All is mended, and time passes."""
        house = self.house
        self.is_broken = house.transport.holding = False
        house.transport.down = set()
        for domain in DOMAINS:
            house.transport.answer(domain, DELIVERED)
        house.transport.let_go()
        house.run(100)
        house.operate("release")
        house.run(5000)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_left_behind(build: Build, seed: int) -> None:
    life = Chance(build, seed)
    for number in range(50):
        life.happen(number)
        life.check()
    life.end_well()
    house, manager = life.house, life.house.manager
    assert house.messages == 0
    assert (manager.in_flight, manager._turns._octets, manager._turns._strangers) == (0, 0, 0)
    assert (manager._aside._kept, manager._aside._room) == ({}, life.bounds.aside)
    assert not len(manager._destinations)
    assert not (manager._tries or manager._decisions or manager._recorder.count())
