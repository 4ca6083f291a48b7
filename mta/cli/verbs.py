"""Verbs: `mta retry`, `hold`, `release`, `bounce` and `drop`, what an operator can do to mail in the queue.

On a message that is being tried they take effect when the try has ended, and what was delivered stays delivered; on
one that is claimed and waits in the relay's memory for its turn, within a second. The queue tells no difference.
"""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Final, NamedTuple

import click

from mta.cli.common import NotDone, QueueId, configured, id_of, to_destination
from mta.cli.opening import configuration, desk_of
from mta.message.printable import printable
from mta.operating.bouncing import composing
from mta.operating.words import count
from mta.spool.desk import Desk
from mta.spool.matching import EVERYTHING, Selection

MOST_COUNTED: Final = 10_000  # messages; that there are more is said without counting them
_LONGEST_ANSWER: Final = 80  # characters


class Meant(NamedTuple):
    """What of the queue a command line means. active: recipients who were taken up for delivery.

    missing: ids that are not there. more: there is more of it than was counted.
    """

    messages: int
    recipients: int
    active: int
    missing: tuple[int, ...] = ()
    more: bool = False

    def __str__(self) -> str:
        messages = count(self.messages, "message")
        return f"more than {messages}" if self.more else f"{count(self.recipients, 'recipient')} of {messages}"


Verb = Callable[..., None]


def selecting(verb: Verb) -> Callable[..., None]:
    """Gives a verb its ways to say which mail is meant, of which exactly one has to be used."""

    @configured
    @click.argument("numbers", metavar="[ID]...", nargs=-1, type=QueueId())
    @click.option(
        "--to",
        metavar="D",
        help="All mail for this domain, address or destination.",
        shell_complete=to_destination,
    )
    @click.option("--all", "everything", is_flag=True, help="All mail in the queue.")
    @wraps(verb)
    def with_selection(
        config_file: str | None, numbers: tuple[int, ...], to: str | None, everything: bool, **more: bool
    ) -> None:
        if bool(numbers) + (to is not None) + everything != 1:
            raise click.UsageError("Say which mail is meant, in one way: by queue ids, with --to, or with --all.")
        verb(config_file, Selection(ids=frozenset(numbers) if numbers else None, to=to), **more)

    return with_selection


sure = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command()
@selecting
def retry(config_file: str | None, selection: Selection) -> None:
    """Have mail tried at once, at destinations that are paused, too. What is held stays held."""
    _carry_out(Desk.retry, config_file, selection, "retried", "it is held; release it first")


@click.command()
@selecting
def hold(config_file: str | None, selection: Selection) -> None:
    """Keep mail in the queue without trying it, until it is released."""
    _carry_out(Desk.hold, config_file, selection, "held", "it is held already")


@click.command()
@selecting
def release(config_file: str | None, selection: Selection) -> None:
    """End a hold: the mail is due at once."""
    _carry_out(Desk.release, config_file, selection, "released", "it is not held")


@click.command()
@selecting
@sure
def bounce(config_file: str | None, selection: Selection, yes: bool) -> None:
    """Return mail to its senders as failed, with the notice that a failure has. Asks first."""
    config = configuration(config_file)
    with desk_of(config) as desk:
        meant = _meant(desk, selection)
        _ask(f"Return {meant} to the senders?", yes)
        _report(
            "bounced",
            desk.bounce(selection, composing(config, desk, lambda text: click.echo(f"mta: {text}", err=True))),
            meant,
        )


@click.command()
@selecting
@sure
def drop(config_file: str | None, selection: Selection, yes: bool) -> None:
    """Remove mail from the queue; nobody is told. Asks first."""
    with desk_of(configuration(config_file)) as desk:
        meant = _meant(desk, selection)
        _ask(f"Remove {meant}, and tell nobody?", yes)
        _report("dropped", desk.drop(selection), meant)


def _carry_out(
    verb: Callable[[Desk, Selection], int], config_file: str | None, selection: Selection, done: str, otherwise: str
) -> None:
    """Do what needs no asking. done: what it is then; otherwise: why nothing was done."""
    with desk_of(configuration(config_file)) as desk:
        meant = _meant(desk, selection)
        _report(done, verb(desk, selection), meant, otherwise)


def _meant(desk: Desk, selection: Selection) -> Meant:
    """Look first. Raises `NotDone` where nothing is meant."""
    if selection == EVERYTHING:
        totals = desk.totals()
        meant = Meant(totals.messages, totals.recipients, totals.active)
    else:
        numbers = selection.ids or frozenset()
        found = desk.queue(selection, limit=len(numbers) or MOST_COUNTED)
        missing = numbers - {one.id for one in found}
        states = [recipient.state for one in found for recipient in one.recipients]
        more = not numbers and len(found) == MOST_COUNTED
        meant = Meant(len(found), len(states), states.count("active"), tuple(sorted(missing)), more)
    if not meant.recipients:
        _report_missing(meant.missing)
        whom = printable(selection.to or "")
        raise NotDone(f"no mail in the queue is for {whom}" if selection.to is not None else "the queue is empty")
    return meant


def _ask(question: str, yes: bool) -> None:
    """Go on after a yes: --yes, or an answer from the terminal or from what another program writes."""
    if yes:
        return
    if sys.stdin is not None and sys.stdin.isatty():
        is_sure = click.confirm(question, err=True)
    else:
        click.echo(f"{question} [y/N]: ", nl=False, err=True)
        answer = sys.stdin.readline(_LONGEST_ANSWER) if sys.stdin is not None else ""
        click.echo(err=True)
        if not answer:
            raise click.UsageError("This asks first, and nobody is there to answer; --yes answers for you.")
        is_sure = answer.strip().lower() in ("y", "yes")
    if not is_sure:
        raise NotDone("nothing was done")


def _report(done: str, recipients: int, meant: Meant, otherwise: str = "it has left the queue meanwhile") -> None:
    """Say what was done. Raises `NotDone` where it was nothing, or where some of it was not there."""
    if recipients == meant.recipients and not meant.more:
        click.echo(f"{done} {meant}")
    elif recipients:
        click.echo(f"{done} {count(recipients, 'recipient')}")
    else:
        raise NotDone(f"nothing was {done}: {otherwise}")
    if meant.active:
        click.echo(
            f"{count(meant.active, 'recipient')} taken up for delivery: it takes effect when the try has ended, "
            "within a second if that has not begun"
        )
    _report_missing(meant.missing)


def _report_missing(numbers: Sequence[int]) -> None:
    if numbers:
        names = ", ".join(map(id_of, numbers))
        raise NotDone(f"not in the queue: {names}")


def _warn(text: str) -> None:
    click.echo(f"mta: {text}", err=True)
