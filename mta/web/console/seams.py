"""Seams: what the pages count on. The wiring gives it the real one."""

from collections.abc import Callable
from typing import Any, NamedTuple

from zope.interface import Interface

from mta.web.seams import Chosen


class IConsole(Interface):
    """What the pages show. Every method is called in a thread, several may be at once, and may raise what those of
    `IOperator` may. Times are seconds since 1970. A count is {"number": int, "more": bool}, more: it is more than that.
    """

    def overview() -> dict[str, Any]:
        """The queue from afar: totals, states, ages, oldest, destinations, workers, alarms, webhooks."""

    def page(chosen: Chosen, state: str | None, after: int, limit: int) -> dict[str, Any]:
        """A page of the queue: messages behind a number, next (where the following page begins), looked, totals."""

    def meant(chosen: Chosen) -> dict[str, Any]:
        """How many messages are meant: a count."""

    def story(number: int) -> dict[str, Any]:
        """One message. Raises `NotThere`."""

    def place(name: str) -> dict[str, Any]:
        """One destination."""

    def configuration() -> dict[str, Any]:
        """The configuration as in force: its file, and settings by name. Secrets are not in it."""


class Advice(NamedTuple):
    """Who is asked for advice, in a thread; None where nobody can be. They raise what methods of `IOperator` may.

    explain: of an address, a sender and a client ("" for usual ones), what `mta explain --json` prints. doctor: of a
    domain ("" for those of the configuration), likewise; takes up to 30 seconds. audit: of what came in for so many
    seconds, likewise; takes as long as there is much of it.
    """

    explain: Callable[[str, str, str], dict[str, Any]] | None = None
    doctor: Callable[[str], dict[str, Any]] | None = None
    audit: Callable[[float], dict[str, Any]] | None = None
