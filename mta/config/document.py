"""Document: a YAML file as plain data, with the line that each value stands on.

YAML here is the part of version 1.2 that a configuration needs, so that nothing means what it does not seem to: `no`
and `off` are words, `0777` and `1:30` are text, a key stands once, and there are no tags, anchors or merges. It is
built from the parser's events with a bound on depth, since PyYAML's own composer recurses as deep as a file asks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, cast

import yaml
from yaml.events import (
    CollectionStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
)

Key = tuple[str | int, ...]

_MAX_DEPTH: Final = 20
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_WORDS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}
# What people write first and YAML takes amiss: (what the parser says, what stands there if that matters, what to say).
_HINTS: Final = (
    ("", "\t", "indent with spaces, not with a tab"),
    ("while scanning an alias", "", 'a value that begins with * stands in quotes: "*"'),
    ("while parsing a flow node", ":", 'an IPv6 address stands in quotes: "[::]:25", "::1"'),
    ("while scanning for the next token", "@`%", "a value that begins with @, ` or % stands in quotes"),
)


@dataclass
class Document:
    """data: dictionaries, lists, texts, whole numbers, booleans and None. lines: of keys and entries, from 1.

    twice: keys that stand a second time, with the line of that; the first one's value is kept.
    """

    data: object = None
    lines: dict[Key, int] = field(default_factory=dict)
    twice: list[tuple[Key, int]] = field(default_factory=list)

    @property
    def mapping(self) -> dict[str, object]:
        """The data of one that holds a mapping, or nothing."""
        return self.data if isinstance(self.data, dict) else {}

    def line(self, key: Key) -> int:
        """The line of a value; of what holds it, where it is missing."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def value(self, key: Key) -> object:
        """The value at a key. Raises `LookupError` where there is none."""
        value = self.data
        for part in key:
            if not isinstance(value, (dict, list)):
                raise LookupError(part)
            value = value[part]  # type: ignore[index]
        return value


class NotYaml(Exception):
    """The text cannot be read at all. line: where reading ended, from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def read_document(text: str) -> Document:
    """The document that a text holds; None for data where it holds none. Raises `NotYaml`."""
    try:
        return _Builder(yaml.parse(text, Loader=yaml.CSafeLoader)).document()
    except yaml.MarkedYAMLError as error:
        raise NotYaml(*_describe(error, text)) from None
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise NotYaml(line, f"is not YAML: {error.reason}") from None


class _Builder:
    """Builds data from events by recursive descent."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._document = Document()

    def document(self) -> Document:
        """The only document of the stream."""
        for event in self._events:
            if isinstance(event, NodeEvent):
                if self._document.lines:
                    raise NotYaml(_line(event), "is not YAML: it holds a second document (---)")
                self._document.data = self._value(event, ())
        return self._document

    def _value(self, event: NodeEvent, key: Key) -> object:
        self._document.lines.setdefault(key, _line(event))
        if len(key) > _MAX_DEPTH:
            raise _foreign(event, "is nested too deep")
        if event.anchor is not None:
            raise _foreign(event, "has an anchor or an alias (& or *)")
        if isinstance(event, CollectionStartEvent | ScalarEvent) and event.tag is not None:
            raise _foreign(event, f"has a tag ({event.tag})")
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        return self._mapping(key) if isinstance(event, MappingStartEvent) else self._sequence(key)

    def _next_node(self) -> NodeEvent:
        return cast(NodeEvent, next(self._events))

    def _sequence(self, key: Key) -> list[object]:
        values: list[object] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            values.append(self._value(cast(NodeEvent, event), (*key, len(values))))
        return values

    def _mapping(self, key: Key) -> dict[str, object]:
        values: dict[str, object] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise _foreign(event, "has a key that is not plain text")
            name, here = event.value, (*key, event.value)
            if name in values:
                self._document.twice.append((here, _line(event)))
                # Its value is read past, under an index that no list has.
                self._value(self._next_node(), (*key, -1))
                continue
            self._document.lines[here] = _line(event)
            values[name] = self._value(self._next_node(), here)
        return values


def _scalar(event: ScalarEvent) -> object:
    """A plain scalar may be a word or a number; one in quotes is text."""
    is_plain = event.implicit[0]
    if is_plain and event.value in _WORDS:
        return _WORDS[event.value]
    return int(event.value) if is_plain and _INTEGER.fullmatch(event.value) else event.value


def _foreign(event: Event, what: str) -> NotYaml:
    return NotYaml(_line(event), f"is not YAML as it is used here: it {what}")


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _describe(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """Where reading ended, and why, in the words of who wrote the file where that is possible."""
    mark = error.problem_mark or error.context_mark
    row = text.splitlines()[mark.line : mark.line + 1] if mark else []
    sign = row[0][mark.column : mark.column + 1] if row and mark else ""
    line = mark.line + 1 if mark else 1
    for context, signs, hint in _HINTS:
        if (not signs or (sign and sign in signs)) and context in (error.context or ""):
            return line, f"is not YAML: {hint}"
    what = f"{error.problem}, {error.context}" if error.context else str(error.problem)
    return line, f"is not YAML: {what}"
