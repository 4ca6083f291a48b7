"""Settlement: what becomes of each recipient after a try, and who must be told. One table, `TABLE`, says it all."""

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Outcome, Result, failed
from mta.policy.retry import RetryPolicy, deadline, expired, next_try, warning


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


class Notice(StrEnum):
    """What its sender is told, where RFC 3461's NOTIFY does not say no: the word that NOTIFY has for it."""

    NONE = ""
    FAILURE = "FAILURE"
    DELAY = "DELAY"


TABLE: dict[tuple[Result, Age], tuple[Becomes, Notice]] = {
    (Result.DELIVERED, Age.YOUNG): (Becomes.DELIVERED, Notice.NONE),
    (Result.DELIVERED, Age.LATE): (Becomes.DELIVERED, Notice.NONE),
    (Result.DELIVERED, Age.EXPIRED): (Becomes.DELIVERED, Notice.NONE),
    (Result.FAILED, Age.YOUNG): (Becomes.FAILED, Notice.FAILURE),
    (Result.FAILED, Age.LATE): (Becomes.FAILED, Notice.FAILURE),
    (Result.FAILED, Age.EXPIRED): (Becomes.FAILED, Notice.FAILURE),
    (Result.DEFERRED, Age.YOUNG): (Becomes.PENDING, Notice.NONE),
    (Result.DEFERRED, Age.LATE): (Becomes.PENDING, Notice.DELAY),
    (Result.DEFERRED, Age.EXPIRED): (Becomes.FAILED, Notice.FAILURE),
}


class Addressee(StrEnum):
    """Who is told of a failure."""

    SENDER = "sender"
    POSTMASTER = "postmaster"  # of a notice that could not be delivered (a double bounce)
    NOBODY = "nobody"


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
    """What a try comes to. Each recipient is in exactly one of `delivered`, `failed`, `deferred` and `held`.

    remaining: those of `deferred` and `held` as they go back into the queue, in this order. failure, delay: those of
    whom a notice is owed to `addressee`. silence: why nobody is told of some who failed or are held; "" where
    somebody is.
    """

    delivered: tuple[Settled, ...] = ()
    failed: tuple[Settled, ...] = ()
    deferred: tuple[Settled, ...] = ()
    held: tuple[Settled, ...] = ()
    remaining: tuple[Remaining, ...] = ()
    failure: tuple[Settled, ...] = ()
    delay: tuple[Settled, ...] = ()
    addressee: Addressee = Addressee.NOBODY
    silence: str = ""


def returned_by_operator() -> Outcome:
    """The outcome of a delivery that an operator ends. Only its class is known, so the detail is X.0.0 (RFC 3463)."""
    return failed(554, "5.0.0", "returned by the operator of this relay")


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
    age = _age(policy, envelope.received, warned, tried, now)
    delivered: list[Settled] = []
    failures: list[Settled] = []
    pending: list[Settled] = []
    groups = {Becomes.DELIVERED: delivered, Becomes.FAILED: failures, Becomes.PENDING: pending}
    owed: dict[Notice, list[Settled]] = {Notice.FAILURE: [], Notice.DELAY: []}
    for recipient, outcome in zip(envelope.recipients, outcomes, strict=True):
        becomes, notice = TABLE[outcome.result, age]
        settled = Settled(recipient, outcome, becomes is Becomes.FAILED and outcome.result is Result.DEFERRED)
        groups[becomes].append(settled)
        if notice and wants(recipient, notice):
            owed[notice].append(settled)
    addressee, silence = _addressee(envelope)
    failure = owed[Notice.FAILURE] if addressee is not Addressee.NOBODY else []
    delay = owed[Notice.DELAY] if addressee is Addressee.SENDER else []
    is_last = envelope.double_bounce and addressee is Addressee.NOBODY and wish != "bounce"
    held = failures if is_last else []
    remaining = []
    if pending:
        due = next_try(policy, envelope.received, tries, now, chance) if untried_due is None else untried_due
        told = warned or age is Age.LATE
        until = deadline(policy, envelope.received, told)
        remaining.append(_remaining(pending, due, until, tries, told))
    if held:
        remaining.append(_remaining(held, now, envelope.received + policy.give_up, tries, True, held=True))
    return Settlement(
        delivered=tuple(delivered),
        failed=() if held else tuple(failures),
        deferred=tuple(pending),
        held=tuple(held),
        remaining=tuple(remaining),
        failure=tuple(failure),
        delay=tuple(delay),
        addressee=addressee,
        silence="" if len(failure) == len(failures) else silence or "NOTIFY",
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
    return not recipient.notify or notice in recipient.notify.upper().split(",")


def _age(policy: RetryPolicy, received: float, warned: bool, tried: bool, now: float) -> Age:
    if tried and expired(policy, received, now):
        return Age.EXPIRED
    owed = warning(policy, received, warned)
    return Age.LATE if owed is not None and owed <= now else Age.YOUNG


def _addressee(envelope: Envelope) -> tuple[Addressee, str]:
    """Who is told of a failure, and why nobody. A notice about a notice goes to the postmaster, once."""
    if envelope.sender:
        return Addressee.SENDER, ""
    if envelope.double_bounce:
        return Addressee.NOBODY, "it is a double bounce"
    if envelope.notice_for:
        return Addressee.POSTMASTER, ""
    return Addressee.NOBODY, "null reverse-path"


def _remaining(
    group: list[Settled], due: float, until: float, attempts: int, warned: bool, held: bool = False
) -> Remaining:
    recipients = tuple(one.recipient for one in group)
    return Remaining(recipients, due, until, attempts, warned, str(group[0].outcome.reply), held)
