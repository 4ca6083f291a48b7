"""Overview: the queue from afar, page by page, and one destination, from what can be had without reading all of it.

Times are seconds since 1970. What was counted only so far is told as such (`{"number": …, "more": true}`).
"""

import heapq
from collections.abc import Sequence
from typing import Any, Final

from mta.message.envelope import format_queue_id
from mta.operating.words import count
from mta.spool import survey
from mta.spool.desk import Desk
from mta.spool.listing import QueuedMessage, Totals
from mta.spool.matching import Selection
from mta.spool.survey import Bounded, Place

AGES: Final = (
    (300.0, "up to 5 minutes"),
    (3600.0, "up to 1 hour"),
    (4 * 3600.0, "up to 4 hours"),
    (86400.0, "up to 1 day"),
    (None, "older"),
)
"""Up to how many seconds, and how that is put."""
PLACES: Final = 10  # destinations that are named
ALARMS: Final = 5  # destinations with held mail that are named


def overview(desk: Desk, now: float) -> dict[str, Any]:
    """The queue from afar."""
    totals = desk.totals()
    compared = desk.ask(lambda store, view: survey.places(store, PLACES))
    oldest = [at for at in desk.ask(lambda store, view: survey.oldest(store)) if at is not None]
    return {
        "totals": totals_to_json(totals),
        "states": _states(desk, totals, now),
        "ages": _ages(desk, now),
        "oldest": min(oldest, default=None),
        "destinations": [_place(one) for one in _merged([one for places, _ in compared for one in places])[:PLACES]],
        "more_destinations": any(more for _, more in compared),
        "workers": [
            {"number": one.worker, "process": one.process, "alive": one.alive, "messages": one.totals.messages}
            for one in desk.workers()
        ],
        "alarms": _alarms(desk) if totals.held else [],
    }


def page(desk: Desk, selection: Selection, state: str | None, after: int, limit: int) -> dict[str, Any]:
    """Messages behind a number that have recipients of a selection in a state (None for any), the oldest first.

    next: behind which number the following page begins, None where there is none. looked: rows that may be looked at
    for one page ended it.
    """
    pages = desk.ask(lambda store, view: survey.page(store, selection, state, after, limit, view))
    # What one file was not looked through to is not shown of others, either: it comes in order, with the next page.
    horizon = min((one.after for one in pages if one.after is not None), default=None)
    once = {one.id: one for one in heapq.merge(*(page.messages for page in pages))}
    messages = [one for one in once.values() if horizon is None or one.id <= horizon]
    following = horizon
    if len(messages) > limit:
        messages = messages[:limit]
        following = messages[-1].id
    looked = following is not None and following == horizon and any(one.looked for one in pages)
    return {
        "messages": [message_to_json(one) for one in messages],
        "next": following,
        "looked": looked,
        "totals": totals_to_json(desk.totals()),
    }


def meant(desk: Desk, selection: Selection, limit: int) -> dict[str, Any]:
    """How many messages a selection means, counted up to a limit."""
    pages = desk.ask(lambda store, view: survey.page(store, selection, None, 0, limit, view))
    number = len({one.id for page in pages for one in page.messages})
    return _bounded(Bounded(min(number, limit), number > limit or any(one.after is not None for one in pages)))


def destination(desk: Desk, name: str, limit: int) -> dict[str, Any]:
    """One destination, and the first of what waits for it."""
    details = desk.ask(lambda store, view: survey.destination(store, name))
    places = _merged([one.place for one in details if one.place is not None])
    replies: dict[str, int] = {}
    for detail in details:
        for reply, number in detail.replies:
            replies[reply] = replies.get(reply, 0) + number
    held = _sum([one.held for one in details])
    active = sum(one.active for one in details)
    numbers = sorted(
        number for found in desk.ask(lambda store, view: survey.first(store, name, limit)) for number in found
    )
    selection = Selection(ids=frozenset(numbers[:limit]), to=name)
    place = places[0] if places else Place(name, Bounded(0), None, 0.0, 0, "")
    return {
        **_place(place),
        "known": bool(places or held.number or active),
        "held": _bounded(held),
        "active": active,
        "replies": [
            {"reply": reply, "number": number}
            for reply, number in sorted(replies.items(), key=lambda one: (-one[1], one[0]))
        ],
        "messages": [message_to_json(one) for one in desk.queue(selection, limit=limit)] if numbers else [],
    }


def totals_to_json(totals: Totals) -> dict[str, int]:
    """What is in the queue."""
    return {"messages": totals.messages, "recipients": totals.recipients, "octets": totals.octets}


def message_to_json(message: QueuedMessage) -> dict[str, Any]:
    """A message of a page, its times as numbers."""
    return {
        "id": format_queue_id(message.id),
        "size": message.size,
        "sender": message.sender,
        "created": message.created,
        "recipients": [one._asdict() for one in message.recipients],
    }


def _states(desk: Desk, totals: Totals, now: float) -> dict[str, dict[str, Any]]:
    """Recipients by state. What is ready is counted, by delivery; what waits otherwise is deferred."""
    ready = _sum(desk.ask(lambda store, view: survey.ready(store, now)))
    ready = ready._replace(number=min(ready.number, totals.waiting))
    deferred = Bounded(totals.waiting - ready.number)
    numbers = {"ready": ready, "active": Bounded(totals.active), "deferred": deferred, "held": Bounded(totals.held)}
    return {state: _bounded(number) for state, number in numbers.items()}


def _ages(desk: Desk, now: float) -> list[dict[str, Any]]:
    edges = [now + 86400.0, *(0.0 if limit is None else now - limit for limit, _ in AGES)]
    each = desk.ask(lambda store, view: survey.ages(store, edges))
    sums = [_sum(numbers) for numbers in zip(*each, strict=True)] or [Bounded(0)] * len(AGES)
    return [{"label": label, **_bounded(number)} for (_, label), number in zip(AGES, sums, strict=True)]


def _alarms(desk: Desk) -> list[dict[str, str]]:
    """What is held after something was said: perhaps somebody has to mend something there."""
    found: dict[str, survey.Stuck] = {}
    for one in (one for each in desk.ask(lambda store, view: survey.stuck(store)) for one in each):
        before = found.get(one.destination)
        found[one.destination] = one._replace(deliveries=one.deliveries + (before.deliveries if before else 0))
    told = [
        {
            "text": f"Mail for {one.destination} is held: {one.last_reply}",
            "advice": f"Correct what it complains of, then release what is held ({one.deliveries:,}).",
            "destination": one.destination,
        }
        for one in list(found.values())[:ALARMS]
    ]
    others = len(found) - len(told)
    if others > 0:
        told.append(
            {"text": f"Mail for {count(others, 'other destination')} is held, too.", "advice": "", "destination": ""}
        )
    return told


def _merged(places: Sequence[Place]) -> list[Place]:
    """Places of one name as one, those that most waits for first."""
    named: dict[str, Place] = {}
    for one in places:
        before = named.get(one.name)
        named[one.name] = one if before is None else _joined(before, one)
    return sorted(named.values(), key=lambda one: (-one.waiting.number, -one.failures, one.name))


def _joined(first: Place, second: Place) -> Place:
    dues = [one.next_due for one in (first, second) if one.next_due is not None]
    return Place(
        first.name,
        _sum([first.waiting, second.waiting]),
        min(dues, default=None),
        max(first.paused_until, second.paused_until),
        max(first.failures, second.failures),
        first.last_reply or second.last_reply,
    )


def _place(place: Place) -> dict[str, Any]:
    return {**place._asdict(), "waiting": _bounded(place.waiting)}


def _sum(counts: Sequence[Bounded]) -> Bounded:
    return Bounded(sum(one.number for one in counts), any(one.more for one in counts))


def _bounded(counted: Bounded) -> dict[str, Any]:
    return counted._asdict()
