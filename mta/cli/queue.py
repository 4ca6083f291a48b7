"""Queue: `mta queue`, what is in the queue, the oldest first, with the totals at the end."""

import shlex
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from mta.cli.common import configured, to_destination, with_json
from mta.cli.opening import configuration, desk_of
from mta.cli.output import on_terminal, print_columns, print_json
from mta.message.envelope import format_queue_id
from mta.message.printable import printable
from mta.operating.listing import queue_to_json
from mta.operating.watching import key
from mta.operating.words import count, path, size, span
from mta.spool.listing import Held, QueuedMessage, QueuedRecipient, Totals
from mta.spool.matching import Selection

if TYPE_CHECKING:  # a listing for a pipe is made without loading it
    from rich.table import Table

STATES: Final = ("ready", "active", "deferred", "held")
HEADER: Final = ("ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATE", "NEXT", "LAST REPLY")
MOST_HELD: Final = 5  # destinations that are named below the totals, where something is held for them
MARKS: Final = {"new": ("+", "bold green"), "changed": ("*", "bold")}
STYLES: Final = {"ready": "", "active": "cyan", "deferred": "yellow", "held": "magenta"}


@click.command()
@configured
@click.option(
    "--to",
    metavar="D",
    help="Only recipients of this domain, address or destination.",
    shell_complete=to_destination,
)
@click.option("--from", "sender", metavar="A", help='Only mail from this address or domain; "<>": notices.')
@click.option("--state", type=click.Choice(STATES), help="Only recipients in this state.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Messages to list; 0: totals only."
)
@click.option(
    "--watch",
    "every",
    metavar="[SECONDS]",
    is_flag=False,
    flag_value="2",
    type=click.FloatRange(min=0.1),
    help="Show it again and again, every 2 seconds unless told, until ctrl-C.",
)
@with_json
def queue(
    config_file: str | None,
    to: str | None,
    sender: str | None,
    state: str | None,
    limit: int,
    every: float | None,
    as_json: bool,
) -> None:
    """List what is in the queue, the oldest first, and the totals of all of it.

    A recipient is ready (due now), active (taken up for delivery), deferred (waiting for the next try) or
    held.
    """
    selection = Selection(to=to, sender=sender)
    if every is not None:
        if as_json:
            raise click.UsageError("--watch is for people; ask for --json as often as you want it.")
        from mta.cli.watch import watch

        watch(configuration(config_file), selection, state, limit, every)
        return
    with desk_of(configuration(config_file)) as desk:
        messages = desk.queue(selection, state, limit) if limit else []
        totals = desk.totals()
        held = desk.held() if totals.held and not as_json else []
    if as_json:
        print_json(queue_to_json(messages, totals))
        return
    if messages and on_terminal():
        _print_table(messages, time.time())
    elif messages:
        _print_lines(messages, time.time())
    listed = f"; {len(messages):,} listed (--limit)" if limit and len(messages) == limit < totals.messages else ""
    click.echo(f"{totals_in_words(totals)}{listed}")
    for line in alarms(held):
        click.echo(line, err=True)  # whoever reads what is listed can count on the totals being the last of it


def totals_in_words(totals: Totals) -> str:
    """What is in the queue in all."""
    now = [f"{number:,} {state}" for number, state in ((totals.active, "active"), (totals.held, "held")) if number]
    text = f"{count(totals.messages, 'message')} for {count(totals.recipients, 'recipient')}"
    text += f" ({', '.join(now)})" if now else ""
    return f"{text}, {totals.octets:,} octets"


def alarms(held: list[Held]) -> list[str]:
    """What is held after something was said, and how to go on once that has been mended."""
    lines = [
        f"held: {count(one.recipients, 'recipient')} for {printable(one.destination)}: {printable(one.last_reply)}; "
        f"correct it, then: mta release --to {shlex.quote(printable(one.destination))}"
        for one in held[:MOST_HELD]
    ]
    others = len(held) - MOST_HELD
    return [*lines, f"held: for {count(others, 'other destination')}, too: --state held"] if others > 0 else lines


def _next(recipient: QueuedRecipient, now: float) -> str:
    """When it is tried next."""
    if recipient.next_attempt is None:
        return "-"
    wait = recipient.next_attempt - now
    return span(wait) if wait > 0 else "now"


def _print_lines(messages: list[QueuedMessage], now: float) -> None:
    """A line for each recipient, for grep and awk."""
    rows = [
        (
            format_queue_id(one.id),
            span(now - one.created),
            size(one.size),
            path(one.sender),
            path(recipient.address),
            recipient.state,
            _next(recipient, now),
            printable(recipient.last_reply) or "-",
        )
        for one in messages
        for recipient in one.recipients
    ]
    print_columns(HEADER, rows, right=frozenset({1, 2, 6}))


def _print_table(messages: list[QueuedMessage], now: float) -> None:
    from rich.console import Console

    Console(highlight=False).print(table_of(messages, now))


def table_of(
    messages: list[QueuedMessage], now: float, marks: Mapping[tuple[int, str, str], str] | None = None
) -> "Table":
    """A table that fits 80 columns, so that sender, recipient and reply stand one below the other.

    marks: what has changed, by recipient (`mta.operating.watching`); None for a listing that stands alone.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    table.add_column("ID", no_wrap=True, min_width=12)
    for name in ("Age", "Size"):
        table.add_column(name, justify="right", no_wrap=True, min_width=4)
    table.add_column("Sender, recipient, last reply", ratio=1, overflow="fold")
    table.add_column("State", no_wrap=True, min_width=8)
    table.add_column("Next", justify="right", no_wrap=True, min_width=4)
    for one in messages:
        table.add_row(format_queue_id(one.id), span(now - one.created), size(one.size), Text(path(one.sender)))
        for recipient in one.recipients:
            mark, style = MARKS.get((marks or {}).get(key(one, recipient), ""), ("", ""))
            about = Text(f"to {path(recipient.address)}", style)
            if recipient.last_reply:
                about.append(f"\n{printable(recipient.last_reply)}", "dim")
            state = Text(recipient.state, STYLES[recipient.state])
            table.add_row(Text(mark, style, justify="right"), "", "", about, state, _next(recipient, now))
    return table
