"""Routes: the table of what answers what, from which the description of the API is made as well."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mta.web.exchange import Answer, Call

Handler = Callable[[Call], Awaitable[Answer]]

_NAME: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Route:
    """One row. pattern: a path, whose {names} each stand for one part of it ("/api/v1/messages/{id}").

    opened: needs no token. most: octets that the content of a request may have. about: what the description of the API
    says of it (an operation of OpenAPI); None for what is no part of the API. within: what some of the names can stand
    for; others can for anything.
    """

    method: str
    pattern: str
    handler: Handler
    opened: bool = False
    most: int = 1 << 20
    about: Mapping[str, Any] | None = None
    within: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _matches: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = _NAME.split(self.pattern)
        found = [f"(?P<{part}>{self._one(part)})" if at % 2 else re.escape(part) for at, part in enumerate(parts)]
        object.__setattr__(self, "_matches", re.compile("".join(found)))

    def _one(self, name: str) -> str:
        return "|".join(map(re.escape, self.within[name])) if name in self.within else "[^/]+"

    def names(self, path: str) -> dict[str, str] | None:
        """What its names stand for in a path; None where it is not for this path."""
        found = self._matches.fullmatch(path)
        return None if found is None else found.groupdict()


class Found(NamedTuple):
    """The route of a call, if there is one, and what could be done at its path."""

    route: Route | None
    names: Mapping[str, str]
    methods: tuple[str, ...]


class Routes:
    """All rows."""

    def __init__(self, rows: Sequence[Route]) -> None:
        self.rows = tuple(rows)

    def find(self, method: str, path: str) -> Found:
        """HEAD is GET (RFC 9110 9.3.2). The first row that fits wins."""
        wanted = "GET" if method == "HEAD" else method
        methods: list[str] = []
        for row in self.rows:
            names = row.names(path)
            if names is None:
                continue
            if row.method == wanted:
                return Found(row, names, (row.method,))
            methods.append(row.method)
        return Found(None, {}, tuple(dict.fromkeys(methods)))
