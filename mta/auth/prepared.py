"""Prepared: names and passwords in the one form in which they are compared (SASLprep, RFC 4013)."""

from scramp.utils import ScramException, saslprep  # type: ignore[import-untyped]


def prepared(text: str) -> str:
    """A text as it is compared. Raises `ValueError` for what cannot stand in a name or a password."""
    try:
        result: str = saslprep(text)
    except ScramException:
        raise ValueError("has characters that cannot stand in a name or a password (RFC 4013)") from None
    return result
