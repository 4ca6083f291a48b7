"""Finding: what a check comes to. Everything in it may be shown on a terminal: what came from outside is escaped."""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from mta.message.printable import printable
from mta.operating.words import Line, count

_LONGEST: Final = 600  # characters of one text
_QUOTED: Final = 120  # characters of what came from outside


class Level(StrEnum):
    """How good or bad it is. unknown: it cannot be found out from here, or could not now."""

    PROBLEM = "problem"
    WARNING = "warning"
    UNKNOWN = "unknown"
    NOTE = "note"
    OK = "ok"


class Finding(NamedTuple):
    """What one look came to.

    check: what was looked at, such as "spf". about: the domain, host or address. seen: a sentence. advice: what to do,
    a sentence, "" for nothing. record: what to publish in the DNS, as a line of a zone file; "" for nothing.
    """

    check: str
    about: str
    level: Level
    seen: str
    advice: str = ""
    record: str = ""

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return {**self._asdict(), "level": str(self.level)}


class Teller:
    """Makes the findings of one check about one thing."""

    def __init__(self, check: str, about: str) -> None:
        self._check = check
        self._about = about

    def ok(self, seen: str) -> Finding:
        """As it should be."""
        return self._make(Level.OK, seen, "", "")

    def note(self, seen: str, advice: str = "", record: str = "") -> Finding:
        """Good enough, and could be better; or something to know."""
        return self._make(Level.NOTE, seen, advice, record)

    def warning(self, seen: str, advice: str, record: str = "") -> Finding:
        """Some receivers will object, or it is going to be a problem."""
        return self._make(Level.WARNING, seen, advice, record)

    def problem(self, seen: str, advice: str, record: str = "") -> Finding:
        """Mail will be lost, refused or taken for rubbish."""
        return self._make(Level.PROBLEM, seen, advice, record)

    def unknown(self, seen: str, advice: str = "") -> Finding:
        """Nobody knows, and why."""
        return self._make(Level.UNKNOWN, seen, advice, "")

    def _make(self, level: Level, *texts: str) -> Finding:
        seen, advice, record = (_short(printable(text[: _LONGEST + 1]), _LONGEST) for text in texts)
        about = _short(printable(self._about[: _QUOTED + 1]), _QUOTED)
        return Finding(self._check, about, level, seen, advice, record)


def quoted(text: str) -> str:
    """Some of what came from outside, in quotation marks and harmless."""
    return f'"{_short(printable(text[: _QUOTED + 1]), _QUOTED)}"'


def listed(names: Sequence[str], most: int = 4) -> str:
    """Some names that came from outside, and how many there are beside them."""
    shown = ", ".join(_short(printable(name[: _QUOTED + 1]), _QUOTED) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def totals(findings: Iterable[Finding]) -> dict[str, int]:
    """How many there are of each level."""
    counted = Counter(finding.level for finding in findings)
    return {str(level): counted[level] for level in Level}


def to_json(domains: Sequence[str], findings: Sequence[Finding]) -> dict[str, Any]:
    """The whole examination for programs: the domains, the findings, how many there are of each level."""
    return {
        "domains": list(domains),
        "findings": [finding.to_json() for finding in findings],
        "totals": totals(findings),
    }


_STYLES: Final = {
    Level.OK: "green",
    Level.NOTE: "",
    Level.WARNING: "yellow",
    Level.PROBLEM: "bold red",
    Level.UNKNOWN: "magenta",
}


def tell(finding: Finding) -> Line:
    """A finding for people."""
    more = [finding.advice] if finding.advice else []
    more += [finding.record] if finding.record else []
    about = f" {finding.about}" if finding.about else ""
    return Line(str(finding.level), f"{finding.check}{about}: {finding.seen}", tuple(more), _STYLES[finding.level])


def summary(findings: Sequence[Finding]) -> str:
    """One line at the end."""
    numbers = totals(findings)
    words = [
        count(numbers[Level.PROBLEM], "problem"),
        count(numbers[Level.WARNING], "warning"),
        f"{numbers[Level.UNKNOWN]} not known",
        count(numbers[Level.NOTE], "note"),
        f"{numbers[Level.OK]} ok",
    ]
    return ", ".join(words)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
