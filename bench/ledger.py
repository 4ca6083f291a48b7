"""Ledger: what generator and sink wrote down about each message, in a file that both have mapped (see ledger.h)."""

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

TOTALS = struct.Struct("=7Q")
HEAD = 128
ENTRY = struct.Struct("=QQQIIII")


class Totals(NamedTuple):
    """What a sink has taken so far: messages, first copies, those without a Message-ID, those that the generator did
    not send; sessions, with TLS, resumed."""

    messages: int
    distinct: int
    unnamed: int
    unknown: int
    sessions: int
    secured: int
    resumed: int


class Entry(NamedTuple):
    """A message. Times are nanoseconds of the monotonic clock, 0 for never. arrivals: copies at the sink. reply: the
    code of the last one, 0 where the connection broke. octets: of its body. altered: copies with another body."""

    mailed: int
    accepted: int
    arrived: int
    arrivals: int
    reply: int
    octets: int
    altered: int


class Ledger:
    """A new file, with room for this many messages; only what is written takes space."""

    def __init__(self, file: Path, room: int = 1_000_000) -> None:
        self.file = file
        self._room = room
        self._used = 0
        with file.open("w+b") as opened:
            opened.truncate(HEAD + room * ENTRY.size)
            self._map = mmap.mmap(opened.fileno(), 0)

    def reserve(self, count: int) -> int:
        """The number of the first of so many messages that have not been sent yet."""
        first, self._used = self._used, self._used + count
        if self._used > self._room:
            raise SystemExit(f"bench: more than {self._room} messages for one relay; ask for fewer")
        return first

    def totals(self) -> Totals:
        return Totals(*TOTALS.unpack_from(self._map))

    def entries(self, first: int, count: int) -> list[Entry]:
        """The entries of these messages."""
        begin = HEAD + first * ENTRY.size
        octets = self._map[begin : begin + count * ENTRY.size]
        return [Entry(*fields) for fields in ENTRY.iter_unpack(octets)]


def faults(entries: list[Entry], before: Totals, after: Totals) -> str:
    """What makes a run void: "" or "3 lost, 1 doubled". Lost is what was accepted and never came."""
    counts = {
        "lost": sum(1 for one in entries if one.arrivals == 0 and one.reply // 100 == 2),
        "doubled": sum(one.arrivals - 1 for one in entries if one.arrivals > 1),
        "altered": sum(one.altered for one in entries),
        "refused": sum(1 for one in entries if one.reply >= 400),
        "broken off": sum(1 for one in entries if one.reply == 0),
        "without a Message-ID": after.unnamed - before.unnamed,
        "that nobody sent": after.unknown - before.unknown,
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)
