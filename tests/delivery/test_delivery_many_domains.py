"""As many destinations as messages, a tenth of them dead: each costs the same, however many others there are."""

import time
from collections import Counter
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from clockwork import HOUR, MINUTE, Build, House
from twisted.internet.defer import Deferred

from mta.delivery.turns import Bounds
from mta.interfaces import IContent
from mta.message.envelope import Envelope
from mta.message.outcome import Carried
from mta.policy.routing import Hop
from mta.transports.memory import MemoryTransport

SOME = 400  # domains in the small form
MANY = 4_000
REMEMBERED = 100  # fewer than are dead in most of what follows


class Counting(MemoryTransport):
    """Takes 50 ms for each, and remembers no more than when each destination was tried and how many at once."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.tries: dict[str, list[float]] = {}
        self.running = self.most_at_once = 0

    def carry(self, hop: Hop, envelope: Envelope, content: IContent) -> Deferred[Carried]:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        ended: Deferred[Carried] = Deferred()
        self._clock.callLater(0.05, self._end, ended, hop, envelope, content)
        return ended

    def _end(self, ended: "Deferred[Carried]", hop: Hop, envelope: Envelope, content: IContent) -> None:
        self.running -= 1
        self.tries.setdefault(hop.destination, []).append(self._clock.seconds())
        carried = self._carry(hop, envelope, content)
        self.carriages.clear()
        ended.callback(carried)


def is_dead(number: int) -> bool:
    return number % 10 == 3


def filled(build: Build, domains: int) -> House:
    """A house that finds all of it in its spool, and has not begun."""
    house = build(start=False, poll=HOUR, bounds=Bounds(remembered=REMEMBERED))
    transport = house.transport = Counting(house.clock)
    house.means.transports.update(dict.fromkeys(house.means.transports, transport))
    transport.down = {f"d{number}.test" for number in range(domains) if is_dead(number)}
    for number in range(domains):
        house.submit(f"r@d{number}.test", silent=True)
        if number % 100 == 99:
            house.run()
    house.run()
    return house


def deliver(house: House, domains: int) -> float:
    """Until each domain has been tried once: CPU for each, in microseconds."""
    began = time.process_time()
    house.manager.start()
    tries = house.transport.tries
    while len(tries) < domains:
        house.run(1)
        assert house.age < domains / 100 + MINUTE, "200 at once, 50 ms each"
    return (time.process_time() - began) * 1e6 / domains


def in_memory(house: House) -> int:
    """What the manager remembers of destinations, in all."""
    destinations = house.manager._destinations
    return len(destinations) + destinations.resting


@pytest.mark.parametrize(
    "store", ["on disk", pytest.param("in memory", marks=pytest.mark.soak, id="in memory")], indirect=True
)
def test_a_tenth_of_the_domains_is_dead(build: Build) -> None:
    house = filled(build, SOME)
    deliver(house, SOME)
    check(house, SOME)


@pytest.mark.alone
@pytest.mark.parametrize(("some", "many"), [(SOME, MANY), pytest.param(1_000, 100_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("store", ["on disk"], indirect=True)
def test_the_cost_of_each_does_not_grow(build: Build, some: int, many: int) -> None:
    # What else the machine does only adds to a time, so that the least of some is the one to believe.
    cost_of_few = cost = inf
    for _ in range(3):
        cost_of_few = min(cost_of_few, deliver(filled(build, some), some))
        house = filled(build, many)
        cost = min(cost, deliver(house, many))
        print(f"{cost_of_few:.0f} µs of CPU for each of {some:,} domains, {cost:.0f} µs for each of {many:,}")
        if cost < 1.6 * cost_of_few + 100:
            break
    assert cost < 1.6 * cost_of_few + 100
    check(house, many)


def check(house: House, domains: int) -> None:
    """Everybody who lives has the mail; the others are tried now and then; memory holds little of all this."""
    transport = house.transport
    dead = sum(map(is_dead, range(domains)))
    house.run(1)
    assert house.messages == dead
    assert transport.most_at_once <= 200
    assert in_memory(house) <= REMEMBERED
    before = Counter({name: len(tries) for name, tries in transport.tries.items()})
    house.run(HOUR)
    for number in range(domains):
        tries = transport.tries[f"d{number}.test"]
        if is_dead(number):
            # Pauses of 1, 2, 4, 8, 16 and 30 minutes, so five tries after the first within the first hour or so.
            assert 4 <= len(tries) <= 8, tries
            assert min(after - earlier for earlier, after in pairwise(tries)) >= MINUTE
        else:
            assert len(tries) == before[f"d{number}.test"] == 1
    assert house.messages == dead
    assert in_memory(house) <= REMEMBERED
    # They come back, and all of it goes out.
    transport.down = set()
    house.run(4 * HOUR)
    assert house.messages == 0
    assert in_memory(house) <= REMEMBERED


def test_of_destinations_that_are_at_rest_a_bounded_number_is_remembered(build: Build) -> None:
    house = build(start=False, poll=HOUR, bounds=Bounds(remembered=10))
    house.transport.down = {f"d{number}.test" for number in range(100)}
    for number in range(100):
        house.submit(f"r@d{number}.test", silent=True)
    house.manager.start()
    house.run(10)
    assert house.messages == 100
    assert in_memory(house) == 10
    tries = Counter(one.hop.destination for one in house.transport.carriages)
    assert max(tries.values()) == 1, "the spool remembers the pauses of all of them"
    house.run(HOUR)
    tries = Counter(one.hop.destination for one in house.transport.carriages)
    assert max(tries.values()) <= 8


class Slow(Counting):
    """Strangers come to nothing after 5 s, as where their name servers are silent; others take 50 ms."""

    def carry(self, hop: Hop, envelope: Envelope, content: IContent) -> Deferred[Carried]:
        if hop.destination not in self.down:
            return super().carry(hop, envelope, content)
        ended: Deferred[Carried] = Deferred()
        self.running += 1
        self._clock.callLater(5.0, self._end, ended, hop, envelope, content)
        return ended


def test_who_answers_has_places_however_many_do_not(build: Build) -> None:
    house = build(poll=HOUR)
    transport = house.transport = Slow(house.clock)
    house.means.transports.update(dict.fromkeys(house.means.transports, transport))
    house.submit("first@alive.test", eager=True)
    house.run(1)
    assert len(transport.tries["alive.test"]) == 1
    transport.down = {f"d{number}.test" for number in range(2_000)}
    for number in range(2_000):
        house.submit(f"r@d{number}.test", silent=True)
    house.manager.wake("d0.test")
    house.manager._lookout.look()
    house.run(2)
    assert house.manager.in_flight == Bounds().strangers, "all that strangers may have"
    for number in range(20):
        house.submit(f"r{number}@alive.test", eager=True)
        house.run(0.2)
        assert len(transport.tries["alive.test"]) == number + 2, "tried at once"
    # A stranger who would answer waits for its turn, but not for ever, and is one no more.
    house.submit("r@new.test", eager=True)
    house.run(2_000 / Bounds().strangers * 5 + 10)
    assert len(transport.tries["new.test"]) == 1
    house.submit("again@new.test", eager=True)
    house.run(0.2)
    assert len(transport.tries["new.test"]) == 2


def test_strangers_have_their_turn_although_others_have_much_mail(build: Build) -> None:
    house = build(start=False, poll=HOUR, bounds=Bounds(deliveries=4, strangers=3))
    transport = house.transport = Slow(house.clock)
    house.means.transports.update(dict.fromkeys(house.means.transports, transport))
    for name in ("one.test", "two.test"):
        for number in range(200):
            house.submit(f"r{number}@{name}", silent=True)
    house.manager.start()
    house.run(1)
    assert 0 < len(transport.tries["one.test"]) < 200
    for number in range(10):
        house.submit(f"r@new{number}.test")
    house.run(1)
    assert len([name for name in transport.tries if name.startswith("new")]) == 10
    house.run(10)
    assert house.messages == 0
