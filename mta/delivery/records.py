"""Records: from a settlement to what the spool is to store of it: who waits, which notices go out, what is told."""

from collections.abc import Callable
from random import Random

from mta.delivery.notifier import Notifier
from mta.delivery.rerouting import Sorted
from mta.delivery.story import departures, ends, notice
from mta.interfaces import Claim, IContent, NewMessage, Record, Waiting
from mta.message.envelope import Envelope
from mta.message.header import header_block
from mta.message.returned import LARGEST_HEADER, LARGEST_WHOLE, Returned, returned
from mta.message.timeline import Event
from mta.policy.retry import RetryPolicy, deadline
from mta.policy.settlement import Settlement, returned_by_operator, settle

LOOK_AGAIN = 300.0  # seconds until a delivery past its deadline is brought up again, where it still waits for its turn
UNREADABLE = Returned(b"", why="it cannot be read any more")


def owes_notice(settlement: Settlement) -> bool:
    """Has somebody to be told? Then something of the message is needed."""
    return bool(settlement.failure or settlement.delay or settlement.success)


def given_back(content: IContent, envelope: Envelope, settlement: Settlement) -> Returned:
    """What a notice gives back of a message: its header, or all of it, where the sender asked for that with RET=FULL
    and it fails (RFC 3461 4.3). Raises `OSError` where the content cannot be read."""
    if envelope.ret != "FULL" or not settlement.failure or envelope.requiretls:
        return Returned(header_block(content.blocks(), LARGEST_HEADER))
    if content.size > LARGEST_WHOLE:
        return Returned(header_block(content.blocks(), LARGEST_HEADER), why="the message is too big to be returned")
    whole = b"".join(content.blocks())
    return returned(header_block([whole], LARGEST_HEADER), whole, envelope.smtputf8)


def compose(
    claim: Claim,
    settlement: Settlement,
    notifier: Notifier,
    given: Returned,
    now: float,
    tried: bool,
    before: tuple[Event, ...] = (),
    known: Sorted | None = None,
) -> Record:
    """The record of a settlement.

    given: what notices give back of the message. tried: there was a try. before: what happened on the way. known:
    where the recipients are routed now, if anybody has asked.
    """
    events = [*before, *ends(settlement, now, tried)]
    notices: list[NewMessage] = []
    if settlement.failure:
        notices.append(notifier.failure(claim, settlement.failure, settlement.addressee, given, now))
        events.append(notice("failed", notices[-1], now))
    if settlement.delay:
        notices.append(notifier.delay(claim, settlement.delay, given, now))
        events.append(notice("delayed", notices[-1], now))
    if settlement.success:
        notices.append(notifier.success(claim, settlement.success, given, now))
        events.append(notice("expanded" if settlement.expanded else "delivered", notices[-1], now))
    waiting = [
        Waiting(
            left.recipients,
            claim.destination,
            left.due,
            left.deadline,
            left.attempts,
            left.warned,
            left.last_reply,
            "held" if left.held else "waiting",
        )
        for left in settlement.remaining
    ]
    if known is not None and (known.moved or known.discarded):
        until = _deadline(claim, notifier.policy)
        waiting += [
            Waiting(group.recipients, group.destination, now, until, claim.attempts, claim.warned, claim.last_reply)
            for group in known.moved
        ]
        events += departures(known, now)
    return Record(claim, now, tuple(waiting), tuple(notices), tuple(events))


def untouched(claim: Claim, policy: RetryPolicy, now: float) -> Waiting:
    """A claim as it was, with a deadline that lies ahead."""
    until = _deadline(claim, policy)
    return Waiting(
        claim.envelope.recipients,
        claim.destination,
        claim.due,
        until if until > now else now + LOOK_AGAIN,
        claim.attempts,
        claim.warned,
        claim.last_reply,
    )


def interrupted(claim: Claim, policy: RetryPolicy, now: float) -> Record:
    """A claim that is put back in the middle of its try. Its mail may have arrived: that is told, as after a crash."""
    recipients = [one.address for one in claim.envelope.recipients]
    return Record(
        claim, now, (untouched(claim, policy, now),), events=(Event(now, "unknown", {"recipients": recipients}),)
    )


def bouncing(notifier: Notifier, policy: RetryPolicy, now: Callable[[], float]) -> Callable[[Claim, IContent], Record]:
    """What settles a claim that an operator ends, given its content: for the `mta` command, which has no manager."""

    def bounce(claim: Claim, content: IContent) -> Record:
        at = now()
        outcomes = (returned_by_operator(),) * len(claim.envelope.recipients)
        settlement = settle(
            claim.envelope, outcomes, claim.attempts, claim.warned, at, policy, Random(0), claim.due, wish="bounce"
        )
        return compose(claim, settlement, notifier, given_back(content, claim.envelope, settlement), at, tried=False)

    return bounce


def _deadline(claim: Claim, policy: RetryPolicy) -> float:
    envelope = claim.envelope
    return deadline(policy, envelope.queued_since, claim.warned, envelope.by, envelope.by_mode)
