"""Common: what the commands share: their options, queue ids as words, and how a command ends that cannot be done."""

from typing import IO, Any

import click
from click.shell_completion import CompletionItem

from mta.config.units import parse_duration
from mta.message.envelope import format_queue_id, parse_queue_id


class NotDone(click.ClickException):
    """The command cannot be done; the text says why, in a sentence or in lines of their own. Exit status 1."""

    def __init__(self, text: str, prefix: str = "mta: ") -> None:
        super().__init__(text)
        self._prefix = prefix

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it."""
        click.echo(f"{self._prefix}{self.format_message()}", file=file, err=file is None)


class QueueId(click.ParamType[int]):
    """A queue id, in upper or lower case; its number."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As click asks for it."""
        number = value if isinstance(value, int) else parse_queue_id(value)
        if number is None:
            self.fail(f"{value!r} is not a queue id", param, ctx)
        return number

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that begin so: what is in the queue, and for `mta show` what has gone, too."""
        from mta.cli.completing import queue_ids

        return [CompletionItem(one) for one in queue_ids(ctx, incomplete)]


def to_destination(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """What a shell completes `--to` with: the destinations that something waits for."""
    from mta.cli.completing import destinations

    return destinations(ctx, incomplete)


class Duration(click.ParamType[float]):
    """A duration as the configuration has them: 90s, 5m, 4h, 5d. In seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As click asks for it."""
        try:
            return value if isinstance(value, float) else parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


def id_of(number: int) -> str:
    """A queue id that an operator gave, also one that there cannot be: in upper case, at least 12 digits."""
    return format_queue_id(number).zfill(12)


configured = click.option(
    "--config",
    "-c",
    "config_file",
    metavar="FILE",
    type=click.Path(readable=False),
    help="The configuration; else $MTA_CONFIG, etc/mta.yml, /etc/mta/mta.yml.",
)
with_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
one_message = click.argument("number", metavar="ID", type=QueueId())
