"""Words: how times, sizes and numbers are put for people, and text from outside made harmless."""

from datetime import UTC, datetime
from typing import NamedTuple

from mta.message.printable import printable


class Line(NamedTuple):
    """A short head, a text beside it, and more lines below that. style: how rich is to show the text."""

    head: str
    text: str
    more: tuple[str, ...] = ()
    style: str = ""


def path(address: str) -> str:
    """A reverse-path or forward-path, the null one as "<>"."""
    return printable(address) or "<>"


def moment(at: float) -> str:
    """A time in seconds since 1970, in UTC to the millisecond, as the log has it: "2026-11-23T06:43:12.123Z"."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span(seconds: float) -> str:
    """A duration in the largest unit that there are two of: "45s", "90m", "47h", "3d"."""
    for unit, letter in (86400, "d"), (3600, "h"), (60, "m"):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f}{letter}"
    return f"{max(seconds, 0):.0f}s"


def size(octets: int) -> str:
    """A number of octets, in four characters or so: "812", "1.2K", "34M"."""
    amount, unit = float(octets), ""
    for next_unit in "KMGT":
        if amount < 1000:
            break
        amount, unit = amount / 1024, next_unit
    return f"{amount:.1f}{unit}" if unit and amount < 9.95 else f"{amount:.0f}{unit}"


def count(number: int, thing: str, things: str = "") -> str:
    """A number of things: "1 message", "1,234 messages". things: the plural, where it is not made with an s."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
