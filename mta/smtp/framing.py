"""Framing: from octets, cut in any way, to command lines. Only CRLF ends a line, unless a listener forgives LF."""

from enum import Enum

from mta.smtp import limits

_HEAD = 64  # octets


class LineFault(Enum):
    """What can be wrong with a line before anybody reads it."""

    TOO_LONG = "longer than a command line may be; it has been skipped"
    ENDLESS = "so long that its end is not waited for"
    BARE_LF = "ended by LF alone"


class LineReader:
    """Holds octets that have arrived and gives out the command lines among them, or all of them as content.

    fix: LF alone ends a line too; otherwise it is a fault. longest: octets that a line may have, its end included.
    head: how the last over-long line began, in as many octets as tell what it announces.
    Time and memory are in proportion to what arrives, for every way of cutting: lines are found in place, and an
    over-long one is not kept.
    """

    __slots__ = ("_at", "_fix", "_octets", "_skipped", "head", "longest")

    def __init__(self, fix: bool, longest: int = limits.ACCEPTED_COMMAND_LINE) -> None:
        self._fix = fix
        self.longest = longest
        self.head = b""
        self._octets = b""
        self._at = 0  # what comes before has been given out
        self._skipped = 0  # octets of an over-long line that are no longer held

    def __len__(self) -> int:
        """How many octets wait here."""
        return len(self._octets) - self._at

    def receive(self, octets: bytes) -> None:
        """Some more octets."""
        if self._at < len(self._octets):
            octets = self._octets[self._at :] + octets
        self._octets = octets
        self._at = 0

    def next_line(self) -> bytes | LineFault | None:
        """The next line without its end, a fault in its place, or None: its end has not arrived yet."""
        octets, start = self._octets, self._at
        if start == len(octets):
            return None
        end = octets.find(b"\n", start)
        if end < 0:
            return self._without_end()
        self._at = end + 1
        if end - start < self.longest and octets[end - 1] == 0x0D and end > start and not self._skipped:
            return octets[start : end - 1]  # as nearly always
        skipped, self._skipped = self._skipped, 0
        length = skipped + end + 1 - start
        if length > limits.ENDLESS_LINE:
            return LineFault.ENDLESS
        if end > start and octets[end - 1] == 0x0D:
            end -= 1
        elif not self._fix:
            return LineFault.BARE_LF
        if length <= self.longest:
            return octets[start:end]
        if not skipped:
            self.head = octets[start : start + _HEAD]
        return LineFault.TOO_LONG

    def take(self, most: int) -> bytes:
        """What waits here, as it arrived, up to so many octets."""
        octets = self._octets[self._at : self._at + most]
        self._at += len(octets)
        return octets

    def take_all(self) -> bytes:
        """All that waits here, as it arrived."""
        octets = self._octets[self._at :]
        self.clear()
        return octets

    def clear(self) -> None:
        """Forget all that waits here."""
        self._octets = b""
        self._at = 0
        self._skipped = 0

    def _without_end(self) -> LineFault | None:
        """A line whose end is not here yet: of an over-long one only the last octet is kept, in case it is the CR."""
        self._octets = self._octets[self._at :]
        self._at = 0
        length = self._skipped + len(self._octets)
        if length > limits.ENDLESS_LINE:
            self.clear()
            return LineFault.ENDLESS
        if length > self.longest:
            if not self._skipped:
                self.head = self._octets[:_HEAD]
            self._octets = self._octets[-1:]
            self._skipped = length - 1
        return None
