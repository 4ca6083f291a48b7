"""Parameters: checks of what extensions add to MAIL, from the value on the line to its normal form.

A check takes the value, None where the keyword came without one. A ValueError says to a person what is wrong.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone

from mta.smtp.address import AddressError, parse_mailbox
from mta.smtp.xtext import decode

_BODIES = ("7BIT", "8BITMIME", "BINARYMIME")
_BY = re.compile(r"([+-]?)([0-9]{1,9});([RN]T?)", re.ASCII)
_PRIORITY = re.compile(r"-?[1-9]|0", re.ASCII)
_INTERVAL = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
# date-time of RFC 3339 5.6
_DATE_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|([+-])(\d\d):([0-5]\d))", re.ASCII
)


def alone(keyword: str) -> Callable[[str | None], str]:
    """A check of a keyword that takes no value, such as SMTPUTF8 (RFC 6531 3.1) or REQUIRETLS (RFC 8689 2)."""

    def check(value: str | None) -> str:
        if value is not None:
            raise ValueError(f"{keyword} takes no value")
        return ""

    return check


def octets(value: str | None) -> str:
    """SIZE= (RFC 1870 5)."""
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > 20:
        raise ValueError("a number of octets is needed, of at most 20 digits")
    return value


def body(value: str | None) -> str:
    """BODY= (RFC 6152 3, RFC 3030 3), in upper case."""
    word = (value or "").upper()
    if word not in _BODIES:
        raise ValueError(f"one of {' '.join(_BODIES)} is needed")
    return word


def auth(value: str | None) -> str:
    """AUTH= (RFC 4954 5), decoded: who first submitted the message, "local@domain" or "<>"."""
    try:
        submitter = decode(value or "")
        return submitter if submitter == "<>" else str(parse_mailbox(submitter))
    except AddressError as error:
        raise ValueError(f"an address in xtext is needed, or <>: {error.reason}") from None


def priority(value: str | None) -> str:
    """MT-PRIORITY= (RFC 6710 5), "-9" to "9"."""
    if value is None or not _PRIORITY.fullmatch(value):
        raise ValueError("a number from -9 to 9 is needed")
    return value


def by(value: str | None) -> str:
    """BY= (RFC 2852 4): seconds and a mode, "3600;R", without "+" and leading zeros; `deliver_by` reads it."""
    match = _BY.fullmatch((value or "").upper())
    if match is None:
        raise ValueError("seconds (up to 9 digits) and R, N, RT or NT are needed, such as 3600;R")
    sign, digits, mode = match.groups()
    seconds = -int(digits) if sign == "-" else int(digits)
    if seconds <= 0 and mode.startswith("R"):
        raise ValueError("with R the time must be more than 0 seconds, for the message would be returned at once")
    return f"{seconds};{mode}"


def deliver_by(value: str) -> tuple[int, str]:
    """The normal form of BY=, as seconds from its arrival and mode ("R", "N", "RT", "NT")."""
    seconds, _, mode = value.partition(";")
    return int(seconds), mode


def future_release_checks(longest: int) -> Mapping[str, Callable[[str | None], str]]:
    """The checks of HOLDFOR= and HOLDUNTIL= (RFC 4865 4). longest: the longest interval that is taken, in seconds.

    A check has no clock, so whether HOLDUNTIL is too far away is for `release_time` to say.
    """

    def interval(value: str | None) -> str:
        if value is None or not _INTERVAL.fullmatch(value):
            raise ValueError("a number of seconds is needed, more than 0 and of at most 9 digits")
        if int(value) > longest:
            raise ValueError(f"a message is held for {longest} seconds at most")
        return value

    return {"HOLDFOR": interval, "HOLDUNTIL": date_time}


def date_time(value: str | None) -> str:
    """HOLDUNTIL= (RFC 4865 4), a date-time of RFC 3339, in UTC and whole seconds: "2030-01-31T08:00:00Z"."""
    match = _DATE_TIME.fullmatch((value or "").upper())
    if match is None:
        raise ValueError("a date and time of RFC 3339 is needed, such as 2030-01-31T08:00:00Z")
    *fields, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = (int(field) for field in fields)
    try:
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        zone = timezone(-offset if sign == "-" else offset)
        # A leap second is taken for the one before it.
        at = datetime(year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=zone)
        return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise ValueError("there is no such date and time") from None


def release_time(parameters: Mapping[str, str], now: float, longest: int) -> float:
    """When a message is to go on, in seconds since 1970; `now` where nothing else is wanted (RFC 4865 4).

    parameters: of MAIL, checked. longest: as in `future_release_checks`. Raises `ValueError` for both parameters
    together, and for a time too far away; a time that has passed is as good as none.
    """
    interval, until = parameters.get("HOLDFOR"), parameters.get("HOLDUNTIL")
    if interval is not None and until is not None:
        raise ValueError("HOLDFOR and HOLDUNTIL exclude each other")
    if interval is not None:
        return now + int(interval)
    if until is None:
        return now
    at = datetime.fromisoformat(until).timestamp()
    if at > now + longest:
        raise ValueError(f"a message is held for {longest} seconds at most")
    return max(at, now)
