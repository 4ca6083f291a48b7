"""Answers: the rules of the DNS room that need no network, shared by the resolver and its twin in memory."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from mta.policy.exchangers import Answer, Found, is_host_name

SHORTEST: Final = 1.0
LONGEST: Final = 86400.0
LONGEST_NEGATIVE: Final = 3600.0
FAILURE_LASTS: Final = 5.0
HALF_LASTS: Final = 60.0
LOCALHOST: Final = ("127.0.0.1", "::1")


def normal(name: str) -> str:
    """A name as caches and zones know it: lower case, without the final dot."""
    return name.lower().removesuffix(".")


def until(found: Found, now: float, ttl: float) -> float:
    """How long an answer with this time to live (seconds) may be believed, in the seconds of `now`.

    Negative answers never longer than an hour, so that a domain that has just been set up soon gets its mail; a
    failure for some seconds, so that a queue full of mail for the domain asks once and not once for each.
    """
    if found is Found.FAILED:
        return now + FAILURE_LASTS
    longest = LONGEST if found is Found.RECORDS else LONGEST_NEGATIVE
    return now + min(max(ttl, SHORTEST), longest)


def not_a_name(name: str, now: float) -> Answer[str] | None:
    """The answer for what cannot be in the DNS as a host or mail domain, so that nobody is asked; None for others."""
    if is_host_name(name):
        return None
    return Answer(Found.NO_NAME, until=until(Found.NO_NAME, now, LONGEST), why="not a domain name")


def without_asking(host: str, now: float) -> Answer[str] | None:
    """The addresses of what is no question for the DNS: an address is its own, and no name has none.

    "localhost" is this machine whatever the DNS says of it (RFC 6761 6.3). None for all others.
    """
    try:
        return Answer(Found.RECORDS, (str(ip_address(host)),), now + LONGEST)
    except ValueError:
        pass
    if host == "localhost" or host.endswith(".localhost"):
        return Answer(Found.RECORDS, LOCALHOST, now + LONGEST)
    return not_a_name(host, now)


def merge(families: Sequence[Answer[str]], now: float) -> Answer[str]:
    """A and AAAA as one: records where either family has some; failed where one failed and the other has none."""
    records = tuple(record for answer in families for record in answer.records)
    if records:
        # A family that could not be asked for is asked for again soon, yet not at each delivery.
        believed = [now + HALF_LASTS if answer.found is Found.FAILED else answer.until for answer in families]
        return Answer(Found.RECORDS, records, min(believed))
    for found in (Found.FAILED, Found.NO_NAME):
        for answer in families:
            if answer.found is found:
                return answer
    return Answer(Found.NO_DATA, until=min(answer.until for answer in families))
