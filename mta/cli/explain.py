"""Explain: `mta explain`, what would become of a mail, and why. It asks the DNS, and sends nothing."""

import time
from contextlib import ExitStack

import click

from mta.cli.common import NotDone, configured, with_json
from mta.cli.opening import configuration, desk_of
from mta.cli.output import print_json, print_lines
from mta.config.model import Config
from mta.config.problems import ConfigError
from mta.operating.asking import ask
from mta.operating.explain import Look
from mta.operating.explained import explanation_to_json, explanation_to_lines
from mta.operating.explaining import explain_at_once


@click.command()
@configured
@click.argument("address")
@click.option("--from", "sender", metavar="A", help='Its sender; "<>": the null reverse-path. Else an ordinary one.')
@click.option("--client", metavar="IP", help='Who hands it over; "unix": over a Unix socket. Else 127.0.0.1.')
@click.option("--account", metavar="NAME", help="Who has logged in.")
@click.option("--listener", metavar="ADDRESS", help="Where it comes in, as in listen. Else the first that fits.")
@with_json
def explain(
    config_file: str | None,
    address: str,
    sender: str | None,
    client: str | None,
    account: str | None,
    listener: str | None,
    as_json: bool,
) -> None:
    """Tell what would become of a mail to ADDRESS, and why. Nothing is sent.

    Whether it is accepted, who gets it, by which route, at which hosts it is tried and when; with the file and the line
    that says so. The DNS is asked as the relay asks it.
    """
    config = configuration(config_file)
    try:
        question = ask(config, address, sender, client, account, listener)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except ConfigError as error:
        raise NotDone(str(error), prefix="") from None
    now = time.time()
    with ExitStack() as open_files:
        told = explain_at_once(config, question, now, _queue(config, open_files))
    if as_json:
        print_json(explanation_to_json(told))
    else:
        print_lines(explanation_to_lines(told, now))


def _queue(config: Config, open_files: ExitStack) -> Look | None:
    """A look into the queue. Who may not read that is told so, and everything else."""
    try:
        return open_files.enter_context(desk_of(config)).outlook
    except NotDone as error:
        click.echo(f"mta: how things stand in the queue is not known: {error.message}", err=True)
        return None
