"""Rendering: from a template and values to a page. Whatever a value is, it is escaped, and what cannot be printed in it
is made visible (`printable`): control characters, ANSI, bidirectional overrides. No template can leave that out.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mta.message.printable import printable
from mta.web.console.watch import event_of

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
_TOKEN: Final = re.compile(r"[^a-z0-9]+")


class Rendering:
    """The templates. common: what all of them know."""

    def __init__(self, words: Mapping[str, Callable[..., str]], common: Mapping[str, Any]) -> None:
        """words: `moment`, `span` and `size`, as they are put everywhere."""
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_visible,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "moment": lambda at: at if isinstance(at, str) else words["moment"](at),
            "clock": _clock,
            "span": words["span"],
            "size": words["size"],
            "count": _count,
            "number": _number,
            "token": _token,
            "side": _side,
            "domain": lambda address: address.rpartition("@")[2].lower(),
            "told": _told,
            "event": event_of,
        }
        self._environment.globals |= common

    def page(self, template: str, **values: Any) -> bytes:
        """A page, as octets of UTF-8."""
        return self._environment.get_template(template).render(**values).encode(errors="backslashreplace")


def _visible(value: Any) -> Any:
    """What is put into a page. `Markup` is what a macro has made, which has come by here already."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _clock(at: float | str) -> str:
    """A time as people read it beside others: "29 Nov 21:35:31"."""
    when = datetime.fromisoformat(at) if isinstance(at, str) else datetime.fromtimestamp(at, UTC)
    return when.astimezone(UTC).strftime("%-d %b %H:%M:%S")


def _count(number: int, thing: str, things: str = "") -> str:
    """A number of things: "1 message", "1,234 messages"."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def _number(value: float) -> str:
    return f"{value:,}"


def _token(word: str) -> str:
    """A word as a name of a class in the style: letters, digits and hyphens."""
    return _TOKEN.sub("-", str(word).lower()).strip("-")


def _side(line: str) -> str:
    """Who says a line of a dialogue."""
    return {"S": "server", "C": "client"}.get(line[:1], "note")


def _duration(seconds: float) -> str:
    """Exactly, in the largest unit that it is a whole number of: "90m", "5d"."""
    for unit, letter in (86400, "d"), (3600, "h"), (60, "m"):
        if seconds and seconds % unit == 0:
            return f"{seconds / unit:.0f}{letter}"
    return f"{seconds:g}s"


def _told(value: Any) -> str:
    """A value of the configuration, for people: durations are its only fractions."""
    match value:
        case None | "" | [] | {}:
            return "–"
        case float():
            return _duration(value)
        case int() if not isinstance(value, bool):
            return f"{value:,}"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(_told(one) for one in value)
        case dict():
            return "; ".join(f"{name} {_told(one)}" for name, one in value.items())
        case _:
            return str(value)
