"""Live: events for pages that are open (server-sent events). What has changed they ask for themselves.

`changed` says that something has happened since the last one; `line` is a line of the log, for who watches that.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from mta.message.printable import printable
from mta.web.console.watch import LONGEST, Watch
from mta.web.exchange import Answer, Call, Stream
from mta.web.routes import Route

EVENTS: Final = "text/event-stream; charset=utf-8"
PACE: Final = 2.0  # seconds between two `changed`, at least
RESTING: Final = 10.0  # seconds after which pages are told to look again where nothing has happened: times go on
MOST_LINES: Final = 200  # lines of the log that are sent at once; who wants all reads the log


def routes(watch: Watch, clock: Any) -> list[Route]:
    """Where pages listen. clock: an `IReactorTime`."""

    async def events(call: Call) -> Answer:
        return Answer(200, EVENTS, _Listening(watch, clock, "log" in call.asked()))

    return [Route("GET", "/events", events)]


class _Listening(Stream):
    """One page that listens. lines: it wants the lines of the log."""

    lasts = None

    def __init__(self, watch: Watch, clock: Any, lines: bool) -> None:
        self._watch = watch
        self._clock = clock
        self._wants_lines = lines
        self._pace = PACE / 4 if lines else PACE
        self._send: Callable[[bytes], None] = lambda octets: None
        self._lines: list[str] = []
        self._left_out = 0
        self._has_changed = False
        self._told = 0.0
        self._timer: Any = None

    def begin(self, send: Callable[[bytes], None], close: Callable[[], None]) -> None:
        """As `Stream`."""
        self._send = send
        self._told = self._clock.seconds()
        self._watch.listen(self, self._heard)
        send(b"retry: 3000\n\n")
        self._timer = self._clock.callLater(self._pace, self._tell)

    def end(self) -> None:
        """As `Stream`."""
        self._watch.leave(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _heard(self, lines: Sequence[str]) -> None:
        self._has_changed = True
        if self._wants_lines:
            room = MOST_LINES - len(self._lines)
            self._lines += lines[:room]
            self._left_out += max(0, len(lines) - room)

    def _tell(self) -> None:
        self._timer = self._clock.callLater(self._pace, self._tell)
        lines, self._lines = self._lines, []
        left_out, self._left_out = self._left_out, 0
        for line in lines:
            for part in line[:LONGEST].split("\n"):
                self._send(_event("line", part))
        if left_out:
            self._send(_event("line", f"… {left_out:,} more lines, too many to show"))
        now = self._clock.seconds()
        if not self._wants_lines and (self._has_changed or now - self._told >= RESTING):
            self._has_changed = False
            self._told = now
            self._send(_event("changed", "yes"))


def _event(name: str, text: str) -> bytes:
    """One event. Its text is one line, whatever it has in it: characters that cannot be printed are made visible."""
    return f"event: {name}\ndata: {printable(text)}\n\n".encode(errors="backslashreplace")
