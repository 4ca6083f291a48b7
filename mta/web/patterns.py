"""Patterns: what texts of the API look like. The schemas say it, and what comes in is held to it: so both are one.

They are regular expressions of JSON Schema (ECMA 262) and Python alike, and stand for the whole text.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

CONTROLS: Final = r"\x00-\x1f\x7f"
_UNPRINTED: Final = rf"{CONTROLS}\x80-\x9f\u2028\u2029"

WORD: Final = rf"[^{CONTROLS}]{{1,512}}"
"""An address, a domain or a destination, to look something up by."""

_DIGIT: Final = "[0-9A-TV-Za-tv-z]"
QUEUE_ID: Final = f"(?:[0-7ILOilo]{_DIGIT}{{12}}|{_DIGIT}{{1,12}})"
"""As `parse_queue_id` reads it: 63 bits, five in a digit."""

HOST_NAME: Final = r"(?:[A-Za-z0-9_-]{1,63}\.)+[A-Za-z0-9_-]{0,62}[A-Za-z_-]"
"""A domain with a dot in it, in ASCII: the last label is no number (RFC 3696 2)."""

# Of a mailbox (RFC 5321 4.1.2, and 4.5.3.1 for the lengths), in ASCII.
_ATEXT: Final = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_LOCAL: Final = rf"(?![^@]*\.\.)[{_ATEXT}](?:[.{_ATEXT}]{{0,62}}[{_ATEXT}])?"
_QUOTED: Final = r'"[ !#-?A-\[\]-~]{1,62}"'
_LABELS: Final = r"(?![^,>]*(?:\.\.|\.-|-\.))(?!(?:[^,>]*\.)?[^.,>]{64})"
_DOMAIN: Final = rf"{_LABELS}[A-Za-z0-9_](?:[A-Za-z0-9_.-]{{0,187}}[A-Za-z0-9_])?"
_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_LITERAL: Final = rf"\[{_OCTET}(?:\.{_OCTET}){{3}}\]"
_MAILBOX: Final = rf"(?:{_LOCAL}|{_QUOTED})@(?:{_DOMAIN}|{_LITERAL})"

MAILBOX: Final = _MAILBOX
"""As an envelope has it."""

REVERSE_PATH: Final = rf"(?:<>|<{_MAILBOX}>|{_MAILBOX})?"
"""One that may be the null one."""

_PHRASE: Final = rf"[^{_UNPRINTED}()<>\[\]:;@\\,.\"=]*|\"[^{_UNPRINTED}\\\"=]*\""
_NAMED: Final = rf"(?:{_LOCAL}|{_QUOTED})@{_DOMAIN}"

ADDRESS: Final = rf"(?:{_NAMED}|(?:(?:{_PHRASE}) ?)?<{_NAMED}>)"
"""As a field of a header has it, with or without a name before it."""

ADDRESSES: Final = rf"{ADDRESS}(?:, ?{ADDRESS})*"
"""Some of them, with commas between."""

_EACH: Final = rf"({_NAMED})(?:, ?|$)|(?:{_PHRASE})<({_NAMED})>(?:, ?|$)"

LINE: Final = r"[^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]*"
"""Text that stands in a header; a TAB may."""

FIELD_NAME: Final = "[!-9;-~]{1,76}"

OWN_FIELDS: Final = (
    *("from", "to", "cc", "bcc", "reply-to", "sender", "subject", "received", "return-path"),
    *("mime-version", "content-type", "content-transfer-encoding", "content-disposition"),
)
"""Fields that a message as JSON has keys for, or that are not its own to say."""

_NAME: Final = "[A-Za-z0-9!#$&^_.+-]{1,60}"
KIND: Final = f"{_NAME}/{_NAME}"
COMPOUND: Final = ("multipart", "message")
"""The type of an attachment (RFC 6838 4.2), and those which it cannot be of."""

BASE64: Final = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"

CONTENT: Final = r"(?:[^\r]|\r\n)+"
"""A message as it is: there is no CR in it but before LF."""


def is_like(text: str, pattern: str) -> bool:
    """Is this such a text?"""
    return _compiled(pattern).fullmatch(text) is not None


def mailboxes_in(addresses: str) -> list[str]:
    """The mailboxes of a text that is like `ADDRESSES`."""
    return [found[1] or found[2] for found in _compiled(_EACH).finditer(addresses)]


def like(pattern: str, **more: Any) -> Mapping[str, Any]:
    """Such a text, as JSON Schema says it."""
    return {"type": "string", "pattern": f"^(?:{pattern})$", **more}


def one_of(words: Sequence[str], ended: str = "$") -> str:
    """One of these words, in upper or lower case, as a pattern of JSON Schema, which knows no flags."""
    either = (
        "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word) for word in words
    )
    return f"^(?:{'|'.join(either)}){ended}"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
