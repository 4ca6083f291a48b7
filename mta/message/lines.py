"""Lines: text from outside made fit for the lines of a message that we write ourselves.

They are written by hand: the standard library would encode long fields by RFC 2047, which is not for status fields,
and everything that comes from outside has to be made harmless anyway.
"""

from binascii import b2a_qp
from collections.abc import Iterable
from textwrap import wrap
from typing import Final

WIDTH: Final = 76
LONGEST_LINE: Final = 998  # octets, RFC 5322 2.1.1
LONGEST_ADDRESS: Final = 400
LONGEST_TEXT: Final = 900  # so that even without a space to fold at, a line stays within what is allowed


def visible(text: str) -> str:
    """The text with nothing that does not print."""
    text = text.replace("\t", " ")
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


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
    text = f"{name}: {line(value, LONGEST_TEXT, wide)}"
    return "\r\n ".join(wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def quoted(lines: Iterable[bytes]) -> bytes:
    """The lines as quoted-printable (RFC 2045 6.7), with CRLF between them."""
    return b"\r\n".join(b2a_qp(one, quotetabs=False, istext=False).replace(b"\n", b"\r\n") for one in lines)
