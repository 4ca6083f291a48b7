"""Edits: stretches of a content that are replaced or encoded while it is read; every other octet stays as it is."""

import re
from binascii import b2a_base64, b2a_qp
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from mta.message.lines import BARE, CRLF
from mta.message.structure import evenly

_BASE64_LINE: Final = 57  # octets, which are 76 characters
_LONGEST_HELD: Final = 32_768
_TOO_LONG = re.compile(rb"^([^\n]{74,75})(=(?:20|09))$", re.MULTILINE)


class Encoder(Protocol):
    """Makes the octets of a stretch into others, as they come."""

    def feed(self, octets: bytes) -> bytes:
        """Some more octets: what they have become, as far as that is known."""

    def finish(self) -> bytes:
        """There is no more: what is left."""


class Edit(NamedTuple):
    """What becomes of the octets from one offset up to another. An empty stretch is a place to put something in."""

    begin: int
    end: int
    encoder: Callable[[], Encoder]


class Replacement:
    """Something else in place of the octets."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def feed(self, octets: bytes) -> bytes:
        """As in `Encoder`."""
        return b""

    def finish(self) -> bytes:
        """As in `Encoder`."""
        return self._octets


class QuotedPrintable:
    """Text with whole line ends as quoted-printable (RFC 2045 6.7); its lines stay lines."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, octets: bytes) -> bytes:
        """As in `Encoder`."""
        text = self._held + octets
        cut = text.rfind(CRLF) + len(CRLF)
        if cut >= len(CRLF):
            self._held = text[cut:]
            return _quoted(text[:cut])
        if len(text) < _LONGEST_HELD:
            self._held = text
            return b""
        # A piece of a line. A letter that is taken away again keeps room for the line end that does not count.
        cut = len(text) - text.endswith(b"\r")
        self._held = text[cut:]
        return _quoted(text[:cut] + b"x")[:-1] + b"=\r\n"

    def finish(self) -> bytes:
        """As in `Encoder`."""
        return _quoted(self._held)


class Base64:
    """Octets as base64 (RFC 2045 6.8) in lines of 76. ends_content: they need a line end behind the last one, too."""

    def __init__(self, ends_content: bool) -> None:
        self._ends_content = ends_content
        self._held = b""
        self._between = b""

    def feed(self, octets: bytes) -> bytes:
        """As in `Encoder`."""
        octets = self._held + octets
        whole = len(octets) - len(octets) % _BASE64_LINE
        self._held = octets[whole:]
        return self._lines(octets[:whole])

    def finish(self) -> bytes:
        """As in `Encoder`."""
        return self._lines(self._held) + (CRLF if self._ends_content else b"")

    def _lines(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        places = range(0, len(octets), _BASE64_LINE)
        lines = [b2a_base64(octets[place : place + _BASE64_LINE], newline=False) for place in places]
        between, self._between = self._between, CRLF
        return between + CRLF.join(lines)


class Masked:
    """Text that nobody needs, with a question mark for each octet that cannot be sent. eight_bit: those above 127 can.

    Every octet stays one octet.
    """

    def __init__(self, eight_bit: bool) -> None:
        self._table = bytes(octet if octet and (eight_bit or octet < 128) else ord("?") for octet in range(256))
        self._held = b""

    def feed(self, octets: bytes) -> bytes:
        """As in `Encoder`."""
        text = self._held + octets
        self._held = b"\r" if text.endswith(b"\r") else b""  # its LF may come next
        return self._mask(text[: len(text) - len(self._held)])

    def finish(self) -> bytes:
        """As in `Encoder`."""
        return self._mask(self._held)

    def _mask(self, text: bytes) -> bytes:
        return BARE.sub(b"?", text.translate(self._table))


def edited(blocks: Iterable[bytes], edits: Iterable[Edit]) -> Iterator[bytes]:
    """The content with its edits, which must be in order and apart. However it is cut, the result is the same."""
    to_come = iter(edits)
    edit = next(to_come, None)
    encoder: Encoder | None = None
    at = 0
    for block in evenly(blocks):
        end = at + len(block)
        result: list[bytes] = []
        position = at
        while edit is not None and edit.begin <= end:
            if encoder is None:
                result.append(block[position - at : edit.begin - at])
                position = edit.begin
                encoder = edit.encoder()
            stop = min(edit.end, end)
            result.append(encoder.feed(block[position - at : stop - at]))
            position = stop
            if edit.end > end:
                break
            result.append(encoder.finish())
            edit, encoder = next(to_come, None), None
        result.append(block[position - at :])
        at = end
        yield b"".join(result)


def _quoted(text: bytes) -> bytes:
    """Quoted-printable of text that begins and ends with lines.

    The standard library goes by the first line end for all of them, so it is given but one kind, and it forgets that
    white space before a line end becomes longer.
    """
    quoted = b2a_qp(text.replace(CRLF, b"\n"), istext=True)
    if b"=20\n" in quoted or b"=09\n" in quoted:
        quoted = _TOO_LONG.sub(rb"\1=\n\2", quoted)
    return quoted.replace(b"\n", CRLF)
