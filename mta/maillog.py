"""The log: one line for each event, always with the queue id, many of them in one write.

A line reads `2026-11-23T06:43:12.123Z 1HZ8K3QW0R2MB delivered to=<a@example.org> host=… reply="250 2.0.0 ok"`. The
stock observer flushes every line, which costs a system call and the GIL each time; here what comes until the reactor
has nothing else to do is one write. What Twisted itself has to say (failures, above all) goes to the same place through
`Observer`.
"""

import io
import json
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import get_ident
from typing import Any, Protocol, TextIO

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from zope.interface import implementer

from mta.message.envelope import format_queue_id
from mta.message.hidden import ADDRESS_FIELDS, hide, hide_addresses
from mta.message.printable import printable
from mta.net.poller import when_idle

Sink = Callable[[str], None]
Tap = Callable[[dict[str, Any]], None]
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/@<>[]+,%*?&=~#")
_NO_ID = "-"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(maxsize=4)
def _millisecond(number: int) -> str:
    second, thousandths = divmod(number, 1000)
    return f"{_second(second)}.{thousandths:03d}Z"


def timestamp(at: float) -> str:
    """A time in seconds since 1970 as the log gives it: UTC, to the millisecond."""
    return _millisecond(int(at * 1000))


@lru_cache(maxsize=4096)
def _field(value: str) -> str:
    return value if value and _PLAIN.issuperset(value) else json.dumps(printable(value), ensure_ascii=False)


def _value(name: str, value: Any) -> str:
    if isinstance(value, (int, float)):
        return str(value)
    text = value if isinstance(value, str) else ",".join(value) if isinstance(value, (list, tuple)) else str(value)
    return f"<{printable(text)}>" if name in ADDRESS_FIELDS else _field(text)


class Log(Protocol):
    """Where one line for each event goes; `MailLog.event` is one."""

    def __call__(self, kind: str, message: int | None = None, /, **fields: Any) -> None: ...


class LineWriter:
    """Gathers lines until the reactor has nothing else to do, and writes them at once. No path: standard output.

    Made in the reactor's thread; others may use it too.
    """

    def __init__(self, reactor: IReactorTime, path: Path | None = None, descriptor: int | None = None) -> None:
        """descriptor: of the file, ours from now on, for where it cannot be opened any more by its path.

        Raises `OSError`.
        """
        self._when_idle = when_idle(reactor)
        self._from_thread: Callable[..., object] = getattr(reactor, "callFromThread", self._when_idle)
        self._home = get_ident()
        self._file: TextIO
        if path is None:
            # Taken now: once logging has begun, Twisted puts itself in the place of sys.stdout.
            self._file = sys.stdout
            if isinstance(self._file, io.TextIOWrapper):
                self._file.reconfigure(errors="backslashreplace")
        else:
            try:
                self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
            except PermissionError:
                if descriptor is None:
                    raise
                self._file = os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")
            else:
                if descriptor is not None:
                    os.close(descriptor)
        self._lines: deque[str] = deque()
        self._expected = False  # a flush is on its way, which begins by saying that it no longer is
        self._listeners: list[Callable[[Sequence[str]], None]] = []

    def __call__(self, line: str) -> None:
        self._lines.append(line)
        if not self._expected:
            self._expected = True
            (self._when_idle if get_ident() == self._home else self._from_thread)(self.flush)

    def overhear(self, listener: Callable[[Sequence[str]], None]) -> None:
        """Give all lines to somebody else, too, as they are written, some of them at a time."""
        self._listeners.append(listener)

    def shareable(self) -> int | None:
        """A descriptor that other processes can write whole lines to beside us; None where only a file would do."""
        try:
            descriptor = self._file.fileno()
        except (OSError, ValueError):
            return None
        return descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None

    def descriptor(self) -> int | None:
        """Of the file; None for standard output. It stays ours."""
        return None if self._file is sys.__stdout__ else self._file.fileno()

    def close(self) -> None:
        """Write what has gathered, and let go of the file."""
        self.flush()
        if self._file is not sys.__stdout__:
            self._file.close()

    def flush(self) -> None:
        """Write what has gathered. Called by itself, and at the end."""
        self._expected = False
        lines = []
        try:
            while True:
                lines.append(self._lines.popleft())
        except IndexError:
            if not lines:
                return
        for listener in self._listeners:
            listener(lines)
        lines.append("")
        text = "\n".join(lines)
        try:
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError):
            # A full disk or a closed pipe must not stop the mail; nor is there anywhere left to say so.
            return


class MailLog:
    """The events of the mail, as lines for people or as JSON with the same fields.

    format: "text" or "json". addresses: "full" or "hashed" (the local part, in senders, recipients and accounts, and
    wherever else in the line one of them stands).
    """

    def __init__(self, sink: Sink, clock: IReactorTime, style: str = "text", addresses: str = "full") -> None:
        self._sink = sink
        self._now = clock.seconds
        self.tap: Tap | None = None  # is given every event as JSON has it, while somebody listens
        self.write_as(style, addresses)

    def write_as(self, style: str, addresses: str) -> None:
        """Write lines of this kind from now on. As for `__init__`."""
        self._json = style == "json"
        self._hash = addresses == "hashed"

    def event(self, kind: str, message: int | None = None, /, **fields: Any) -> None:
        """One line. message: the queue id as a number. Fields that are None are left out."""
        if self._hash:
            fields = hide(fields)
        queue_id = _NO_ID if message is None else format_queue_id(message)
        at = timestamp(self._now())
        if self.tap is not None:
            known = {name: value for name, value in fields.items() if value is not None}
            self.tap({"time": at, "id": queue_id, "event": kind, **known})
        if self._json:
            known = {name: value for name, value in fields.items() if value is not None}
            self._sink(json.dumps({"time": at, "id": queue_id, "event": kind, **known}))
            return
        line = f"{at} {queue_id} {kind}"
        for name, value in fields.items():
            if value is not None:
                line += f" {name}={_value(name, value)}"
        self._sink(line)

    @property
    def hides_addresses(self) -> bool:
        """Are they hashed, as things stand?"""
        return self._hash

    @property
    def is_json(self) -> bool:
        """Is it JSON that is written, as things stand?"""
        return self._json


@implementer(ILogObserver)
class Observer:
    """Twisted's own log events, as lines of the same log. Failures keep their traceback, indented under the line, or in
    the same JSON object.

    style, addresses: as for `MailLog`; of what else there may be in the message of an exception nothing is known.
    """

    _QUIET = ("Starting factory", "Stopping factory")

    def __init__(self, sink: Sink, style: str = "text", addresses: str = "full") -> None:
        self._sink = sink
        self._json = style == "json"
        self._hash = addresses == "hashed"
        self._like: MailLog | None = None

    def follow(self, log: MailLog) -> "Observer":
        """Write from now on as this log does, which may change its ways. Returns itself."""
        self._like = log
        return self

    def __call__(self, event: LogEvent) -> None:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False).rstrip()
        if self._hash if self._like is None else self._like.hides_addresses:
            text = hide_addresses(text)
        level = event.get("log_level", LogLevel.info)
        if text.startswith(self._QUIET) and level <= LogLevel.info:
            return
        name = level.name if level is not None else "info"
        at = timestamp(event.get("log_time", 0.0))
        if self._json if self._like is None else self._like.is_json:
            self._sink(json.dumps({"time": at, "id": _NO_ID, "event": name, "text": text}))
            return
        indented = text.replace("\n", "\n    ")
        self._sink(f"{at} {_NO_ID} {name} {indented}")
