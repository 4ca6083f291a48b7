"""Upstream dangers: what a route and a login may come to at the server that they lead to."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from mta.config.document import Key
from mta.config.model import Config, RouteEntry
from mta.config.problems import Problem
from mta.policy.access import in_networks
from mta.policy.pattern import EVERYBODY, Kind, Pattern
from mta.policy.routing import Hop, Via
from mta.smtp.address import domain_of
from mta.smtp.ip import is_ip_address

# What large providers do with mail whose sender is not the one that has logged in, by the domain of their servers.
_REFUSES: Final = "refuses it"
_REPLACES: Final = "puts the address of the login in its place, unless that account has the other one as an alias"
_STRICT: Final = {
    "office365.com": _REFUSES,
    "outlook.com": _REFUSES,
    "gmail.com": _REPLACES,
    "googlemail.com": _REPLACES,
    "yahoo.com": _REFUSES,
    "mail.me.com": _REFUSES,
    "gmx.net": _REFUSES,
    "web.de": _REFUSES,
}
# SES knows a login by a name that is no address, and refuses senders that nobody has verified there.
_SES: Final = ".amazonaws.com"
_SMTPS_PORT: Final = 465
_STARTTLS_PORTS: Final = (25, 587)
_LOOPBACK: Final = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def upstream_dangers(config: Config) -> Iterator[Problem]:
    """What is unwise about routes that lead to a named server."""
    for number, entry in enumerate(config.routes):
        hop = entry.via
        if not isinstance(hop, Hop) or hop.via not in (Via.SMTP, Via.SMTPS):
            continue
        key = ("routes", number)
        yield from _about_port(config, key, hop)
        if entry.login is not None:
            yield from _about_sender(config, key, entry, hop)
            yield from _about_encryption(config, key, entry, hop)


def _about_port(config: Config, key: Key, hop: Hop) -> Iterator[Problem]:
    if hop.via is Via.SMTP and hop.port == _SMTPS_PORT:
        yield config.problem(
            (*key, "via"),
            f"port {_SMTPS_PORT} speaks TLS from the first octet, nearly everywhere; write smtps://{hop.host}",
        )
    if hop.via is Via.SMTPS and hop.port in _STARTTLS_PORTS:
        yield config.problem(
            (*key, "via"),
            f"port {hop.port} begins in the clear, nearly everywhere; write smtp://{hop.host}:{hop.port}, with "
            "tls: verify",
        )


def _about_sender(config: Config, key: Key, entry: RouteEntry, hop: Hop) -> Iterator[Problem]:
    """Will the server take mail from those whom the route is for?"""
    assert entry.login is not None
    user = config.logins[entry.login].user
    senders = entry.sender or EVERYBODY
    host = hop.host.lower().removesuffix(".")
    if host.endswith(_SES) and senders == EVERYBODY:
        yield config.problem(
            key,
            f"takes mail from any sender to {host}, which refuses those that are not verified there (554); verify "
            "them, or name in from: the domain that is",
        )
        return
    if "@" not in user:
        return
    try:
        own = Pattern.parse(user)
    except ValueError:
        return
    what = next((what for domain, what in _STRICT.items() if f".{host}".endswith(f".{domain}")), "")
    if what and not own.covers(senders):
        yield config.problem(
            key,
            f"takes mail from {_whom(senders)} to {host}, logged in as {user}; where the sender is another one, {host} "
            f"{what}. Have your programs write {user}, or name it in from: and send the others elsewhere",
        )
    elif not what and senders.kind in (Kind.DOMAIN, Kind.BELOW, Kind.ADDRESS) and _is_of_another(senders, user):
        yield config.problem(
            (*key, "from"),
            f"{senders.name} is of another domain than the login, {user}; many providers refuse such a sender. Ask "
            f"{host} whether it may, or log in as somebody of that domain",
        )


def _about_encryption(config: Config, key: Key, entry: RouteEntry, hop: Hop) -> Iterator[Problem]:
    if hop.via is not Via.SMTP or _is_here(hop.host):
        return
    if entry.tls == "none":
        yield config.problem(
            (*key, "tls"),
            f"logs in at {hop.host} over plain text: PLAIN and LOGIN are not used so, and mail can be read on the way; "
            "write verify",
        )
    elif entry.tls in ("may", "require") and not is_ip_address(hop.host):
        yield config.problem(
            (*key, "tls"),
            f"logs in at {hop.host} without looking whose certificate it shows, so whoever stands in between gets the "
            "password; write tls: verify",
        )


def _whom(senders: Pattern) -> str:
    return "any sender" if senders == EVERYBODY else senders.name


def _is_of_another(senders: Pattern, user: str) -> bool:
    """Are all of these senders outside the user's domain, and not in one below or above it?"""
    theirs = (domain_of(senders.name) if senders.kind is Kind.ADDRESS else senders.name).removeprefix(".")
    own = domain_of(user).lower()
    return not (f".{theirs}".endswith(f".{own}") or f".{own}".endswith(f".{theirs}"))


def _is_here(host: str) -> bool:
    return host == "localhost" or (is_ip_address(host) and in_networks(host, _LOOPBACK))
