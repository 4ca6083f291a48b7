"""Completing: queue ids and destinations for a shell, from the queue itself. Whatever is wrong, nothing is offered."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

import click

from mta.cli.opening import configuration, desk_of
from mta.message.envelope import format_queue_id, parse_queue_id
from mta.spool.desk import Desk

MOST: Final = 50  # that are offered at once
Found = TypeVar("Found", int, str)

_DIGITS: Final = (12, 13)  # of a queue id
_FORGIVEN: Final = str.maketrans("OIL", "011")
_PLAIN = re.compile(r"[\w.:/\[\]=?&@+-]+", re.ASCII)  # what no shell reads as something else


def queue_ids(ctx: click.Context, beginning: str) -> list[str]:
    """Queue ids that begin so."""

    def find(desk: Desk) -> list[int]:
        found: list[int] = []
        for digits in _DIGITS:
            first, last = (parse_queue_id(beginning.ljust(digits, filler)) for filler in "0Z")
            if first is not None and last is not None and len(beginning) <= digits:
                found += desk.ids(first, last, MOST)
                if ctx.info_name == "show":
                    found += desk.ids(first, last, MOST, gone=True)
        return found

    names = [format_queue_id(number) for number in dict.fromkeys(_ask(ctx, find))]
    wanted = beginning.upper().translate(_FORGIVEN)
    return [name for name in names if name.startswith(wanted)][:MOST]


def destinations(ctx: click.Context, beginning: str) -> list[str]:
    """Destinations that something waits for, or is held for, and that begin so."""

    def find(desk: Desk) -> list[str]:
        held = [one.destination for one in desk.held() if one.destination.startswith(beginning)]
        return sorted({*desk.destinations(beginning, MOST), *held})

    return [name for name in _ask(ctx, find) if _PLAIN.fullmatch(name)][:MOST]


def _ask(ctx: click.Context, find: Callable[[Desk], list[Found]]) -> list[Found]:
    try:
        # `mta forecast` has the configuration in force under another name.
        named = ctx.params.get("old_file") or ctx.params.get("config_file")
        with desk_of(configuration(named)) as desk:
            return find(desk)
    except Exception:  # in the middle of a line that somebody types there is no place for it
        return []
