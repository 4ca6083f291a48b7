"""Output: how the commands put things: times, sizes and numbers for people, text from outside made harmless.

What goes to a terminal is laid out for its width; what goes anywhere else is plain lines of any length.
"""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import click

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


def count(number: int, thing: str) -> str:
    """A number of things: "1 message", "1,234 messages"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def print_json(value: object) -> None:
    """A value as JSON on one line. Whatever is not ASCII is escaped, so a terminal comes to no harm."""
    click.echo(json.dumps(value, separators=(",", ":")))


def print_columns(header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> None:
    """Rows in columns as wide as what is in them, for pipes. right: the columns that are set flush right."""
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    set_cell: list[Callable[[str, int], str]] = [str.rjust if n in right else str.ljust for n in range(len(widths))]
    lines = (
        "  ".join(put(cell, width) for put, cell, width in zip(set_cell, row, widths, strict=True)) for row in table
    )
    click.echo("\n".join(line.rstrip() for line in lines))


def print_lines(lines: Sequence[Line]) -> None:
    """Heads in one column, texts in another, which are wrapped on a terminal alone."""
    if on_terminal():
        _print_wrapped(lines)
        return
    width = max(len(line.head) for line in lines)
    for head, text, more, _ in lines:
        click.echo("\n".join([f"{head:{width}}  {text}", *(f"    {line}" for line in more)]))


def on_terminal() -> bool:
    """Does standard output go to a terminal?"""
    return sys.stdout.isatty()


def _print_wrapped(lines: Sequence[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for head, text, more, style in lines:
        told = Text(text, style)
        for line in more:
            told.append(f"\n  {line}", "dim")
        table.add_row(Text(head), told)
    Console(highlight=False).print(table)
