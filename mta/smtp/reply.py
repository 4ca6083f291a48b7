"""Reply: what one side answers the other with (RFC 5321 4.2), as a value, and its octets on the wire."""

from functools import lru_cache
from typing import NamedTuple


class Reply(NamedTuple):
    """A reply code, an enhanced status code (RFC 3463; "" for none) and one or more lines of text."""

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines as one, for logs and listings."""
        return " ".join(self.lines)

    @property
    def is_positive(self) -> bool:
        """2yz: what was asked for has been done."""
        return 200 <= self.code < 300

    @property
    def is_transient(self) -> bool:
        """4yz: not now; the same may be asked again later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: not so, and asking again will not help."""
        return 500 <= self.code < 600

    def __str__(self) -> str:
        """The reply as a person reads it: "550 5.1.1 no such user"."""
        return " ".join(part for part in (str(self.code), self.enhanced, *self.lines) if part)


@lru_cache(maxsize=512)
def render(reply: Reply) -> bytes:
    """The reply's octets, one line each, the enhanced status code on every line (RFC 2034 4)."""
    prefix = f"{reply.enhanced} " if reply.enhanced else ""
    *first, last = reply.lines or ("",)
    lines = [f"{reply.code}-{prefix}{line}\r\n" for line in first] + [f"{reply.code} {prefix}{last}\r\n"]
    return "".join(lines).encode("utf-8")
