"""Notification: the parameters by which a sender asks for delivery status notifications (RFC 3461 4), strictly read.

Each function takes the value of a parameter, None where it has none, and gives its normal form, which is what an
envelope keeps and the next hop is told. A `ValueError` says what is wrong.
"""

import re
from functools import lru_cache

from mta.smtp import xtext

_LONGEST_ORIGINAL = 500  # characters, RFC 3461 4.2
_LONGEST_ENVELOPE_ID = 100  # RFC 3461 4.4
_WORDS = ("SUCCESS", "FAILURE", "DELAY")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")  # an atom
# QUCHAR or EmbeddedUnicodeChar of RFC 6533 3; the latter's number is looked at by `_embedded`.
_UTF8_ADDRESS = re.compile(r"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})+")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


def notify(value: str | None) -> str:
    """NOTIFY (RFC 3461 4.1): NEVER alone, or some of SUCCESS, FAILURE, DELAY; in capitals, each word once."""
    words = list(dict.fromkeys((value or "").upper().split(",")))
    if words == ["NEVER"]:
        return "NEVER"
    if "NEVER" in words:
        raise ValueError("NEVER stands alone")
    if not set(words) <= set(_WORDS):
        raise ValueError("NEVER is needed, or some of SUCCESS,FAILURE,DELAY")
    return ",".join(words)


def original_recipient(value: str | None) -> str:
    """ORCPT (RFC 3461 4.2): the type of an address, a semicolon, and the address as an xtext; as it was given.

    An address of the type utf-8 has the forms of RFC 6533 3 instead.
    """
    kind, semicolon, address = (value or "").partition(";")
    if not _ADDRESS_TYPE.fullmatch(kind) or not semicolon or not address:
        raise ValueError('the type of an address, ";" and an address are needed, such as "rfc822;user@example.org"')
    original = f"{kind};{address}"
    if len(original.encode()) > _LONGEST_ORIGINAL:
        raise ValueError(f"it is longer than {_LONGEST_ORIGINAL} characters")
    if kind.lower() == "utf-8":
        _printable(decode_utf8(address))
    else:
        _printable(xtext.decode(address))
    return original


def ret(value: str | None) -> str:
    """RET (RFC 3461 4.3): FULL or HDRS, in capitals."""
    word = (value or "").upper()
    if word not in ("FULL", "HDRS"):
        raise ValueError("FULL or HDRS is needed")
    return word


def envelope_id(value: str | None) -> str:
    """ENVID (RFC 3461 4.4): an xtext of up to 100 characters, as it was given."""
    if not value:
        raise ValueError("an envelope identifier is needed")
    if len(value) > _LONGEST_ENVELOPE_ID:
        raise ValueError(f"it is longer than {_LONGEST_ENVELOPE_ID} characters")
    _printable(xtext.decode(value))
    return value


def decode_utf8(text: str) -> str:
    r"""The address in a utf-8-addr-xtext or utf-8-addr-unitext (RFC 6533 3), where "\x{2B}" stands for "+".

    Raises `ValueError` for what is neither.
    """
    if not _UTF8_ADDRESS.fullmatch(text):
        raise ValueError(r'in an address of the type utf-8, "+" is written "\x{2B}", "=" is "\x{3D}", "\" is "\x{5C}"')
    return _EMBEDDED.sub(lambda match: _embedded(match[1]), text)


def encode_utf8(address: str) -> str:
    """An address as a utf-8-addr-xtext (RFC 6533 3), which is ASCII alone."""
    return "".join(map(_encoded, address))


@lru_cache(maxsize=1024)
def _encoded(letter: str) -> str:
    return letter if "!" <= letter <= "~" and letter not in "\\+=" else f"\\x{{{ord(letter):02X}}}"


def _embedded(digits: str) -> str:
    number = int(digits, 16)
    if number > 0x10FFFF or 0xD800 <= number < 0xE000 or digits != f"{number:02X}":
        raise ValueError(f"\\x{{{digits}}} is no letter")
    return chr(number)


def _printable(text: str) -> None:
    """Refuse what a status field could not hold (RFC 3461 4.2 and 4.4)."""
    if not text.isprintable():
        raise ValueError("it stands for something that cannot be printed")
