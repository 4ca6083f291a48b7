"""Pages: the console of a relay, joined to its configuration, its queue, and what this process knows."""

from collections.abc import Callable
from typing import Any, NamedTuple

from mta.config.model import Config
from mta.net.threads import Threads
from mta.operating import words
from mta.operating.advising import Adviser
from mta.operating.console import Console
from mta.web.console.errands import Errands
from mta.web.console.rates import Rates
from mta.web.console.seams import Advice
from mta.web.console.table import routes
from mta.web.console.watch import Watch
from mta.web.routes import Route


class Seen(NamedTuple):
    """What is known to this process. window: how many deliveries a destination is given at once; None for not known.

    look: to be called now and then, so that `watch` has what is new.
    """

    watch: Watch
    window: Callable[[str], int | None]
    look: Callable[[], None]


def pages(
    config: Config,
    operator: Any,
    adviser: Adviser,
    seen: Seen,
    rates: Rates,
    threads: Threads,
    errands: Errands,
    reactor: Any,
) -> list[Route]:
    """All routes of the console. operator: an `IOperator`. errands: what takes long, and is under way or done."""
    return routes(
        Console(config, seen.window, reactor.seconds),
        operator,
        Advice(explain=adviser.explain, doctor=adviser.doctor, audit=adviser.audit),
        seen.watch,
        rates,
        threads,
        errands,
        reactor,
        config.hostname,
        {"moment": words.moment, "span": words.span, "size": words.size},
    )
