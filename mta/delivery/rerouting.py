"""Rerouting: the recipients of a claim as they are routed now, which may not be as they were when they were stored."""

from collections.abc import Callable
from typing import NamedTuple

from mta.interfaces import Claim
from mta.message.envelope import Recipient
from mta.message.outcome import Outcome, Result
from mta.policy.routing import Decision, Hop, Via
from mta.smtp.reply import Reply

_DISCARD = Via.DISCARD

Route = Callable[[str, str], Decision]  # from a reverse-path and a forward-path


class Group(NamedTuple):
    """Recipients who now go to another destination, or nowhere (""). why: the reason for the first of them."""

    destination: str
    recipients: tuple[Recipient, ...]
    why: str


class Sorted(NamedTuple):
    """here: who still goes to the claim's destination, over `hop` (None where nobody does). refused: for whom a fixed
    refusal is in force. discarded, moved: who leaves the claim.
    """

    hop: Hop | None
    here: tuple[Recipient, ...]
    refused: tuple[tuple[Recipient, Outcome], ...] = ()
    discarded: tuple[Group, ...] = ()
    moved: tuple[Group, ...] = ()


def sort_recipients(claim: Claim, route: Route) -> Sorted:
    """Route the recipients of a claim. Where all of them stay, `here` is the claim's own tuple."""
    sender, recipients = claim.envelope.sender, claim.envelope.recipients
    hop = None
    here: list[Recipient] = []
    refused: list[tuple[Recipient, Outcome]] = []
    leaving: dict[tuple[bool, str], tuple[list[Recipient], str]] = {}
    for recipient in recipients:
        decision = route(sender, recipient.address)
        onward = decision.hop
        if onward is None:
            refused.append((recipient, _outcome(decision.refusal)))
        elif onward.via is _DISCARD:
            leaving.setdefault((True, ""), ([], decision.why))[0].append(recipient)
        elif onward.destination == claim.destination:
            here.append(recipient)
            hop = onward
        else:
            leaving.setdefault((False, onward.destination), ([], decision.why))[0].append(recipient)
    if len(here) == len(recipients):
        return Sorted(hop, recipients)
    discarded = tuple(Group(name, tuple(who), why) for (gone, name), (who, why) in leaving.items() if gone)
    moved = tuple(Group(name, tuple(who), why) for (gone, name), (who, why) in leaving.items() if not gone)
    return Sorted(hop, tuple(here), tuple(refused), discarded, moved)


def _outcome(refusal: Reply | None) -> Outcome:
    if refusal is None:
        raise ValueError("a decision with neither a hop nor a refusal")
    return Outcome(Result.FAILED if refusal.is_permanent else Result.DEFERRED, refusal, remote=False)
