"""What goes wrong around a try, and how a manager stops: nothing is lost, and every place is given back."""

import random
from typing import Any, NamedTuple

import pytest
from clockwork import CONTENT, GREYLISTED, HOUR, MINUTE, NO_SUCH_USER, Build, House
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed

from mta.delivery.turns import Bounds
from mta.interfaces import NewDelivery, SpoolBroken
from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Carried, Outcome, deferred
from mta.policy.routing import Via
from mta.transports.memory import DELIVERED


def test_a_transport_that_raises_is_a_bug_and_the_mail_waits(house: House) -> None:
    house.transport.carry = lambda *what: 1 / 0  # type: ignore[assignment, method-assign]
    house.submit("x@up.test")
    house.run(1)
    [left] = house.waiting()
    assert (left.attempts, left.last_reply.partition(" internal")[0]) == (1, "451 4.3.0")
    assert house.manager.in_flight == 0
    assert house.logged("alarm")
    del house.transport.carry  # type: ignore[method-assign]
    house.run(6 * MINUTE)
    assert house.messages == 0, "and its destination was not paused for it"


@pytest.mark.parametrize(
    "result",
    [fail(ValueError("a bug")), succeed(Carried(())), succeed(Carried((DELIVERED, DELIVERED))), succeed(None)],
    ids=["failure", "too few", "too many", "none"],
)
def test_a_transport_that_gives_nonsense_is_a_bug_too(house: House, result: "Deferred[Any]") -> None:
    house.transport.carry = lambda *what: result  # type: ignore[method-assign]
    house.submit("x@up.test")
    house.run(1)
    assert [one.attempts for one in house.waiting()] == [1]
    assert house.manager.in_flight == 0


def test_content_that_cannot_be_read_makes_mail_wait_and_says_so(house: House) -> None:
    house.break_content()
    house.submit("x@up.test")
    house.run(1)
    assert [(one.state, one.last_reply.split(" ", 2)[1]) for one in house.waiting()] == [("waiting", "4.3.0")]
    assert house.logged("alarm")
    assert house.transport.carriages == []


def test_a_notice_that_cannot_be_written_holds_the_message(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a bug of ours meets a bounce: nobody is told twice, and nothing is lost or tried for ever."""

    def broken(*what: object) -> None:
        raise RuntimeError("a bug in the report")

    monkeypatch.setattr("mta.delivery.notifier.failure_report", broken)
    house.transport.answer("b@mixed.test", NO_SUCH_USER)
    number = house.submit("a@mixed.test", "b@mixed.test")
    house.run(HOUR)
    assert [(one.address, one.state) for one in house.waiting()] == [("b@mixed.test", "held")]
    delivered = [event.detail["recipients"] for event in house.story(number).events if event.kind == "delivered"]
    assert delivered == [["a@mixed.test"]]
    assert len(house.tries("mixed.test")) == 1
    assert house.manager.in_flight == 0


def test_a_result_that_cannot_be_stored_is_stored_later(house: House) -> None:
    whole = house.spool.record
    house.spool.record = lambda record: fail(SpoolBroken("the disk is full"))
    number = house.submit("x@up.test", eager=True)
    house.run(MINUTE)
    assert len(house.tries("up.test")) == 1, "it is not tried again for that"
    assert house.messages == 1
    house.spool.record = whole
    house.run(6)
    assert house.story(number).result == "delivered"


def test_results_that_pile_up_keep_new_tries_back(build: Build) -> None:
    house = build(bounds=Bounds(unrecorded=10))
    whole = house.spool.record
    house.spool.record = lambda record: fail(SpoolBroken("the disk is full"))
    for number in range(50):
        house.submit(f"x{number}@up{number % 5}.test")
    house.run(MINUTE)
    assert len(house.transport.carriages) == 10
    assert not house.manager.reserve("other.test")
    house.spool.record = whole
    house.run(10)
    assert house.messages == 0


def test_a_claim_that_is_not_ours_any_more_changes_nothing(house: House) -> None:
    house.transport.holding = True
    house.submit("x@later.test", eager=True)
    house.run(1)
    [attempt] = house.manager._tries
    house.spool.release([attempt.claim])
    house.run(0.1)
    house.transport.answer("later.test", GREYLISTED)
    house.transport.let_go()
    house.run(0.1)
    assert [one.attempts for one in house.waiting()] == [0]
    assert house.logged("stale")
    assert house.manager.in_flight == 0


def test_claims_that_cannot_be_put_back_are_not_forgotten(house: House) -> None:
    whole, failures = house.spool.release, []

    def broken(claims):
        failures.append(len(claims))
        return fail(SpoolBroken("not now"))

    house.spool.release = broken
    house.transport.down.add("dead.test")
    for number in range(30):
        house.submit(f"x{number}@dead.test")
    house.run(10)
    assert failures, "what was claimed ahead was to be put back"
    house.transport.down.clear()
    house.spool.release = whole
    house.run(10 * MINUTE)
    assert house.messages == 0


def test_questions_that_the_spool_cannot_answer_are_asked_again(house: House) -> None:
    asked = {}
    for name in ("due", "claim", "overdue", "changes"):
        asked[name] = getattr(house.spool, name)
        setattr(house.spool, name, lambda *what: fail(SpoolBroken("not now")))
    house.submit("x@up.test")
    house.run(10)
    assert house.transport.carriages == []
    for name, whole in asked.items():
        setattr(house.spool, name, whole)
    house.run(2)
    assert house.messages == 0


def test_stopping_while_the_spool_is_being_asked_ends_with_its_answer(house: House) -> None:
    house.manager._deadlines.look()
    assert house.manager._deadlines.is_asking
    stopped = house.manager.stop(grace=10)
    house.run(1)
    assert stopped.called


def test_stopping_waits_for_what_is_under_way(house: House) -> None:
    house.transport.holding = True
    for number in range(50):
        house.submit(f"x{number}@up.test")
    house.run(1)
    assert house.transport.held == 5
    stopped = house.manager.stop(grace=10)
    house.run(5)
    assert not stopped.called
    assert not house.manager.reserve("other.test")
    house.transport.let_go()
    house.run(1)
    assert stopped.called
    assert len(house.transport.carriages) == 5
    assert house.messages == 45
    assert house.store.active() == 0
    house.run(HOUR)
    assert len(house.transport.carriages) == 5


def test_what_does_not_end_in_time_is_put_back(house: House) -> None:
    """Though it does not even hear that it is cut off."""
    house.transport.holding = house.transport.deaf = True
    house.submit("x@up.test", eager=True)
    house.run(1)
    stopped = house.manager.stop(grace=10)
    house.run(9)
    assert not stopped.called
    house.run(2)
    assert stopped.called
    assert house.store.active() == 0
    assert [one.attempts for one in house.waiting()] == [0]
    house.transport.let_go()  # too late
    house.run(1)
    assert [one.attempts for one in house.waiting()] == [0]
    assert house.logged("unknown")
    assert not house.logged("alarm")


class Cut(NamedTuple):
    """Next hops that are under way until they are cut off, with these outcomes."""

    outcomes: tuple[Outcome, ...]
    ended: "Deferred[Carried]"

    def carry(self, *_: object) -> "Deferred[Carried]":
        return self.ended

    def cut(self) -> None:
        self.ended.callback(Carried(self.outcomes, reached=False))


NOT_SENT = deferred(451, "4.4.2", "we closed the connection while sending the content")


def test_what_is_cut_off_before_it_was_sent_is_as_it_was(house: House) -> None:
    number = house.submit("x@up.test", "y@up.test")
    house.means.transports.update(dict.fromkeys(Via, Cut((NOT_SENT, NOT_SENT), Deferred())))  # type: ignore[attr-defined]
    house.run(1)
    stopped = house.manager.stop(grace=10)
    house.run(11)
    assert stopped.called
    assert {(one.state, one.attempts) for one in house.waiting()} == {("waiting", 0)}
    assert not any(event.kind == "unknown" for event in house.story(number).events)
    assert (len(house.logged("interrupted")), house.logged("unknown"), house.logged("paused")) == (1, [], [])
    [again] = house.wait(house.spool.due(house.clock.seconds(), 10, frozenset()))
    assert again.next_due <= house.began + 1, "it is tried at once when the relay begins again"


def test_who_has_taken_it_before_it_was_cut_off_has_it(house: House) -> None:
    number = house.submit("x@up.test", "y@up.test", "z@up.test")
    outcomes = (DELIVERED, NO_SUCH_USER, NOT_SENT._replace(unknown=True))
    house.means.transports.update(dict.fromkeys(Via, Cut(outcomes, Deferred())))  # type: ignore[attr-defined]
    house.run(1)
    house.manager.stop(grace=10)
    house.run(11)
    ends = {event.kind: event.detail.get("recipients") for event in house.story(number).events}
    assert (ends["delivered"], ends["failed"], ends["unknown"]) == (["x@up.test"], ["y@up.test"], ["z@up.test"])
    assert [one.address for one in house.waiting()] == ["z@up.test", "s@up.test"], "and of the failed one it is told"


@pytest.mark.parametrize("deaf", [False, True])
def test_what_was_cut_off_at_the_end_is_counted_as_unknown(house: House, deaf: bool) -> None:
    house.transport.holding = True
    house.transport.deaf = deaf
    number = house.submit("x@up.test", eager=True)
    house.run(1)
    house.manager.stop(grace=10)
    house.run(11)
    told = [event.detail["recipients"] for event in house.story(number).events if event.kind == "unknown"]
    assert told == [["x@up.test"]]


def test_what_arrives_while_it_stops_is_put_back(house: House) -> None:
    assert house.manager.reserve("up.test")
    now = house.clock.seconds()
    stopped = house.manager.stop(grace=10)
    house.run(1)
    assert not stopped.called
    reception = house.spool.receive(now)
    reception.write(CONTENT)
    to = (Recipient("x@up.test"),)
    delivery = NewDelivery("up.test", to, now, now + HOUR, eager=True)
    [claim] = house.wait(reception.commit(Envelope("s@up.test", to, now, len(CONTENT)), [delivery], ()))
    house.manager.deliver(claim, reception.content)
    house.run(1)
    assert stopped.called
    assert house.store.active() == 0
    assert house.transport.carriages == []
    assert house.messages == 1


def test_a_result_that_cannot_be_stored_before_the_end_leaves_no_timer_behind(house: House) -> None:
    house.spool.record = lambda record: fail(SpoolBroken("not now"))  # type: ignore[method-assign]
    house.submit("x@up.test", eager=True)
    house.run(1)
    stopped = house.manager.stop(grace=10)
    house.run(10.5)
    assert stopped.called
    assert [call for call in house.clock.getDelayedCalls() if "Recorder" in str(call)] == []


def test_stopping_with_nothing_to_do_is_done_at_once(house: House) -> None:
    house.run(1)
    stopped = house.manager.stop(grace=10)
    house.run(0.1)
    assert stopped.called


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**9))
def test_every_place_is_given_back_whatever_happens(build: Build, seed: int) -> None:
    """Mail of all kinds, a spool that fails now and then, operators, restarts: in the end nothing is in flight, and
    every recipient has ended or waits.
    """
    chance = random.Random(seed)
    house = build(bounds=Bounds(deliveries=8, destinations=6), poll=MINUTE)
    outcomes = [DELIVERED, GREYLISTED, NO_SUCH_USER]
    numbers = []
    for step in range(30):
        house.transport.holding = chance.random() < 0.5
        house.transport.down = {f"d{number}.test" for number in range(8) if chance.random() < 0.3}
        for number in range(8):
            house.transport.answer(f"d{number}.test", chance.choice(outcomes))
        to = [f"r{step}@d{chance.randrange(8)}.test" for _ in range(chance.randint(1, 3))]
        numbers.append(house.submit(*dict.fromkeys(to), sender=chance.choice(["", "s@d0.test"]), eager=True))
        if chance.random() < 0.1:
            house.spool.record = lambda record: fail(SpoolBroken("not now"))
        if chance.random() < 0.3:
            house.spool.__dict__.pop("record", None)
        if chance.random() < 0.1:
            house.operate(chance.choice(["retry", "hold", "release", "bounce"]))
        if chance.random() < 0.3:
            house.transport.let_go(chance.randint(0, 5))
        if chance.random() < 0.05:
            house.restart()
        house.run(chance.choice([0.0, 0.01, 1.0, 100.0, HOUR]))
    house.spool.__dict__.pop("record", None)
    house.transport.holding = False
    house.transport.down = set()
    for number in range(8):
        house.transport.answer(f"d{number}.test", DELIVERED)
    house.transport.let_go()
    house.operate("release")
    house.operate("retry")
    house.run(6 * HOUR)
    assert house.manager.in_flight == 0
    assert len(house.manager._destinations) == 0
    assert house.messages == 0
    for number in numbers:
        assert house.story(number).result
