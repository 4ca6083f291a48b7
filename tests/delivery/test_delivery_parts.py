"""The smaller parts of delivery, each by itself."""

import random

import pytest
from clockwork import BEGINNING, CONTENT, DAY, GREYLISTED, NO_SUCH_USER, USUAL, House, by_domain
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from mta.delivery.alarm import Alarm
from mta.delivery.destination import Destinations
from mta.delivery.history import INTERVAL, STEP, History
from mta.delivery.notifier import Notifier
from mta.delivery.records import LOOK_AGAIN, bouncing, untouched
from mta.delivery.turns import Bounds, Turns
from mta.interfaces import Claim, IContent, Pause
from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Carried, Outcome, deferred, failed
from mta.policy.window import WindowLimits
from mta.spool.content import Octets
from mta.transports.memory import DELIVERED, NOBODY_THERE

LIMITS = WindowLimits()
BUSY = House.refusal("421 4.3.2 not now")


def claim(number: int = 1, destination: str = "a.test", **more: object) -> Claim:
    to = (Recipient(f"r{number}@{destination}"),)
    return Claim(number, number, 1, destination, Envelope("s@up.test", to, BEGINNING, 100))._replace(**more)


# Alarm


def test_an_alarm_rings_at_the_earliest_of_its_times() -> None:
    clock, rung = Clock(), list[float]()
    alarm = Alarm(clock, lambda: rung.append(clock.seconds()))
    for at in (50.0, 20.0, 30.0):
        alarm.set(at)
    for _ in range(100):
        clock.advance(1)
    assert rung == [20]
    alarm.set(10)  # it is over
    clock.advance(0)
    assert rung == [20, 100]
    alarm.set(200)
    alarm.cancel()
    clock.advance(200)
    assert len(rung) == 2
    assert clock.getDelayedCalls() == []


# What is learnt of a destination


@pytest.mark.parametrize(
    ("outcomes", "reached", "pause"),
    [
        ([DELIVERED], True, None),
        ([GREYLISTED], True, None),
        ([NO_SUCH_USER], True, None),
        ([NOBODY_THERE], False, Pause(BEGINNING + 60, 1, "451 4.4.1 connection refused")),
        ([NOBODY_THERE, NOBODY_THERE], False, Pause(BEGINNING + 60, 1, "451 4.4.1 connection refused")),
        # The DNS has given a final answer: nobody is down.
        ([failed(550, "5.1.2", "no such domain")], False, None),
        # 421 narrows the window first.
        ([BUSY], True, None),
        ([BUSY, DELIVERED], True, None),
    ],
)
def test_what_a_try_says_of_the_destination(outcomes: list[Outcome], reached: bool, pause: Pause | None) -> None:
    one = Destinations(LIMITS, 10, 10).wake("a.test")
    heard = one.heard(Carried(tuple(outcomes), (), reached), LIMITS, BEGINNING, _NoChance())
    assert heard == pause
    assert one.is_paused(BEGINNING) == (pause is not None)


def test_an_answer_after_a_pause_is_news_too() -> None:
    one = Destinations(LIMITS, 10, 10).wake("a.test")
    one.heard(Carried((NOBODY_THERE,), (), reached=False), LIMITS, BEGINNING, _NoChance())
    assert one.heard(Carried((GREYLISTED,)), LIMITS, BEGINNING + 61, _NoChance()) == Pause(0.0, 0, "")
    assert one.heard(Carried((GREYLISTED,)), LIMITS, BEGINNING + 62, _NoChance()) is None


@pytest.mark.parametrize(
    ("attempts", "last_reply", "refusal", "outcome"),
    [
        (1, "451 4.7.1 come back", None, deferred(451, "4.7.1", "come back")),
        (1, "451 4.7.1 come back", NOBODY_THERE, deferred(451, "4.7.1", "come back")),
        (1, "450 come back", None, deferred(450, "", "come back")),
        (0, "451 4.4.1 connection refused", NOBODY_THERE, NOBODY_THERE),
        (0, "451 4.4.1 connection refused", None, deferred(451, "4.4.1", "connection refused")),
    ],
)
def test_why_something_still_waits(attempts: int, last_reply: str, refusal: Outcome | None, outcome: Outcome) -> None:
    one = Destinations(LIMITS, 10, 10).wake("a.test")
    one.refusal = refusal
    assert one.last_outcome(claim(attempts=attempts, last_reply=last_reply)) == outcome


@pytest.mark.parametrize("last_reply", ["", "nonsense", "250 2.0.0 ok"])
def test_what_was_never_tried_waits_for_its_turn(last_reply: str) -> None:
    one = Destinations(LIMITS, 10, 10).wake("a.test")
    assert str(one.last_outcome(claim(last_reply=last_reply)).reply).startswith("451 4.4.5 ")


def test_a_destination_at_rest_is_forgotten_unless_there_is_something_to_remember() -> None:
    destinations = Destinations(LIMITS, 10, remembered=2)
    one = destinations.wake("fresh.test")
    assert destinations.rest(one)
    assert not destinations.rest(one)
    assert destinations.wake("fresh.test") is not one
    paused = [destinations.wake(f"{name}.test") for name in "abc"]
    for each in paused:
        each.heard(Carried((NOBODY_THERE,), (), reached=False), LIMITS, BEGINNING, _NoChance())
        destinations.rest(each)
    assert destinations.resting == 2
    assert destinations.wake("c.test") is paused[2]
    assert destinations.wake("a.test") is not paused[0]


def test_those_that_fail_and_those_that_answer_have_half_of_the_memory_each() -> None:
    destinations = Destinations(LIMITS, 100, remembered=10)

    def play(name: str, reached: bool) -> None:
        one = destinations.wake(name)
        outcome = DELIVERED if reached else NOBODY_THERE
        one.heard(Carried((outcome,), (), reached), LIMITS, BEGINNING, _NoChance())
        destinations.rest(one)

    def known(kind: str) -> list[int]:
        return [number for number in range(30) if destinations.window(f"{kind}{number}") is not None]

    for number in range(7):
        play(f"fine{number}", reached=True)
    for number in range(30):
        play(f"dead{number}", reached=False)
    assert (known("fine"), known("dead")) == ([2, 3, 4, 5, 6], [25, 26, 27, 28, 29])
    for number in range(7, 30):
        play(f"fine{number}", reached=True)
    assert (known("fine"), known("dead")) == ([25, 26, 27, 28, 29], [25, 26, 27, 28, 29])


def test_where_a_pause_was_forgotten_any_stranger_may_be_paused_until_it_is_over() -> None:
    destinations = Destinations(LIMITS, 10, remembered=1)
    assert not destinations.may_be_paused(destinations.wake("never.test"), BEGINNING)
    for number, end in enumerate((300.0, 100.0, 200.0)):
        one = destinations.wake(f"dead{number}.test")
        destinations.learn(one, 3, BEGINNING + end)
        destinations.rest(one)
    never, dead = destinations.wake("never.test"), destinations.wake("dead2.test")
    ends = [(at, destinations.may_be_paused(never, BEGINNING + at)) for at in (199, 299, 300)]
    assert ends == [(199, True), (299, True), (300, False)]
    assert [destinations.may_be_paused(dead, BEGINNING + at) for at in (199, 200)] == [True, False]
    destinations.learn(never, 1, BEGINNING + 50)
    assert [destinations.may_be_paused(never, BEGINNING + at) for at in (49, 50)] == [True, False]
    destinations.learn(never, 2, BEGINNING + 900)
    assert not destinations.may_be_paused(never, BEGINNING + 50), "what is known here is newer"


# Turns


def test_each_in_the_line_gets_one_place_in_its_turn() -> None:
    clock, begun = Clock(), list[str]()
    turns = Turns(clock, Bounds(deliveries=7), lambda: 0, lambda one, claim: begun.append(one.name))
    destinations = Destinations(LIMITS, 10, 10)
    for name, number in (("a", 9), ("b", 1), ("c", 3)):
        one = destinations.wake(name)
        one.ready = [claim(n, name) for n in range(number)]
        turns.queue(one, 0.0)
    turns.work()
    assert begun == ["a", "b", "c", "a", "c", "a", "c"]
    assert turns.is_full()
    one = destinations.wake("a")
    turns.leave(one)
    turns.queue(one, 0.0)
    turns.work()
    assert begun[7:] == ["a"]
    assert one.running == 3


def test_a_delivery_that_ends_at_once_does_not_begin_the_next_inside_itself() -> None:
    """Ten thousand of them would not fit on the stack."""
    clock, ended = Clock(), list[int]()
    destinations = Destinations(LIMITS, 10, 10)
    one = destinations.wake("a")

    def begin(_: object, claim: Claim) -> None:
        ended.append(claim.message)
        turns.leave(one)
        turns.queue(one, 0.0)
        turns.work()

    turns = Turns(clock, Bounds(), lambda: 0, begin)
    one.ready = [claim(n) for n in range(10_000)]
    turns.queue(one, 0.0)
    turns.work()
    assert ended == list(range(10_000))


# Records


def notifier() -> Notifier:
    return Notifier("relay.test", "postmaster@up.test", USUAL, by_domain, lambda now: 77)


def test_what_waits_for_its_turn_is_put_back_as_it_was() -> None:
    ours = claim(attempts=3, warned=True, due=BEGINNING + 5, last_reply="451 4.7.1 later")
    waiting = untouched(ours, USUAL, BEGINNING + 6 * DAY)
    assert waiting[:3] == (ours.envelope.recipients, "a.test", BEGINNING + 5)
    assert waiting[4:] == (3, True, "451 4.7.1 later", "waiting")
    assert waiting.deadline == BEGINNING + 6 * DAY + LOOK_AGAIN


def test_the_command_bounces_without_a_manager() -> None:
    bounce = bouncing(notifier(), USUAL, lambda: BEGINNING + 10)
    record = bounce(claim(wish="bounce"), Octets(CONTENT))
    assert record.waiting == ()
    [new] = record.notices
    assert (new.id, new.envelope.sender, new.envelope.notice_for) == (77, "", 1)
    assert b"Subject: hello" in new.content
    assert [event.kind for event in record.events] == ["failed", "notice"]


def test_a_notice_says_of_itself_what_the_transport_must_know() -> None:
    content: IContent = Octets(b"Subject: a\r\n.dotted: \xc3\xa4\r\n\r\n")
    record = bouncing(notifier(), USUAL, lambda: BEGINNING)(claim(wish="bounce"), content)
    [new] = record.notices
    assert new.envelope.size == len(new.content)
    assert new.envelope.dotted == (b"\n." in new.content)
    assert new.envelope.eight_bit == (not new.content.isascii())
    [delivery] = new.deliveries
    assert (delivery.destination, delivery.due) == ("up.test", BEGINNING)
    assert delivery.deadline == BEGINNING + 4 * 3600


# History


class Timelines:
    """A spool that has so many timelines, of which a purge removes 1,000."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: list[float] = []

    def purge(self, before: float) -> "Deferred[int]":
        self.asked.append(before)
        removed = min(1000, self.number)
        self.number -= removed
        return succeed(removed)


def test_old_timelines_go_in_small_steps() -> None:
    clock, spool = Clock(), Timelines(2500)
    history = History(clock, spool, keep=7 * DAY)  # type: ignore[arg-type]
    history.start()
    clock.advance(INTERVAL - 1)
    assert spool.asked == []
    clock.advance(1)
    for _ in range(5):
        clock.advance(STEP)
    assert spool.number == 0
    assert len(spool.asked) == 4
    assert spool.asked[0] == INTERVAL - 7 * DAY
    clock.advance(INTERVAL)
    assert len(spool.asked) == 5
    history.stop()
    assert clock.getDelayedCalls() == []


class _NoChance(random.Random):
    def random(self) -> float:
        return 0.0
