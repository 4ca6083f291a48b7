"""Watching: what has changed between two looks at the queue, and how fast mail comes and goes."""

from collections import deque
from typing import Final, NamedTuple

from mta.spool.listing import QueuedMessage, QueuedRecipient, Totals

WINDOW: Final = 10.0  # seconds over which rates are taken
NEW: Final = "new"
CHANGED: Final = "changed"

Key = tuple[int, str, str]


class Look(NamedTuple):
    """The queue at one moment, in seconds since 1970. messages: those that are listed. totals: of all of it.

    ended: messages that have ended since `Watching.since`.
    """

    at: float
    messages: list[QueuedMessage]
    totals: Totals
    ended: int


class Rates(NamedTuple):
    """Messages a second. accepted: notices that were made here among them."""

    accepted: float
    ended: float


class Seen(NamedTuple):
    """What is to be said of a look. marks: "new" or "changed", by recipient. gone: recipients who were listed and are
    in the queue no more, or listed no more. rates: None as long as there is nothing to take them from."""

    look: Look
    marks: dict[Key, str]
    gone: int
    rates: Rates | None


def key(message: QueuedMessage, recipient: QueuedRecipient) -> Key:
    """What a recipient is known by from one look to the next."""
    return message.id, recipient.address, recipient.reverse_path or ""


class Watching:
    """Remembers the last look, and the totals of as many seconds as rates are taken over."""

    def __init__(self) -> None:
        self._last: dict[Key, QueuedRecipient] = {}
        self._last_at: float | None = None
        self._totals: deque[tuple[float, int]] = deque()

    def since(self, now: float) -> float:
        """From when on the next look is to count what has ended, in seconds since 1970."""
        return self._totals[0][0] if self._totals else now

    def see(self, look: Look) -> Seen:
        """Take in a look, and say what has changed since the one before."""
        here = {key(message, one): one for message in look.messages for one in message.recipients}
        marks: dict[Key, str] = {}
        if self._last_at is not None:
            for message in look.messages:
                for one in message.recipients:
                    before = self._last.get(key(message, one))
                    if before is None and message.created > self._last_at:
                        marks[key(message, one)] = NEW
                    elif before is not None and _differs(before, one):
                        marks[key(message, one)] = CHANGED
        gone = len(self._last.keys() - here.keys())
        rates = self._rates(look)
        self._last, self._last_at = here, look.at
        return Seen(look, marks, gone, rates)

    def _rates(self, look: Look) -> Rates | None:
        rates = None
        if self._totals and look.at > self._totals[0][0]:
            at, messages = self._totals[0]
            accepted = max(0, look.totals.messages - messages + look.ended)
            rates = Rates(accepted / (look.at - at), look.ended / (look.at - at))
        self._totals.append((look.at, look.totals.messages))
        while len(self._totals) > 2 and look.at - self._totals[1][0] >= WINDOW:
            self._totals.popleft()
        return rates


def _differs(before: QueuedRecipient, now: QueuedRecipient) -> bool:
    """Has something happened to a recipient? That a time has come nearer is nothing."""
    return (before.state, before.attempts, before.last_reply, before.destination, before.wish) != (
        now.state,
        now.attempts,
        now.last_reply,
        now.destination,
        now.wish,
    )
