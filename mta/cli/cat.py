"""Cat: `mta cat`, the octets of a message as it is sent on."""

import re
import sys
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from typing import Final

import click

from mta.cli.common import NotDone, configured, id_of, one_message
from mta.cli.opening import configuration, desk_of
from mta.cli.output import on_terminal
from mta.interfaces import IContent
from mta.message.printable import printable

_NOT_TEXT: Final = re.compile(r"[^\t\n -~]")


@click.command()
@configured
@one_message
def cat(config_file: str | None, number: int) -> None:
    """Print a message of the queue as it is sent on: with our Received field, without the dots of transparency.

    Octet for octet, lines ending with CRLF, but on a terminal: there, what is no text is escaped.
    """
    name = id_of(number)
    with desk_of(configuration(config_file)) as desk:
        content = desk.content(number)
        if content is None:
            gone = desk.story(number) is not None
            raise NotDone(f"message {name} has left the queue" if gone else f"there is no message {name} in the queue")
        blocks = _read(content, name)
        if on_terminal():
            _show(blocks)
            return
        for block in blocks:
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


def _read(content: IContent, name: str) -> Iterator[bytes]:
    """The octets, or what keeps them from being read."""
    blocks = content.blocks()
    while True:
        try:
            block = next(blocks, None)
        except OSError as error:
            raise NotDone(f"the content of {name} cannot be read: {error}") from None
        if block is None:
            return
        yield block


def _show(blocks: Iterable[bytes]) -> None:
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    for block in blocks:
        text = decoder.decode(block).replace("\r", "")
        click.echo(_NOT_TEXT.sub(lambda found: printable(found[0]), text), nl=False)
