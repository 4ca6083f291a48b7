"""Lines: how a message is made of them, and text from outside made fit for those that we write ourselves.

Ours are written by hand: the standard library would encode long fields by RFC 2047, which is not for status fields,
and everything that comes from outside has to be made harmless anyway.
"""

import re
from binascii import b2a_qp
from collections.abc import Iterable
from typing import Final

from mta.message.printable import visible

CRLF: Final = b"\r\n"
BARE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")  # CR or LF alone, which is no line end
LONGEST_LINE: Final = 998  # octets without CRLF (RFC 5321 4.5.3.1.6, RFC 5322 2.1.1)

WIDTH: Final = 76
# So much of a text with single spaces as goes on a line, or a word that is longer.
_FOLDED: Final = re.compile(rf"[^ ].{{0,{WIDTH - 1}}}(?= |\Z)|[^ ]+")
LONGEST_ADDRESS: Final = 400
LONGEST_TEXT: Final = 900  # so that even without a space to fold at, a line stays within what is allowed


def has_whole_line_ends(octets: bytes) -> bool:
    """Is every CR followed by LF, and every LF preceded by CR?"""
    return octets.replace(b"\n", b"").replace(b"\r", CRLF) == octets


def has_long_line(octets: bytes) -> bool:
    """Is a line longer than may be sent? Leaps from line end to line end, as far as a line may be long."""
    place = 0
    while len(octets) - place > LONGEST_LINE:
        end = octets.rfind(CRLF, place, place + LONGEST_LINE + len(CRLF))
        if end < 0:
            return True
        place = end + len(CRLF)
    return False


def line(text: str, longest: int, wide: bool = False) -> str:
    """The text as one line of up to `longest` octets.

    wide: letters beyond ASCII may stay (RFC 6532); else each of them is given by an escape.
    """
    one_line = visible(" ".join(text[:longest].split()))
    if wide:
        return one_line.encode()[:longest].decode(errors="ignore")
    return one_line.encode("ascii", "backslashreplace").decode()[:longest]


def field(name: str, value: str, wide: bool = False) -> str:
    """A field, folded at spaces, so that unfolding gives the value back. wide: as for `line`."""
    text = f"{name}: {line(value, LONGEST_TEXT, wide)}".rstrip()
    if len(text) <= WIDTH:
        return text
    return "\r\n ".join(_FOLDED.findall(text))


def quoted(lines: Iterable[bytes]) -> bytes:
    """The lines as quoted-printable (RFC 2045 6.7), with CRLF between them."""
    return CRLF.join(b2a_qp(one, quotetabs=False, istext=False).replace(b"\n", CRLF) for one in lines)
