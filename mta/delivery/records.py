"""Records: from a settlement to what the spool is to store of it: who waits, which notices go out, what is told."""

from collections.abc import Callable
from random import Random

from mta.delivery.notifier import Notifier
from mta.delivery.rerouting import Sorted
from mta.delivery.story import departures, ends, notice
from mta.interfaces import Claim, IContent, NewMessage, Record, Waiting
from mta.message.header import header_block
from mta.message.timeline import Event
from mta.policy.retry import RetryPolicy, deadline
from mta.policy.settlement import Settlement, returned_by_operator, settle

LOOK_AGAIN = 300.0  # seconds until a delivery past its deadline is brought up again, where it still waits for its turn
LARGEST_HEADER = 64 * 1024  # octets of the original's header section that a notice quotes


def owes_notice(settlement: Settlement) -> bool:
    """Has somebody to be told? Then the header of the message is needed."""
    return bool(settlement.failure or settlement.delay)


def header_of(content: IContent) -> bytes:
    """The header section of a message, for a notice. Raises `OSError` where the content cannot be read."""
    return header_block(content.blocks(), LARGEST_HEADER)


def compose(
    claim: Claim,
    settlement: Settlement,
    notifier: Notifier,
    header: bytes,
    now: float,
    tried: bool,
    before: tuple[Event, ...] = (),
    known: Sorted | None = None,
) -> Record:
    """The record of a settlement.

    header: quoted in notices. tried: there was a try. before: what happened on the way. known: where the recipients
    are routed now, if anybody has asked.
    """
    events = [*before, *ends(settlement, now, tried)]
    notices: list[NewMessage] = []
    if settlement.failure:
        notices.append(notifier.failure(claim, settlement.failure, settlement.addressee, header, now))
        events.append(notice("failed", notices[-1], now))
    if settlement.delay:
        notices.append(notifier.delay(claim, settlement.delay, header, now))
        events.append(notice("delayed", notices[-1], now))
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
        until = deadline(notifier.policy, claim.envelope.received, claim.warned)
        waiting += [
            Waiting(group.recipients, group.destination, now, until, claim.attempts, claim.warned, claim.last_reply)
            for group in known.moved
        ]
        events += departures(known, now)
    return Record(claim, now, tuple(waiting), tuple(notices), tuple(events))


def untouched(claim: Claim, policy: RetryPolicy, now: float) -> Waiting:
    """A claim as it was, with a deadline that lies ahead."""
    until = max(deadline(policy, claim.envelope.received, claim.warned), now + LOOK_AGAIN)
    return Waiting(
        claim.envelope.recipients,
        claim.destination,
        claim.due,
        until,
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
        return compose(claim, settlement, notifier, header_of(content), at, tried=False)

    return bounce
