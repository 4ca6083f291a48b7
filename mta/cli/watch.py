"""Watch: `mta queue --watch`, the listing again and again, with what has changed marked, until ctrl-C."""

import os
import time
from typing import Final

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from mta.cli.opening import desk_of
from mta.cli.output import on_terminal
from mta.cli.queue import alarms, table_of, totals_in_words
from mta.config.model import Config
from mta.operating.watching import Look, Seen, Watching
from mta.operating.words import count, moment
from mta.spool.listing import Held
from mta.spool.matching import Selection

_CANNOT: Final = ("dumb", "unknown")  # kinds of terminals that have no second screen


def watch(config: Config, selection: Selection, state: str | None, limit: int, seconds: float) -> None:
    """Show the queue until ctrl-C, which is no error. Raises `click.UsageError` where there is no terminal."""
    if not on_terminal() or os.environ.get("TERM", "") in _CANNOT:
        raise click.UsageError("--watch is for a terminal that can be written all over; without one, use --json.")
    console = Console(highlight=False)
    watching = Watching()
    try:
        seen, held = _look(
            config, watching, selection, state, limit
        )  # what is wrong is said before the screen is taken
        with Live(_screen(seen, held), console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.refresh()
                time.sleep(seconds)
                seen, held = _look(config, watching, selection, state, limit)
                live.update(_screen(seen, held))
    except KeyboardInterrupt:
        return


def _look(
    config: Config, watching: Watching, selection: Selection, state: str | None, limit: int
) -> tuple[Seen, list[Held]]:
    """Look now. The queue is opened each time, since workers' files come and go, and so do workers."""
    with desk_of(config) as desk:
        now = time.time()
        messages = desk.queue(selection, state, limit) if limit else []
        totals = desk.totals()
        look = Look(now, messages, totals, desk.ended(watching.since(now)))
        return watching.see(look), desk.held() if totals.held else []


def _screen(seen: Seen, held: list[Held]) -> Group:
    """The totals and the rates first, where they stand still, and below them as much of the queue as there is room."""
    look, rates = seen.look, seen.rates
    speed = f"accepted {rates.accepted:.1f}/s, ended {rates.ended:.1f}/s" if rates is not None else "rates in a moment"
    gone = f"; {count(seen.gone, 'recipient')} gone" if seen.gone else ""
    heading = [
        Text(f"{moment(look.at)}  {totals_in_words(look.totals)}", "bold", no_wrap=True),
        Text(f"{speed}{gone}; ctrl-C ends it", no_wrap=True),
        *(Text(line, "magenta", no_wrap=True) for line in alarms(held)),
        Text(""),
    ]
    return Group(*heading, table_of(look.messages, look.at, seen.marks))
