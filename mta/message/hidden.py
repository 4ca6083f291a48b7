"""Hidden: the lines of a log with nobody's local part in them, for who asked for hashed addresses.

What an address is follows from the fields that hold one, and from what looks like one in a text; rather too much is
hidden than too little.
"""

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

ADDRESS_FIELDS: Final = frozenset({"sender", "to", "recipient"})
_PERSONAL_FIELDS: Final = ADDRESS_FIELDS | {"account", "login"}
# What is an address in a text, as far as that can be told; rather too much of it than too little. It begins where a
# word does: to try in the middle of words, too, finds no other, and takes the square of the time that a long one takes.
# An equals sign can be in a local part (bounces+anne=example.org@list.example), so what stands before one goes with it.
_ADDRESS_IN_TEXT: Final = re.compile(
    r"""(?<![^\s<>"'(),;:\[\]])(?:"(?:[^"\\]|\\.){0,130}"|[^\s<>"'(),;:\[\]]+)@[^\s<>"'(),;=]+"""
)
# Fields that are sentences; what is in them of a name that another field of the line has is hidden as it is there.
_SENTENCES: Final = frozenset({"why", "reply", "line"})
# What a client has said in the place of an address, be it one or not, behind the hosts of a source route.
_PLACE_IN_LINE: Final = re.compile(
    r"""(?i)(?:(?:FROM|TO)\s*:\s*<?(?:@[^<>"]*:)?|^\s*(?:VRFY|EXPN)\s+)"""
    r"""((?:"(?:[^"\\]|\\.)*(?:"|$)|[^<>"])*?)(?=>|\s+[A-Z0-9-]+=|$)"""
)
_NAME_IN_LINE: Final = re.compile(r"(?i)\b((?:AUTH|LOGIN)=)([^<>@\s]+)(?=\s|$)")


def hide(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a line with nobody's local part in them."""
    names = {name for field in _PERSONAL_FIELDS.intersection(fields) for name in _names(fields[field])}
    return {name: _hidden(name, value, names) for name, value in fields.items()}


def _hidden(name: str, value: Any, names: set[str]) -> Any:
    if name in _PERSONAL_FIELDS and value is not None:
        return [_hashed(one) for one in value] if isinstance(value, (list, tuple)) else _hashed(value)
    if not isinstance(value, str):
        return value
    text = _hide_in_line(value) if name == "line" else hide_addresses(value)
    if names and name in _SENTENCES:
        text = _hide_names(text, names)
    return text


def _hide_in_line(line: str) -> str:
    """A line that a client has sent, and that may be anything."""
    place = _PLACE_IN_LINE.search(line)
    start, end = place.span(1) if place is not None else (len(line), len(line))
    before, after = (
        _NAME_IN_LINE.sub(lambda found: found[1] + _hashed(found[2]), hide_addresses(part))
        for part in (line[:start], line[end:])
    )
    return before + _hashed(line[start:end]) + after


def hide_addresses(text: str) -> str:
    """A text with the local part of each address in it hashed."""
    return _ADDRESS_IN_TEXT.sub(lambda found: _hashed(found[0]), text) if "@" in text else text


def _names(value: Any) -> Iterator[str]:
    """The local parts, or names of accounts, in a field."""
    for one in value if isinstance(value, (list, tuple)) else (value,):
        name = str(one or "").rpartition("@")[0] or str(one or "")
        if name:
            yield name


def _hide_names(text: str, names: set[str]) -> str:
    """A text with each of these names hashed in it, in capitals or not, where it stands as a word of its own.

    By searching, not by an expression: to compile one of a name of 64 KiB takes a hundred times as long as to use it.
    """
    folded = _folded(text)
    shown, at = [], 0
    spans = {span for name in names for span in _words(folded, _folded(name))}
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):  # the longest of those that begin here
        if start >= at:
            shown += [text[at:start], _hashed(text[start:end])]
            at = end
    return "".join(shown) + text[at:]


def _words(text: str, word: str) -> Iterator[tuple[int, int]]:
    """Where a word begins and ends in a text, each time that nothing of a word stands before or after it."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not _is_wordly(text[start - 1 : start]) and not _is_wordly(text[end : end + 1]):
            yield start, end
            start = end - 1
        start = text.find(word, start + 1)


def _is_wordly(character: str) -> bool:
    return character.isalnum() or character == "_"


def _folded(text: str) -> str:
    """A text without capitals, of the same length: what takes more room without them stays as it is."""
    folded = text.casefold()
    return folded if len(folded) == len(text) else "".join(map(_folded_character, text))


def _folded_character(character: str) -> str:
    folded = character.casefold()
    return folded if len(folded) == 1 else character


@lru_cache(maxsize=4096)
def _hashed(address: str) -> str:
    """An address that can be followed through a log without being read: 12 digits of SHA-256, the domain kept."""
    local, at, domain = address.rpartition("@") if "@" in address else (address, "", "")
    return f"{hashlib.sha256(local.lower().encode()).hexdigest()[:12]}{at}{domain}" if address else ""
