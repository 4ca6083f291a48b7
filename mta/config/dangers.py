"""Dangers: what a configuration allows and its operator may not want. `mta check` prints these, with what to do."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from mta.config.directory_dangers import directory_dangers
from mta.config.document import Key
from mta.config.model import Config
from mta.config.problems import Problem
from mta.config.units import SocketAddress, format_duration, format_size
from mta.policy.access import public_addresses
from mta.policy.routing import Hop, Via
from mta.smtp.address import domain_of

# More public addresses than these (a /20) are seldom all of one house.
_MANY_ADDRESSES: Final = 4096
# Files, look-ups and connections to next hops need descriptors beside those of clients.
_OTHER_DESCRIPTORS: Final = 256
# RFC 5321 4.5.3.1.7 and 4.5.3.1.8: every server takes messages and envelopes of this size.
_LEAST_CONTENT: Final = 64 * 1024
_LEAST_RECIPIENTS: Final = 100


def dangers(config: Config, descriptors: int | None = None) -> list[Problem]:
    """What is unwise, in the order of the file, what is about the directory last.

    descriptors: how many files this process may open, if known.
    """
    found = [
        *_about_names(config),
        *_about_listeners(config),
        *_about_routes(config),
        *_about_retry(config),
        *_about_limits(config, descriptors),
        *_about_logins(config),
        *_about_secrets(config),
    ]
    in_directory = sorted(directory_dangers(config), key=lambda problem: problem.line)
    return [*sorted(found, key=lambda problem: problem.line), *in_directory]


def _about_names(config: Config) -> Iterator[Problem]:
    if "." not in config.hostname:
        yield config.problem(
            ("hostname",),
            f"{config.hostname} is not fully qualified; many receivers refuse mail from such a HELO name. "
            "Set hostname to the name that this machine's address resolves to",
        )
    decision = config.routing().decide("", config.postmaster)
    if decision.hop is None or decision.hop.via is Via.DISCARD:
        yield config.problem(
            ("postmaster",),
            f"mail to {config.postmaster} would be thrown away ({decision.why}); "
            "name a mailbox that somebody reads (RFC 5321 4.5.1)",
        )
    elif decision.hop.via is Via.MX and domain_of(config.postmaster) == config.hostname:
        yield config.problem(
            ("postmaster",),
            f"mail to {config.postmaster} would come back to us ({decision.why}), and bounce; "
            "name a mailbox elsewhere, or add a route for it",
        )


def _about_listeners(config: Config) -> Iterator[Problem]:
    if not config.listen:
        yield config.problem(("listen",), "there is no listener, so no mail can come in; give one an address")
    many = public_addresses(config.relay.networks)
    if many >= _MANY_ADDRESSES:
        yield config.problem(
            ("relay", "networks"),
            f"{many:,} public addresses may send anywhere through this relay; name only the networks that you run",
        )
    for number, listener in enumerate(config.listen):
        if listener.source_routes == "follow" and config.relay.domains:
            yield config.problem(
                ("listen", number, "source_routes"),
                "anybody can name a path through us and a host of relay.domains; if that host relays for us, it relays "
                "for all the world. Use strip, unless it follows no source routes itself",
            )
        has_tls = config.tls.certificate is not None and listener.tls != "none"
        if many >= _MANY_ADDRESSES and _is_public(listener.address) and not has_tls:
            yield config.problem(
                ("listen", number, "address"),
                f"{listener.address} can be reached from outside and has no TLS, so what the clients of relay.networks "
                "send can be read on the way",
            )


def _about_routes(config: Config) -> Iterator[Problem]:
    routes = config.routing().routes
    here = {(listener.address.host, listener.address.port) for listener in config.listen}
    for number, route in enumerate(routes):
        before = next((earlier for earlier in range(number) if routes[earlier].covers(route)), None)
        if before is not None:
            yield config.problem(
                ("routes", number),
                f"never matches, since routes[{before}] ({routes[before].whom}) takes all of its mail first; "
                "put it before that one",
            )
        hop = route.onward
        if isinstance(hop, Hop) and hop.via in (Via.SMTP, Via.LMTP) and (hop.host, hop.port) in here:
            yield config.problem(("routes", number, "via"), f"{hop.destination} is a listener of this relay: a loop")


def _about_retry(config: Config) -> Iterator[Problem]:
    warn, give_up = config.retry.warn, config.retry.give_up
    if warn is not None and warn >= give_up:
        yield config.problem(
            ("retry", "warn"),
            f"{format_duration(warn)} is not before give_up ({format_duration(give_up)}), so no delay notice is sent; "
            "write never if that is meant",
        )


def _about_limits(config: Config, descriptors: int | None) -> Iterator[Problem]:
    limits = config.limits
    if descriptors is not None and limits.connections + _OTHER_DESCRIPTORS > descriptors:
        yield config.problem(
            ("limits", "connections"),
            f"{limits.connections} connections need more files than the {descriptors} that the system lets this "
            f"process open; set it to {max(descriptors - _OTHER_DESCRIPTORS, 1)}, or raise the limit (ulimit -n)",
        )
    if 0 < limits.message_size < _LEAST_CONTENT:
        yield config.problem(
            ("limits", "message_size"),
            f"{format_size(limits.message_size)} is less than the {format_size(_LEAST_CONTENT)} that every server "
            "has to take (RFC 5321 4.5.3.1.7)",
        )
    if limits.recipients < _LEAST_RECIPIENTS:
        yield config.problem(
            ("limits", "recipients"),
            f"{limits.recipients} is less than the {_LEAST_RECIPIENTS} that every server has to take "
            "(RFC 5321 4.5.3.1.8)",
        )


def _about_logins(config: Config) -> Iterator[Problem]:
    for number, listener in enumerate(config.listen):
        if public_addresses(listener.plaintext_auth):
            yield config.problem(
                ("listen", number, "plaintext_auth"),
                "lets clients at public addresses log in over plain text, which can be read on the way; name only "
                "networks of your own",
            )
        if listener.auth != "none" and config.tls.certificate is None and not listener.plaintext_auth:
            yield config.problem(
                ("listen", number, "auth"),
                "is not encrypted, so PLAIN and LOGIN are not offered, and many mail programs know nothing else; name "
                "a certificate in tls, or the clients' networks in plaintext_auth",
            )


def _about_secrets(config: Config) -> Iterator[Problem]:
    secrets: list[tuple[Key, Path | None, str]] = [
        (("logins", name, "password_file"), entry.password_file, "the password")
        for name, entry in config.logins.items()
    ]
    if config.accounts is not None:
        secrets.append((("accounts",), config.accounts.file, "the forms of all passwords"))
    for key, path, what in secrets:
        if path is not None and _is_open_to_others(path):
            yield config.problem(key, f"everybody on this machine can read {what} in {path}; say chmod o-rwx {path}")


def _is_open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o007)
    except OSError:
        return False  # who cannot be read is a mistake, and told elsewhere


def _is_public(address: SocketAddress) -> bool:
    """Can it be reached from other networks? The wildcard addresses can."""
    if address.path:
        return False
    host = ip_address(address.host)
    return host.is_unspecified or not host.is_private
