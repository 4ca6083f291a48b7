"""Watch: the last lines of the log, kept in memory by the process that serves the console."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

LINES: Final = 1000  # lines that are kept
LONGEST: Final = 4000  # characters of a line that are kept

Listener = Callable[[Sequence[str]], None]


class Watch:
    """What is remembered of the log. scope: whose lines these are, where not all of them are; for people."""

    def __init__(self, scope: str = "") -> None:
        self.scope = scope
        self._lines: deque[str] = deque(maxlen=LINES)
        self._listeners: dict[object, Listener] = {}

    def __call__(self, lines: Sequence[str]) -> None:
        """The next lines."""
        self._lines.extend(lines)
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

    def listen(self, key: object, listener: Listener) -> None:
        """Have each line from now on. key: to be given to `leave`."""
        self._listeners[key] = listener

    def leave(self, key: object) -> None:
        """Have no more."""
        self._listeners.pop(key, None)


def event_of(line: str) -> str:
    """The event of a line of the log, be it text or an object of JSON; "" where it has none."""
    if line.startswith("{"):
        return line.partition('"event": "')[2].partition('"')[0]
    parts = line.split(" ", 3)
    return parts[2] if len(parts) > 2 else ""
