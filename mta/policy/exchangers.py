"""Exchangers: from what the DNS says of a domain to the hosts that its mail is tried at (RFC 5321 5.1)."""

from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

Record = TypeVar("Record")


class Found(StrEnum):
    """How a question to the DNS ended."""

    RECORDS = "records"
    NO_DATA = "no data"  # the name exists, but has no record of this type
    NO_NAME = "no such name"  # NXDOMAIN
    FAILED = "failed"  # SERVFAIL, refused, timed out: nobody knows


class Exchanger(NamedTuple):
    """One MX record. host: lower case, without the final dot; "" for the root, which makes a null MX (RFC 7505)."""

    preference: int
    host: str


class Answer(NamedTuple, Generic[Record]):
    """An answer of the DNS: `Answer[Exchanger]` for MX, `Answer[str]` for addresses, A and AAAA together.

    until: how long it may be believed, in seconds since 1970. why: a failure in words, for replies and timelines.
    """

    found: Found
    records: tuple[Record, ...] = ()
    until: float = 0.0
    why: str = ""
