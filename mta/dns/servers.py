"""Servers: one question to the name servers, and the answer as a value. This blocks: it is called in threads."""

import os
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.resolver
import dns.ttl

from mta.dns.answers import until
from mta.policy.exchangers import Answer, Exchanger, Found

_MOST_EXCHANGERS: Final = 100
_MOST_ADDRESSES: Final = 30
_MOST_ALIASES: Final = 8
_LONGEST_WHY: Final = 200
_UDP_PAYLOAD: Final = 1232  # what passes everywhere without fragments
_ATTEMPTS: Final = 2.5


class Failed(Exception):
    """Nobody knows the answer. The text says why, in one printable line."""


class Servers:
    """The name servers that are asked: those given, or the system's as long as resolv.conf(5) names them.

    nameservers: "192.0.2.53", "192.0.2.53:5353", "2001:db8::53" or "[2001:db8::53]:5353" each; a `ValueError` says
    which one is not. timeout: seconds for the whole of a question, all servers and repetitions included.
    now: the time, in seconds since 1970.
    """

    def __init__(
        self,
        nameservers: Sequence[str],
        timeout: float,
        now: Callable[[], float],
        resolv_conf: Path = Path("/etc/resolv.conf"),
    ) -> None:
        self._given = [dns.nameserver.Do53Nameserver(*parse_nameserver(text)) for text in nameservers]
        self._timeout = timeout
        self._now = now
        self._resolv_conf = resolv_conf
        self._made: tuple[int, dns.resolver.Resolver] | None = None

    def exchangers(self, domain: str) -> Answer[Exchanger]:
        """The MX records of a domain, the preferred first."""
        found, records, ttl, why = self._ask(domain, dns.rdatatype.MX)
        exchangers = sorted(
            Exchanger(record.preference, _host(record.exchange))
            for record in records
            if isinstance(record, dns.rdtypes.ANY.MX.MX)
        )
        return Answer(found, tuple(exchangers[:_MOST_EXCHANGERS]), until(found, self._now(), ttl), why)

    def addresses(self, host: str, version: int) -> Answer[str]:
        """The addresses of a host of IP version 4 or 6."""
        found, records, ttl, why = self._ask(host, dns.rdatatype.A if version == 4 else dns.rdatatype.AAAA)
        addresses = tuple(record.to_text() for record in records[:_MOST_ADDRESSES])
        return Answer(found, addresses, until(found, self._now(), ttl), why)

    def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[Found, Sequence[dns.rdata.Rdata], float, str]:
        """How it ended, the records, their time to live in seconds, and why it failed."""
        try:
            found, records, ttl = _follow(self._resolver(), dns.name.from_text(name), kind)
        except dns.resolver.LifetimeTimeout:
            return Found.FAILED, (), 0.0, f"no answer within {self._timeout:g} s"
        except dns.resolver.NoNameservers as failure:
            return Found.FAILED, (), 0.0, _reasons(failure)
        except (Failed, dns.exception.DNSException, OSError) as failure:
            return Found.FAILED, (), 0.0, _printable(str(failure) or type(failure).__name__)
        return found, records, ttl, ""

    def _resolver(self) -> dns.resolver.Resolver:
        # The system's configuration changes under a process that runs for months (DHCP, VPN).
        version = 0 if self._given else _version(self._resolv_conf)
        made = self._made
        if made is None or made[0] != version:
            made = self._made = version, self._make()
        return made[1]

    def _make(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=False)
        if self._given:
            resolver.nameservers = self._given
        else:
            try:
                resolver.read_resolv_conf(os.fspath(self._resolv_conf))
            except dns.resolver.NoResolverConfiguration:
                resolver.nameservers = ["127.0.0.1"]  # as resolv.conf(5) has it
        resolver.timeout = self._timeout / _ATTEMPTS
        resolver.lifetime = self._timeout
        resolver.use_edns(0, 0, _UDP_PAYLOAD)
        return resolver


def parse_nameserver(text: str) -> tuple[str, int]:
    """Address and port of a name server, port 53 unless given. Raises `ValueError` for what is not one."""
    address, port = text, "53"
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        host = str(ip_address(address))
    except ValueError:
        raise ValueError(f"a name server must be ADDRESS or ADDRESS:PORT, not {text!r}") from None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"the port of the name server {text!r} must be between 1 and 65535")
    return host, int(port)


def _follow(
    resolver: dns.resolver.Resolver, name: dns.name.Name, kind: dns.rdatatype.RdataType
) -> tuple[Found, Sequence[dns.rdata.Rdata], float]:
    """Ask, and go after an alias whose target the server left to us, as those without recursion do."""
    deadline = time.monotonic() + resolver.lifetime
    ttl = float(dns.ttl.MAX_TTL)
    for _ in range(_MOST_ALIASES):
        left = deadline - time.monotonic()
        try:
            answer = resolver.resolve(name, kind, raise_on_no_answer=False, search=False, lifetime=left)
        except dns.resolver.NXDOMAIN as negative:
            chain = negative.response(name).resolve_chaining()
            return Found.NO_NAME, (), min(ttl, chain.minimum_ttl)
        chain = answer.chaining_result
        ttl = min(ttl, chain.minimum_ttl)
        if answer.rrset is not None:
            return Found.RECORDS, list(answer.rrset), ttl
        kinds = {rrset.rdtype for rrset in answer.response.authority}
        if dns.rdatatype.SOA not in kinds:
            if chain.cnames:
                name = chain.canonical_name
                continue
            if dns.rdatatype.NS in kinds and not answer.response.flags & dns.flags.AA:
                # A referral says who may know, not that there is nothing (RFC 2308 2.2).
                raise Failed("the name server does not answer for others (a referral)")
        return Found.NO_DATA, (), ttl
    raise Failed(f"more than {_MOST_ALIASES} aliases")


def _host(name: dns.name.Name) -> str:
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


def _reasons(failure: dns.resolver.NoNameservers) -> str:
    """What each server said, without the question: "SERVFAIL from 192.0.2.53"."""
    errors = failure.kwargs["errors"]
    reasons = {f"{error} from {server.partition(':')[2].partition('@')[0]}": None for server, _, _, error, _ in errors}
    return _printable("; ".join(reasons) or "no name server answered")


def _printable(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)[:_LONGEST_WHY]


def _version(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1
