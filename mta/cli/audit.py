"""Audit: `mta audit`, what has become of every recipient, and whether the sums match."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from mta.cli.common import Duration, NotDone, configured, with_json
from mta.cli.opening import configuration, desk_of
from mta.cli.output import print_json
from mta.cli.progress import bar
from mta.config.units import DAYS
from mta.operating.audit import Audit, Progress
from mta.operating.audit import audit as add_up
from mta.operating.words import count, moment, span

MOST_PRINTED = 20  # mismatches; --json has more


@click.command()
@configured
@click.option(
    "--since", metavar="TIME", type=Duration(), default=DAYS, help="How far to look back: 90m, 24h, 7d.  [default: 24h]"
)
@with_json
def audit(config_file: str | None, since: float, as_json: bool) -> None:
    """Say what has become of every recipient that mail came in for, and whether the sums match.

    Accepted, and made here as notices, must be as many as have ended and are queued, message by message. Exit status 1
    where they are not; each mismatch is named by its queue id.
    """
    config = configuration(config_file)
    now = time.time()
    with desk_of(config) as desk, _progress() as progress:
        books = add_up(desk, now - since, now, config.history, progress)
    if as_json:
        print_json(books.to_json())
    else:
        _print(books)
    if not books.matches:
        raise NotDone(f"the sums do not match: {count(books.found, 'mismatch', 'mismatches')}")


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """How far it has come between the first and the last of the numbers that it goes through."""
    with bar("adding up") as tell:
        yield None if tell is None else lambda come_to, first, last: tell(come_to - first, max(1, last - first))


def _print(books: Audit) -> None:
    click.echo(
        f"since {moment(books.since)}: {count(books.messages, 'message')} received, "
        f"{count(books.notices, 'notice')} made here"
    )
    queued = books.queued.total()
    failures = ", ".join(f"{name} {number:,}" for name, number in books.failures.most_common())
    states = ", ".join(f"{books.queued[state]:,} {state}" for state in ("active", "held") if books.queued[state])
    owed = [("accepted", books.accepted, ""), ("made here", books.made, "")]
    paid = [(end, books.ended[end], failures if end == "failed" else "") for end in books.to_json()["ended"]]
    _sum(owed)
    _sum([*paid, ("queued", queued, states)])
    if books.unknown:
        click.echo(f"last result unknown: {count(books.unknown, 'time')}; so many second copies there may be")
    if books.forgotten:
        click.echo(
            f"not judged: {count(books.forgotten, 'message')} that ended more than "
            f"{span(books.until - books.remembered)} ago (history)"
        )
    if books.uncounted:
        click.echo("the totals of the queue were not compared with what is in it: too much is written to it just now")
    for one in books.mismatches[:MOST_PRINTED]:
        click.echo(f"{one.id}  {one.text}")
    if books.found > MOST_PRINTED:
        click.echo(f"and {books.found - MOST_PRINTED:,} more")
    if books.matches:
        click.echo("the sums match")


def _sum(rows: list[tuple[str, int, str]]) -> None:
    """A column of recipients with its sum below."""
    for name, number, note in rows:
        click.echo(f"  {name:<10} {number:>12,}{f'  ({note})' if note else ''}")
    click.echo(f"  {'':<10} {sum(number for _, number, _ in rows):>12,}  recipients")
