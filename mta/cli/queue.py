"""Queue: `mta queue`, what is in the queue, the oldest first, with the totals at the end."""

import shlex
import time
from typing import Final

import click

from mta.cli.common import configured, with_json
from mta.cli.opening import configuration, desk_of
from mta.cli.output import on_terminal, print_columns, print_json
from mta.message.envelope import format_queue_id
from mta.message.printable import printable
from mta.operating.listing import queue_to_json
from mta.operating.words import count, path, size, span
from mta.spool.listing import Held, QueuedMessage, QueuedRecipient, Totals
from mta.spool.matching import Selection

STATES: Final = ("ready", "active", "deferred", "held")
HEADER: Final = ("ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATE", "NEXT", "LAST REPLY")
MOST_HELD: Final = 5  # destinations that are named below the totals, where something is held for them
STYLES: Final = {"ready": "", "active": "cyan", "deferred": "yellow", "held": "magenta"}


@click.command()
@configured
@click.option("--to", metavar="D", help="Only recipients of this domain, address or destination.")
@click.option("--from", "sender", metavar="A", help='Only mail from this address or domain; "<>": notices.')
@click.option("--state", type=click.Choice(STATES), help="Only recipients in this state.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Messages to list; 0: totals only."
)
@with_json
def queue(
    config_file: str | None, to: str | None, sender: str | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List what is in the queue, the oldest first, and the totals of all of it.

    A recipient is ready (due now), active (being tried), deferred (waiting for the next try) or held.
    """
    with desk_of(configuration(config_file)) as desk:
        messages = desk.queue(Selection(to=to, sender=sender), state, limit) if limit else []
        totals = desk.totals()
        held = desk.held() if totals.held and not as_json else []
    if as_json:
        print_json(queue_to_json(messages, totals))
        return
    if messages and on_terminal():
        _print_table(messages, time.time())
    elif messages:
        _print_lines(messages, time.time())
    click.echo(_totals(totals, len(messages), limit))
    for line in _alarms(held):
        click.echo(line)


def _totals(totals: Totals, listed: int, limit: int) -> str:
    now = [f"{number:,} {state}" for number, state in ((totals.active, "active"), (totals.held, "held")) if number]
    text = f"{count(totals.messages, 'message')} for {count(totals.recipients, 'recipient')}"
    text += f" ({', '.join(now)})" if now else ""
    text += f", {totals.octets:,} octets"
    return f"{text}; {listed:,} listed (--limit)" if limit and listed == limit < totals.messages else text


def _alarms(held: list[Held]) -> list[str]:
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
    """A table that fits 80 columns, so that sender, recipient and reply stand one below the other."""
    from rich.console import Console
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
            about = Text(f"to {path(recipient.address)}")
            if recipient.last_reply:
                about.append(f"\n{printable(recipient.last_reply)}", "dim")
            table.add_row("", "", "", about, Text(recipient.state, STYLES[recipient.state]), _next(recipient, now))
    Console(highlight=False).print(table)
