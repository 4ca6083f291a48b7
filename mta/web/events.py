"""Events: what happens in the relay, as it happens, for who listens (server-sent events, HTML 9.2)."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from mta.web.api import asked_for, number_in, row, span_in
from mta.web.exchange import Answer, Call
from mta.web.routes import Route
from mta.web.schemas import SPAN, Operation, Parameter
from mta.web.seams import IRunning, Unusable

KIND: Final = "text/event-stream"
MOST: Final = 100  # events that are told in a second; how many were left out is told, too

Send = Callable[[bytes], None]

KINDS: Final = Parameter(
    "kinds",
    {"type": "string", "pattern": "^[a-z]{1,20}(,[a-z]{1,20}){0,20}$"},
    "Only events of these kinds, with commas between: received,delivered,deferred,failed …",
)


FOR: Final = Parameter("for", SPAN, "End the stream after that long; it has no end where this is not said.")
ENOUGH: Final = Parameter(
    "limit", {"type": "integer", "minimum": 1, "maximum": 10_000}, "End the stream after so many events."
)
_KINDS: Final = re.compile(KINDS.schema["pattern"])


class Events:
    """Gives the events of the log to all who listen. While nobody does, nothing is asked for."""

    def __init__(self, running: IRunning, now: Callable[[], float]) -> None:
        self._running = running
        self._now = now
        self._listeners: dict[Listening, None] = {}
        self._number = 0
        self._second = 0
        self._told = 0

    def add(self, listening: "Listening") -> None:
        """Somebody listens."""
        self._listeners[listening] = None
        if len(self._listeners) == 1:
            self._running.listen(self._take)

    def remove(self, listening: "Listening") -> None:
        """Nobody does any more."""
        if self._listeners.pop(listening, True) is None and not self._listeners:
            self._running.listen(None)

    def _take(self, event: dict[str, Any]) -> None:
        second = int(self._now())
        if second != self._second:
            left_out, self._second, self._told = self._told - MOST, second, 0
            if left_out > 0:
                self._send("skipped", {"event": "skipped", "events": left_out})
        self._told += 1
        if self._told <= MOST:
            self._send(event["event"], event)

    def _send(self, kind: str, event: dict[str, Any]) -> None:
        self._number += 1
        octets = f"id: {self._number}\nevent: {kind}\ndata: {json.dumps(event)}\n\n".encode()
        for one in list(self._listeners):
            if one.kinds is None or kind in one.kinds or kind == "skipped":
                one.send(octets)


class Listening:
    """One who listens. kinds: of events, None for all. limit: of events, None for no end. lasts: as in `Stream`."""

    def __init__(
        self, events: Events, kinds: frozenset[str] | None, limit: int | None = None, lasts: float | None = None
    ) -> None:
        self.kinds = kinds
        self.lasts = lasts
        self._left = limit
        self._send: Send = lambda octets: None
        self._close: Callable[[], None] = lambda: None
        self._events = events

    def begin(self, send: Send, close: Callable[[], None]) -> None:
        """As in `Stream`."""
        self._send, self._close = send, close
        self._events.add(self)

    def send(self, octets: bytes) -> None:
        """An event."""
        if self._left is not None:
            if not self._left:
                return
            self._left -= 1
        self._send(octets)
        if self._left == 0:
            self._close()

    def end(self) -> None:
        """As in `Stream`."""
        self._events.remove(self)


def routes(events: Events) -> list[Route]:
    """/api/v1/events."""

    async def listen(call: Call) -> Answer:
        asked = asked_for(call, "kinds", "limit", "for")
        kinds = asked.get("kinds")
        if kinds is not None and not _KINDS.fullmatch(kinds):
            raise Unusable("kinds are words with commas between: received,delivered")
        wanted = None if kinds is None else frozenset(kinds.split(","))
        limit = number_in(asked, "limit", 0, 1) or None
        return Answer(200, KIND, Listening(events, wanted, limit, span_in(asked, "for")))

    about = (
        "What happens, as it happens: the events of the log, as the log in JSON has them. At most 100 in a second; "
        "an event of the kind skipped tells how many were left out."
    )
    operation = Operation("events", about, {"type": "string"}, kind=KIND, query=(KINDS, ENOUGH, FOR))
    return [row("GET", "/events", listen, operation)]
