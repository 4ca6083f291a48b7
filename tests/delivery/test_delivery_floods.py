"""New mail for ever new domains, more than can be delivered: what waits in the spool has its turn beside it."""

from typing import Any

import pytest
from clockwork import DAY, GREYLISTED, HOUR, MINUTE, Build, House
from twisted.internet.defer import Deferred

from mta.delivery.turns import Bounds
from mta.interfaces import IContent, Record
from mta.message.envelope import Envelope
from mta.message.outcome import Carried
from mta.policy.retry import RetryPolicy
from mta.policy.routing import Hop
from mta.transports.memory import DELIVERED, MemoryTransport

SMALL = Bounds(deliveries=20, strangers=15, destinations=40, unrecorded=200)
OLD = 20  # messages that were put off, each for a domain of its own


@pytest.fixture
def store() -> str:
    """The store that is made for crowds."""
    return "on disk"


class Lasting(MemoryTransport):
    """Takes so many seconds for each, and notes when it began."""

    def __init__(self, clock: Any, seconds: float) -> None:
        super().__init__(clock)
        self.seconds = seconds
        self.slow: dict[str, float] = {}  # destinations that take another time
        self.began: dict[str, list[float]] = {}

    def carry(self, hop: Hop, envelope: Envelope, content: IContent) -> Deferred[Carried]:
        self.began.setdefault(hop.destination, []).append(self._clock.seconds())
        ended: Deferred[Carried] = Deferred()
        seconds = self.slow.get(hop.destination, self.seconds)
        self._clock.callLater(seconds, lambda: ended.callback(self._carry(hop, envelope, content)))
        return ended


def record_slowly(house: House, seconds: float) -> None:
    """Each result is stored so late."""
    record = house.spool.record

    def later(what: Record) -> "Deferred[bool]":
        stored: Deferred[bool] = Deferred()
        house.clock.callLater(seconds, lambda: record(what).chainDeferred(stored))
        return stored

    house.spool.record = later


class Flood:
    """A house where `OLD` messages were put off for a minute, and new mail comes from shortly before that is over.

    most: destinations in flight, at most. looks: into the spool, since it has come.
    """

    def __init__(self, build: Build, takes: float) -> None:
        self.house = house = build(policy=RetryPolicy((MINUTE, HOUR), None, DAY), poll=HOUR, bounds=SMALL)
        self.transport = house.transport = Lasting(house.clock, 0.0)
        house.means.transports.update(dict.fromkeys(house.means.transports, self.transport))
        self.old = [f"old{number}.test" for number in range(OLD)]
        for name in self.old:
            self.transport.answer(name, GREYLISTED, DELIVERED)
            house.submit(f"r@{name}")
        house.run(MINUTE - 5)
        self.transport.seconds = takes
        self.most = self._number = 0
        self._looks = house.manager._lookout.looks

    @property
    def looks(self) -> int:
        return self.house.manager._lookout.looks - self._looks

    def come(self, rate: int, seconds: float) -> None:
        """So many messages a second, each for a new domain."""
        for _ in range(int(rate * seconds)):
            self.house.submit(f"r@new{self._number}.test", eager=True)
            self._number += 1
            self.house.run(1 / rate)
            self.most = max(self.most, len(self.house.manager._destinations))

    def waits(self) -> list[float]:
        """How long after a minute each old message was tried again."""
        began = self.transport.began
        assert [len(began[name]) for name in self.old] == [2] * OLD
        return [began[name][1] - began[name][0] - MINUTE for name in self.old]


def test_what_is_due_has_its_turn_while_new_mail_takes_all_room(build: Build) -> None:
    """Fifteen at once, 10 s each: 1.5 a second, of four that come. Others wait in memory, or are left outside."""
    flood = Flood(build, takes=10)
    flood.come(rate=4, seconds=120)
    assert max(flood.waits()) < 6 + 60, "it was due in 6 s at most, and then stood behind some 60"


def test_what_is_due_has_its_turn_while_results_are_stored_slowly(build: Build) -> None:
    """All new mail is tried at once, and has more destinations in flight than there is room for, all the time."""
    flood = Flood(build, takes=0.05)
    record_slowly(flood.house, 5)
    flood.come(rate=30, seconds=20)
    assert flood.house.manager._destinations.room < -100
    assert max(flood.waits()) < 6 + 2


@pytest.mark.parametrize("stored_after", [0, 30])
def test_a_crowd_outside_is_tried_in_its_order_and_memory_stays_bounded(build: Build, stored_after: float) -> None:
    flood = Flood(build, takes=1)
    house, began = flood.house, flood.transport.began
    crowd = [f"d{number}.test" for number in range(2_000)]
    for name in crowd:
        house.submit(f"r@{name}", silent=True)
        house.clock.rightNow += 0.001
    flood.come(rate=40, seconds=5)
    if stored_after:
        record_slowly(house, stored_after)
    looks, before = flood.looks, list(began)
    flood.come(rate=40, seconds=MINUTE)
    assert flood.looks - looks <= MINUTE, "one a second at most, however much is due"
    tried = list(began)[len(before) :]
    old = [name for name in tried if name.startswith("d")]
    assert len(tried) > 300
    assert len(old) >= len(tried) / 4
    assert [name for name in began if name.startswith("d")] == crowd[: len(set(began) & set(crowd))]
    others = SMALL.unrecorded if stored_after else SMALL.destinations
    assert flood.most <= 1.5 * others + 1


def test_new_mail_has_half_of_the_places_beside_a_crowd_that_takes_a_minute_each(build: Build) -> None:
    """Fifteen at once: seven of them for a crowd that nobody answers for, and the others do eight a second."""
    flood = Flood(build, takes=1)
    transport = flood.transport
    for number in range(1_000):
        transport.answer(f"d{number}.test", GREYLISTED)
        transport.slow[f"d{number}.test"] = MINUTE
        flood.house.submit(f"r@d{number}.test", silent=True)
    flood.come(rate=10, seconds=5 * MINUTE)
    tried = list(transport.began)
    assert sum(name.startswith("d") for name in tried) >= 7 * 5
    assert sum(name.startswith("new") for name in tried) > 0.6 * 10 * 5 * MINUTE
