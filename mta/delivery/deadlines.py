"""Deadlines: brings up what must be looked at even if it cannot be tried: warnings owed, and messages at their end.

What comes due is found through its destination, and a paused destination hides it; this is the other way in. Only so
many claims are taken that way at once, so that a hundred thousand messages that expire together are worked off in
small lots.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mta.delivery.alarm import Alarm
from mta.delivery.trouble import report
from mta.interfaces import Claim, ISpool

LOT = 100  # claims in hand at once
UNSURE = 1.0  # seconds until the next look where it is not known when something will be overdue
_AGAIN = 5.0  # seconds to wait after the spool has failed to answer


class Deadlines:
    """Asks the spool for what is overdue when it is time, and hands each lot to `take`.

    is_asking: claims may arrive.
    """

    def __init__(self, reactor: IReactorTime, spool: ISpool, take: Callable[[list[Claim]], None]) -> None:
        self._reactor = reactor
        self._spool = spool
        self._take = take
        self._alarm = Alarm(reactor, self.look)
        self._in_hand: set[int] = set()
        self.is_asking = False
        self._more = False
        self._stopped = False

    def expect(self, at: float) -> None:
        """Something with this deadline has been stored."""
        if not self._stopped:
            self._alarm.set(at)

    def stored(self) -> None:
        """Something has been stored whose deadline is not known here."""
        self.expect(self._reactor.seconds() + UNSURE)

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        self._alarm.cancel()

    def look(self) -> None:
        """Take what is overdue, or find out when something will be."""
        if self._stopped:
            return
        room = LOT - len(self._in_hand)
        if self.is_asking or not room:
            self._more = True
            return
        self.is_asking = True
        self._more = False
        asked = self._spool.overdue(self._reactor.seconds(), room)
        asked.addCallback(self._found, room).addErrback(self._failed)

    def look_anew(self) -> None:
        """Forget when something was to be overdue, since the clock has been set, and ask."""
        self._alarm.cancel()
        self.look()

    def settled(self, delivery: int) -> None:
        """A delivery is out of hand: recorded, or put back. Called for any delivery, from here or not."""
        if self._in_hand:
            self._in_hand.discard(delivery)
            if self._more:
                self._go_on()

    def _found(self, claims: list[Claim], room: int) -> "Deferred[None] | None":
        self.is_asking = False
        if len(claims) >= room:
            self._more = True
        self._in_hand.update(claim.delivery for claim in claims)
        self._take(claims)  # none as well: whoever stops waits for the answer
        if self._stopped:
            return None
        if self._more:
            self._go_on()
            return None
        return self._spool.next_deadline().addCallback(self._next)

    def _go_on(self) -> None:
        # On a turn of its own, and not for a single place: lots, not a chain.
        if len(self._in_hand) <= LOT // 2:
            self.expect(self._reactor.seconds())

    def _next(self, at: float | None) -> None:
        if at is not None:
            now = self._reactor.seconds()
            self.expect(at if at > now else now + UNSURE)

    def _failed(self, failure: Failure) -> None:
        self.is_asking = False
        self._take([])
        report(failure, "the spool could not be asked for what is overdue")
        self.expect(self._reactor.seconds() + _AGAIN)
