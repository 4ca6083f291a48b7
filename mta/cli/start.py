"""Start: `mta start`, the relay in the foreground, for who has the `mta` command and no `twistd` at hand."""

import click
from twisted.python import usage
from twisted.scripts import twistd

from mta.cli.common import configured


@click.command(context_settings={"ignore_unknown_options": True}, options_metavar="[--config FILE] [twistd's options]")
@configured
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="")
def start(config_file: str | None, options: tuple[str, ...]) -> None:
    """Start the relay in the foreground, as `twistd -n mta start` does; it runs until SIGTERM or ctrl-C.

    All further options are twistd's, such as --uid and --gid. Unlike twistd it writes no pidfile unless told.
    """
    config = ["--config", config_file] if config_file else []
    settings = twistd.ServerOptions()  # type: ignore[attr-defined]
    try:
        settings.parseOptions(["--nodaemon", "--pidfile=", *options, "mta", "start", *config])
    except usage.UsageError as error:
        raise click.UsageError(f"twistd: {error}") from None
    twistd.runApp(settings)
