"""Prepared: names and passwords in the one form in which they are compared (SASLprep, RFC 4013)."""

from typing import Final

from scramp.utils import ScramException, saslprep  # type: ignore[import-untyped]

LONGEST: Final = 1024  # octets of a name or a password; nobody has longer ones


class Malformed(Exception):
    """A response is not what the mechanism expects here: 501 5.5.2."""


def prepared(text: str) -> str:
    """A text as it is compared. Raises `ValueError` for what cannot stand in a name or a password."""
    try:
        result: str = saslprep(text)
    except ScramException:
        raise ValueError("has characters that cannot stand in a name or a password (RFC 4013)") from None
    return result


def decoded(octets: bytes) -> str:
    """A name or a password from the wire, prepared. Raises `Malformed`."""
    if len(octets) > LONGEST:
        raise Malformed(f"longer than {LONGEST} octets")
    try:
        return prepared(octets.decode())
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    except ValueError as error:
        raise Malformed(str(error)) from None
