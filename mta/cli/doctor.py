"""Doctor: `mta doctor`, is this relay ready for the world, and what is there to do?"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import click

from mta.cli.common import configured, with_json
from mta.cli.opening import configuration
from mta.cli.output import on_terminal, print_json, print_lines
from mta.operating.doctor.examination import Progress, Request, domain_in_ascii, domains_of, examine
from mta.operating.doctor.finding import Finding, Level, summary, tell, to_json
from mta.operating.doctor.outside import outside_of

NOT_READY = 1  # exit status


class Domain(click.ParamType[str]):
    """A domain, as the DNS has it."""

    name = "domain"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click asks for it."""
        domain = domain_in_ascii(value)
        if domain is None:
            self.fail(f"{value!r} is not a domain such as example.org", param, ctx)
        return domain


class Address(click.ParamType[str]):
    """An IP address."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click asks for it."""
        try:
            return str(ip_address(value))
        except ValueError:
            self.fail(f"{value!r} is not an IP address", param, ctx)


class Selector(click.ParamType[str]):
    """A selector of DKIM."""

    name = "selector"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click asks for it."""
        if domain_in_ascii(f"{value}.invalid") is None:
            self.fail(f"{value!r} is not a selector, which is a name such as 2026a", param, ctx)
        return str(value).lower()


@click.command()
@configured
@click.argument("domain", type=Domain(), required=False)
@click.option("--selector", "selectors", metavar="NAME", type=Selector(), multiple=True, help="A DKIM key to look at.")
@click.option(
    "--address",
    "addresses",
    metavar="IP",
    type=Address(),
    multiple=True,
    help="A public address that mail leaves from, where this machine does not know it (NAT).",
)
@click.option("--connect", metavar="DOMAIN", type=Domain(), help="Try whether port 25 of its mail host can be reached.")
@with_json
def doctor(
    config_file: str | None,
    domain: str | None,
    selectors: tuple[str, ...],
    addresses: tuple[str, ...],
    connect: str | None,
    as_json: bool,
) -> None:
    """Examine whether this relay is ready for the world: DNS, certificate, access, machine.

    DOMAIN is one that it sends or takes mail for; else those of relay.domains, or that of the host name. What only
    somebody outside can tell is "unknown". Exit status 1 where there is a problem. Takes up to 30 seconds.
    """
    config = configuration(config_file)
    request = Request((domain,) if domain else (), selectors, addresses, connect or "")
    with _progress() as progress:
        findings = examine(config, outside_of(config), request, progress)
    if as_json:
        print_json(to_json(request.domains or domains_of(config), findings))
    else:
        if on_terminal():
            _print_on_terminal(findings)
        else:
            print_lines([tell(finding) for finding in findings])
        click.echo(summary(findings))
    if any(finding.level is Level.PROBLEM for finding in findings):
        sys.exit(NOT_READY)


def _print_on_terminal(findings: Sequence[Finding]) -> None:
    """Wrapped to its width, but for records, which are there to be copied."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for finding in findings:
        line = tell(finding)
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, min_width=max(map(len, Level)))
        table.add_column(ratio=1, overflow="fold")
        told = Text(line.text)
        if finding.advice:
            told.append(f"\n{finding.advice}", "italic")
        table.add_row(Text(line.head, line.style), told)
        console.print(table)
        if finding.record:
            console.print(Text(f"    {finding.record}", "bold"), soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Shows on a terminal how far it is; on standard error, so that a pipe gets findings alone."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("examining"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda step: bar.update(task, completed=step.done, total=step.of, description=step.name)
