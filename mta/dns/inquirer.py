"""Inquirer: every kind of record that has to do with mail, for whoever looks into a domain and may wait. It blocks."""

import ipaddress
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar

import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.TLSA
import dns.rdtypes.ANY.TXT
import dns.reversename

from mta.dns.answers import merge, normal, until
from mta.dns.servers import Servers
from mta.policy.exchangers import Answer, Exchanger

Record = TypeVar("Record")

MOST_RECORDS: Final = 100  # of one name and type; what comes behind them is left out
LONGEST_TEXT: Final = 8192  # characters of one TXT record
_LONGEST_DATA: Final = 4096  # octets that a TLSA record may hold


class Tlsa(NamedTuple):
    """A TLSA record (RFC 6698 2.1): usage, selector, matching type, and the data that it compares with."""

    usage: int
    selector: int
    matching: int
    data: bytes


class Inquirer:
    """Asks as the relay's own resolver would, but at once, for all types, and whether an answer is authentic.

    nameservers, timeout, now, resolv_conf: as for `Servers`. An answer is kept for as long as this object lives, so
    that all who look see the same. It may be used by several threads.
    """

    def __init__(
        self,
        nameservers: Sequence[str],
        timeout: float,
        now: Callable[[], float],
        resolv_conf: Path = Path("/etc/resolv.conf"),
    ) -> None:
        """Raises `ValueError` for what is no name server."""
        self._servers = Servers(nameservers, timeout, now, resolv_conf, want_authentic=True)
        self._now = now
        self._known: dict[tuple[str, str], Future[Answer[Any]]] = {}
        self._lock = Lock()

    @property
    def servers(self) -> list[str]:
        """Who is asked, as in `nameservers`."""
        return self._servers.addresses_asked()

    def exchangers(self, domain: str) -> Answer[Exchanger]:
        """The MX records of a domain, the preferred first."""
        return self._once("MX", normal(domain), self._servers.exchangers)

    def addresses(self, host: str) -> Answer[str]:
        """The addresses that the DNS has for a host, IPv4 and IPv6."""

        def both(name: str) -> Answer[str]:
            families = [self._servers.addresses(name, 4), self._servers.addresses(name, 6)]
            authentic = all(answer.authentic for answer in families)
            return merge(families, self._now())._replace(authentic=authentic)

        return self._once("A", normal(host), both)

    def texts(self, name: str) -> Answer[str]:
        """The TXT records of a name, the strings of each joined; octets that are no UTF-8 as \\x escapes."""

        def text(record: dns.rdata.Rdata) -> str | None:
            if not isinstance(record, dns.rdtypes.ANY.TXT.TXT):
                return None
            return b"".join(record.strings).decode("utf-8", "backslashreplace")[:LONGEST_TEXT]

        return self._once("TXT", normal(name), lambda asked: self._ask(asked, dns.rdatatype.TXT, text))

    def names(self, address: str) -> Answer[str]:
        """The names that an IP address has (PTR), in lower case, without the final dot."""

        def name(record: dns.rdata.Rdata) -> str | None:
            return _name(record.target) if isinstance(record, dns.rdtypes.ANY.PTR.PTR) else None

        asked = reverse_name(address)
        return self._once("PTR", asked, lambda asked: self._ask(asked, dns.rdatatype.PTR, name))

    def alias(self, name: str) -> Answer[str]:
        """What a name is an alias of (CNAME), if it is one."""

        def target(record: dns.rdata.Rdata) -> str | None:
            return _name(record.target) if isinstance(record, dns.rdtypes.ANY.CNAME.CNAME) else None

        return self._once("CNAME", normal(name), lambda asked: self._ask(asked, dns.rdatatype.CNAME, target))

    def associations(self, name: str) -> Answer[Tlsa]:
        """The TLSA records of a name such as "_25._tcp.mail.example.org"."""

        def tlsa(record: dns.rdata.Rdata) -> Tlsa | None:
            if not isinstance(record, dns.rdtypes.ANY.TLSA.TLSA) or len(record.cert) > _LONGEST_DATA:
                return None
            return Tlsa(record.usage, record.selector, record.mtype, bytes(record.cert))

        return self._once("TLSA", normal(name), lambda asked: self._ask(asked, dns.rdatatype.TLSA, tlsa))

    def start_of_authority(self, name: str) -> Answer[str]:
        """The SOA record of a name, as text; of "." to learn whether the server validates, since the root is signed."""
        return self._once("SOA", name, lambda asked: self._ask(asked, dns.rdatatype.SOA, str))

    def _once(self, kind: str, name: str, ask: Callable[[str], Answer[Record]]) -> Answer[Record]:
        with self._lock:
            known = self._known.get((kind, name))
            if known is not None:
                answer = known
            else:
                answer = self._known[kind, name] = Future()
        if known is None:  # the others wait for us
            try:
                answer.set_result(ask(name))
            except BaseException as error:
                answer.set_exception(error)
        return answer.result()

    def _ask(
        self, name: str, kind: dns.rdatatype.RdataType, read: Callable[[dns.rdata.Rdata], Record | None]
    ) -> Answer[Record]:
        found, records, ttl, why, authentic = self._servers.ask(name, kind)
        # In an order of their own: servers give them in any.
        read_well = (read(record) for record in sorted(records[:MOST_RECORDS]))
        values = tuple(value for value in read_well if value is not None)
        return Answer(found, values, until(found, self._now(), ttl), why, authentic)


def reverse_name(address: str) -> str:
    """The name that an IP address has its PTR record at: "1.2.0.192.in-addr.arpa"."""
    return dns.reversename.from_address(str(ipaddress.ip_address(address))).to_text(omit_final_dot=True)


def _name(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)).lower()
