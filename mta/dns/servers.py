"""Servers: one question to the name servers, and the answer as a value. This blocks: it is called in threads."""

import os
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdataclass
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

# What an answer may hold is loaded now. Left alone, dnspython does so with the first record of each kind, and where the
# program's files have been replaced since, or its user may not read them, takes addresses for something unknown.
for _kind in ("A", "AAAA", "CNAME", "DNAME", "MX", "NS", "OPT", "PTR", "RRSIG", "SOA", "TLSA", "TXT"):
    dns.rdata.get_rdata_class(dns.rdataclass.IN, dns.rdatatype.from_text(_kind))


class Failed(Exception):
    """Nobody knows the answer. The text says why, in one printable line."""


class Asked(NamedTuple):
    """What came of a question. ttl: seconds that the answer may be kept for. why: a failure in words.

    authentic: the server says that it has validated all of it (AD, RFC 4035 3.2.3). Only as good as the server, and
    the way to it.
    """

    found: Found
    records: Sequence[dns.rdata.Rdata] = ()
    ttl: float = 0.0
    why: str = ""
    authentic: bool = False


class Servers:
    """The name servers that are asked: those given, or the system's as long as resolv.conf(5) names them.

    nameservers: "192.0.2.53", "192.0.2.53:5353", "2001:db8::53" or "[2001:db8::53]:5353" each; a `ValueError` says
    which one is not. timeout: seconds for the whole of a question, all servers and repetitions included.
    now: the time, in seconds of any beginning. want_authentic: ask for the AD bit (RFC 6840 5.7).
    """

    def __init__(
        self,
        nameservers: Sequence[str],
        timeout: float,
        now: Callable[[], float],
        resolv_conf: Path = Path("/etc/resolv.conf"),
        want_authentic: bool = False,
    ) -> None:
        self._given = [dns.nameserver.Do53Nameserver(*parse_nameserver(text)) for text in nameservers]
        self._timeout = timeout
        self._now = now
        self._resolv_conf = resolv_conf
        self._want_authentic = want_authentic
        self._made: tuple[int, dns.resolver.Resolver] | None = None

    def exchangers(self, domain: str) -> Answer[Exchanger]:
        """The MX records of a domain, the preferred first."""
        found, records, ttl, why, authentic = self.ask(domain, dns.rdatatype.MX)
        exchangers = sorted(
            Exchanger(record.preference, _host(record.exchange))
            for record in records
            if isinstance(record, dns.rdtypes.ANY.MX.MX)
        )
        return Answer(found, tuple(exchangers[:_MOST_EXCHANGERS]), until(found, self._now(), ttl), why, authentic)

    def addresses(self, host: str, version: int) -> Answer[str]:
        """The addresses of a host of IP version 4 or 6."""
        kind = dns.rdatatype.A if version == 4 else dns.rdatatype.AAAA
        found, records, ttl, why, authentic = self.ask(host, kind)
        addresses = tuple(record.to_text() for record in records[:_MOST_ADDRESSES])
        return Answer(found, addresses, until(found, self._now(), ttl), why, authentic)

    def ask(self, name: str, kind: dns.rdatatype.RdataType) -> Asked:
        """Records of any type, behind aliases where there are some. Never raises."""
        try:
            return _follow(self._resolver(), dns.name.from_text(name), kind)
        except dns.resolver.LifetimeTimeout:
            return Asked(Found.FAILED, why=f"no answer within {self._timeout:g} s")
        except dns.resolver.NoNameservers as failure:
            return Asked(Found.FAILED, why=_reasons(failure))
        except (Failed, dns.exception.DNSException, OSError) as failure:
            return Asked(Found.FAILED, why=_printable(str(failure) or type(failure).__name__))

    def addresses_asked(self) -> list[str]:
        """The servers that are asked now, each as `parse_nameserver` reads it."""
        servers = self._resolver().nameservers
        return [_written(one) for one in servers]

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
        if self._want_authentic:
            resolver.flags = dns.flags.RD | dns.flags.AD
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


def _follow(resolver: dns.resolver.Resolver, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Asked:
    """Ask, and go after an alias whose target the server left to us, as those without recursion do."""
    deadline = time.monotonic() + resolver.lifetime
    ttl = float(dns.ttl.MAX_TTL)
    authentic = True
    for _ in range(_MOST_ALIASES):
        left = deadline - time.monotonic()
        try:
            answer = resolver.resolve(name, kind, raise_on_no_answer=False, search=False, lifetime=left)
        except dns.resolver.NXDOMAIN as negative:
            response = negative.response(name)
            authentic &= _is_authentic(response)
            return Asked(Found.NO_NAME, (), min(ttl, response.resolve_chaining().minimum_ttl), authentic=authentic)
        chain = answer.chaining_result
        ttl = min(ttl, chain.minimum_ttl)
        authentic &= _is_authentic(answer.response)
        if answer.rrset is not None:
            return Asked(Found.RECORDS, list(answer.rrset), ttl, authentic=authentic)
        kinds = {rrset.rdtype for rrset in answer.response.authority}
        if dns.rdatatype.SOA not in kinds:
            if chain.cnames:
                name = chain.canonical_name
                continue
            if dns.rdatatype.NS in kinds and not answer.response.flags & dns.flags.AA:
                # A referral says who may know, not that there is nothing (RFC 2308 2.2).
                raise Failed("the name server does not answer for others (a referral)")
        return Asked(Found.NO_DATA, (), ttl, authentic=authentic)
    raise Failed(f"more than {_MOST_ALIASES} aliases")


def _is_authentic(response: dns.message.Message) -> bool:
    return bool(response.flags & dns.flags.AD)


def _written(server: str | dns.nameserver.Nameserver) -> str:
    """A name server of dnspython's, as the configuration would have it."""
    if not isinstance(server, dns.nameserver.AddressAndPortNameserver):
        return str(server)
    if server.port == 53:
        return server.address
    return f"[{server.address}]:{server.port}" if ":" in server.address else f"{server.address}:{server.port}"


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
