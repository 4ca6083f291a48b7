"""What becomes of each recipient, as the table of the architecture page has it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Onward, Outcome, Result, deferred, failed, held
from mta.policy import expansion
from mta.policy.retry import RetryPolicy
from mta.policy.settlement import (
    TABLE,
    Addressee,
    Age,
    Settlement,
    hold,
    returned_by_operator,
    settle,
    wants,
)
from mta.policy.settlement import Notice as N
from mta.smtp.reply import Reply

HOUR, DAY = 3600.0, 86400.0
RECEIVED = 1_700_000_000.0
POLICY = RetryPolicy((HOUR,), warn=4 * HOUR, give_up=5 * DAY)
DELIVERED = Outcome(Result.DELIVERED, Reply(250, "2.0.0", ("ok",)), "mx.example.net[192.0.2.1]:25")
FAILED = Outcome(Result.FAILED, Reply(550, "5.1.1", ("no such user",)), "mx.example.net[192.0.2.1]:25")
LATER = Outcome(Result.DEFERRED, Reply(451, "4.7.1", ("come back",)), "mx.example.net[192.0.2.1]:25")
STUCK = held(535, "5.7.8", "the password for relay.example.net was refused", "relay.example.net[192.0.2.3]:587")
ANN, BOB, CAT = (Recipient(f"{name}@example.net") for name in ("ann", "bob", "cat"))


class NoChance(random.Random):
    """Adds nothing."""

    def random(self) -> float:
        return 0.0


def mail(*recipients: Recipient, sender: str = "s@example.org", notice_for: int = 0, double: bool = False) -> Envelope:
    return Envelope(sender, recipients, RECEIVED, notice_for=notice_for, double_bounce=double)


def after(
    age: float,
    envelope: Envelope,
    *outcomes: Outcome,
    attempts: int = 1,
    warned: bool = False,
    untried_due: float | None = None,
    wish: str = "",
) -> Settlement:
    now = RECEIVED + age
    return settle(envelope, outcomes, attempts, warned, now, POLICY, NoChance(), untried_due, wish)


@pytest.mark.parametrize(
    ("outcome", "age", "warned", "becomes", "notice"),
    [
        (DELIVERED, 0, False, "delivered", ""),
        (DELIVERED, 4 * HOUR, False, "delivered", ""),
        (DELIVERED, 6 * DAY, False, "delivered", ""),
        (FAILED, 0, False, "failed", "failure"),
        (FAILED, 5 * HOUR, False, "failed", "failure"),
        (FAILED, 6 * DAY, True, "failed", "failure"),
        (LATER, 0, False, "deferred", ""),
        (LATER, -DAY, False, "deferred", ""),
        (LATER, 4 * HOUR - 1, False, "deferred", ""),
        (LATER, 4 * HOUR, False, "deferred", "delay"),
        (LATER, 4 * HOUR, True, "deferred", ""),
        (LATER, 5 * DAY - 1, True, "deferred", ""),
        (LATER, 5 * DAY, True, "failed", "failure"),
        # Warned and given up in one breath would be silly.
        (LATER, 5 * DAY, False, "failed", "failure"),
        # Until somebody has mended what is wrong here, for as long as that takes.
        (STUCK, 0, False, "held", ""),
        (STUCK, 5 * HOUR, False, "held", ""),
        (STUCK, 6 * DAY, True, "held", ""),
    ],
)
def test_the_table(outcome: Outcome, age: float, warned: bool, becomes: str, notice: str) -> None:
    settlement = after(age, mail(ANN), outcome, warned=warned)
    for name in ("delivered", "failed", "deferred", "held"):
        assert [one.recipient for one in getattr(settlement, name)] == ([ANN] if name == becomes else [])
    for name in ("failure", "delay", "success"):
        assert [one.recipient for one in getattr(settlement, name)] == ([ANN] if name == notice else [])
    assert bool(settlement.remaining) == (becomes in ("deferred", "held"))


def test_the_table_knows_every_case() -> None:
    assert set(TABLE) == {(result, age) for result in Result for age in Age}


def test_who_waits_is_told_when_and_how_often_it_was_tried() -> None:
    [left] = after(HOUR, mail(ANN), LATER, attempts=1).remaining
    assert left.recipients == (ANN,)
    assert (left.due, left.deadline) == (RECEIVED + 2 * HOUR, RECEIVED + 4 * HOUR)
    assert (left.attempts, left.warned, left.last_reply) == (2, False, "451 4.7.1 come back")


def test_after_the_warning_the_next_deadline_is_the_end() -> None:
    [left] = after(4 * HOUR, mail(ANN), LATER, attempts=4).remaining
    assert (left.warned, left.deadline) == (True, RECEIVED + 5 * DAY)


def test_the_last_try_falls_on_the_end() -> None:
    [left] = after(5 * DAY - 60, mail(ANN), LATER, attempts=100, warned=True).remaining
    assert left.due == RECEIVED + 5 * DAY


def test_what_is_given_up_quotes_the_last_reply() -> None:
    settlement = after(5 * DAY, mail(ANN, BOB), LATER, FAILED)
    assert [(one.recipient, one.outcome, one.expired) for one in settlement.failure] == [
        (ANN, LATER, True),
        (BOB, FAILED, False),
    ]


def test_nothing_is_given_up_before_one_try_has_failed() -> None:
    """After a downtime of weeks, too: a warning may be due then, the end is not."""
    settlement = after(30 * DAY, mail(ANN), LATER, attempts=0, untried_due=RECEIVED)
    assert settlement.failed == ()
    assert [one.recipient for one in settlement.delay] == [ANN]
    [left] = settlement.remaining
    assert (left.due, left.attempts) == (RECEIVED, 0)
    assert after(30 * DAY, mail(ANN), LATER, attempts=0).failed != ()


def test_a_settlement_without_a_try_leaves_the_schedule_as_it_is() -> None:
    due = RECEIVED + 4.5 * HOUR
    [left] = after(4 * HOUR, mail(ANN), LATER, attempts=3, untried_due=due).remaining
    assert (left.due, left.attempts, left.warned) == (due, 3, True)


def test_recipients_part_ways() -> None:
    settlement = after(5 * HOUR, mail(ANN, BOB, CAT), DELIVERED, FAILED, LATER)
    assert [one.recipient for one in settlement.delivered] == [ANN]
    assert [one.recipient for one in settlement.failure] == [BOB]
    assert [one.recipient for one in settlement.delay] == [CAT]
    assert [left.recipients for left in settlement.remaining] == [(CAT,)]


def test_an_outcome_too_few_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        after(0, mail(ANN, BOB), DELIVERED)


def test_the_unknown_is_tried_again() -> None:
    unknown = deferred(451, "4.4.2", "the connection was lost after the final dot", unknown=True)
    settlement = after(0, mail(ANN), unknown)
    assert settlement.deferred[0].outcome.unknown
    assert settlement.remaining


@pytest.mark.parametrize(
    ("notify", "failure", "delay"),
    [
        ("", True, True),
        ("NEVER", False, False),
        ("never", False, False),
        ("FAILURE", True, False),
        ("DELAY", False, True),
        ("SUCCESS", False, False),
        ("SUCCESS,FAILURE,DELAY", True, True),
        ("success,delay", False, True),
    ],
)
def test_notify_decides_who_hears_what(notify: str, failure: bool, delay: bool) -> None:
    one = Recipient("ann@example.net", notify)
    assert (wants(one, N.FAILURE), wants(one, N.DELAY)) == (failure, delay)
    assert wants(one, N.SUCCESS) == ("SUCCESS" in notify.upper())
    assert bool(after(5 * HOUR, mail(one), LATER).delay) == delay
    failing = after(0, mail(one), FAILED)
    assert bool(failing.failure) == failure
    assert failing.silence == ("" if failure else "NOTIFY")
    assert failing.failed, "it failed, whoever is told"


def test_who_asked_not_to_be_warned_is_not_asked_again() -> None:
    [left] = after(4 * HOUR, mail(Recipient("a@example.net", "NEVER")), LATER).remaining
    assert (left.warned, left.deadline) == (True, RECEIVED + 5 * DAY)


def test_nobody_is_told_anything_of_the_null_reverse_path() -> None:
    settlement = after(5 * HOUR, mail(ANN, BOB, sender=""), LATER, FAILED)
    assert (settlement.failure, settlement.delay) == ((), ())
    assert (settlement.addressee, settlement.silence) == (Addressee.NOBODY, "null reverse-path")
    assert settlement.remaining[0].warned


def test_a_notice_that_fails_is_told_to_the_postmaster() -> None:
    settlement = after(0, mail(ANN, sender="", notice_for=7), FAILED)
    assert [one.recipient for one in settlement.failure] == [ANN]
    assert settlement.addressee is Addressee.POSTMASTER
    assert after(5 * HOUR, mail(ANN, sender="", notice_for=7), LATER).delay == ()


@pytest.mark.parametrize(("outcome", "age"), [(FAILED, 0), (LATER, 5 * DAY)])
def test_a_double_bounce_that_fails_is_held(outcome: Outcome, age: float) -> None:
    settlement = after(age, mail(ANN, sender="", notice_for=7, double=True), outcome)
    assert (settlement.failed, settlement.failure) == ((), ())
    assert [one.recipient for one in settlement.held] == [ANN]
    [left] = settlement.remaining
    assert (left.held, left.recipients, left.last_reply) == (True, (ANN,), str(outcome.reply))


def test_a_double_bounce_that_an_operator_ends_is_gone() -> None:
    envelope = mail(ANN, sender="", notice_for=7, double=True)
    settlement = after(0, envelope, returned_by_operator(), untried_due=RECEIVED, wish="bounce")
    assert (settlement.held, settlement.remaining) == ((), ())
    assert [one.recipient for one in settlement.failed] == [ANN]


def test_an_operator_bounces_without_a_try() -> None:
    settlement = after(0, mail(ANN), returned_by_operator(), attempts=0, untried_due=RECEIVED, wish="bounce")
    assert str(settlement.failure[0].outcome.reply).startswith("554 5.0.0 ")
    assert settlement.remaining == ()


def test_what_cannot_be_settled_is_held_but_for_what_was_delivered() -> None:
    settlement = hold(mail(ANN, BOB), (DELIVERED, failed(550, "5.1.1", "no")), 3, RECEIVED)
    assert [one.recipient for one in settlement.delivered] == [ANN]
    assert [(left.recipients, left.held) for left in settlement.remaining] == [((BOB,), True)]
    assert hold(mail(ANN), (DELIVERED,), 3, RECEIVED).remaining == ()


@pytest.mark.parametrize(
    ("notify", "onward", "by_mode", "told"),
    [
        ("", Onward.FINAL, "", False),
        ("SUCCESS", Onward.FINAL, "", True),
        ("success,failure", Onward.RELAYED, "", True),
        ("SUCCESS", Onward.PASSED, "", False),  # the next hop will tell
        ("FAILURE,DELAY", Onward.RELAYED, "", False),
        ("NEVER", Onward.FINAL, "", False),
        # Who traces the way of his message hears of each relay.
        ("", Onward.RELAYED, "NT", True),
        ("FAILURE", Onward.PASSED, "RT", True),
        ("NEVER", Onward.RELAYED, "RT", False),
        ("", Onward.FINAL, "RT", False),
        ("", Onward.RELAYED, "R", False),
    ],
)
def test_who_is_told_of_a_success(notify: str, onward: Onward, by_mode: str, told: bool) -> None:
    one = Recipient("ann@example.net", notify)
    envelope = mail(one)._replace(by=RECEIVED + HOUR, by_mode=by_mode) if by_mode else mail(one)
    settlement = after(0, envelope, DELIVERED._replace(onward=onward))
    assert [each.recipient for each in settlement.success] == ([one] if told else [])
    assert [each.recipient for each in settlement.delivered] == [one]
    assert after(0, envelope._replace(sender=""), DELIVERED._replace(onward=onward)).success == ()


def test_what_is_held_keeps_its_reply_and_its_place() -> None:
    settlement = after(HOUR, mail(ANN, BOB, CAT), STUCK, LATER, FAILED, attempts=3)
    waiting, stuck = settlement.remaining
    assert (waiting.recipients, waiting.held) == ((BOB,), False)
    assert (stuck.recipients, stuck.held, stuck.attempts, stuck.warned) == ((ANN,), True, 4, False)
    assert stuck.last_reply == "535 5.7.8 the password for relay.example.net was refused"
    assert [one.recipient for one in settlement.failure] == [CAT]
    assert settlement.silence == ""


def test_a_double_bounce_is_held_beside_what_is_stuck() -> None:
    settlement = after(0, mail(ANN, BOB, sender="", notice_for=7, double=True), STUCK, FAILED)
    assert [one.recipient for one in settlement.held] == [ANN, BOB]
    assert settlement.silence == "it is a double bounce"


# The sender's own time (RFC 2852)


def timed(mode: str, age: float = HOUR, **more: str) -> Envelope:
    return mail(Recipient("ann@example.net", **more))._replace(by=RECEIVED + age, by_mode=mode)


@pytest.mark.parametrize("outcome", [LATER, STUCK])
def test_what_is_to_be_returned_is_returned_in_time(outcome: Outcome) -> None:
    before = after(HOUR - 1, timed("R"), outcome)
    assert (before.failed, before.held) == ((), ())
    assert before.remaining[0].deadline == RECEIVED + HOUR
    settlement = after(HOUR, timed("RT"), outcome)
    [settled] = settlement.failure
    assert (settled.outcome.reply.code, settled.outcome.reply.enhanced) == (554, "5.4.7")
    assert outcome.reply.text in settled.outcome.reply.text
    assert (settlement.remaining, settlement.held) == ((), ())
    assert not after(HOUR, timed("R", notify="NEVER"), outcome).failure


def test_what_arrived_late_has_arrived() -> None:
    assert after(2 * HOUR, timed("R"), DELIVERED).failed == ()
    assert after(2 * HOUR, timed("R"), FAILED).failure[0].outcome == FAILED


def test_who_wants_to_be_told_is_told_at_his_own_time_and_only_then() -> None:
    assert after(HOUR - 1, timed("N"), LATER).delay == ()
    settlement = after(HOUR, timed("N"), LATER)
    assert [one.outcome for one in settlement.delay] == [LATER]
    assert (settlement.remaining[0].warned, settlement.remaining[0].deadline) == (True, RECEIVED + 5 * DAY)
    assert after(2 * HOUR, timed("N"), LATER, warned=True).delay == ()
    # Not at the age that is usual here, if his own time is later.
    waiting = after(5 * HOUR, timed("N", DAY), LATER)
    assert (waiting.delay, waiting.remaining[0].deadline) == ((), RECEIVED + DAY)
    assert after(HOUR, timed("N", notify="FAILURE"), LATER).delay == ()
    assert after(5 * DAY, timed("N"), LATER, warned=True).failure[0].expired


# Expansion


@pytest.mark.parametrize("kind", [expansion.ALIAS, expansion.LIST])
def test_who_was_expanded_is_told_of_once(kind: str) -> None:
    told = Recipient("sales@example.net", "SUCCESS,FAILURE")
    settlement = expansion.expand(mail(told, BOB), kind)
    assert [one.recipient for one in settlement.expanded] == [told, BOB]
    assert [one.recipient for one in settlement.success] == [told]
    assert settlement.remaining == ()
    assert expansion.is_expansion(kind)
    assert expansion.expand(mail(told, sender=""), kind).success == ()


def test_a_next_hop_is_no_expansion() -> None:
    assert not any(map(expansion.is_expansion, ("example.net", "smtp://expanded:25", "discard", "")))
    assert expansion.owes_notice("s@example.org", Recipient("a@example.net", "success"))
    assert not expansion.owes_notice("s@example.org", Recipient("a@example.net"))


@given(
    outcomes=st.lists(st.sampled_from([DELIVERED, FAILED, LATER, STUCK]), min_size=1, max_size=6),
    age=st.floats(-DAY, 10 * DAY),
    attempts=st.integers(0, 50),
    warned=st.booleans(),
    tried=st.booleans(),
    sender=st.sampled_from(["", "s@example.org"]),
    notice_for=st.sampled_from([0, 7]),
    double=st.booleans(),
)
def test_every_recipient_ends_in_exactly_one_place(
    outcomes: list[Outcome],
    age: float,
    attempts: int,
    warned: bool,
    tried: bool,
    sender: str,
    notice_for: int,
    double: bool,
) -> None:
    recipients = [Recipient(f"r{number}@example.net") for number in range(len(outcomes))]
    envelope = mail(*recipients, sender=sender, notice_for=notice_for, double=double)
    settlement = after(
        age, envelope, *outcomes, attempts=attempts, warned=warned, untried_due=None if tried else RECEIVED
    )
    ends = (*settlement.delivered, *settlement.failed, *settlement.deferred, *settlement.held)
    assert sorted(one.recipient for one in ends) == recipients
    staying = [one for left in settlement.remaining for one in left.recipients]
    assert sorted(staying) == sorted(one.recipient for one in (*settlement.deferred, *settlement.held))
    told = {one.recipient for one in settlement.failure}
    if sender:
        assert told == {one.recipient for one in settlement.failed}
    assert not told & {one.recipient for one in settlement.delay}
    stuck = [settled.outcome for settled in settlement.held if settled.outcome.result is Result.HELD]
    assert len(stuck) == outcomes.count(STUCK)
    for left in settlement.remaining:
        assert left.held or left.deadline > RECEIVED + age or age >= 5 * DAY
