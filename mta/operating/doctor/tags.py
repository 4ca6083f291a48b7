"""Tags: lists such as "v=DMARC1; p=reject", as DKIM, DMARC, MTA-STS and TLSRPT write them (RFC 6376 3.2)."""

import re

from mta.operating.doctor.finding import quoted

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


class BadTags(Exception):
    """It is no such list. The text says why."""


def parse_tags(text: str) -> dict[str, str]:
    """The tags by name, in their order, white space around them taken off. Raises `BadTags`."""
    found: dict[str, str] = {}
    parts = text.split(";")
    if not parts[-1].strip():
        parts.pop()
    for part in parts:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _NAME.fullmatch(name):
            raise BadTags(f"{quoted(part.strip())} is not of the form name=value")
        if name in found:
            raise BadTags(f"it has {name}= twice")
        found[name] = value
    return found


def begins_with(text: str, version: str) -> bool:
    """Is it a record of this kind? version: as "v=DMARC1"; white space around its "=" does not matter."""
    name, _, value = text.partition(";")[0].partition("=")
    return f"{name.strip()}={value.strip()}" == version
