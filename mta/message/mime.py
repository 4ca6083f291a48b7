"""MIME: what the header of an entity says about its body (RFC 2045), read from its octets and never written again.

A reader of mail forgives a lot, and so does this: what cannot be understood has the default that RFC 2045 gives it.
"""

import re
from typing import Final, NamedTuple

from mta.message.printable import visible

TEXT: Final = "text/plain"
IDENTITIES: Final = frozenset({"7bit", "8bit", "binary"})

_FIELD = re.compile(
    rb"\r\n(mime-version|content-type|content-transfer-encoding|dkim-signature)[ \t]*:(.*?)(?=\r\n(?![ \t])|\Z)",
    re.DOTALL | re.IGNORECASE,
)
# A quoted string that does not end takes all the rest: to go back and try again behind each quote takes far too long.
_OUTSIDE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|(?:\([^()\\]*\))+|\(|[^"(]+', re.DOTALL)
_IN_COMMENT = re.compile(rb"\\.|\(+|\)+", re.DOTALL)
_TYPE = re.compile(rb"\s*([!#-'*+.0-9A-Z^-~-]+)\s*/\s*([!#-'*+.0-9A-Z^-~-]+)(?=[\s;]|\Z)", re.IGNORECASE)
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s;"]*))', re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_LONGEST_LABEL: Final = 40


class Header(NamedTuple):
    """What a header says about the body behind it.

    type: "type/subtype" in lower case; "" where there is no Content-Type field, and text/plain for an invalid one.
    boundary: of a multipart; b"" for none. encoding: the transfer encoding, in lower case, "7bit" by default; where
    there are several fields that differ, the one that is no identity, since that is what somebody may go by.
    encoding_fields: where they are: beginning and end, with the line end, counted from the header's first octet.
    contradicts: several Content-Type fields say different things. is_mime, is_signed: there is a MIME-Version, a
    DKIM-Signature field.
    """

    type: str = ""
    boundary: bytes = b""
    encoding: str = "7bit"
    encoding_fields: tuple[tuple[int, int], ...] = ()
    contradicts: bool = False
    is_mime: bool = False
    is_signed: bool = False

    @property
    def is_identity(self) -> bool:
        """The body is as it is: its transfer encoding is 7bit, 8bit or binary."""
        return self.encoding in IDENTITIES


def read_header(fields: bytes) -> Header:
    """Read a header, given as lines with CRLF, without the empty line behind them. Takes linear time."""
    types: list[bytes] = []
    encodings: list[str] = []
    places: list[tuple[int, int]] = []
    names: set[bytes] = set()
    for field in _FIELD.finditer(b"\r\n" + fields):
        name, value = field[1].lower(), field[2]
        names.add(name)
        if name == b"content-type":
            types.append(_without_comments(value).strip())
        elif name == b"content-transfer-encoding":
            encodings.append(_encoding(value))
            places.append((field.start(), field.end()))  # as the two octets put before are no part of the header
    kind, boundary = _content_type(types[0]) if types else ("", b"")
    return Header(
        kind,
        boundary,
        next((encoding for encoding in encodings if encoding not in IDENTITIES), encodings[0] if encodings else "7bit"),
        tuple(places),
        len(set(types)) > 1,
        b"mime-version" in names,
        b"dkim-signature" in names,
    )


def _content_type(value: bytes) -> tuple[str, bytes]:
    """The type of a Content-Type without comments, and its boundary where it is a multipart."""
    found = _TYPE.match(value)
    if found is None:
        return TEXT, b""
    kind = f"{found[1].decode()}/{found[2].decode()}".lower()
    if not kind.startswith("multipart/"):
        return kind, b""
    for name, quoted, plain in _PARAMETER.findall(value, found.end(2)):
        if name.lower() == b"boundary":
            return kind, _QUOTED_PAIR.sub(rb"\1", quoted).rstrip() or plain
    return kind, b""


def _encoding(value: bytes) -> str:
    """The transfer encoding as a word that can be shown; an empty field is as good as none (RFC 2045 6.1)."""
    word = _without_comments(value).strip().lower()
    return visible(word[:_LONGEST_LABEL].decode("ascii", "backslashreplace")) or "7bit"


def _without_comments(value: bytes) -> bytes:
    """A field's body unfolded, each comment a space (RFC 5322 3.2.2). One that does not end takes all the rest."""
    value = value.replace(b"\r\n", b"")
    if b"(" not in value:
        return value
    kept: list[bytes] = []
    place = 0
    while lexeme := _OUTSIDE.match(value, place):
        place = lexeme.end()
        text = lexeme[0]
        if text == b"(":
            place = _end_of_comment(value, place)
        kept.append(b" " if text.startswith(b"(") else text)
    return b"".join(kept)


def _end_of_comment(value: bytes, place: int) -> int:
    """Where the comment ends that has begun before a place. There may be others in it."""
    depth = 1
    for mark in _IN_COMMENT.finditer(value, place):
        text = mark[0]
        if text.startswith(b"("):
            depth += len(text)
        elif text.startswith(b")"):
            if len(text) >= depth:
                return mark.start() + depth
            depth -= len(text)
    return len(value)
