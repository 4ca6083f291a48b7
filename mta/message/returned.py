"""Returned: what a notice gives back of the message that it is about (RFC 3461 4.3, RFC 6522 3 and 4)."""

import re
from typing import Final, NamedTuple

from mta.message.lines import BARE, LONGEST_LINE, has_long_line, has_whole_line_ends, quoted
from mta.message.sevenbit import SEVEN_BIT, Unconvertible, plan

LARGEST_WHOLE: Final = 1024 * 1024  # octets of content that RET=FULL brings back
LARGEST_HEADER: Final = 64 * 1024  # octets of a header section that are quoted
_MOST_HEADER_LINES: Final = 1000

_NOT_PLAIN = re.compile(rb"[^\t\r\n -~]|" + BARE.pattern)
# The reactor waits while a content is looked at, and each part takes its time, as does each comment in a header: so
# many lines that may delimit parts, and so many signs that may begin comments.
_MOST_DASHED_LINES: Final = 1000
_MOST_PARENTHESES: Final = 30_000


class Returned(NamedTuple):
    """What is given back. header: the header section, lines with CRLF; whole: all of the content, b"" where only the
    header is returned. why: why it is less than was asked for, as a sentence goes on after "since"; "" where it is not.
    """

    header: bytes
    whole: bytes = b""
    why: str = ""

    @property
    def header_only(self) -> "Returned":
        """The header of it, for a notice that nobody asked to have more in."""
        return Returned(self.header, why="" if self.header else self.why)

    @property
    def sentence(self) -> str:
        """What is attached, for people."""
        if self.whole:
            return "It is attached as a whole."
        if self.why and not self.header:
            return f"Nothing of it is attached, since {self.why}."
        if self.why:
            return f"Its header alone is attached, since {self.why}."
        return "Its header is attached, its text is not."


def returned(header: bytes, whole: bytes, smtputf8: bool = False) -> Returned:
    """The whole content for RET=FULL, if it can stand in a notice as it is, and go any way with it.

    smtputf8: as for `returned_part`. 8-bit content that cannot be converted would end the notice at the first relay
    that takes but 7 bit, and its sender would not hear of the failure at all.
    """
    given = Returned(header, whole)
    if _is_binary(whole) or not (whole.isascii() or _can_be_converted(_whole(given, smtputf8))):
        return Returned(header, why="its text cannot stand in a notice as it is")
    return given


def returned_part(given: Returned, smtputf8: bool) -> bytes:
    """The body part, its own header included; b"" where nothing is given back.

    smtputf8: the message was sent with SMTPUTF8, so its header may be in UTF-8 (RFC 6533 5).
    """
    if given.whole:
        return _whole(given, smtputf8)
    if given.why and not given.header:
        return b""
    return _header(given.header, smtputf8)


def _is_binary(whole: bytes) -> bool:
    """Is it neither 7bit nor 8bit of RFC 2045 2? message/rfc822 cannot be encoded (RFC 2046 5.2.1)."""
    return b"\0" in whole or not has_whole_line_ends(whole) or has_long_line(whole)


def _can_be_converted(part: bytes) -> bool:
    """Can it be made fit for 7 bit, as far as that can be told in a moment?"""
    if part.count(b"\r\n--") > _MOST_DASHED_LINES or part.count(b"(") > _MOST_PARENTHESES:
        return False
    try:
        plan([part], SEVEN_BIT)
    except Unconvertible:
        return False
    return True


def _whole(given: Returned, smtputf8: bool) -> bytes:
    kind = b"global" if smtputf8 and not given.header.isascii() else b"rfc822"
    encoding = b"" if given.whole.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
    return b"Content-Type: message/%s\r\n%s\r\n%s" % (kind, encoding, given.whole)


def _header(header: bytes, smtputf8: bool) -> bytes:
    """The header as it came where it is clean 7-bit text, else quoted-printable, as RFC 6522 4 allows."""
    header = header[:LARGEST_HEADER]
    lines = header[: header.rfind(b"\r\n") + 2].split(b"\r\n")[:_MOST_HEADER_LINES]
    if b"" in lines:
        del lines[lines.index(b"") :]  # the end of the header; what follows is not for a notice
    plain = b"".join(line + b"\r\n" for line in lines)
    kind = b"message/global-headers" if smtputf8 and not plain.isascii() else b"text/rfc822-headers"
    head = b"Content-Type: %s\r\n" % kind
    if _NOT_PLAIN.search(plain) is None and max(map(len, lines), default=0) <= LONGEST_LINE:
        return head + b"\r\n" + plain
    return head + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + quoted([*lines, b""])
