"""Showing: what all pages have in common: who renders, who is asked, and that both happen in a thread."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mta.net.threads import Busy, Threads
from mta.web.console.rates import Rates
from mta.web.console.rendering import Rendering
from mta.web.console.watch import Watch
from mta.web.exchange import HTML, Answer, Call
from mta.web.routes import Route
from mta.web.seams import NotDone, NotThere, OutOfOrder, Unusable

Work = Callable[[Call], Mapping[str, Any]]
"""Finds out what a page shows, in a thread."""

_STATUS: Final = {
    NotThere: (404, "Not there"),
    NotDone: (409, "Not done"),
    Unusable: (422, "That cannot be used"),
    OutOfOrder: (503, "Out of order"),
}


@dataclass(frozen=True)
class Showing:
    """now: seconds since 1970."""

    rendering: Rendering
    console: Any  # an IConsole
    watch: Watch
    rates: Rates
    threads: Threads
    now: Callable[[], float]

    def page(self, path: str, template: str, here: str = "") -> Callable[[Work], Route]:
        """What a function finds out, as the page at a path. here: the page of the menu that it belongs to."""

        def routed(work: Work) -> Route:
            async def handler(call: Call) -> Answer:
                return await self.show(call, template, here or path, lambda: work(call))

            return Route("GET", path, handler)

        return routed

    async def show(self, call: Call, template: str, here: str, work: Callable[[], Mapping[str, Any]]) -> Answer:
        """A page of what is found out. What cannot be done is a page as well, that says why."""

        def render() -> Answer:
            try:
                return self._render(call, 200, template, here, work())
            except tuple(_STATUS) as error:
                return self._problem(call, here, error)

        try:
            return await self.threads.run(render)
        except Busy:
            return self._problem(call, here, OutOfOrder("Too much is being asked at once; try again in a moment."))

    async def change(self, call: Call, here: str, work: Callable[[], Any]) -> Any:
        """What comes of something that a form does; an `Answer` where it cannot be done."""
        try:
            return await self.threads.run(work)
        except Busy:
            return self._problem(call, here, OutOfOrder("Too much is being asked at once; try again in a moment."))
        except tuple(_STATUS) as error:
            return self._problem(call, here, error)

    def _problem(self, call: Call, here: str, error: Exception) -> Answer:
        status, title = _STATUS[type(error)]
        return self._render(call, status, "problem.html", here, {"title": title, "text": str(error)})

    def _render(self, call: Call, status: int, template: str, here: str, values: Mapping[str, Any]) -> Answer:
        csrf = call.session.csrf if call.session is not None else ""
        return Answer(status, HTML, self.rendering.page(template, csrf=csrf, here=here, now=self.now(), **values))
