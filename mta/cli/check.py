"""Check: `mta check`, what is wrong with a configuration, or else what is dangerous in it."""

import resource

import click

from mta.cli.common import NotDone, configured
from mta.cli.opening import configuration
from mta.cli.output import count
from mta.config.dangers import dangers
from mta.config.logging_in import check_files
from mta.config.problems import ConfigError


@click.command()
@configured
def check(config_file: str | None) -> None:
    """Read the configuration, and say what is wrong with it, or else what is dangerous.

    Mistakes go to standard error as FILE:LINE: key: text, all of them, and the exit status is 1. Dangers are printed
    as warnings; with them the relay starts.
    """
    config = configuration(config_file)
    try:
        check_files(config)
    except ConfigError as error:
        raise NotDone(str(error), prefix="") from None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # the relay raises its limit to this one
    found = dangers(config, None if hard == resource.RLIM_INFINITY else hard)
    for problem in found:
        click.echo(f"warning: {problem}")
    where = ", ".join(str(listener.address) for listener in config.listen) or "nowhere"
    warnings = count(len(found), "warning") if found else "no warnings"
    click.echo(f"no mistakes, {warnings}: {config.hostname} listens on {where}, its queue is in {config.spool}")
