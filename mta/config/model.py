"""Model: every key of the configuration, with its type, its default and its meaning. The one place for all three.

The loader knows every key from the start. A value that needs a feature which is not there yet is refused by the
`only` behind its type; to make the feature available is to take that away.
"""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    StrictBool,
    StrictInt,
    model_validator,
)

from mta.config import rules
from mta.config.directory import DirectoryFile
from mta.config.document import Document, Key
from mta.config.problems import Mistakes, Problem, key_path
from mta.config.rules import only
from mta.config.sources import Sources
from mta.config.units import (
    DAYS,
    HOURS,
    MIB,
    MINUTES,
    SECONDS,
    SocketAddress,
    parse_duration,
    parse_network,
    parse_size,
)
from mta.policy.access import Access, Network
from mta.policy.directory import Directory
from mta.policy.pattern import EVERYBODY, Pattern
from mta.policy.retry import RetryPolicy
from mta.policy.routing import Hop, Route, Routing, Via
from mta.smtp.reply import Reply

File = Annotated[Path, PlainValidator(rules.file)]
Duration = Annotated[float, PlainValidator(parse_duration)]
PositiveDuration = Annotated[float, PlainValidator(rules.positive_duration)]
Size = Annotated[int, PlainValidator(parse_size)]
Count = Annotated[StrictInt, Field(ge=1)]
Networks = tuple[Annotated[Network, PlainValidator(parse_network)], ...]
RelayNetworks = Annotated[
    tuple[Annotated[Network, PlainValidator(rules.relaying_network)], ...], AfterValidator(rules.closed_relay)
]
Proxies = Annotated[tuple[Annotated[Network, PlainValidator(rules.proxy_network)], ...], AfterValidator(rules.proxies)]
To = Annotated[Pattern, PlainValidator(rules.text(rules.recipient_pattern, 'a domain, an address or "*"'))]
From = Annotated[Pattern, PlainValidator(rules.text(Pattern.parse, 'an address, a domain, "*@domain", "*" or "<>"'))]

WebhookEvent = Literal[
    "received", "delivered", "deferred", "bounced", "discarded", "expanded", "dropped", "held", "released", "retried",
    "unknown", "notice", "ended",
]  # fmt: skip


class Section(BaseModel):
    """A mapping of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, data: Any) -> Any:
        """A block or a list with nothing behind its key keeps its default, as when all in it is commented out."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls._blocks()}

    @classmethod
    def _blocks(cls) -> set[str]:
        return {
            name
            for name, field in cls.model_fields.items()
            if get_origin(field.annotation) in (tuple, dict)
            or (isinstance(field.annotation, type) and issubclass(field.annotation, Section))
        }


class Listener(Section):
    """One entry of `listen`: where mail comes in, and how its clients are treated."""

    address: Annotated[SocketAddress, PlainValidator(rules.listener_address)] = Field(
        description='Where to listen: HOST:PORT, "[IPv6]:PORT", unix:PATH or systemd:NAME.'
    )
    tls: Literal["none", "offered", "required", "implicit"] = Field(
        default="offered", description="TLS: none, offered (none where there is no certificate), required or implicit."
    )
    auth: Literal["none", "offered", "required"] = Field(
        default="none", description="Logging in: none, offered or required."
    )
    plaintext_auth: Networks = Field(default=(), description="Networks whose clients may log in without TLS.")
    auth_equals: StrictBool = Field(default=False, description='Announce the old form "AUTH=LOGIN …" as well.')
    client_ca: File | None = Field(
        default=None, description="Certificates that this authority signed may log in with AUTH EXTERNAL."
    )
    bare_lf: Literal["refuse", "fix"] = Field(
        default="refuse",
        description="A line that ends with LF alone: refuse it, or fix it to CRLF. It never ends content.",
    )
    source_routes: Literal["strip", "follow", "refuse"] = Field(
        default="strip", description="Paths such as <@a,@b:user@c>: strip to the mailbox, follow, or refuse."
    )
    vrfy: Literal["off", "relaying", "all"] = Field(
        default="relaying",
        description="Who learns something from VRFY and EXPN: nobody, clients that may relay, or all.",
    )
    etrn: Networks = Field(default=(), description="Networks that may ETRN, besides the clients that may relay.")
    proxy_protocol: Proxies = Field(default=(), description="Networks whose PROXY header is required and believed.")
    xclient: Proxies = Field(default=(), description="Networks that may XCLIENT.")
    legacy_tls: Annotated[StrictBool, only(False, lacking="TLS 1.0 and 1.1")] = Field(
        default=False, description="TLS 1.0 and 1.1 for old devices, on this listener alone."
    )


class Relay(Section):
    """Who may send where."""

    networks: RelayNetworks = Field(
        default=(IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")), description="Clients here may send anywhere."
    )
    domains: tuple[Annotated[str, PlainValidator(rules.text(rules.relay_domain, "a domain"))], ...] = Field(
        default=(), description="Mail to these domains is taken from anyone; .example.org stands for subdomains."
    )


class RouteEntry(Section):
    """One entry of `routes`. At least one of `to` and `from`; both must match where both are given."""

    to: To | None = Field(
        default=None, description='Recipients: a domain, .domain for its subdomains, an address, or "*" for all.'
    )
    sender: From | None = Field(
        default=None, alias="from", description='Senders: an address, a domain, "*@domain", "*", or "<>" for bounces.'
    )
    via: Annotated[Hop | Reply, PlainValidator(rules.via)] = Field(
        description="mx, smtp://HOST[:PORT], smtps://, lmtp://, lmtp+unix:PATH, discard, or a refusal: 550 5.7.1 text."
    )
    name: str | None = Field(default=None, description="A name, for listings and ETRN #name.")
    login: str | None = Field(default=None, description="The entry of logins that this relay logs in with there.")
    tls: Annotated[
        Literal["none", "may", "require", "verify", "dane"], only("none", "may", "require", "verify", lacking="DANE")
    ] = Field(default="may", description="TLS there: none, may, require, verify or dane.")
    eight_bit: Literal["convert", "send", "bounce"] = Field(
        default="convert", description="8-bit content, at a hop without 8BITMIME: convert, send or bounce."
    )

    @model_validator(mode="after")
    def _is_for_somebody(self) -> "RouteEntry":
        if self.to is None and self.sender is None:
            raise ValueError('needs to or from; to: "*" is for all mail')
        if isinstance(self.via, Hop) and self.via.via is Via.SMTPS and self.tls == "none":
            raise Mistakes([(("tls",), "contradicts smtps://, which is TLS; leave it out, or use smtp://")])
        return self

    def route(self) -> Route:
        """The route that policy decides by."""
        onward = self.via
        if isinstance(onward, Hop):
            onward = replace(onward, tls=self.tls, login=self.login, eight_bit=self.eight_bit)
        return Route(onward, self.to or EVERYBODY, self.sender or EVERYBODY, self.name or "")


class Login(Section):
    """One entry of `logins`: how this relay logs in upstream."""

    user: str = Field(description="The name to log in with.")
    password_file: File | None = Field(default=None, description="A file that holds the password.")
    oauth2: Annotated[str | None, only(None, lacking="OAuth2")] = Field(
        default=None, description="The provider that OAuth2 tokens come from."
    )
    token_file: Annotated[File | None, only(None, lacking="OAuth2")] = Field(
        default=None, description="A file that the OAuth2 token is kept in."
    )

    @model_validator(mode="after")
    def _has_a_secret(self) -> "Login":
        if self.password_file is None:
            raise ValueError("needs password_file, a file that holds the password")
        return self


class Retry(Section):
    """When mail that could not be delivered is tried again, and when it is given up."""

    after: Annotated[tuple[PositiveDuration, ...], Field(min_length=1)] = Field(
        default=(5 * MINUTES, 10 * MINUTES, 20 * MINUTES, 40 * MINUTES, 1 * HOURS, 2 * HOURS, 4 * HOURS),
        description="Waits between tries; the last one repeats.",
    )
    warn: Annotated[float | None, PlainValidator(rules.duration_or_never)] = Field(
        default=4 * HOURS, description="The age at which the sender is told of the delay, once; or never."
    )
    give_up: PositiveDuration = Field(
        default=5 * DAYS, description="The age at which mail bounces, though not before one try has failed."
    )


class Certificate(Section):
    """A certificate and its key."""

    certificate: File = Field(description="Certificates, PEM: the host's own, then those that vouch for it.")
    key: File = Field(description="The private key, PEM.")


class Tls(Section):
    """The certificate that listeners show, read again when it changes."""

    certificate: File | None = Field(
        default=None, description="Certificates, PEM: the host's own, then those that vouch for it."
    )
    key: File | None = Field(default=None, description="The private key, PEM.")
    names: dict[Annotated[str, PlainValidator(rules.text(rules.hostname, "a host name"))], Certificate] = Field(
        default={}, description="Other certificates, for clients that ask for these host names (SNI)."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> "Tls":
        if self.names and self.certificate is None:
            raise ValueError("needs certificate and key, for clients that ask for no name")
        if (self.certificate is None) != (self.key is None):
            raise ValueError(f"needs {'certificate' if self.certificate is None else 'key'} too")
        return self


class Dns(Section):
    """Whom to ask, and what to believe."""

    nameservers: tuple[Annotated[SocketAddress, PlainValidator(rules.nameserver)], ...] = Field(
        default=(), description="Servers to ask, as HOST or HOST:PORT; none for the system's."
    )
    timeout: PositiveDuration = Field(default=5 * SECONDS, description="How long to wait for an answer.")
    trust_ad: Annotated[StrictBool, only(False, lacking="DNSSEC")] = Field(
        default=False, description="Believe these servers when they say that an answer is authentic."
    )
    private_exchangers: Literal["allow", "refuse"] = Field(
        default="allow", description="MX records that point to private addresses: allow or refuse."
    )


class Limits(Section):
    """Bounds on what comes in."""

    message_size: Size = Field(default=50 * MIB, description="Octets of content; 0 for no limit.")
    recipients: Count = Field(default=1000, description="Recipients of a message.")
    connections: Count = Field(default=2000, description="Connections of clients, in all.")
    connections_per_client: Count = Field(default=100, description="Connections from one address.")
    received: Count = Field(default=100, description="Received fields, beyond which a message is in a loop.")


class Admin(Section):
    """The console, the HTTP API and the metrics."""

    listen: Annotated[SocketAddress, PlainValidator(rules.admin_address)] | None = Field(
        default=SocketAddress("127.0.0.1", 8025), description="Where to listen; null for off."
    )
    token_file: File | None = Field(
        default=None, description="A file that holds the token for everything but metrics and health."
    )


class Webhook(Section):
    """One entry of `webhooks`: who is told of events."""

    url: Annotated[str, PlainValidator(rules.webhook_url), rules.GUARDED] = Field(
        description="Where to post to: https://HOST[:PORT]/PATH, or http:// for a host nearby."
    )
    secret_file: File | None = Field(
        default=None, description="A file that holds the secret to sign with, read again when it changes."
    )
    events: tuple[WebhookEvent, ...] = Field(
        default=(), description="The events to tell of; none for all that end or delay mail."
    )


class Log(Section):
    """How events are written down."""

    format: Literal["text", "json"] = Field(default="text", description="Lines for people, or JSON.")
    addresses: Literal["full", "hashed"] = Field(default="full", description="Addresses as they are, or hashed.")


class Config(Section):
    """The whole configuration. Frozen; paths in it are absolute; what policy decides by comes from its methods."""

    hostname: Annotated[str, PlainValidator(rules.text(rules.hostname, "a host name"))] = Field(
        default="localhost", description="The name in HELO, Received and bounces. Default: the machine's own name."
    )
    postmaster: Annotated[str, PlainValidator(rules.text(rules.mailbox, "an address"))] = Field(
        default_factory=lambda known: f"postmaster@{known['hostname']}",
        description="Who gets mail for postmaster and bounces that cannot be delivered. Default: postmaster@hostname.",
    )
    spool: Annotated[Path, PlainValidator(rules.spool)] = Field(description="The folder that the queue is kept in.")
    workers: Annotated[int | Literal["auto"], PlainValidator(rules.workers)] = Field(
        default=1, description="Processes; auto for one per core."
    )
    listen: Annotated[tuple[Listener, ...], AfterValidator(rules.each_address_once)] = Field(
        default=(Listener.model_validate({"address": "127.0.0.1:2525"}),), description="Where mail comes in."
    )
    relay: Relay = Field(default=Relay(), description="Who may send where.")
    routes: Annotated[tuple[RouteEntry, ...], AfterValidator(rules.each_name_once)] = Field(
        default=(),
        description="Where mail goes: the first that matches wins; a recipient that matches none goes by MX.",
    )
    logins: dict[str, Login] = Field(default={}, description="How this relay logs in upstream, by name.")
    retry: Retry = Field(default=Retry(), description="When mail is tried again, and given up.")
    history: Duration = Field(default=7 * DAYS, description="How long a message's timeline outlives it.")
    tls: Tls = Field(default=Tls(), description="The certificate that listeners show.")
    accounts: Annotated[rules.AccountSources | None, PlainValidator(rules.accounts)] = Field(
        default=None, description="Who may log in here: a file, dovecot:PATH (its auth socket), or a list of both."
    )
    directory_path: File | None = Field(
        default=None, alias="directory", description="The file of local names: mailboxes, aliases, lists, moved users."
    )
    dns: Dns = Field(default=Dns(), description="How the DNS is asked.")
    limits: Limits = Field(default=Limits(), description="Bounds on what comes in.")
    admin: Admin = Field(default=Admin(), description="The console and metrics.")
    webhooks: Annotated[tuple[Webhook, ...], AfterValidator(rules.each_url_once)] = Field(
        default=(), description="Who is told of events, by HTTP."
    )
    log: Log = Field(default=Log(), description="How events are written down.")

    _sources: Sources = PrivateAttr(default_factory=Sources)
    _document: Document = PrivateAttr(default_factory=Document)
    _directory: DirectoryFile = PrivateAttr(default_factory=DirectoryFile)

    def model_post_init(self, context: Any) -> None:
        """Remember where it was read from. context: as `load` gives it."""
        if context:
            self._sources = context["sources"]
            self._document = context["document"]
            self._directory = context["directory"]

    def access(self) -> Access:
        """Who may send where."""
        return Access(self.relay.networks, self.relay.domains)

    def directory(self) -> Directory:
        """The local names; an empty directory where no file of them is named."""
        return Directory(self._directory.domains)

    @property
    def directory_file(self) -> DirectoryFile:
        """What stands in its file, and where, for what there is to say of it."""
        return self._directory

    @property
    def sources(self) -> Sources:
        """What it was made from."""
        return self._sources

    def routing(self) -> Routing:
        """Where mail goes."""
        return Routing(entry.route() for entry in self.routes)

    def retry_policy(self) -> RetryPolicy:
        """When mail is tried again."""
        return RetryPolicy(self.retry.after, self.retry.warn, self.retry.give_up)

    def place(self, key: Key) -> str:
        """The file and the line where a value is given, as "/etc/mta/mta.yml:12"; "" where it is the default."""
        line = self._document.lines.get(key)
        return f"{self._sources.file}:{line}" if line else ""

    def problem(self, key: Key, text: str) -> Problem:
        """Something to say about a value, with the file and the line that it stands on (or would)."""
        return Problem(self._sources.file, self._document.line(key), key_path(key), text)
