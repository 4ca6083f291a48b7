"""The real spool and its twin, side by side through the same random history: they must not be told apart.

On the way the books of the real one are checked: totals and next_due against what the rows say.
"""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from spools import MemoryWorld, SqliteWorld, World, clock_at_start

from mta.interfaces import Claim, NewDelivery, Pause
from mta.message.envelope import Recipient
from mta.spool.settling import ACTIVE

DESTINATIONS = ["one", "two", "three"]
SECONDS = st.integers(-50, 200).map(float)
REVERSE_PATHS = st.sampled_from([None, None, "", "owner@one"])
PAIR = tuple[Claim, Claim]


def told(claim: Claim) -> tuple[Any, ...]:
    """A claim but for its own number, which is the only thing in which the two may differ."""
    return claim._replace(delivery=0)


def recipients(destination: str, number: int, many: int) -> tuple[Recipient, ...]:
    return tuple(Recipient(f"{one}{number}@{destination}") for one in range(many))


class Twins(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.worlds: list[World] = [
            MemoryWorld(clock_at_start()),
            SqliteWorld(clock_at_start(), Path(self.folder.name) / "spool"),
        ]
        self.held: list[PAIR] = []
        self.stale: list[PAIR] = []
        self.messages: list[int] = []

    def teardown(self) -> None:
        for world in self.worlds:
            world.close()
        self.folder.cleanup()

    def same(self, action: Any) -> Any:
        memory, real = (action(world) for world in self.worlds)
        assert memory == real
        return memory

    def claimed(self, action: Any) -> None:
        memory, real = (action(world) for world in self.worlds)
        assert [told(one) for one in memory] == [told(one) for one in real]
        self.held += zip(memory, real, strict=True)

    @rule(seconds=st.integers(1, 120))
    def time_passes(self, seconds: int) -> None:
        for world in self.worlds:
            world.clock.advance(float(seconds))

    @rule(
        groups=st.lists(
            st.tuples(st.sampled_from(DESTINATIONS), st.integers(1, 3), SECONDS, SECONDS, st.booleans(), REVERSE_PATHS),
            max_size=3,
        ),
        priority=st.sampled_from([0, 0, 0, -1, 4]),
    )
    def commit(self, groups: list[tuple[str, int, float, float, bool, str | None]], priority: int) -> None:
        numbers = []

        def commit(world: World) -> list[Claim]:
            deliveries = [
                NewDelivery(to, recipients(to, n, many), world.now + due, world.now + deadline, eager, path)
                for n, (to, many, due, deadline, eager, path) in enumerate(groups)
            ]
            message, claims = world.commit(deliveries=deliveries, priority=priority)
            numbers.append(message)
            return claims

        self.claimed(commit)
        assert numbers[0] == numbers[1]
        self.messages.append(numbers[0])

    @rule(destination=st.sampled_from(DESTINATIONS), limit=st.integers(1, 4))
    def claim(self, destination: str, limit: int) -> None:
        self.claimed(lambda world: world.claim(destination, limit))

    @rule(limit=st.integers(1, 4))
    def overdue(self, limit: int) -> None:
        self.claimed(lambda world: world.wait(world.spool.overdue(world.now, limit)))

    def take(self, data: st.DataObject) -> PAIR:
        pair = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.stale.append(pair)
        return pair

    @precondition(lambda self: self.held)
    @rule(data=st.data(), due=SECONDS, deadline=SECONDS)
    def record(self, data: st.DataObject, due: float, deadline: float) -> None:
        pair = self.take(data)
        recipients = pair[0].envelope.recipients
        ways = data.draw(st.lists(st.sampled_from(["done", "wait", "move", "hold"]), min_size=3, max_size=3))
        pause = data.draw(st.sampled_from([None, None, (0.0, 0), (70.0, 1), (0.0, 2)]))
        with_notice = data.draw(st.booleans())

        def record(world: World) -> bool:
            claim = pair[self.worlds.index(world)]
            waiting = []
            for way in ("wait", "move", "hold"):
                to = [one.address for one, its in zip(recipients, ways, strict=False) if its == way]
                state = {"state": "held"} if way == "hold" else {}
                where = {"destination": "three"} if way == "move" else {}
                if to:
                    last = {"deadline": world.now + deadline}
                    waiting.append(world.waiting(claim, to=to, due=due, **last, **state, **where))
            more: dict[str, Any] = {"notices": (world.notice(claim, destination="two"),)} if with_notice else {}
            if pause is not None:
                more["pause"] = Pause(world.now + pause[0] if pause[0] else 0.0, pause[1], "451 no" if pause[1] else "")
            return world.record(claim, *waiting, **more)

        assert self.same(record)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        pair = self.take(data)
        for world, claim in zip(self.worlds, pair, strict=True):
            world.wait(world.spool.release([claim]))

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def record_once_more(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(self.stale))
        waits = data.draw(st.booleans())

        def record(world: World) -> bool:
            claim = pair[self.worlds.index(world)]
            return world.record(claim, *([world.waiting(claim)] if waits else []))

        assert not self.same(record)

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), verb=st.sampled_from(["retry", "hold", "release", "drop"]))
    def operate(self, data: st.DataObject, verb: str) -> None:
        message = data.draw(st.sampled_from(self.messages))
        if self.worlds[0].story(message).ended is None:
            for world in self.worlds:
                world.operate(verb, message)

    @rule(domain=st.sampled_from(["", *DESTINATIONS]), destination=st.sampled_from(DESTINATIONS))
    def rush(self, domain: str, destination: str) -> None:
        self.same(lambda world: world.wait(world.spool.rush(domain, destination)))

    @rule(due=SECONDS, pause=SECONDS)
    def hasten(self, due: float, pause: float) -> None:
        def hasten(world: World) -> object:
            now = world.now
            return world.wait(world.spool.hasten(now + due, now + pause, lambda attempts: now + attempts))

        self.same(hasten)

    @rule()
    def crash(self) -> None:
        self.same(lambda world: world.crash()._replace(newest=0.0))  # which the real one knows in more ways
        self.stale += self.held
        self.held = []

    @rule()
    def restart(self) -> None:
        self.same(lambda world: world.restart()._replace(newest=0.0))
        self.stale += self.held
        self.held = []

    @invariant()
    def they_see_the_same(self) -> None:
        self.same(lambda world: sorted(world.due()))
        self.same(lambda world: world.due(1, frozenset({"one"})))
        self.same(lambda world: world.wait(world.spool.next_deadline()))
        for message in self.messages:
            self.same(lambda world, message=message: world.story(message))

    @invariant()
    def the_books_are_right(self) -> None:
        store = self.worlds[1].spool._writer._committer._store
        totals = store.rows("SELECT messages, octets, waiting, active, held FROM totals")
        counted = store.rows(
            """SELECT (SELECT count(*) FROM message), (SELECT coalesce(sum(size), 0) FROM message),
            coalesce(sum(iif(state = 'waiting', json_array_length(recipients), 0)), 0),
            coalesce(sum(iif(state = 'active', json_array_length(recipients), 0)), 0),
            coalesce(sum(iif(state = 'held', json_array_length(recipients), 0)), 0) FROM delivery"""
        )
        assert totals == counted
        assert len(store.rows(ACTIVE)) == len(self.held)
        wrong = store.rows(
            """SELECT name, next_due, paused_until, (SELECT min(due) FROM delivery WHERE destination = name AND
            state = 'waiting') AS earliest FROM destination
            WHERE next_due IS NOT iif(earliest IS NULL, NULL, max(earliest, paused_until))"""
        )
        assert wrong == []
        assert store.rows("SELECT 1 FROM delivery WHERE state = 'waiting' AND destination NOT IN "
                          "(SELECT name FROM destination)") == []  # fmt: skip
        assert store.rows("SELECT 1 FROM message WHERE id NOT IN (SELECT message FROM delivery)") == []
        assert store.rows("SELECT 1 FROM delivery WHERE message NOT IN (SELECT id FROM message)") == []


TestTwins = Twins.TestCase
TestTwins.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
