"""Lookout: finds out which destinations have something due, when it is time to, and when an operator has written.

A look is one question to the spool. The next one is asked when the earliest delivery that it told of is due; after a
second where it could not tell (it found something, or left out those of which that is known); and a moment after room
was made, where there was more than memory has room for. However much room new mail takes, there is some for what a look
finds (`room_for_due`).
"""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mta.delivery.alarm import Alarm
from mta.delivery.destination import Destinations
from mta.delivery.trouble import report
from mta.interfaces import Due, ISpool

UNSURE = 1.0  # seconds until the next look where the spool could not tell when something will be due
GAP = 0.02  # seconds between looks of which one does not find all that is due


class Lookout:
    """Tells of destinations that have something due.

    looks: how many looks have begun. is_crowded: more is due than there was room for.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        spool: ISpool,
        destinations: Destinations,
        found: Callable[[Due], None],
        written: Callable[[], None],
        changed: Callable[[], None],
        polled: Callable[[], None],
        poll: float,
    ) -> None:
        """found: takes a destination that has something due. polled: is called every `poll` seconds. written: likewise,
        when an operator has written since the last time. changed: then too, and for as long as something is in flight
        that may have been meant.
        """
        self._reactor = reactor
        self._spool = spool
        self._destinations = destinations
        self._found = found
        self._written = written
        self._changed = changed
        self._polled = polled
        self._poll_after = poll
        self._alarm = Alarm(reactor, self.look)
        self._polling: IDelayedCall | None = None
        self._asking = False
        self._watching = False  # an operator has written, and may have meant what was in flight then
        self._stopped = False
        self.looks = 0
        self.is_crowded = False

    def start(self) -> None:
        """Poll from now on, and look: what changes after the look is noticed."""
        self._poll()
        self.look()

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self._alarm.cancel()
        if self._polling is not None:
            self._polling.cancel()

    def expect(self, at: float) -> None:
        """Something will be due then."""
        if not self._stopped:
            self._alarm.set(at)

    def room_was_made(self) -> None:
        """A destination has gone to rest: look for others, where some are known to wait for room."""
        if self.is_crowded and self._destinations.has_much_room:
            self.expect(self._reactor.seconds() + GAP)

    def leave_outside(self) -> None:
        """Something is due for a destination that there is no room for."""
        self.is_crowded = True
        self.expect(self._reactor.seconds() + UNSURE)

    def look(self) -> None:
        """Ask what is due."""
        if self._stopped:
            return
        now = self._reactor.seconds()
        room = self._destinations.room_for_due
        if self._asking:
            self.expect(now + UNSURE)
        elif room <= 0:
            self.leave_outside()
        else:
            known = self._destinations.known(now)
            if known:
                self.expect(now + UNSURE)
            self._asking = True
            self.looks += 1
            limit = room + len(self._destinations) - len(known)  # those in flight take no room
            self._spool.due(now, limit, known).addCallback(self._answered, room).addErrback(self._failed)

    def _answered(self, dues: list[Due], room: int) -> None:
        self._asking = False
        if self._stopped:
            return
        now = self._reactor.seconds()
        present = [due for due in dues if max(due.next_due, due.paused_until) <= now]
        new = [due for due in present if not self._destinations.is_active(due.destination)]
        self.is_crowded = len(new) >= room
        left_outside = {due.destination for due in new[room:]}
        if present:
            self.expect(now + UNSURE)
            for due in present:
                if due.destination not in left_outside:
                    self._found(due)
        elif dues:
            self.expect(max(dues[0].next_due, dues[0].paused_until))

    def _failed(self, failure: Failure) -> None:
        self._asking = False
        self.expect(self._reactor.seconds() + UNSURE)
        report(failure, "the spool could not be asked for what is due")

    def _poll_later(self) -> None:
        if not self._stopped:
            self._polling = self._reactor.callLater(self._poll_after, self._poll)

    def look_anew(self) -> None:
        """Forget when something was to be due, since the clock has been set, and ask."""
        self._alarm.cancel()
        self.look()

    def _poll(self) -> None:
        self._polling = None
        self._polled()
        self._spool.changes().addErrback(self._cannot_tell).addCallback(self._poll_told)

    def _cannot_tell(self, failure: Failure) -> bool:
        report(failure, "the spool could not be asked for changes")
        return False

    def _poll_told(self, changed: bool) -> None:
        watching = self._watching or changed
        self._watching = watching and len(self._destinations) > 0
        if changed and not self._stopped:
            self._written()
        if watching and not self._stopped:
            self.look()
            self._changed()
        self._poll_later()
