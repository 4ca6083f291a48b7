"""Mdoc: the language that manual pages are written in."""

import re
import textwrap
from collections.abc import Sequence
from typing import Final

WIDTH: Final = 72  # characters, before some are escaped


def page(title: str, section: int, date: str, lines: Sequence[str]) -> str:
    """A whole page. date: as "November 29, 2026"."""
    return "\n".join((f".Dd {date}", f".Dt {title} {section}", ".Os", *lines, ""))


def escaped(text: str, wrap: bool = True) -> list[str]:
    """Text as lines that say nothing to the formatter. wrap: each sentence begins a line, as mdoc wants it."""
    if not wrap:
        return [_line(line) for line in text.split("\n")]
    sentences = re.split(r"(?<=[.;:!?])\s+(?=[A-Z])", text.strip())
    return [_line(line) for one in sentences for line in textwrap.wrap(one, WIDTH, break_long_words=False)]


def word(text: str) -> str:
    """A word that stands behind a macro, where punctuation and the names of macros would count as such."""
    return _line(text) if len(text) > 3 or not text[:1].isalpha() else f"\\&{text}"


def _line(line: str) -> str:
    line = line.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    line = "".join(one if one < "\x7f" else f"\\[u{ord(one):04X}]" for one in line)
    return f"\\&{line}" if line.startswith(".") else line
