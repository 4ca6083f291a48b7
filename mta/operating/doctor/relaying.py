"""Relaying: who may send where, as the rules have it; and the mailboxes that every domain has to have (RFC 2142)."""

from typing import Final

from mta.config.model import Config
from mta.message.envelope import Recipient
from mta.operating.doctor.finding import Finding, Teller, listed
from mta.policy.access import Network, public_addresses
from mta.policy.addressing import Addressing

_NAMES: Final = ("postmaster", "abuse")
_STRANGERS: Final = ("192.0.2.1", "2001:db8::1")  # for documentation, RFC 5737 and RFC 3849: nobody's
_SOMEBODY: Final = "somebody@elsewhere.example"
_MANY: Final = 4096  # public addresses; more are seldom all of one house


def judge_mailboxes(config: Config, domain: str) -> list[Finding]:
    """Would mail to postmaster and abuse of a domain be taken from anybody (RFC 5321 4.5.1, RFC 2142 4)?"""
    teller = Teller("mailboxes", domain)
    access = config.access()
    if not access.judge(False, f"postmaster@{domain}").allowed:
        return [
            teller.note(
                f"this relay does not take mail for {domain}; whoever does has to have postmaster and abuse there",
                "if it is to take it, add the domain to relay.domains",
            )
        ]
    addressing = Addressing(config.directory(), config.routing(), config.postmaster)
    found = []
    for name in _NAMES:
        address = f"{name}@{domain}"
        addressed = addressing.resolve(_SOMEBODY, Recipient(address))
        if addressed.is_refused:
            text = f"mail to {address} is refused: {addressed.reply} ({addressed.why})"
            tell = teller.problem if name == "postmaster" else teller.warning
            found.append(
                tell(text, f"let somebody read it: a mailbox or an alias in the directory, or a route for {address}")
            )
    return found or [teller.ok(f"mail to {' and '.join(f'{name}@{domain}' for name in _NAMES)} is taken from anybody")]


def judge_relaying(config: Config) -> list[Finding]:
    """Is it an open relay, by its rules of access?"""
    teller = Teller("open relay", "")
    access = config.access()
    strangers = [one for one in _STRANGERS if access.may_relay(one)]
    if strangers or access.judge(False, _SOMEBODY).allowed:
        return [
            teller.problem(
                f"anybody may send anywhere through this relay (a client at {listed(strangers or _STRANGERS)} may)",
                "name in relay.networks only the networks that you run",
            )
        ]
    found = []
    many = public_addresses(config.relay.networks)
    if many > _MANY:
        found.append(
            teller.warning(
                f"{many:,} public addresses may send anywhere through this relay",
                "name in relay.networks only the networks that you run",
            )
        )
    for number, listener in enumerate(config.listen):
        for key, networks in ("xclient", listener.xclient), ("proxy_protocol", listener.proxy_protocol):
            if public_addresses(networks):
                found.append(
                    teller.warning(
                        f"clients at {_addresses(networks)} may say which address "
                        f"they have (listen[{number}].{key}), so also one of relay.networks",
                        "name only the proxies that you run",
                    )
                )
    if found:
        return found
    domains = f"to {listed(config.relay.domains)} alone" if config.relay.domains else "for the postmaster alone"
    return [
        teller.ok(
            f"by its rules it is none: from elsewhere mail {domains} is taken; it relays for "
            f"{listed([str(network) for network in config.relay.networks]) or 'no network'}, and for logins"
        )
    ]


def _addresses(networks: tuple[Network, ...]) -> str:
    many = public_addresses(networks)
    return "a public address" if many == 1 else f"{many:,} public addresses"
