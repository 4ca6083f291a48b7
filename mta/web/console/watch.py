"""Watch: the last lines of the log, and how often what happened in each minute of the last hour. It is kept in memory,
by the process that serves the console, and is of that process alone.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

LINES: Final = 1000  # lines that are kept
LONGEST: Final = 4000  # characters of a line that are kept
MINUTES: Final = 60
EVENTS: Final = ("received", "delivered", "deferred", "failed", "refused")
"""The events that are counted, in the words of the log."""

Listener = Callable[[Sequence[str]], None]


class Watch:
    """What is remembered of the log. scope: whose lines these are, where not all of them are; for people."""

    def __init__(self, now: Callable[[], float], scope: str = "") -> None:
        self.scope = scope
        self._now = now
        self._lines: deque[str] = deque(maxlen=LINES)
        self._listeners: dict[object, Listener] = {}
        self._counts: dict[str, list[int]] = {event: [0] * MINUTES for event in EVENTS}
        self._minute = int(now() // 60)

    def __call__(self, lines: Sequence[str]) -> None:
        """The next lines."""
        self._go_on()
        self._lines.extend(lines)
        counts = self._counts
        for line in lines:
            numbers = counts.get(event_of(line))
            if numbers is not None:
                numbers[-1] += 1
        for listener in tuple(self._listeners.values()):
            listener(lines)

    def lines(self, wanted: str = "", limit: int = LINES) -> list[str]:
        """The last lines that have this in them, in upper or lower case, the newest last."""
        wanted = wanted.lower()
        found = [line for line in tuple(self._lines) if wanted in line.lower()]
        return [line[:LONGEST] for line in found[-limit:]]

    def alarms(self, limit: int) -> list[str]:
        """The last lines that are alarms, the newest first."""
        return [line for line in reversed(tuple(self._lines)) if event_of(line) == "alarm"][:limit]

    def counts(self) -> dict[str, list[int]]:
        """How many of each event, minute by minute; the last minute is not over yet."""
        self._go_on()
        return {event: list(numbers) for event, numbers in self._counts.items()}

    def listen(self, key: object, listener: Listener) -> None:
        """Have each line from now on. key: to be given to `leave`."""
        self._listeners[key] = listener

    def leave(self, key: object) -> None:
        """Have no more."""
        self._listeners.pop(key, None)

    def _go_on(self) -> None:
        """Begin the minutes that have begun."""
        minute = int(self._now() // 60)
        steps = min(max(minute - self._minute, 0), MINUTES)
        if steps:
            for numbers in self._counts.values():
                numbers[:] = [*numbers[steps:], *[0] * steps]
        self._minute = max(minute, self._minute)


def event_of(line: str) -> str:
    """The event of a line of the log, be it text or an object of JSON; "" where it has none."""
    if line.startswith("{"):
        return line.partition('"event": "')[2].partition('"')[0]
    parts = line.split(" ", 3)
    return parts[2] if len(parts) > 2 else ""
