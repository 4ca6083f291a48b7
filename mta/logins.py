"""Logins: one more of the seams, for who says who he is. Clients do so here, and this relay does upstream."""

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from zope.interface import Interface

from mta.policy.pattern import Pattern
from mta.smtp.login import Binding, ClientMechanism
from mta.smtp.reply import Reply

if TYPE_CHECKING:  # as in `interfaces`
    from twisted.internet.defer import Deferred


class Challenge(NamedTuple):
    """What a mechanism says to the client: the octets, not encoded yet (RFC 4954 4: 334 and base64)."""

    octets: bytes


class LoggedIn(NamedTuple):
    """Who the client is now. senders: what it may send as; () for anything."""

    account: str
    senders: tuple[Pattern, ...] = ()


class IChannel(Interface):
    """The TLS of a connection, as what a login inside it can be bound to (RFC 5056)."""

    def binding(kind: str) -> bytes | None:
        """The octets of a type ("tls-exporter"); None where it is not known, or says nothing about this connection."""

    def usual() -> Binding | None:
        """What a client binds with; None where nothing will do."""


class LoginFrom(NamedTuple):
    """What a client is known by before it logs in. tls: the connection is encrypted. plaintext: it may use PLAIN and
    LOGIN (it is encrypted, or comes from `plaintext_auth`). certificate: the names that a verified certificate of
    its own gives it (mail addresses, then the common name); () where it showed none. channel: what it can bind a login
    to; None where its TLS ends elsewhere, or there is none."""

    address: str
    tls: bool = False
    plaintext: bool = False
    certificate: tuple[str, ...] = ()
    channel: IChannel | None = None


class IExchange(Interface):
    """One AUTH under way."""

    def respond(response: bytes | None) -> "Deferred[Challenge | LoggedIn | Reply]":
        """The client's next response, decoded; the initial one first, None where it gave none (RFC 4954 4).

        A `Reply` ends it: the client is not who it says, or that cannot be known (535, 454, 501 …); the log says why.

        Never fails for what a client sends or an account lacks; a source of accounts that is down is 454 4.7.0.
        """


class IAuthentication(Interface):
    """Who may log in here, and how."""

    def mechanisms(client: LoginFrom) -> tuple[str, ...]:
        """The mechanisms that are offered to a client, in the order in which they are announced."""

    def begin(mechanism: str, client: LoginFrom) -> IExchange | None:
        """Begin with a mechanism, in upper case; None for one that is not offered to this client."""

    def senders(account: str) -> tuple[Pattern, ...]:
        """What an account may send as that somebody else has checked the login of; () for anything."""

    def stop() -> "Deferred[None]":
        """Ask nobody any more."""


class ILogins(Interface):
    """How this relay logs in upstream."""

    def mechanism(
        login: str, offered: Collection[str], tls: bool, channel: IChannel | None
    ) -> "Deferred[ClientMechanism | Reply]":
        """The strongest mechanism that both sides know, for an entry of `logins`; or why there is none.

        offered: what the server announced, in upper case. Plain-text ones only inside TLS. channel: what the login can
        be bound to.
        """
