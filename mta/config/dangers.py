"""Dangers: what a configuration allows and its operator may not want. `mta check` prints these, with what to do."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mta.config.directory_dangers import directory_dangers
from mta.config.document import Key
from mta.config.model import Config
from mta.config.problems import Problem
from mta.config.units import DAYS, SocketAddress, format_duration, format_size
from mta.config.upstream_dangers import upstream_dangers
from mta.message.envelope import Recipient
from mta.policy.access import public_addresses
from mta.policy.addressing import Addressing
from mta.policy.routing import Decision, Hop, Via
from mta.smtp.address import domain_of

# More public addresses than these (a /20) are seldom all of one house.
_MANY_ADDRESSES: Final = 4096
# Files, look-ups and connections to next hops need descriptors beside those of clients.
_OTHER_DESCRIPTORS: Final = 256
# RFC 5321 4.5.3.1.7 and 4.5.3.1.8: every server takes messages and envelopes of this size.
_LEAST_CONTENT: Final = 64 * 1024
_LEAST_RECIPIENTS: Final = 100
_SHORTEST_LIFE: Final = 1 * DAYS
_SMTP_PORT: Final = 25
_SMTPS_PORT: Final = 465


def dangers(config: Config, descriptors: int | None = None) -> list[Problem]:
    """What is unwise, in the order of the file, what is about the directory last.

    descriptors: how many files this process may open, if known.
    """
    found = [
        *_about_names(config),
        *_about_listeners(config),
        *_about_routes(config),
        *upstream_dangers(config),
        *_about_retry(config),
        *_about_limits(config, descriptors),
        *_about_logins(config),
        *_about_secrets(config),
        *_about_admin(config),
        *_about_webhooks(config),
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
    yield from _about_postmaster(config)


def _about_postmaster(config: Config) -> Iterator[Problem]:
    addressing = Addressing(config.directory(), config.routing(), config.postmaster)
    addressed = addressing.resolve("", Recipient(config.postmaster))
    ends = [(one.recipient.address, one.decision) for one in addressed.forwardings]
    kept = [(address, one) for address, one in ends if one.hop is not None and one.hop.via is not Via.DISCARD]
    if not kept:
        why = ends[0][1].why if ends else addressed.why
        yield config.problem(
            ("postmaster",),
            f"mail to {config.postmaster} would be thrown away ({why}); "
            "name a mailbox that somebody reads (RFC 5321 4.5.1)",
        )
        return
    returning = [(address, one) for address, one in kept if _comes_back(config, address, one)]
    if len(returning) < len(kept):
        return
    address, decision = returning[0]
    behind = "" if address == config.postmaster else f", for {address}"
    yield config.problem(
        ("postmaster",),
        f"mail to {config.postmaster} would come back to us ({decision.why}{behind}), and bounce; "
        "name a mailbox elsewhere, or add a route for it",
    )


def _comes_back(config: Config, address: str, decision: Decision) -> bool:
    """Would mail for an address leave us and arrive here again? By MX it does for the domains that are taken here."""
    hop = decision.hop
    if hop is None:
        return False
    if hop.via is not Via.MX:
        return _is_listener(config, hop)
    domain = domain_of(address)
    return domain == config.hostname.lower() or config.access().judge(False, f"postmaster@{domain}").allowed


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
        yield from _about_port(config, number)
        has_tls = config.tls.certificate is not None and listener.tls != "none"
        if many >= _MANY_ADDRESSES and _is_public(listener.address) and not has_tls:
            yield config.problem(
                ("listen", number, "address"),
                f"{listener.address} can be reached from outside and has no TLS, so what the clients of relay.networks "
                "send can be read on the way",
            )


def _about_port(config: Config, number: int) -> Iterator[Problem]:
    """What clients expect of a listener by the port that it is on."""
    listener = config.listen[number]
    port = listener.address.port
    if not _is_public(listener.address):
        return
    if port == _SMTP_PORT and (listener.tls in ("required", "implicit") or listener.auth == "required"):
        what = f"tls: {listener.tls}" if listener.tls in ("required", "implicit") else "auth: required"
        yield config.problem(
            ("listen", number, "tls" if what.startswith("tls") else "auth"),
            f"mail from the world comes to port {port}, and not all of it can do what {what} demands (RFC 3207 4); "
            "have that on port 587 or 465",
        )
    if port == _SMTPS_PORT and listener.tls != "implicit":
        yield config.problem(
            ("listen", number, "tls"),
            f"clients begin with TLS at port {port}, and this listener does not understand that; write implicit",
        )


def _about_routes(config: Config) -> Iterator[Problem]:
    routes = config.routing().routes
    for number, route in enumerate(routes):
        before = next((earlier for earlier in range(number) if routes[earlier].covers(route)), None)
        if before is not None:
            yield config.problem(
                ("routes", number),
                f"never matches, since routes[{before}] ({routes[before].whom}) takes all of its mail first; "
                "put it before that one",
            )
        hop = route.onward
        if isinstance(hop, Hop) and _is_listener(config, hop):
            yield config.problem(("routes", number, "via"), f"{hop.destination} is a listener of this relay: a loop")


def _is_listener(config: Config, hop: Hop) -> bool:
    """Is this next hop a listener of our own?"""
    here = ((listener.address.host, listener.address.port) for listener in config.listen)
    return hop.via in (Via.SMTP, Via.SMTPS, Via.LMTP) and (hop.host, hop.port) in here


def _about_retry(config: Config) -> Iterator[Problem]:
    warn, give_up = config.retry.warn, config.retry.give_up
    if warn is not None and warn >= give_up:
        yield config.problem(
            ("retry", "warn"),
            f"{format_duration(warn)} is not before give_up ({format_duration(give_up)}), so no delay notice is sent; "
            "write never if that is meant",
        )
    if give_up < _SHORTEST_LIFE:
        yield config.problem(
            ("retry", "give_up"),
            f"mail is given up after {format_duration(give_up)}; a host that is down for a night is not unusual. RFC "
            "5321 4.5.4.1 has 4 to 5 days",
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
        elif listener.auth != "none" and not all(network.is_loopback for network in listener.plaintext_auth):
            yield config.problem(
                ("listen", number, "plaintext_auth"),
                "lets clients log in over plain text, which others in their network can read on the way; name only "
                "devices that know no TLS",
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
    secrets.append((("tls", "key"), config.tls.key, "the private key"))
    secrets += [(("tls", "names", name, "key"), one.key, "the private key") for name, one in config.tls.names.items()]
    secrets.append((("admin", "token_file"), config.admin.token_file, "the token of the console"))
    for number, webhook in enumerate(config.webhooks):
        secrets.append((("webhooks", number, "secret_file"), webhook.secret_file, "the secret of a webhook"))
    for key, path, what in secrets:
        if path is not None and _is_open_to_others(path):
            yield config.problem(key, f"everybody on this machine can read {what} in {path}; say chmod o-rwx {path}")


def _about_admin(config: Config) -> Iterator[Problem]:
    address = config.admin.listen
    if address is None or address.path or ip_address(address.host).is_loopback:
        return
    yield config.problem(
        ("admin", "listen"),
        f"{address} can be reached from other machines and has no TLS, so the token and what is shown can be read on "
        "the way; use 127.0.0.1, and a web server with TLS or ssh -L before it",
    )


def _about_webhooks(config: Config) -> Iterator[Problem]:
    for number, webhook in enumerate(config.webhooks):
        parts = urlsplit(webhook.url)
        if parts.scheme == "http" and not _is_here(parts.hostname or ""):
            yield config.problem(
                ("webhooks", number, "url"),
                f"who sends mail to whom goes to {parts.hostname} in the clear, and can be read on the way; use https",
            )
        if webhook.secret_file is None:
            yield config.problem(
                ("webhooks", number),
                "signs nothing, so whoever knows the URL can tell its receiver anything; name a secret_file, with a "
                "secret as `openssl rand -hex 32` makes one, and have the receiver check X-Mta-Signature",
            )


def _is_here(host: str) -> bool:
    """Does it stay on this machine?"""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o007)
    except OSError:
        return False  # who cannot be read is a mistake, and told elsewhere


def _is_public(address: SocketAddress) -> bool:
    """Can it be reached from other networks? The wildcard addresses can."""
    if not address.host:
        return bool(address.systemd)  # what its unit listens on is not known here
    host = ip_address(address.host)
    return host.is_unspecified or not host.is_private
