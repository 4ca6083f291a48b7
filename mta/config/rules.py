"""Rules: what the values of the configuration must be, beyond their type. Each raises `ValueError` in plain words.

A validator that looks at several values raises `Mistakes`, so that each is reported at its own line.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, ValidationInfo

from mta.config.document import Key
from mta.config.problems import Mistakes, listed
from mta.config.units import SocketAddress, parse_duration, parse_network, parse_server, parse_socket_address
from mta.policy.access import Network, too_wide
from mta.policy.pattern import Kind, Pattern, parse_domain
from mta.policy.routing import Hop
from mta.policy.via import parse_via
from mta.smtp.address import AddressError, is_address_literal, parse_mailbox
from mta.smtp.reply import Reply

# Top-level names that are for use inside a house (RFC 2606, RFC 6762 G, ICANN's "internal"): wildcards there are safe.
_HOUSE_NAMES = frozenset({"corp", "example", "home", "internal", "invalid", "lan", "local", "localhost", "test"})

# Far more than one machine's disk has use for; queue ids have room for 255.
MOST_WORKERS = 64


class AccountSources(NamedTuple):
    """Who is asked about logins, in this order: the file, then the auth socket of a Dovecot."""

    file: Path | None = None
    dovecot: Path | None = None


class _HasAddress(Protocol):
    @property
    def address(self) -> SocketAddress: ...


class _HasName(Protocol):
    @property
    def name(self) -> str | None: ...


class _HasUrl(Protocol):
    @property
    def url(self) -> str: ...


Parsed = TypeVar("Parsed")
Listens = TypeVar("Listens", bound=_HasAddress)
Named = TypeVar("Named", bound=_HasName)
Posts = TypeVar("Posts", bound=_HasUrl)

LONGEST_URL: Final = 2000  # characters


@dataclass(frozen=True)
class Only:
    """Accepts some values alone, for now: any other asks for a feature that is not there yet, which `lacking` names."""

    accepted: tuple[object, ...]
    lacking: str

    def __call__(self, value: Parsed) -> Parsed:
        """The value. Raises `ValueError` where it asks for the feature."""
        if value not in self.accepted:
            words = [str(one) for one in self.accepted if isinstance(one, str | int) and not isinstance(one, bool)]
            instead = f"use {listed(words)}" if words else "leave it out"
            raise ValueError(f"not available yet ({self.lacking}); {instead}")
        return value


def only(*accepted: object, lacking: str) -> AfterValidator:
    """Accept these values alone, for now.

    To make the feature available is to take this away from the type of the key.
    """
    return AfterValidator(Only(accepted, lacking))


def text(parse: Callable[[str], Parsed], expected: str) -> Callable[[object], Parsed]:
    """A parser of text that says what is expected when it is given something else."""

    def parse_text(value: object) -> Parsed:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"must be {expected}")
        return parse(value.strip())

    parse_text.__doc__ = expected  # the reference of the configuration has it from here
    return parse_text


def hostname(value: str) -> str:
    """The name of a host: a domain, not an address."""
    domain = parse_domain(value)
    if is_address_literal(domain):
        raise ValueError("must be a name, not an address")
    return domain


def mailbox(value: str) -> str:
    """A mailbox, as "local@domain"."""
    try:
        return str(parse_mailbox(value))
    except AddressError as error:
        raise ValueError(f"is not an address: {error.reason}") from None


def recipient_pattern(value: str) -> Pattern:
    """What `to` may be."""
    pattern = Pattern.parse(value)
    if pattern.kind is Kind.NULL:
        raise ValueError("is the null path, which no mail is sent to; it can stand behind from")
    return pattern


def relay_domain(value: str) -> str:
    """A domain whose mail is taken from anyone. What would take the mail of half the world is refused."""
    if value.strip(".*@") == "":
        raise ValueError("is an open relay: it would take mail from anyone to everywhere; name your own domains")
    if value.startswith("*."):
        raise ValueError(f"is not a domain; its subdomains are {value[1:]}")
    below = "." if value.startswith(".") else ""
    domain = parse_domain(value.removeprefix("."))
    if below and "." not in domain and domain not in _HOUSE_NAMES:
        raise ValueError(f"is an open relay: it would take mail from anyone to all of .{domain}; name your own domains")
    return below + domain


def relaying_network(value: object) -> Network:
    """A network whose clients may send anywhere. It must not be the whole Internet, nor much of it."""
    return _narrow(value, _ANYWHERE)


def proxy_network(value: object) -> Network:
    """A network that is believed when it says whom it speaks for, which may be a client that can send anywhere."""
    return _narrow(value, _ANYBODY)


def closed_relay(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """Such networks together must not be much of the Internet either."""
    return _narrow_together(networks, _ANYWHERE)


def proxies(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """As `closed_relay`."""
    return _narrow_together(networks, _ANYBODY)


_ANYWHERE: Final = "is an open relay: {} could send anywhere through it; name your own networks"
_ANYBODY: Final = "is an open relay: {} could claim to be a client that may send anywhere; name the proxies themselves"
_EVERYBODY: Final = frozenset({"*", "all", "any", "everybody"})  # what a network is not, but clear enough


def _narrow(value: object, danger: str) -> Network:
    if isinstance(value, str) and value in _EVERYBODY:
        raise ValueError(danger.format("the whole Internet"))
    network = parse_network(value)
    if too_wide([network]):
        raise ValueError(danger.format("much of the Internet" if network.prefixlen else "the whole Internet"))
    return network


def _narrow_together(networks: tuple[Network, ...], danger: str) -> tuple[Network, ...]:
    if too_wide(networks):
        raise ValueError(danger.format("much of the Internet, all of these together,"))
    return networks


def each_address_once(listeners: tuple[Listens, ...]) -> tuple[Listens, ...]:
    """Two listeners cannot have one port. Port 0 is any that is free."""
    addresses = [listener.address for listener in listeners]
    _each_once("address", [None if one.host and not one.port else str(one) for one in addresses])
    return listeners


def each_name_once(routes: tuple[Named, ...]) -> tuple[Named, ...]:
    """A name means one route."""
    _each_once("name", [route.name for route in routes])
    return routes


def each_url_once(webhooks: tuple[Posts, ...]) -> tuple[Posts, ...]:
    """What a webhook has not been told yet is kept by its URL."""
    _each_once("url", [webhook.url for webhook in webhooks])
    return webhooks


def _each_once(key: str, values: Sequence[str | None]) -> None:
    first: dict[str, int] = {}
    found: list[tuple[Key, str]] = []
    for number, value in enumerate(values):
        if value is None:
            continue
        if value in first:
            found.append(((number, key), f"stands twice; entry [{first[value]}] has it too"))
        first.setdefault(value, number)
    if found:
        raise Mistakes(found)


def positive_duration(value: object) -> float:
    """A duration above zero, in seconds."""
    seconds = parse_duration(value)
    if not seconds:
        raise ValueError("must be longer than nothing")
    return seconds


def duration_or_never(value: object) -> float | None:
    """A duration in seconds; None for "never"."""
    if value == "never":
        return None
    try:
        return positive_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}, or never") from None


def workers(value: object) -> int | str:
    """A number of processes, or "auto"."""
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_WORKERS:
        raise ValueError(f"must be a number of processes from 1 to {MOST_WORKERS}, or auto")
    return value


def nameserver(value: object) -> SocketAddress:
    """HOST or HOST:PORT of a DNS server."""
    return parse_server(value, default_port=53)


def file(value: object, info: ValidationInfo) -> Path:
    """A file; a relative path begins at the folder of the configuration."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be the path of a file")
    return _absolute(value, info)


def accounts(value: object, info: ValidationInfo) -> AccountSources | None:
    """A file of accounts, "dovecot:" and the path of an auth socket, or a list of one of each."""
    if value is None or value == []:
        return None
    sources = AccountSources()
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, str) or not one.removeprefix("dovecot:"):
            raise ValueError("must be the path of a file, dovecot:PATH, or a list of both")
        path = _absolute(one.removeprefix("dovecot:"), info)
        if sources.dovecot is not None:
            raise ValueError("must have Dovecot in the last place, once: it is asked about all names that are left")
        if one.startswith("dovecot:"):
            sources = sources._replace(dovecot=path)
        elif sources.file is None:
            sources = sources._replace(file=path)
        else:
            raise ValueError("must name one file only")
    return sources


def spool(value: object, info: ValidationInfo) -> Path:
    """Where the queue is kept."""
    scheme = value.partition("://")[0] if isinstance(value, str) else ""
    if scheme in ("postgresql", "postgres"):
        raise ValueError("not available yet (a queue in PostgreSQL); name a folder")
    if not isinstance(value, str) or not value or scheme != value:
        raise ValueError("must be the path of a folder")
    return _absolute(value, info)


def listener_address(value: object, info: ValidationInfo) -> SocketAddress:
    """HOST:PORT, systemd:NAME, or unix:PATH with its path made absolute."""
    address = parse_socket_address(value)
    return address._replace(path=str(_absolute(address.path, info))) if address.path else address


def admin_address(value: object, info: ValidationInfo) -> SocketAddress:
    """HOST:PORT or unix:PATH."""
    address = listener_address(value, info)
    if address.systemd:
        raise ValueError("must be HOST:PORT or unix:PATH; sockets from systemd are for listeners of mail")
    return address


class Guarded:
    """Marks a key of the model whose value may hold a secret. It is shown nowhere but as `blanked` gives it."""


GUARDED: Final = Guarded()


def webhook_url(value: object) -> str:
    """Where events are posted to."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a URL, as https://example.org/mail-events")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be ASCII without spaces; write other characters of a path as %C3%A9, of a host as xn--…")
    if len(value) > LONGEST_URL:
        raise ValueError(f"is longer than {LONGEST_URL} characters")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("must begin with https://HOST or http://HOST, as https://example.org/mail-events")
    if "@" in parts.netloc:
        raise ValueError("must name no user or password; who posts is shown by the signature, see secret_file")
    if "#" in value:
        raise ValueError("must have no #fragment, which is never sent")
    return value


def via(value: object, info: ValidationInfo) -> Hop | Reply:
    """Where a route leads."""
    if not isinstance(value, str):
        raise ValueError("must be text: mx, smtp://HOST, discard or a refusal in quotes")
    onward = parse_via(value)
    if isinstance(onward, Hop) and onward.path:
        return Hop(onward.via, path=str(_absolute(onward.path, info)))
    return onward


def _absolute(path: str, info: ValidationInfo) -> Path:
    if not path.isprintable():
        raise ValueError("must be a path without control characters")
    context: Mapping[str, Path] = info.context or {}
    return Path(os.path.normpath(context.get("folder", Path()) / path))
