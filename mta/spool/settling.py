"""Settling: what a claim came to is stored, with an operator's wish applied, or the claim is put back."""

from collections.abc import Sequence
from typing import NamedTuple

from mta.interfaces import Claim, Pause, Record, Waiting
from mta.message.envelope import Recipient, recipients_from_json, recipients_to_json
from mta.message.timeline import Event
from mta.spool.keeping import addresses, keep_notice, tell
from mta.spool.store import Store
from mta.spool.wishes import Left, grant

WISH = "SELECT wish FROM delivery WHERE id = ? AND message = ? AND fence = ? AND state = 'active'"
REMOVE_CLAIMED = "DELETE FROM delivery WHERE id = ? AND message = ? AND fence = ? AND state = 'active'"
ACTIVE = """
    SELECT id, message, destination, due, deadline, attempts, warned, wish, last_reply, recipients
    FROM delivery WHERE state = 'active'
"""
CLAIMED = f"{ACTIVE} AND id = ? AND message = ? AND fence = ?"
REFUSE_HOLDERS = "UPDATE delivery SET fence = fence + 1 WHERE state = 'active'"
REMOVE_DELIVERY = "DELETE FROM delivery WHERE id = ?"
CHANGE_DELIVERY = """
    UPDATE delivery SET destination = ?, state = ?, due = ?, deadline = ?, attempts = ?, warned = ?, wish = ?,
        last_reply = ?, recipients = ? WHERE id = ?
"""
COPY_DELIVERY = """
    INSERT INTO delivery (id, message, destination, state, priority, due, deadline, attempts, fence, warned, wish,
        last_reply, sender, recipients, reverse_path)
    SELECT ?, message, destination, state, priority, due, deadline, attempts, fence, warned, wish,
        last_reply, sender, recipients, reverse_path FROM delivery WHERE id = ?
"""
PAUSE = """
    INSERT INTO destination (name, next_due, paused_until, failures, last_reply) VALUES (?, NULL, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET paused_until = excluded.paused_until, failures = excluded.failures,
        last_reply = excluded.last_reply
"""


class Active(NamedTuple):
    """A delivery that is claimed, as its row has it."""

    id: int
    message: int
    destination: str
    due: float
    deadline: float
    attempts: int
    warned: int
    wish: str
    last_reply: str
    recipients: str

    @property
    def addressees(self) -> tuple[Recipient, ...]:
        """Its recipients."""
        return recipients_from_json(self.recipients)

    def waiting(self, due: float | None = None) -> Waiting:
        """It as it was before it was claimed, or due at another time."""
        when = self.due if due is None else due
        return Waiting(
            self.addressees, self.destination, when, self.deadline, self.attempts, bool(self.warned), self.last_reply
        )


def record(store: Store, record: Record) -> bool:
    """As `ISpool.record`."""
    claim = record.claim
    key = (claim.delivery, claim.message, claim.fence)
    granted: Sequence[Event] = ()
    if record.waiting:
        row = store.row(WISH, key)
        if row is None:
            return False
        left, granted = grant(row[0], record.waiting, record.at)
        _leave(store, claim.delivery, left)
    else:
        store.db.execute(REMOVE_CLAIMED, key)
        if not store.db.changes():
            return False
    store.counts["active"] -= len(claim.envelope.recipients)
    for notice in record.notices:
        keep_notice(store, notice)
    if record.pause is not None:
        _pause(store, claim.destination, record.pause)
    tell(store, claim.message, record.at, (*record.events, *granted), claim.destination)
    return True


def release(store: Store, claims: Sequence[Claim]) -> None:
    """As `ISpool.release`."""
    for claim in claims:
        for row in store.rows(CLAIMED, (claim.delivery, claim.message, claim.fence)):
            _put_back(store, Active(*row))


def release_all(store: Store) -> None:
    """Put back whatever is claimed: nothing is being tried any more, and how each try ended is known."""
    for row in store.rows(ACTIVE):
        _put_back(store, Active(*row))


def recover(store: Store) -> int:
    """Take up what was claimed when its holder died: due now, its last result unknown. How many deliveries.

    Whether a try had begun is written nowhere: that would be one more write for each message. What was due later had
    been claimed for its deadline, and stays so: its sender may hold it back (RFC 4865).
    """
    now = store.now()
    rows = [Active(*row) for row in store.rows(ACTIVE)]
    store.db.execute(REFUSE_HOLDERS)
    for row in rows:
        unknown = Event(now, "unknown", {"recipients": addresses(row.addressees)})
        _put_back(store, row, due=max(row.due, now), events=(unknown,))
    return len(rows)


def _put_back(store: Store, row: Active, due: float | None = None, events: Sequence[Event] = ()) -> None:
    now = store.now()
    left, granted = grant(row.wish, (row.waiting(due),), now)
    store.counts["active"] -= len(row.addressees)
    _leave(store, row.id, left)
    if events or granted:
        tell(store, row.message, now, (*events, *granted), row.destination)


def _leave(store: Store, delivery: int, left: Sequence[Left]) -> None:
    """Write those who stay in place of a claimed delivery: the last group takes its row, others get copies of it."""
    if not left:
        store.db.execute(REMOVE_DELIVERY, (delivery,))
    for number, (waiting, wish) in enumerate(left, 1):
        row = delivery
        if number < len(left):
            row = store.next_id()
            store.db.execute(COPY_DELIVERY, (row, delivery))
        to, destination, due, deadline, attempts, warned, last_reply, state = waiting
        packed = recipients_to_json(to)
        store.db.execute(
            CHANGE_DELIVERY, (destination, state, due, deadline, attempts, warned, wish, last_reply, packed, row)
        )
        store.counts[state] += len(to)
        store.stale[destination] = None


def _pause(store: Store, destination: str, pause: Pause) -> None:
    store.db.execute(PAUSE, (destination, *pause))
    store.stale[destination] = None
