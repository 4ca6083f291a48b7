"""Turns: the places for deliveries, in all and of each destination, and the line in which destinations wait for one.

A destination that wants more than one place goes back to the end of the line after each, so that whoever comes new
waits for no more than one delivery of each of the others, however many they have.

A quarter of the places is kept for destinations that have answered when they were last tried. Others may take as long
as a look-up or a connection that comes to nothing, and a queue with thousands of them would take every place.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from mta.delivery.destination import Destination
from mta.interfaces import Claim


@dataclass(frozen=True)
class Bounds:
    """What may be in memory at once.

    deliveries: under way. strangers: of these, to destinations that have not answered. destinations: with something
    in flight, before what is stored for others is left in the spool; half as many more may be those that a look there
    has found. octets: of content under way. aside: of content that waits to be. unrecorded: deliveries under way, and
    results of others on their way into the spool. remembered: destinations at rest. large: content of more octets than
    this is read from a file as it goes, so it does not count for more.
    """

    deliveries: int = 200
    strangers: int = 150
    destinations: int = 400
    octets: int = 64 * 1024 * 1024
    aside: int = 16 * 1024 * 1024
    unrecorded: int = 2_000
    remembered: int = 10_000
    large: int = 256 * 1024


class Turns:
    """Gives out places. in_flight: how many are taken, reservations included."""

    def __init__(
        self,
        clock: IReactorTime,
        bounds: Bounds,
        unrecorded: Callable[[], int],
        begin: Callable[[Destination, Claim], None],
    ) -> None:
        """unrecorded: how many results are on their way into the spool. begin: starts a delivery that has a place."""
        self._clock = clock
        self._bounds = bounds
        self._unrecorded = unrecorded
        self._begin = begin
        self._line: deque[Destination] = deque()
        self._strangers_line: deque[Destination] = deque()
        self._brought_line: deque[Destination] = deque()  # strangers too
        self._strangers = 0  # places that they have
        self._brought = 0  # of these, what those have that a look has brought
        self._octets = 0
        self._after_brought = False
        self._after_known = False  # the last turn was of one that answers
        self._working = False
        self.in_flight = 0

    def is_full(self) -> bool:
        """Is there no place for anybody?"""
        bounds = self._bounds
        return (
            self.in_flight >= bounds.deliveries
            or self._octets >= bounds.octets
            or self.in_flight + self._unrecorded() >= bounds.unrecorded
        )

    def is_full_for(self, one: Destination) -> bool:
        """Is there no place for this one?"""
        return self.is_full() or (not one.answers and self._strangers >= self._bounds.strangers)

    def take(self, one: Destination) -> None:
        """Take a place."""
        if not one.answers:
            one.estranged += 1
            self._strangers += 1
            self._brought += one.brought
        one.running += 1
        self.in_flight += 1

    def fill(self, size: int) -> int:
        """A delivery of so many octets begins in a place: what it counts for."""
        octets = min(size, self._bounds.large)
        self._octets += octets
        return octets

    def leave(self, one: Destination, octets: int = 0) -> None:
        """Give a place back, and what the delivery in it counted for."""
        if one.estranged:
            one.estranged -= 1
            self._strangers -= 1
            self._brought -= one.brought
        one.running -= 1
        self.in_flight -= 1
        self._octets -= octets

    def queue(self, one: Destination, now: float) -> None:
        """Put a destination into its line if it has something ready and may have a place.

        One that has answered meanwhile leaves the strangers' line: where it stood there, `_first` passes it over.
        """
        line = self._line if one.answers else self._brought_line if one.brought else self._strangers_line
        if one.ready and one.line is not line and one.free(now) > 0:
            one.line = line
            line.append(one)

    def clear(self) -> None:
        """Nobody stands in a line any more."""
        for line in self._line, self._strangers_line, self._brought_line:
            for one in line:
                one.line = None
            line.clear()

    def work(self) -> None:
        """Give each in the lines one place in its turn, as long as there are any."""
        if self._working or not (self._line or self._strangers_line or self._brought_line):
            return  # a delivery that ended at once has brought us here, and the loop below goes on; or nobody waits
        self._working = True
        try:
            now = self._clock.seconds()
            while not self.is_full():
                one = self._next()
                if one is None:
                    break
                one.line = None
                if one.ready and one.free(now) > 0:
                    claim = one.ready.pop(0)
                    self.take(one)
                    self.queue(one, now)
                    self._begin(one, claim)
        finally:
            self._working = False

    def _next(self) -> Destination | None:
        """Whose turn it is: of one line and of the other by turns."""
        has_room = self._strangers < self._bounds.strangers
        for known in (False, True) if self._after_known else (True, False):
            one = _first(self._line) if known else self._next_stranger() if has_room else None
            if one is not None:
                self._after_known = known
                return one
        return None

    def _next_stranger(self) -> Destination | None:
        """Of those that a look has brought, and of others, by turns, as long as the first have no more than half of the
        places: there may be thousands that take a minute each, and new mail for ever new domains stands beside them."""
        may = self._brought < self._bounds.strangers // 2
        lines = [self._strangers_line, self._brought_line]
        if may and not self._after_brought:
            lines.reverse()
        for line in lines:
            one = _first(line)
            if one is not None:
                self._after_brought = line is self._brought_line
                return one
        return None


def _first(line: deque[Destination]) -> Destination | None:
    """The first of a line who still stands there."""
    while line:
        one = line.popleft()
        if one.line is line:
            return one
    return None
