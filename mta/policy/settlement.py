"""Settlement: what becomes of each recipient after a try, and who must be told. One table, `TABLE`, says it all."""

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Onward, Outcome, Result, deferred, failed
from mta.policy.retry import RetryPolicy, deadline, end, expired, is_too_late, next_try, warning


class Age(StrEnum):
    """How old a message is, as far as its senders and we have to care."""

    YOUNG = "young"
    LATE = "late"  # past the warning age, and nobody has been told
    EXPIRED = "expired"  # past the time to give up, and this was the last try


class Becomes(StrEnum):
    """What a recipient is after a try."""

    DELIVERED = "delivered"
    FAILED = "failed"
    PENDING = "pending"
    HELD = "held"  # it waits for somebody to mend what is wrong here, however long that takes


class Notice(StrEnum):
    """What its sender is told, where RFC 3461's NOTIFY does not say no: the word that NOTIFY has for it.

    Of a success it is told only where NOTIFY says so.
    """

    NONE = ""
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


# Each by a name of its own: to ask an Enum for a member takes Python 3.11 as long as thirty such names.
YOUNG, LATE, EXPIRED = Age
DELIVERED, FAILED, PENDING, HELD = Becomes
NO_NOTICE, SUCCESS, FAILURE, DELAY = Notice

TABLE: dict[tuple[Result, Age], tuple[Becomes, Notice]] = {
    (Result.DELIVERED, YOUNG): (DELIVERED, SUCCESS),
    (Result.DELIVERED, LATE): (DELIVERED, SUCCESS),
    (Result.DELIVERED, EXPIRED): (DELIVERED, SUCCESS),
    (Result.FAILED, YOUNG): (FAILED, FAILURE),
    (Result.FAILED, LATE): (FAILED, FAILURE),
    (Result.FAILED, EXPIRED): (FAILED, FAILURE),
    (Result.DEFERRED, YOUNG): (PENDING, NO_NOTICE),
    (Result.DEFERRED, LATE): (PENDING, DELAY),
    (Result.DEFERRED, EXPIRED): (FAILED, FAILURE),
    (Result.HELD, YOUNG): (HELD, NO_NOTICE),
    (Result.HELD, LATE): (HELD, NO_NOTICE),
    (Result.HELD, EXPIRED): (HELD, NO_NOTICE),
}


class Addressee(StrEnum):
    """Who is told of a failure; of anything else the sender alone is told."""

    SENDER = "sender"
    POSTMASTER = "postmaster"  # of a notice that could not be delivered (a double bounce)
    NOBODY = "nobody"


SENDER, POSTMASTER, NOBODY = Addressee


class Settled(NamedTuple):
    """A recipient with the outcome that decided. expired: it failed for its age, and the outcome is the last one."""

    recipient: Recipient
    outcome: Outcome
    expired: bool = False


class Remaining(NamedTuple):
    """Recipients who stay in the queue together. due, deadline: as in the spool, seconds since 1970."""

    recipients: tuple[Recipient, ...]
    due: float
    deadline: float
    attempts: int
    warned: bool
    last_reply: str
    held: bool = False


class Settlement(NamedTuple):
    """What a try comes to. Each recipient is in exactly one of `delivered`, `failed`, `deferred`, `held`, `expanded`.

    remaining: those of `deferred` and `held` as they go back into the queue, in this order. failure, delay, success:
    those of whom a notice is owed to `addressee`. silence: why nobody is told of some who failed, or of a double
    bounce that is held; "" where somebody is.
    """

    delivered: tuple[Settled, ...] = ()
    failed: tuple[Settled, ...] = ()
    deferred: tuple[Settled, ...] = ()
    held: tuple[Settled, ...] = ()
    remaining: tuple[Remaining, ...] = ()
    failure: tuple[Settled, ...] = ()
    delay: tuple[Settled, ...] = ()
    success: tuple[Settled, ...] = ()
    expanded: tuple[Settled, ...] = ()
    addressee: Addressee = NOBODY
    silence: str = ""


def returned_by_operator() -> Outcome:
    """The outcome of a delivery that an operator ends. Only its class is known, so the detail is X.0.0 (RFC 3463)."""
    return failed(554, "5.0.0", "returned by the operator of this relay")


def put_off(held: Outcome) -> Outcome:
    """The outcome of a delivery that is not held, but must wait for what others are held for (RFC 3463 3.4: X.3.5)."""
    return deferred(451, "4.3.5", f"held up until a fault of this relay is mended: {held.reply.text}", held.host)


def settle(
    envelope: Envelope,
    outcomes: Sequence[Outcome],
    attempts: int,
    warned: bool,
    now: float,
    policy: RetryPolicy,
    chance: random.Random,
    untried_due: float | None = None,
    wish: str = "",
) -> Settlement:
    """What becomes of the recipients of `envelope`, one outcome for each.

    attempts: tries before this one. warned: the delay notice has been sent. untried_due: there was no try, and those
    who stay are due when they were. wish: "bounce" where an operator ends it.
    """
    tried = untried_due is None
    tries = attempts + tried
    age = _age(policy, envelope, warned, tried, now)
    if envelope.by and envelope.by_mode.startswith("R"):
        outcomes = [_in_time(envelope, outcome, now) for outcome in outcomes]
    delivered: list[Settled] = []
    failures: list[Settled] = []
    pending: list[Settled] = []
    held: list[Settled] = []
    groups = {DELIVERED: delivered, FAILED: failures, PENDING: pending, HELD: held}
    owed: dict[Notice, list[Settled]] = {FAILURE: [], DELAY: [], SUCCESS: []}
    for recipient, outcome in zip(envelope.recipients, outcomes, strict=True):
        becomes, notice = TABLE[outcome.result, age]
        settled = Settled(recipient, outcome, becomes is FAILED and outcome.result is Result.DEFERRED)
        groups[becomes].append(settled)
        if notice is SUCCESS:
            if (recipient.notify or envelope.by_mode) and _owes_success(envelope, settled):
                owed[notice].append(settled)
        elif notice and wants(recipient, notice):
            owed[notice].append(settled)
    addressee, silence = _addressee(envelope)
    failure = owed[FAILURE] if addressee is not NOBODY else []
    to_sender = addressee is SENDER
    silence = "" if len(failure) == len(failures) else silence or "NOTIFY"
    if failures and envelope.double_bounce and addressee is NOBODY and wish != "bounce":
        held, failures = held + failures, []
    remaining = []
    if pending:
        due = next_try(policy, envelope.queued_since, tries, now, chance) if untried_due is None else untried_due
        told = warned or age is LATE
        until = deadline(policy, envelope.queued_since, told, envelope.by, envelope.by_mode)
        remaining.append(_remaining(pending, due, until, tries, told))
    if held:
        until = end(policy, envelope.queued_since)
        remaining.append(_remaining(held, now, until, tries, warned, held=True))
    return Settlement(
        delivered=tuple(delivered),
        failed=tuple(failures),
        deferred=tuple(pending),
        held=tuple(held),
        remaining=tuple(remaining),
        failure=tuple(failure),
        delay=tuple(owed[DELAY]) if to_sender else (),
        success=tuple(owed[SUCCESS]) if to_sender else (),
        addressee=addressee,
        silence=silence,
    )


def hold(envelope: Envelope, outcomes: Sequence[Outcome], attempts: int, now: float) -> Settlement:
    """What is left to do when the outcomes cannot be settled: who was not delivered to is held for an operator."""
    everybody = [Settled(*pair) for pair in zip(envelope.recipients, outcomes, strict=True)]
    delivered = tuple(one for one in everybody if one.outcome.result is Result.DELIVERED)
    held = [one for one in everybody if one.outcome.result is not Result.DELIVERED]
    remaining = (_remaining(held, now, now, attempts, True, held=True),) if held else ()
    return Settlement(delivered, held=tuple(held), remaining=remaining, silence="internal error; see the log")


def wants(recipient: Recipient, notice: Notice) -> bool:
    """Does the sender want to be told this of the recipient? Without NOTIFY: failures and delays (RFC 3461 4.1)."""
    if not recipient.notify:
        return notice is not SUCCESS
    return notice in recipient.notify.upper().split(",")


def _owes_success(envelope: Envelope, settled: Settled) -> bool:
    """Has its sender to be told that it was delivered, or is out of our sight?

    Not where the next hop will do that. A sender who traces the way of a message hears of each relay, unless he said
    that he does not want to hear anything (RFC 2852 4).
    """
    recipient, onward = settled.recipient, settled.outcome.onward
    if envelope.by_mode.endswith("T") and onward is not Onward.FINAL:
        return recipient.notify.upper() != "NEVER"
    return bool(recipient.notify) and onward is not Onward.PASSED and wants(recipient, SUCCESS)


def _in_time(envelope: Envelope, outcome: Outcome, now: float) -> Outcome:
    """An outcome for mail that is to be returned at a certain time: it cannot be put off beyond it, nor be held."""
    if outcome.result not in (Result.DEFERRED, Result.HELD):
        return outcome
    if is_too_late(envelope.by, envelope.by_mode, now):
        return failed(554, "5.4.7", f"delivery time expired; last answer: {outcome.reply}", outcome.host)
    return put_off(outcome) if outcome.result is Result.HELD else outcome


def _age(policy: RetryPolicy, envelope: Envelope, warned: bool, tried: bool, now: float) -> Age:
    if tried and expired(policy, envelope.queued_since, now):
        return EXPIRED
    owed = warning(policy, envelope.queued_since, warned, envelope.by, envelope.by_mode)
    return LATE if owed is not None and owed <= now else YOUNG


def _addressee(envelope: Envelope) -> tuple[Addressee, str]:
    """Who is told of a failure, and why nobody. A notice about a notice goes to the postmaster, once."""
    if envelope.sender:
        return SENDER, ""
    if envelope.double_bounce:
        return NOBODY, "it is a double bounce"
    if envelope.notice_for:
        return POSTMASTER, ""
    return NOBODY, "null reverse-path"


def _remaining(
    group: list[Settled], due: float, until: float, attempts: int, warned: bool, held: bool = False
) -> Remaining:
    recipients = tuple(one.recipient for one in group)
    return Remaining(recipients, due, until, attempts, warned, str(group[0].outcome.reply), held)
