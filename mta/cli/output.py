"""Output: how the commands print: columns, a head beside a text, JSON.

What goes to a terminal is laid out for its width; what goes anywhere else is plain lines of any length.
"""

import json
import sys
from collections.abc import Callable, Sequence

import click

from mta.operating.words import Line


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
    return sys.stdout is not None and sys.stdout.isatty()  # it may be closed


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
