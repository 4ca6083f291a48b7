"""Story: what a try came to, as events of the message's timeline and as lines of the log, in the same words."""

from collections.abc import Iterable, Sequence
from typing import Any

from mta.delivery.rerouting import Sorted
from mta.interfaces import Claim, NewMessage
from mta.maillog import Log, timestamp
from mta.message.envelope import format_queue_id
from mta.message.outcome import Carried, Result
from mta.message.timeline import Detail, Event
from mta.policy.settlement import Settled, Settlement


def attempts(claim: Claim, carried: Carried, at: float) -> list[Event]:
    """One event for each host that was tried. The dialogue is kept of a try that failed alone."""
    events = []
    for host, seconds, text, tls, dialogue, notes in carried.tries:
        detail: dict[str, Detail] = {
            "destination": claim.destination,
            "try": claim.attempts + 1,
            "host": host,
            "seconds": round(seconds, 3),
            "reply": text,
        }
        if tls:
            detail["tls"] = tls
        if dialogue:
            detail["dialogue"] = list(dialogue)
        if notes:
            detail["notes"] = list(notes)
        events.append(Event(at, "attempt", detail))
    return events


def ends(settlement: Settlement, at: float, tried: bool) -> list[Event]:
    """What has become of the recipients, those who share a host and a reply together.

    Nothing is told of those who go on waiting where there was no try. Where nobody is told of a failure, it says why.
    """
    events = _grouped("delivered", settlement.delivered, at)
    if settlement.expanded:
        events.append(Event(at, "expanded", {"recipients": _addresses(settlement.expanded)}))
    if settlement.failed:
        events += _grouped("failed", settlement.failed, at)
        if settlement.silence:
            events.append(Event(at, "notice", {"about": "failed", "why": settlement.silence}))
    if settlement.deferred and tried:
        events += _grouped("deferred", settlement.deferred, at, next=round(settlement.remaining[0].due, 3))
    if settlement.held:
        events += _held(settlement, at)
    unknown = [one for one in (*settlement.deferred, *settlement.failed, *settlement.held) if one.outcome.unknown]
    if unknown:
        events.append(Event(at, "unknown", {"recipients": _addresses(unknown)}))
    return events


def notice(about: str, message: NewMessage, at: float) -> Event:
    """A notice was made. about: "failed", "delayed", "delivered" (or relayed), "expanded"."""
    return Event(at, "notice", {"about": about, "id": format_queue_id(message.id)})


def departures(known: Sorted, at: float) -> list[Event]:
    """The recipients who leave a claim because they are routed elsewhere now."""
    events = []
    for destination, recipients, why in known.moved:
        addresses = [one.address for one in recipients]
        events.append(Event(at, "routed", {"to": destination, "recipients": addresses, "why": why}))
    for _, recipients, why in known.discarded:
        events.append(Event(at, "discarded", {"recipients": [one.address for one in recipients], "why": why}))
    return events


def tell(log: Log, claim: Claim, events: Iterable[Event], at: float) -> None:
    """A line for each event that an operator would look for; attempts are in the timeline alone."""
    for _, kind, detail in events:
        if kind == "attempt":
            continue
        fields: dict[str, Any] = dict(detail)
        fields["recipient" if kind == "routed" else "to"] = fields.pop("recipients", None)
        if kind == "deferred":
            fields["next"] = timestamp(fields["next"])
        elif kind == "notice":
            fields["notice"] = fields.pop("id", None)
        elif kind == "delivered":
            fields["age"] = round(at - claim.envelope.queued_since, 3)
        log(kind, claim.message, **fields)


def _held(settlement: Settlement, at: float) -> list[Event]:
    """Why somebody is held: what has to be mended here, or that nobody could be told."""
    stuck = [one for one in settlement.held if one.outcome.result is Result.HELD]
    events = _grouped("held", stuck, at)
    for event in events:
        event.detail["why"] = event.detail["reply"]
    others = [one for one in settlement.held if one.outcome.result is not Result.HELD]
    return events + _grouped("held", others, at, why=settlement.silence)


def _grouped(kind: str, settled: Sequence[Settled], at: float, **more: Detail) -> list[Event]:
    if len(settled) == 1:  # as nearly always
        groups = [settled]
    else:
        alike: dict[tuple[str, str, bool], list[Settled]] = {}
        for one in settled:
            alike.setdefault((one.outcome.host, str(one.outcome.reply), one.expired), []).append(one)
        groups = list(alike.values())
    events = []
    for group in groups:
        outcome = group[0].outcome
        detail: dict[str, Detail] = {"recipients": _addresses(group), "reply": str(outcome.reply), **more}
        if outcome.host:
            detail["host"] = outcome.host
        if group[0].expired:
            detail["why"] = "expired"
        events.append(Event(at, kind, detail))
    return events


def _addresses(settled: Iterable[Settled]) -> list[str]:
    return [one.recipient.address for one in settled]
