"""Check: `mta check`, what is wrong with a configuration, or else what is dangerous in it."""

import resource
from collections.abc import Iterator

import click

from mta.cli.common import NotDone, configured
from mta.cli.opening import configuration
from mta.config.dangers import dangers
from mta.config.load import check_files, problem_of_tls
from mta.config.model import Config
from mta.config.problems import MOST, ConfigError
from mta.net.tls import ServerTls, TlsProblem
from mta.operating.words import count


@click.command()
@configured
def check(config_file: str | None) -> None:
    """Read the configuration, and say what is wrong with it, or else what is dangerous.

    Mistakes go to standard error as FILE:LINE: key: text, the first hundred of them, and the exit status is 1. Dangers
    are printed as warnings, likewise; with them the relay starts.
    """
    config = configuration(config_file)
    try:
        check_files(config)
    except ConfigError as error:
        raise NotDone(str(error), prefix="") from None
    expired = list(_check_certificates(config))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # the relay raises its limit to this one
    found = dangers(config, None if hard == resource.RLIM_INFINITY else hard)
    all_of_them = (*expired, *found)  # what is about the directory, which may be long, comes last
    for problem in all_of_them[:MOST]:
        click.echo(f"warning: {problem}")
    if len(all_of_them) > MOST:
        click.echo(f"warning: and {len(all_of_them) - MOST:,} more")
    where = ", ".join(str(listener.address) for listener in config.listen) or "nowhere"
    warnings = count(len(all_of_them), "warning") if all_of_them else "no warnings"
    click.echo(f"no mistakes, {warnings}: {config.hostname} listens on {where}, its queue is in {config.spool}")


def _check_certificates(config: Config) -> Iterator[str]:
    """Read what listeners show, as the relay will; what is wrong and does not keep it from starting."""
    tls = config.tls
    if tls.certificate is None or tls.key is None:
        return
    others = {name: (one.certificate, one.key) for name, one in tls.names.items()}
    seen: set[str] = set()
    for client_ca in dict.fromkeys(listener.client_ca for listener in config.listen if listener.tls != "none"):
        try:
            warnings = ServerTls(tls.certificate, tls.key, others, client_ca).warnings
        except TlsProblem as error:
            raise NotDone(str(problem_of_tls(config, error.file, error.why)), prefix="") from None
        yield from (warning for warning in warnings if warning not in seen)
        seen.update(warnings)
