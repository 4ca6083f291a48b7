"""Table: all routes of the console."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from mta.net.threads import Threads
from mta.web.console import advising, deeds, files, live, pages
from mta.web.console.errands import Errands
from mta.web.console.rates import Rates
from mta.web.console.rendering import Rendering
from mta.web.console.seams import Advice
from mta.web.console.showing import Showing
from mta.web.console.watch import Watch
from mta.web.routes import Route

MENU: Final = (
    ("/", "Overview"),
    ("/queue", "Queue"),
    ("/explain", "Explain"),
    ("/doctor", "Doctor"),
    ("/audit", "Audit"),
    ("/log", "Log"),
    ("/configuration", "Configuration"),
)


def routes(
    console: Any,
    operator: Any,
    advice: Advice,
    watch: Watch,
    rates: Rates,
    threads: Threads,
    errands: Errands,
    clock: Any,
    hostname: str,
    words: Mapping[str, Callable[..., str]],
) -> list[Route]:
    """Of an `IConsole`, an `IOperator`, who is asked for advice, and an `IReactorTime`. errands: what takes long.

    words: as in `Rendering`.
    """
    menu = [
        (path, name)
        for path, name in MENU
        if path not in ("/explain", "/doctor", "/audit") or getattr(advice, path[1:]) is not None
    ]
    rendering = Rendering(words, {"pages": menu, "hostname": hostname, "version": version("mta")})
    showing = Showing(rendering, console, watch, rates, threads, clock.seconds)
    return [
        *pages.routes(showing),
        *advising.routes(showing, advice, errands),
        *deeds.routes(showing, operator),
        *live.routes(watch, clock),
        *files.routes(),
    ]
