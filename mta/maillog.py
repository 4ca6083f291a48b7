"""The log: one line for each event, always with the queue id, many of them in one write.

A line reads `2026-11-23T06:43:12.123Z 1HZ8K3QW0R2MB delivered to=<a@example.org> host=… reply="250 2.0.0 ok"`. The
stock observer flushes every line, which costs a system call and the GIL each time; here what comes until the reactor
has nothing else to do is one write. What Twisted itself has to say (failures, above all) goes to the same place through
`Observer`.
"""

import hashlib
import io
import json
import os
import re
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from threading import get_ident
from typing import Any, Protocol, TextIO

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from zope.interface import implementer

from mta.message.envelope import format_queue_id
from mta.message.printable import printable
from mta.net.poller import when_idle

Sink = Callable[[str], None]
Tap = Callable[[dict[str, Any]], None]
_ADDRESS_FIELDS = frozenset({"sender", "to", "recipient"})
_PERSONAL_FIELDS = _ADDRESS_FIELDS | {"account", "login"}
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
    return f"<{printable(text)}>" if name in _ADDRESS_FIELDS else _field(text)


# What is an address in a text, as far as that can be told; rather too much of it than too little. It begins where a
# word does: to try in the middle of words, too, finds no other, and takes the square of the time that a long one takes.
# An equals sign can be in a local part (bounces+anne=example.org@list.example), so what stands before one goes with it.
_ADDRESS_IN_TEXT = re.compile(
    r"""(?<![^\s<>"'(),;:\[\]])(?:"(?:[^"\\]|\\.){0,130}"|[^\s<>"'(),;:\[\]]+)@[^\s<>"'(),;=]+"""
)
# Fields that are sentences; what is in them of a name that another field of the line has is hidden as it is there.
_SENTENCES = frozenset({"why", "reply", "line"})
# What a client has said in the place of an address, be it one or not, behind the hosts of a source route.
_PLACE_IN_LINE = re.compile(
    r"""(?i)(?:(?:FROM|TO)\s*:\s*<?(?:@[^<>"]*:)?|^\s*(?:VRFY|EXPN)\s+)"""
    r"""((?:"(?:[^"\\]|\\.)*(?:"|$)|[^<>"])*?)(?=>|\s+[A-Z0-9-]+=|$)"""
)
_NAME_IN_LINE = re.compile(r"(?i)\b((?:AUTH|LOGIN)=)([^<>@\s]+)(?=\s|$)")


@lru_cache(maxsize=4096)
def _hashed(address: str) -> str:
    """An address that can be followed through a log without being read: 12 digits of SHA-256, the domain kept."""
    local, at, domain = address.rpartition("@") if "@" in address else (address, "", "")
    return f"{hashlib.sha256(local.lower().encode()).hexdigest()[:12]}{at}{domain}" if address else ""


class Log(Protocol):
    """Where one line for each event goes; `MailLog.event` is one."""

    def __call__(self, kind: str, message: int | None = None, /, **fields: Any) -> None: ...


class LineWriter:
    """Gathers lines until the reactor has nothing else to do, and writes them at once. No path: standard output.

    Made in the reactor's thread; others may use it too.
    """

    def __init__(self, reactor: IReactorTime, path: Path | None = None) -> None:
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
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
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
        self.write_as(style, addresses)

    def write_as(self, style: str, addresses: str) -> None:
        """Write lines of this kind from now on. As for `__init__`."""
        self._json = style == "json"
        self._hash = addresses == "hashed"
        self.tap: Tap | None = None  # is given every event as JSON has it, while somebody listens

    def event(self, kind: str, message: int | None = None, /, **fields: Any) -> None:
        """One line. message: the queue id as a number. Fields that are None are left out."""
        if self._hash:
            fields = _hide(fields)
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


def _hide(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a line with nobody's local part in them."""
    names = tuple(sorted({name for field in _PERSONAL_FIELDS & fields.keys() for name in _names(fields[field])}))
    return {name: _hidden(name, value, names) for name, value in fields.items()}


def _hidden(name: str, value: Any, names: tuple[str, ...]) -> Any:
    if name in _PERSONAL_FIELDS and value is not None:
        return [_hashed(one) for one in value] if isinstance(value, (list, tuple)) else _hashed(value)
    if not isinstance(value, str):
        return value
    text = _hide_in_line(value) if name == "line" else hide_addresses(value)
    if names and name in _SENTENCES:
        text = _hide_names(text, names)
    return text


def _hide_in_line(line: str) -> str:
    """A line that a client has sent, and that may be anything."""
    place = _PLACE_IN_LINE.search(line)
    start, end = place.span(1) if place is not None else (len(line), len(line))
    before, after = (
        _NAME_IN_LINE.sub(lambda found: found[1] + _hashed(found[2]), hide_addresses(part))
        for part in (line[:start], line[end:])
    )
    return before + _hashed(line[start:end]) + after


def hide_addresses(text: str) -> str:
    """A text with the local part of each address in it hashed."""
    return _ADDRESS_IN_TEXT.sub(lambda found: _hashed(found[0]), text) if "@" in text else text


def _names(value: Any) -> Iterator[str]:
    """The local parts, or names of accounts, in a field."""
    for one in value if isinstance(value, (list, tuple)) else (value,):
        name = str(one or "").rpartition("@")[0] or str(one or "")
        if name:
            yield name


def _hide_names(text: str, names: tuple[str, ...]) -> str:
    """A text with each of these names hashed in it, in capitals or not, where it stands as a word of its own.

    By searching, not by an expression: to compile one of a name of 64 KiB takes a hundred times as long as to use it.
    """
    folded = _folded(text)
    shown, at = [], 0
    spans = {span for name in names for span in _words(folded, _folded(name))}
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):  # the longest of those that begin here
        if start >= at:
            shown += [text[at:start], _hashed(text[start:end])]
            at = end
    return "".join(shown) + text[at:]


def _words(text: str, word: str) -> Iterator[tuple[int, int]]:
    """Where a word begins and ends in a text, each time that nothing of a word stands before or after it."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not _is_wordly(text[start - 1 : start]) and not _is_wordly(text[end : end + 1]):
            yield start, end
            start = end - 1
        start = text.find(word, start + 1)


def _is_wordly(character: str) -> bool:
    return character.isalnum() or character == "_"


def _folded(text: str) -> str:
    """A text without capitals, of the same length: what takes more room without them stays as it is."""
    folded = text.casefold()
    return folded if len(folded) == len(text) else "".join(map(_folded_character, text))


def _folded_character(character: str) -> str:
    folded = character.casefold()
    return folded if len(folded) == 1 else character


@implementer(ILogObserver)
class Observer:
    """Twisted's own log events, as lines of the same log. Failures keep their traceback, indented under the line.

    addresses: as for `MailLog`; of what else there may be in the message of an exception nothing is known.
    """

    _QUIET = ("Starting factory", "Stopping factory")

    def __init__(self, sink: Sink, addresses: str = "full") -> None:
        self._sink = sink
        self._hash = addresses == "hashed"
        self._like: MailLog | None = None

    def follow(self, log: MailLog) -> "Observer":
        """Hide addresses from now on when this log does, which may change its ways. Returns itself."""
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
        indented = text.replace("\n", "\n    ")
        self._sink(f"{timestamp(event.get('log_time', 0.0))} {_NO_ID} {name} {indented}")
