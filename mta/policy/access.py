"""Access: who may send where. A client of `relay.networks` anywhere, everybody to `relay.domains`, nobody else.

RFC 5321 3.6.2 and 7.8 leave to a relay whom it serves; one that serves everybody is found within hours.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address
from typing import NamedTuple

from mta.policy.idn import comparable, in_a_labels
from mta.policy.pattern import Pattern
from mta.smtp.address import domain_of
from mta.smtp.ip import unmapped

Network = IPv4Network | IPv6Network

_REMEMBERED = 4096
_LOCAL = (ip_address("127.0.0.1"), ip_address("::1"))
# Shorter prefixes than these are nobody's own network. Registries give out at most a /8, or a /19 of IPv6.
_WIDEST = {4: 8, 6: 16}
# Signs that old mailers took for a path onward: user%host@here, host!user@here, "user@host"@here.
_ONWARD = frozenset("%!@")


class Permission(NamedTuple):
    """May mail be sent to a recipient? why: for people."""

    allowed: bool
    why: str


_CLIENT_MAY_RELAY = Permission(True, "the client is in relay.networks")
_POSTMASTER = Permission(True, "postmaster is accepted from everybody")


class Access:
    """Who may relay, and which domains are taken from anyone.

    domains: in lower case; with a leading dot, all subdomains of one.
    """

    def __init__(self, networks: Iterable[Network], domains: Iterable[str] = ()) -> None:
        self.networks = tuple(networks)
        self.domains = tuple(domain.lower() for domain in domains)
        self._exact = frozenset(domain for domain in self.domains if not domain.startswith("."))
        self._below = tuple(domain for domain in self.domains if domain.startswith("."))
        self._remembered = lru_cache(maxsize=_REMEMBERED)(lambda address: in_networks(address, self.networks))

    def may_relay(self, client_address: str) -> bool:
        """May a client at this IP address send anywhere? "" is a client on a Unix socket: on this machine."""
        return self._remembered(client_address)

    def judge(self, client_may_relay: bool, recipient: str) -> Permission:
        """May a client send to this forward-path, "local@domain" or "postmaster"?"""
        if client_may_relay:
            return _CLIENT_MAY_RELAY
        if "@" not in recipient and recipient.lower() == "postmaster":
            return _POSTMASTER
        domain = in_a_labels(domain_of(recipient)).removesuffix(".")
        if not (domain in self._exact or (domain.endswith(self._below) and not domain.startswith("."))):
            return Permission(
                False, f"{domain or 'no domain'} is not in relay.domains, nor the client in relay.networks"
            )
        if not _ONWARD.isdisjoint(recipient.rpartition("@")[0]):
            return Permission(False, "its local part holds % ! or @, which could route it onward from there")
        return Permission(True, f"{domain} is in relay.domains")


def in_networks(address: str, networks: Sequence[Network]) -> bool:
    """Is an IP address in one of these networks? "" is a client on a Unix socket: on this machine."""
    if not networks:
        return False
    if not address:
        return any(local in network for network in networks for local in _LOCAL)
    try:
        known = unmapped(ip_address(address))
    except ValueError:
        return False
    return any(known in network for network in networks)


def may_send_as(senders: tuple[Pattern, ...], sender: str) -> bool:
    """May a login with these senders, () for any, send from this reverse-path (RFC 6409 6.1)?

    The null one is everybody's: return receipts of clients have it (RFC 8098 3).
    """
    if not senders or not sender:
        return True
    sender = comparable(sender)
    domain = domain_of(sender)
    return any(pattern.matches(sender, domain) for pattern in senders)


def too_wide(networks: Sequence[Network]) -> bool:
    """Would relaying for these networks, together, make an open relay? Private address space may be wide."""
    return any(network.prefixlen < _WIDEST[network.version] for network in _public_parts(networks))


def public_addresses(networks: Sequence[Network]) -> int:
    """How many addresses of the public Internet are in these networks; a /64 of IPv6 counts as one."""
    return sum(
        network.num_addresses if network.version == 4 else max(network.num_addresses >> 64, 1)
        for network in _public_parts(networks)
    )


def _public_parts(networks: Sequence[Network]) -> list[Network]:
    """The networks joined where they touch, as far as they are not private."""
    joined: list[Network] = [
        *collapse_addresses(network for network in networks if isinstance(network, IPv4Network)),
        *collapse_addresses(network for network in networks if isinstance(network, IPv6Network)),
    ]
    return [network for network in joined if not network.is_private]
