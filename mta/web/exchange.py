"""Exchange: a call as handlers know it, and the answer that they give."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final, Protocol
from urllib.parse import parse_qsl

from mta.web.access import Session
from mta.web.seams import Unusable

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"  # RFC 9457
HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
MOST_FORM: Final = 1 << 20  # octets of a form or of JSON that is read as a whole
MOST_FIELDS: Final = 2000  # of a form or a query


@dataclass(frozen=True)
class Call:
    """One request. path: decoded, without the query. headers: names in lower case. client: its IP address.

    secure: it has come over TLS, at least for a part of its way. session: of the browser; None for who has shown the
    token, or nothing. names: what the pattern of the route has found in the path. is_cut: it had more content than it
    may have, and that is not here.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content: IO[bytes] | None = None
    client: str = ""
    secure: bool = False
    session: Session | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False

    def header(self, name: str) -> str:
        """A header field by its name in lower case; "" where there is none."""
        return self.headers.get(name, "")

    def asked(self) -> dict[str, list[str]]:
        """The query. Raises `Unusable`."""
        return _fields(self.query)

    def form(self) -> dict[str, list[str]]:
        """The fields of a form, URL-encoded. Raises `Unusable`."""
        return _fields(self.text())

    def json(self, most: int = MOST_FORM) -> Any:
        """The content as JSON, up to so many octets, no name twice in an object: which of them is meant nobody can tell
        (RFC 8259 4). Raises `Unusable`."""
        try:
            found = json.loads(self.text(most) or "null", object_pairs_hook=_once_each)
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no character (RFC 8259 8.2)
            return found
        except (ValueError, RecursionError) as error:
            raise Unusable(f"the content is not JSON: {error}") from None

    def text(self, most: int = MOST_FORM) -> str:
        """The content, up to so many octets of UTF-8. Raises `Unusable`."""
        if self.content is None:
            return ""
        self.content.seek(0)
        octets = self.content.read(most + 1)
        if len(octets) > most:
            raise Unusable(f"the content is longer than the {most:,} octets that this may have")
        try:
            return octets.decode()
        except UnicodeDecodeError:
            raise Unusable("the content is not UTF-8") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


Blocks = Iterator[bytes]


class Stream(Protocol):
    """Events. lasts: for how many seconds; None for no end."""

    lasts: float | None

    def begin(self, send: Callable[[bytes], None], close: Callable[[], None]) -> None:
        """Somebody listens: give all that comes to `send`, in the reactor's thread; then `close`, if it has an end."""

    def end(self) -> None:
        """Nobody does any more. Called once, whatever has happened."""


@dataclass(frozen=True)
class Answer:
    """One response. body: all of it, or blocks that are read in a thread, or a stream. length: of blocks, in octets."""

    status: int = 200
    kind: str = JSON
    body: bytes | Blocks | Stream = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """A value, as JSON. headers: with _ for -."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, JSON, json.dumps(value, ensure_ascii=False).encode(errors="replace"), named)


def problem(status: int, title: str, detail: str = "", **more: Any) -> Answer:
    """What went wrong, for programs (RFC 9457). A detail of "" is left out."""
    told = {"type": "about:blank", "title": title, "status": status, **({"detail": detail} if detail else {}), **more}
    return Answer(status, PROBLEM, json.dumps(told, ensure_ascii=False).encode(errors="replace"))


def redirect(path: str, **headers: str) -> Answer:
    """See there: a path of ours (RFC 9110 15.4.4)."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(303, TEXT, b"", {"Location": path, **named})


def _fields(text: str) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise Unusable(f"the query or the form cannot be read: {error}") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found
