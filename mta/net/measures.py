"""Measures: what a relay counts of its work, as plain numbers in a row, for whoever reads them now and then.

To count is to add to a number in its place: nothing is looked up by a name, and nothing is made. Of several processes
each has a row of its own, in memory that they share and the supervisor keeps, so that what a worker has counted
outlives it. Times are in seconds.
"""

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, Protocol

CLASSES: Final = ("other", "address", "mailbox", "system", "network", "protocol", "content", "policy", "expired")
"""Of replies, by the subject of their enhanced status code (RFC 3463 3.1 to 3.8). Expired: given up for its age."""
EXPIRED: Final = len(CLASSES) - 1
VERSIONS: Final = ("none", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

_SUBJECTS: Final = {str(number): number for number in range(1, 8)}
_VERSIONS: Final = {"": 0, "TLSv1.1": 2, "TLSv1.2": 3, "TLSv1.3": 4}  # by seven characters, which "TLSv1 X" has as well


class Histogram(NamedTuple):
    """How often a time was up to each bound; behind the counts, one for more than all of them, is the sum."""

    start: int
    bounds: tuple[float, ...]

    @property
    def size(self) -> int:
        """Numbers that it takes."""
        return len(self.bounds) + 2

    def told(self, cells: Sequence[float]) -> tuple[list[float], float]:
        """How many there were up to each bound, and in all, and their sum."""
        end = self.start + len(self.bounds) + 1
        return list(accumulate(cells[self.start : end])), cells[end]


class Cells(Protocol):
    """Numbers in a row: a list, or memory that processes share."""

    def __getitem__(self, cell: int, /) -> float: ...

    def __setitem__(self, cell: int, value: float, /) -> None: ...

    def __iter__(self) -> Iterator[float]: ...


class _Row:
    """Gives out places."""

    def __init__(self) -> None:
        self.size = 0

    def one(self, places: int = 1) -> int:
        start = self.size
        self.size += places
        return start

    def times(self, *bounds: float) -> Histogram:
        histogram = Histogram(self.size, bounds)
        self.size += histogram.size
        return histogram


_row = _Row()
# What is so now, of this process; written now and then where others are to read it.
SESSIONS: Final = _row.one()
POOL_OPEN: Final = _row.one()
POOL_RESTING: Final = _row.one()
IN_FLIGHT: Final = _row.one()
DNS_ENTRIES: Final = _row.one()
DNS_ASKED: Final = _row.one()
DNS_KNOWN: Final = _row.one()
WRITING: Final = _row.one()  # seconds for which the present write has been under way
NO_ROOM: Final = _row.one()  # 1: the disk is too full for mail
BROKEN: Final = _row.one()  # 1: the queue file fails
HOOK_WAITING: Final = _row.one()  # events that webhooks have not been told yet
NOTED: Final = _row.one()  # when all this was written down last, in seconds since 1970; 0 for never
GAUGES: Final = _row.size
# What has happened.
MESSAGES: Final = _row.one()
RECIPIENTS: Final = _row.one()
OCTETS: Final = _row.one()
CONNECTIONS: Final = _row.one()
TURNED_AWAY: Final = _row.one()  # connections
TEMPORARY: Final = _row.one(len(CLASSES))  # refusals, by class
PERMANENT: Final = _row.one(len(CLASSES))
DELIVERED: Final = _row.one()
DEFERRED: Final = _row.one(len(CLASSES))
FAILED: Final = _row.one(len(CLASSES))
HELD: Final = _row.one()
UNKNOWN: Final = _row.one()  # claims whose last result is not known
HOOK_TOLD: Final = _row.one()  # events that webhooks have taken
HOOK_FAILED: Final = _row.one()  # posts that they have not
HOOK_DROPPED: Final = _row.one()  # events that they are told no more
TLS_IN: Final = _row.one(len(VERSIONS))
TLS_OUT: Final = _row.one(len(VERSIONS))
ACCEPTING: Final = _row.times(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
DELIVERING: Final = _row.times(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 3600, 14400, 86400, 432000)
ATTEMPTING: Final = _row.times(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
COMMITTING: Final = _row.times(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
SIZE: Final = _row.size

_OCTETS: Final = 8


class Measures:
    """The row of one process, and how its rooms count."""

    __slots__ = ("cells",)

    def __init__(self, cells: Cells | None = None) -> None:
        """cells: `SIZE` numbers; None for a row of one's own."""
        self.cells: Cells = [0.0] * SIZE if cells is None else cells

    def accepted(self, seconds: float, recipients: int, octets: int, tls: str) -> None:
        """A message is on stable storage, so long after its MAIL. tls: as `mta.net.tls.describe` has it."""
        cells = self.cells
        cells[MESSAGES] += 1
        cells[RECIPIENTS] += recipients
        cells[OCTETS] += octets
        cells[TLS_IN + _VERSIONS.get(tls[:7], 1)] += 1
        _observe(cells, ACCEPTING, seconds)

    def refused(self, code: int, enhanced: str) -> None:
        """A client was answered with 4yz or 5yz."""
        self.cells[(PERMANENT if code >= 500 else TEMPORARY) + _class_of(enhanced)] += 1

    def delivered(self, recipients: int, seconds: float) -> None:
        """They have it, so long after it was received."""
        self.cells[DELIVERED] += recipients
        _observe(self.cells, DELIVERING, seconds)

    def deferred(self, enhanced: str) -> None:
        """A recipient waits for the next try."""
        self.cells[DEFERRED + _class_of(enhanced)] += 1

    def failed(self, enhanced: str, expired: bool) -> None:
        """A recipient does not get it."""
        self.cells[FAILED + (EXPIRED if expired else _class_of(enhanced))] += 1

    def attempted(self, seconds: float, tls: str) -> None:
        """A host was tried, for so long."""
        self.cells[TLS_OUT + _VERSIONS.get(tls[:7], 1)] += 1
        _observe(self.cells, ATTEMPTING, seconds)

    def committed(self, seconds: float) -> None:
        """A commit was made, synced, in whichever thread; there is one at a time."""
        _observe(self.cells, COMMITTING, seconds)

    def forget_gauges(self) -> None:
        """The process is no more, or has just begun: nothing is so now."""
        for cell in range(GAUGES):
            self.cells[cell] = 0.0


def make_rows(processes: int) -> int:
    """Memory for so many processes, all of it 0; its descriptor."""
    descriptor = os.memfd_create("mta-measures")
    os.ftruncate(descriptor, processes * SIZE * _OCTETS)
    return descriptor


def rows(descriptor: int, processes: int) -> list[Measures]:
    """The row of each process, in memory that all who have the descriptor share."""
    whole = memoryview(mmap.mmap(descriptor, processes * SIZE * _OCTETS)).cast("d")
    return [Measures(whole[number * SIZE : (number + 1) * SIZE]) for number in range(processes)]


def summed(all_rows: Sequence[Measures]) -> list[float]:
    """What all of them have counted together."""
    return [sum(numbers) for numbers in zip(*(one.cells for one in all_rows), strict=True)]


def _observe(cells: Cells, histogram: Histogram, seconds: float) -> None:
    start, bounds = histogram
    cells[start + bisect_left(bounds, seconds)] += 1
    cells[start + len(bounds) + 1] += seconds


def _class_of(enhanced: str) -> int:
    """Of "5.7.1": 7."""
    return _SUBJECTS.get(enhanced[2:3], 0) if enhanced[3:4] in (".", "") else 0
