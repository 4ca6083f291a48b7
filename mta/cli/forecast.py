"""Forecast: `mta forecast`, when mail in the queue is going to be tried, warned about and returned, and what a new
configuration would do to it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from mta.cli.common import NotDone, QueueId, id_of, with_json
from mta.cli.opening import configuration, desk_of
from mta.cli.output import on_terminal, print_columns, print_json, print_lines
from mta.cli.progress import bar
from mta.config.model import Config
from mta.message.envelope import format_queue_id
from mta.message.printable import printable
from mta.message.timeline import Event
from mta.operating.forecast import ASSUMPTION, MOST, Forecast, Prospect, Rerouted, changes, reroutes
from mta.operating.forecast import forecast as look_ahead
from mta.operating.story import tell
from mta.operating.words import Line, count, moment, path, span

MOST_WAYS: Final = 20  # that are printed
HEADER: Final = ("ID", "SENDER", "RECIPIENT", "TRIES", "NEXT", "WARNED", "END")


@click.command()
@click.argument("number", metavar="[ID]", required=False, type=QueueId())
@click.option(
    "--config",
    "-c",
    "new_file",
    metavar="FILE",
    type=click.Path(readable=False),
    help="A new configuration to try on the queue.",
)
@click.option(
    "--old",
    "old_file",
    metavar="FILE",
    type=click.Path(readable=False),
    help="The configuration in force; else $MTA_CONFIG, etc/mta.yml, /etc/mta/mta.yml.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=MOST, show_default=True, help="Messages to look at, the oldest."
)
@with_json
def forecast(number: int | None, new_file: str | None, old_file: str | None, limit: int, as_json: bool) -> None:
    """Run the clock forward on a copy of the queue: when each mail is tried, warned about, and returned.

    With --config: what a new configuration would do to what is in the queue now, before and after. Every try is taken
    to fail as the last one did. The queue itself is not touched.
    """
    old, new = _configurations(old_file, new_file)
    with desk_of(old) as desk, bar("running the clock forward") as progress:
        found = look_ahead(desk, [old] if new is None else [old, new], time.time(), number, limit, progress)
        rerouted, whole = reroutes(desk, new) if new is not None and number is None else ([], 0)
    if number is not None and not found[0].prospects:
        raise NotDone(f"not in the queue: {id_of(number)}")
    if new is not None:
        if as_json:
            print_json(_changes_to_json(found[0], found[1], old, new, rerouted))
            return
        if number is None:
            _tell_rerouted(rerouted, whole)
        _tell_changes(found[0], found[1])
    elif as_json:
        print_json(found[0].to_json())
    elif number is not None:
        _tell_one(found[0])
    else:
        _tell_all(found[0])


def _configurations(old_file: str | None, new_file: str | None) -> tuple[Config, Config | None]:
    """The one in force, and the new one where there are two to compare."""
    if new_file is None:
        return configuration(old_file), None
    new = configuration(new_file)
    try:
        old = configuration(old_file)
    except NotDone:
        if old_file is not None:
            raise
        click.echo(f"mta: no other configuration is found, so {new_file} counts as the one in force (--old)", err=True)
        return new, None
    if Path(old.sources.file).resolve() == Path(new.sources.file).resolve():
        return new, None
    if old.spool != new.spool:
        click.echo(f"mta: the queue is the one in {old.spool}; {new_file} has its own in {new.spool}", err=True)
    return old, new


def _tell_all(found: Forecast) -> None:
    """A line for each recipient."""
    click.echo(f"{ASSUMPTION}:")
    if found.prospects and on_terminal():
        _print_table(found.prospects)
    elif found.prospects:
        print_columns(HEADER, [_row(one) for one in found.prospects], right=frozenset({3}))
    _tell_left_out(found)


def _tell_left_out(found: Forecast) -> None:
    if found.left_out:
        click.echo(f"{count(found.left_out, 'message')} left out, the newest ones (--limit)")


def _print_table(prospects: list[Prospect]) -> None:
    """A table that fits 80 columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    table.add_column("ID", no_wrap=True, min_width=12)
    table.add_column("Sender, recipient", ratio=1, overflow="fold")
    table.add_column("Tries", justify="right", no_wrap=True)
    table.add_column("Outlook", no_wrap=True, min_width=26)
    for one in prospects:
        outlook = [f"next   {_minute(one.tries[0])}"] if one.tries else []
        outlook += [f"warned {_minute(one.warned)}"] if one.warned is not None else []
        whom = Text(f"{path(one.sender)}\nto {path(one.now.address)}")
        table.add_row(format_queue_id(one.message), whom, str(len(one.tries)), Text("\n".join([*outlook, _end(one)])))
    Console(highlight=False).print(table)


def _row(one: Prospect) -> tuple[str, ...]:
    following = next((at for at in one.tries), None)
    return (
        format_queue_id(one.message),
        path(one.sender),
        path(one.now.address),
        str(len(one.tries)),
        "-" if following is None else _minute(following),
        "-" if one.warned is None else _minute(one.warned),
        _end(one),
    )


def _end(one: Prospect) -> str:
    if one.now.wish:
        return f"as an operator asked, when its try has ended: {printable(one.now.wish)}"
    if one.now.state == "held":
        return "held until it is released"
    if one.ended is None:
        return "waits on"
    how = {"failed": _failure(one)}.get(one.end, one.end)
    return f"{how} {_minute(one.ended)}"


def _failure(one: Prospect) -> str:
    if not one.is_told:
        return "fails, nobody is told"
    return "returned" if one.reverse_path else "fails, the postmaster is told"


def _minute(at: float) -> str:
    """A time to the minute, in UTC: what is to come is not known better."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _tell_one(found: Forecast) -> None:
    """All that is going to happen to one message, recipient by recipient."""
    first = found.prospects[0]
    recipients = [
        Line("to", f"{path(one.now.address)}, {one.now.state}: {_route(one)}; {_end(one)}") for one in found.prospects
    ]
    head = Line(format_queue_id(first.message), f"from {path(first.sender)}")
    print_lines([head, Line("assumed", ASSUMPTION), *recipients])
    for one in found.prospects:
        if one.events:
            click.echo()
            print_lines([_tell(event, one, found.at) for event in one.events])


def _tell(event: Event, one: Prospect, now: float) -> Line:
    if event.kind == "warned":
        text = f"{path(one.reverse_path)} is warned: {path(one.now.address)} has not been reached yet"
        return Line(moment(event.at), text, style="yellow")
    told = tell(event)
    after = f" (in {span(event.at - now)})"
    if event.kind == "failed":
        whom = printable(one.reverse_path) or "the postmaster"  # of a notice that cannot be delivered
        after += f"; {whom} is told" if one.is_told else "; nobody is told"
    return Line(told.head, told.text + after, style=told.style)


def _route(one: Prospect) -> str:
    if one.way.is_refused:
        return f"refused with {printable(one.way.to)} ({printable(one.way.why)})"
    return f"to {printable(one.way.to)} ({printable(one.way.why)})"


def _tell_rerouted(rerouted: list[Rerouted], whole: int) -> None:
    """What the new configuration does to the routes of all that is in the queue."""
    number = sum(one.number for one in rerouted)
    click.echo(f"of {count(whole, 'recipient')} in the queue {number:,} would go another way{':' if number else ''}")
    for one in rerouted[:MOST_WAYS]:
        to = f"refused with {printable(one.after.to)}" if one.after.is_refused else printable(one.after.to)
        click.echo(f"  {one.number:>9,}  {printable(one.before)} -> {to} ({printable(one.after.why)})")
    if len(rerouted) > MOST_WAYS:
        click.echo(f"  and {count(len(rerouted) - MOST_WAYS, 'other way')} (--json has all of them)")


def _changes_to_json(
    before: Forecast, after: Forecast, old: Config, new: Config, rerouted: list[Rerouted]
) -> dict[str, Any]:
    found = changes(before, after)
    return {
        "at": moment(before.at),
        "assumption": ASSUMPTION,
        "before": old.sources.file,
        "after": new.sources.file,
        "routes": [one.to_json() for one in rerouted],
        "changes": [one.to_json() for one in found],
        "unchanged": len(before.prospects) - len(found),
        "left_out": before.left_out,
    }


def _tell_changes(before: Forecast, after: Forecast) -> None:
    """What is another one under the new configuration."""
    found = changes(before, after)
    click.echo(f"{ASSUMPTION}:")
    for change in found:
        head = f"{format_queue_id(change.before.message)}  {path(change.before.now.address)}"
        click.echo(f"{head}\n    before  {_outlook(change.before)}\n    after   {_outlook(change.after)}")
    unchanged = len(before.prospects) - len(found)
    click.echo(f"{count(len(found), 'recipient')} would fare otherwise, {unchanged:,} would not")
    _tell_left_out(before)


def _outlook(one: Prospect) -> str:
    tries = f"{count(len(one.tries), 'try', 'tries')}, the next one {_minute(one.tries[0])}" if one.tries else "no try"
    warned = f"warned {_minute(one.warned)}, " if one.warned is not None else ""
    return f"{_route(one)}: {tries}, {warned}{_end(one)}"
