"""Answers: the octets a server sends, made into replies (RFC 5321 4.2), however long, odd or hostile they are.

What is not a reply is told as such, at once or when a bound is reached, so that nobody waits for its end. Texts come
out as printable characters on single lines: whatever is stored, logged or shown later needs no second cleaning.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from mta.smtp.reply import Reply

LINE_LIMIT = 1_000  # octets kept of a line; RFC 5321 4.5.3.1.5 allows 512 and asks for more where it is possible
LINES_LIMIT = 100  # lines of one reply
REPLY_LIMIT = 65_536  # octets of one reply, unfinished line included
# Octets of one reply that are kept, in whole lines. More than any answer to EHLO has; and what a server says at length
# for each of a thousand recipients is compared, logged and told to their sender.
KEPT_LIMIT = 16_384

_KNOWN_BY = 12  # characters of a secret

_CODE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")


class AnswerReader:
    """Reads one server's replies. `nonsense` is "" until something was not a reply, then it says what; nothing that
    comes later is read."""

    __slots__ = ("_count", "_cut", "_lines", "_rest", "_size", "nonsense")

    def __init__(self) -> None:
        self._rest = b""  # of a line that has begun, as far as it is kept
        self._cut = 0  # octets of it that are not
        self._lines: list[Reply] = []  # of the reply that has begun, as far as they are kept
        self._count = 0
        self._size = 0
        self.nonsense = ""

    @property
    def is_empty(self) -> bool:
        """Has everything that came been given out as replies?"""
        return not (self._rest or self._lines or self.nonsense)

    def receive(self, octets: bytes) -> list[Reply]:
        """The replies that these octets complete. Those before nonsense count; look at `nonsense` after them.

        A bare LF is taken for the end of a line, as many clients do: a server that errs there is still understood.
        """
        replies: list[Reply] = []
        if self.nonsense:
            return replies
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for octets_of_line in lines:
            length, self._cut = len(octets_of_line) + self._cut, 0
            line = _parse(octets_of_line[:LINE_LIMIT])
            if line is None:
                self.nonsense = f"not a reply: {clean(octets_of_line[:100]).rstrip()}"
            elif not (line.more or self._lines):
                replies.append(line.reply)
                continue
            elif self._lines and line.reply.code != self._lines[0].code:
                self.nonsense = f"a reply that began with {self._lines[0].code} went on with {line.reply.code}"
            else:
                self._count += 1
                self._size += length
                if self._size <= KEPT_LIMIT or not self._lines:
                    self._lines.append(line.reply)
                if self._count > LINES_LIMIT:
                    self.nonsense = f"a reply of more than {LINES_LIMIT} lines"
                elif not line.more:
                    replies.append(_join(self._lines))
                    self._lines, self._count, self._size = [], 0, 0
            if self.nonsense:
                return replies
        if len(self._rest) > LINE_LIMIT:  # or all of it would be copied and searched again for each piece that comes
            self._cut += len(self._rest) - LINE_LIMIT
            self._rest = self._rest[:LINE_LIMIT]
        if self._size + self._cut + len(self._rest) > REPLY_LIMIT:
            self.nonsense = f"a reply of more than {REPLY_LIMIT} octets"
        return replies


class Secrets:
    """What we have said of a secret, in base64 (RFC 4954 4). Some servers repeat a line that they do not understand."""

    __slots__ = ("_found", "_words")

    def __init__(self) -> None:
        self._words: list[str] = []
        self._found: re.Pattern[str] | None = None

    def add(self, lines: Iterable[bytes]) -> None:
        """More of them: AUTH with an initial response, or responses."""
        for line in lines:
            words = line.decode("ascii").split()
            self._words += words[2:] if words[:1] == ["AUTH"] else words
        # A server may cut a line short; what stands before is enough to know it by.
        begins = "|".join(re.escape(word[:_KNOWN_BY]) for word in self._words if len(word) > 1)
        self._found = re.compile(rf"(?:{begins})\S*") if begins else None

    def without(self, reply: Reply) -> Reply:
        """A reply that is fit to be kept and shown."""
        if self._found is None:
            return reply
        return reply._replace(lines=tuple(self._found.sub("(secret)", line) for line in reply.lines))


class _Line(NamedTuple):
    """One line of a reply, as the reply that it would be if it were alone. more: others follow ("250-")."""

    reply: Reply
    more: bool


@lru_cache(maxsize=128)
def _parse(octets: bytes) -> _Line | None:
    """A line without its LF; None for what cannot be part of a reply. A code without text is one (RFC 5321 4.2.1)."""
    match = _CODE.fullmatch(octets.rstrip(b"\r"))
    if match is None:
        return None
    code, separator, rest = match.groups()
    text = clean(rest or b"")
    status = _ENHANCED.match(text)
    if status is None or text[0] != chr(code[0]):
        return _Line(Reply(int(code), "", (text,)), separator == b"-")
    return _Line(Reply(int(code), status[0], (text[status.end() + 1 :],)), separator == b"-")


def _join(lines: list[Reply]) -> Reply:
    """The reply that several lines make. Its enhanced status code is the first line's; another stays in the text."""
    code, enhanced, _ = lines[0]
    texts = [text if status in ("", enhanced) else f"{status} {text}".rstrip() for _, status, (text,) in lines]
    return Reply(code, enhanced, tuple(texts))


def clean(octets: bytes) -> str:
    """The octets as text of printable characters: white space becomes a space, all other control characters, marks
    that reorder text, and what is not UTF-8 become "?"."""
    text = octets.decode("utf-8", "replace")
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() and char != "\ufffd" else " " if char.isspace() else "?" for char in text)
