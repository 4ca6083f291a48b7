"""Exchangers: from what the DNS says of a domain to the hosts and addresses its mail is tried at (RFC 5321 5.1)."""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from itertools import chain, zip_longest
from random import Random
from typing import Generic, NamedTuple, TypeVar

from mta.smtp.ip import dotted_decimal
from mta.smtp.reply import Reply

Record = TypeVar("Record")

MOST_HOSTS = 10
MOST_ADDRESSES = 10

_HOST_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*(?![0-9]+\Z)[A-Za-z0-9_-]{1,63}")
_LONGEST_NAME = 253
_NAT64 = IPv6Network("64:ff9b::/96")


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

    until: how long it may be believed, by the resolver's clock. why: a failure in words, for replies and timelines.
    authentic: whoever was asked says that it has validated the answer by DNSSEC (AD), where that was asked for.
    """

    found: Found
    records: tuple[Record, ...] = ()
    until: float = 0.0
    why: str = ""
    authentic: bool = False


class Candidates(NamedTuple):
    """The hosts to try, best first; or none and the reply that says so. why: the reasoning, for people.

    implicit: there was no MX record, the host is the domain itself.
    """

    hosts: tuple[str, ...]
    failure: Reply | None
    why: str
    implicit: bool = False


class Usable(NamedTuple):
    """The addresses of a host in the order to try them. refused: which ones were left out and why; "" for none."""

    addresses: tuple[str, ...]
    refused: str = ""


def candidates(domain: str, answer: Answer[Exchanger], own_names: frozenset[str], chance: Random) -> Candidates:
    """The hosts that mail for a domain is tried at, given its MX records. At most `MOST_HOSTS`, none twice.

    own_names: the host names of this relay, in any case. Exchangers that are not preferred to this relay are left
    out, since they would hand the mail back to it (RFC 5321 5.1); "localhost" is this relay, whoever says it.
    """
    if answer.found is Found.FAILED:
        return _failure(451, "4.4.3", f"the DNS look-up of {domain} failed{_because(answer.why)}")
    if answer.found is Found.NO_NAME:
        return _failure(550, "5.1.2", f"the domain {domain} does not exist{_because(answer.why)}")
    if len(answer.records) == 1 and not answer.records[0].host:
        return _failure(556, "5.1.10", f"the domain {domain} does not accept mail (null MX)")

    # Only the absence of every MX record makes the domain its own exchanger; unusable records do not.
    implicit = not answer.records
    records = (Exchanger(0, domain.lower()),) if implicit else answer.records
    usable_records = [record for record in records if is_host_name(record.host)]
    if not usable_records:
        # The form of these records is wrong, so that no later look-up of the hosts could succeed: it is permanent.
        return _failure(550, "5.4.4", f"no MX record of {domain} names a host: {_listed(records[:3])}")

    ourselves = {name.lower().rstrip(".") for name in own_names} | {"localhost"}
    limit = min((record.preference for record in usable_records if record.host in ourselves), default=None)
    preferred = [record for record in usable_records if limit is None or record.preference < limit]
    if not preferred:
        return _failure(554, "5.4.6", f"mail for {domain} loops back to this relay, its best exchanger")

    preferred.sort(key=lambda record: (record.preference, chance.random()))
    hosts = tuple(dict.fromkeys(record.host for record in preferred))[:MOST_HOSTS]
    if implicit:
        return Candidates(hosts, None, f"{domain} has no MX record: it is its own exchanger", implicit=True)
    why = f"MX of {domain}: {_listed(preferred)}"
    if limit is not None:
        why += f"; those from preference {limit} on left out, where this relay is named itself"
    skipped = [record for record in records if not is_host_name(record.host)]
    if skipped:
        why += f"; not host names: {_listed(skipped)}"
    return Candidates(hosts, None, why)


def usable(addresses: Iterable[str], refuse_private: bool) -> Usable:
    """The addresses of a host that may be tried, both families in turn, IPv6 first (as RFC 8305 4 does for the same
    reason: a family that does not work is left after one try). At most `MOST_ADDRESSES`.

    Addresses that cannot be a host's are always left out: 0.0.0.0 would be this machine. With `refuse_private` so
    is all that is not part of the public Internet: private, loopback, link-local, shared (`private_exchangers`).
    """
    families: dict[int, list[str]] = {6: [], 4: []}
    refused: list[str] = []
    for text in dict.fromkeys(addresses):
        address = ip_address(text)
        inner = _embedded(address)
        if inner.is_unspecified or inner.is_multicast or (isinstance(inner, IPv4Address) and inner.is_reserved):
            refused.append(f"{text} is no host's address")
        elif refuse_private and not _is_public(inner):
            refused.append(f"{text} is not a public address")
        else:
            families[address.version].append(text)
    in_turn = [text for text in chain.from_iterable(zip_longest(families[6], families[4])) if text is not None]
    return Usable(tuple(in_turn[:MOST_ADDRESSES]), ", ".join(refused[:MOST_ADDRESSES]))


def unreachable(domain: str, implicit: bool, answers: Sequence[Answer[str]]) -> Reply:
    """The reply for a domain none of whose hosts has an address to try. answers: of all hosts that were asked for.

    Transient while the addresses of any host are unknown. Else permanent: RFC 5321 5.1 wants an error reported
    when there are MX records but no usable one, and RFC 3463 3.5 names an answer without records as the example of
    X.4.4. An answer with records is one whose addresses `usable` left out, every one.
    """
    failure = next((answer for answer in answers if answer.found is Found.FAILED), None)
    if failure is not None:
        return Reply(451, "4.4.3", (f"the DNS look-up of the hosts of {domain} failed{_because(failure.why)}",))
    if any(answer.found is Found.RECORDS for answer in answers):
        return Reply(550, "5.4.4", (f"mail for {domain} is not sent to the addresses of its hosts",))
    if not implicit:
        return Reply(550, "5.4.4", (f"no MX host of {domain} has an address",))
    if any(answer.found is Found.NO_NAME for answer in answers):
        return Reply(550, "5.1.2", (f"the domain {domain} does not exist",))
    return Reply(550, "5.4.4", (f"the domain {domain} has neither an MX record nor an address",))


def literal_address(domain: str) -> str | None:
    """The address in an address literal, "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 4.1.3); None for others."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return None
    text = domain[1:-1]
    try:
        if text[:5].lower() != "ipv6:":
            return str(dotted_decimal(text))
        address = IPv6Address(text[5:])
    except ValueError:
        return None
    return str(address) if address.scope_id is None else None


def is_host_name(name: str) -> bool:
    """Could this be the name of a host? Letters, digits, hyphens; underscores, which do occur, are forgiven.

    An address is not a name: no top-level domain consists of digits alone (RFC 3696 2).
    """
    return len(name) <= _LONGEST_NAME and _HOST_NAME.fullmatch(name) is not None


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that packets to an IPv6 address would end at, where it is one of the mapped kinds."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (isinstance(address, IPv6Address) and address.is_site_local)


def _failure(code: int, enhanced: str, text: str) -> Candidates:
    return Candidates((), Reply(code, enhanced, (text,)), text)


def _because(why: str) -> str:
    return f": {why}" if why else ""


def _listed(records: Sequence[Exchanger]) -> str:
    shown = ", ".join(f"{record.host or '.'} ({record.preference})" for record in records[:MOST_HOSTS])
    return f"{shown} and {len(records) - MOST_HOSTS} more" if len(records) > MOST_HOSTS else shown
