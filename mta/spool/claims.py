"""Claims: who takes what is due, and what comes next. Everything here goes by an index, however long the queue."""

from collections.abc import Sequence

from mta.interfaces import Claim, Due, Pause
from mta.message.envelope import Envelope, recipients_from_json
from mta.spool.store import Store

_CLAIM = """
    SELECT delivery.message, delivery.id, fence + 1, delivery.destination, envelope, recipients, attempts, warned, wish,
        coalesce(nullif(delivery.last_reply, ''), destination.last_reply, ''), due, coalesce(paused_until, 0),
        coalesce(failures, 0), reverse_path
    FROM delivery JOIN message ON message.id = delivery.message
    LEFT JOIN destination ON destination.name = delivery.destination
"""
CLAIM_DUE = f"""{_CLAIM}
    WHERE delivery.destination = ? AND state = 'waiting' AND priority = ? AND due <= ? ORDER BY due LIMIT ?
"""
CLAIM_OVERDUE = f"{_CLAIM} WHERE state = 'waiting' AND deadline <= ? ORDER BY deadline LIMIT ?"
CLAIM_ONE = f"{_CLAIM} WHERE delivery.id = ? AND state = 'waiting'"
ACTIVATE = "UPDATE delivery SET state = 'active', fence = ? WHERE id = ?"
DUE = """
    SELECT name, next_due, paused_until, failures, last_reply FROM destination
    WHERE next_due IS NOT NULL ORDER BY next_due LIMIT ?
"""
NEXT_DEADLINE = "SELECT min(deadline) FROM delivery WHERE state = 'waiting'"
PAUSES = """
    SELECT name, paused_until, failures, last_reply FROM destination
    WHERE failures > 0 ORDER BY paused_until DESC LIMIT ?
"""


def due(store: Store, now: float, limit: int, skip: frozenset[str]) -> list[Due]:
    """As `ISpool.due`."""
    store.refresh_destinations()
    found: list[Due] = []
    for row in store.rows(DUE, (limit + len(skip),)):
        one = Due(*row)
        if one.destination in skip:
            continue
        if one.next_due > now:
            return found or [one]
        found.append(one)
        if len(found) == limit:
            break
    return found


def claim(store: Store, destination: str, limit: int, now: float) -> list[Claim]:
    """As `ISpool.claim`. Higher priorities come first, each with its earliest."""
    claims: list[Claim] = []
    for priority in store.priorities(destination):
        claims += _read(store, CLAIM_DUE, (destination, priority, now, limit - len(claims)))
        if len(claims) == limit:
            break
    return _activate(store, claims)


def overdue(store: Store, now: float, limit: int) -> list[Claim]:
    """As `ISpool.overdue`."""
    return _activate(store, _read(store, CLAIM_OVERDUE, (now, limit)))


def claim_one(store: Store, delivery: int) -> Claim | None:
    """A waiting delivery by its number, whenever it is due; None if it does not wait."""
    claims = _activate(store, _read(store, CLAIM_ONE, (delivery,)))
    return claims[0] if claims else None


def next_deadline(store: Store) -> float | None:
    """As `ISpool.next_deadline`."""
    deadline: float | None = store.value(NEXT_DEADLINE)
    return deadline


def pauses(store: Store, limit: int) -> tuple[tuple[str, Pause], ...]:
    """As `Recovered` has them. Looks at every destination, so it is only asked at the start."""
    rows = store.rows(PAUSES, (limit,)) if limit else ()
    return tuple((name, Pause(*pause)) for name, *pause in reversed(rows))


def _read(store: Store, query: str, values: tuple[str | float, ...]) -> list[Claim]:
    return [
        Claim(message, delivery, fence, destination, _envelope(envelope, recipients, reverse_path),
              attempts, bool(warned), wish, last_reply, due, paused_until, failures)
        for message, delivery, fence, destination, envelope, recipients, attempts, warned, wish, last_reply, due,
        paused_until, failures, reverse_path in store.rows(query, values)
    ]  # fmt: skip


def _envelope(packed: str, recipients: str, reverse_path: str | None) -> Envelope:
    """The message's envelope as it is for these recipients."""
    envelope = Envelope.from_json(packed, recipients_from_json(recipients))
    return envelope if reverse_path is None else envelope.on_behalf_of(reverse_path)


def _activate(store: Store, claims: Sequence[Claim]) -> list[Claim]:
    store.db.executemany(ACTIVATE, [(one.fence, one.delivery) for one in claims])
    for one in claims:
        recipients = len(one.envelope.recipients)
        store.counts["waiting"] -= recipients
        store.counts["active"] += recipients
        store.stale[one.destination] = None
    return list(claims)
