"""TLS of connections: the certificates that this relay shows, and what can be told of a connection that has it.

pyOpenSSL's contexts cannot be changed once a connection has used them. So a context is made whole, then shown: whoever
connects after a certificate was renewed gets the new one, and open connections keep what they have.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.x509 import Certificate
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mta.net.certificates import PrivateKey, TlsProblem, check_key, load_certificates, load_key, personal_names
from mta.net.version import Version, version_of

__all__ = ["ServerTls", "TlsProblem", "certificate_names", "connection_of", "describe", "start"]

SESSIONS_LAST = 3600  # seconds for which a client may resume one

_NONE: Mapping[str, tuple[Path, Path]] = {}
_PROTOCOLS = frozenset({b"smtp", b"esmtp"})
# Of what a client offers for TLS 1.2 the first of these is taken, whatever the client would like best: keys that are
# agreed on elliptic curves, then others that are (they cost us more), and the certificate's own key only for a device
# that knows nothing else, since whoever steals that key could read what was recorded (RFC 9325 4.1).
_CIPHERS = b"DEFAULT:!PSK:!SRP:+kDHE:+kRSA"


class _Identity(NamedTuple):
    """What was read from the files of a certificate: file, the chain, its first one's key."""

    file: Path
    chain: list[Certificate]
    key: PrivateKey


class _State(NamedTuple):
    """What connections are made with: the context of those that name no host, or one that is not known; the others'
    by host name, in lower case."""

    usual: SSL.Context
    by_name: dict[str, SSL.Context]


class ServerTls:
    """The certificates of a listener.

    certificate, key: files in PEM, the certificate first in its file, those that lead to its authority behind it.
    others: for clients that ask for these host names (SNI). client_ca: a file with the authorities of certificates
    that clients may show. warnings: what is wrong with the certificates and does not keep them from being used.

    Clients may resume sessions by tickets, which only a context of this object can read: its key is in memory alone,
    and is a new one after `renew_tickets`. A resumed session has no certificates, and OpenSSL reads a ticket before it
    tells which name the client asks for. So there are no tickets where certificates of clients count, nor where they
    depend on the name (RFC 6066 3 forbids to resume under another one).
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        others: Mapping[str, tuple[Path, Path]] = _NONE,
        client_ca: Path | None = None,
    ) -> None:
        """Raises `TlsProblem`."""
        self._usual = certificate, key
        self._others = {name.lower(): files for name, files in others.items()}
        self._client_ca = client_ca
        self.warnings: tuple[str, ...] = ()
        self._resumes = client_ca is None and not others
        self._seen = self._look()
        self._state = self._load()

    def creator(self) -> IOpenSSLServerConnectionCreator:
        """For `start`. Good for as long as this object lives: each connection gets the certificate of its time."""
        return _Creator(self)

    def refresh(self) -> bool:
        """Read the files again if they have changed. True: connections get the new ones from now on.

        Raises `TlsProblem`, once for each change, where they cannot be used; then all stays as it was.
        """
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        self._state = self._load()
        return True

    def renew_tickets(self) -> None:
        """Forget the key of the tickets that were given out: whoever comes with one of them gets a full handshake.

        To be called at least as often as an hour: who steals a key can read what was recorded of all its sessions.
        """
        if self._resumes:
            self._state = _State(self._context(self._usual_identity), {})

    def connection(self) -> SSL.Connection:
        """A connection that waits for its client's first octet."""
        connection = _ServerConnection(self._state.usual, None)
        if self._client_ca is not None:
            connection.set_verify(SSL.VERIFY_PEER, _judge)
        return connection

    def _look(self) -> list[Version]:
        """What tells whether one of the files has changed."""
        files = [file for pair in (self._usual, *self._others.values()) for file in pair]
        return [version_of(file) for file in (*files, *([self._client_ca] if self._client_ca else []))]

    def _load(self) -> _State:
        usual = _identity(*self._usual)
        others = {name: _identity(*files) for name, files in self._others.items()}
        state = _State(self._context(usual), {name: self._context(other) for name, other in others.items()})
        self._usual_identity = usual
        self.warnings = tuple(warning for one in (usual, *others.values()) for warning in _warnings(one))
        return state

    def _context(self, identity: _Identity) -> SSL.Context:
        """Raises `TlsProblem`."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(_CIPHERS)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # of sessions without tickets: their memory would be ours
        if self._resumes:
            context.set_timeout(SESSIONS_LAST)
        else:
            context.set_options(SSL.OP_NO_TICKET)
        try:
            context.use_certificate(identity.chain[0])
            for other in identity.chain[1:]:
                context.add_extra_chain_cert(other)
            context.use_privatekey(identity.key)
            context.check_privatekey()
        except SSL.Error as error:
            raise TlsProblem(identity.file, f"OpenSSL does not take it: {reason_of(error)}; get a new one") from error
        if self._client_ca is not None:
            _trust(context, self._client_ca)
        # On each of them, since it may be asked a second time, after the choice (TLS 1.3's HelloRetryRequest).
        context.set_tlsext_servername_callback(self._choose)
        context.set_alpn_select_callback(_agree)
        return context

    def _choose(self, connection: SSL.Connection) -> None:
        """The client has named the host that it wants."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower().rstrip(".")
        context = self._state.by_name.get(name)
        if context is not None:
            connection.set_context(context)


class _ServerConnection(SSL.Connection):
    """A connection that remembers what was found wrong with its client's certificate."""

    def __init__(self, context: SSL.Context, socket: None) -> None:
        super().__init__(context, socket)
        self.shown = False
        self.is_trusted = True


@implementer(IOpenSSLServerConnectionCreator)
class _Creator:
    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._tls.connection()


def _identity(certificate: Path, key: Path) -> _Identity:
    """Read a certificate and its key. Raises `TlsProblem`."""
    identity = _Identity(certificate, load_certificates(certificate), load_key(key))
    check_key(certificate, identity.chain, key, identity.key)
    return identity


def _warnings(identity: _Identity) -> list[str]:
    """What is wrong with a certificate that can be used."""
    expires = identity.chain[0].not_valid_after_utc
    if expires >= datetime.now(UTC):
        return []
    return [f"{identity.file}: the certificate has expired on {expires.date()}; clients may refuse it: renew it"]


def start(transport: Any, creator: IOpenSSLServerConnectionCreator, producer: Any = None) -> None:
    """Begin TLS on a server's connection, behind what has been written; its protocol's `handshakeCompleted` says when
    it is there, and if it fails the connection is lost.

    producer: the streaming producer that is registered with the transport. It goes over to the TLS layer, and is told
    to go on: Twisted would never tell one that was paused in the clear.
    """
    if producer is None:
        transport.startTLS(creator)
        return
    transport.unregisterProducer()
    transport.startTLS(creator)
    transport.registerProducer(producer, True)
    producer.resumeProducing()


def describe(transport: Any) -> str:
    """Protocol and cipher of a connection, as "TLSv1.3 TLS_AES_256_GCM_SHA384"; "" in the clear."""
    connection = connection_of(transport)
    cipher = connection.get_cipher_name() if connection is not None else None
    return f"{connection.get_protocol_version_name()} {cipher}" if connection is not None and cipher else ""


def certificate_names(transport: Any) -> tuple[str, ...]:
    """The names that a client's certificate gives it: mail addresses, then the common names.

    () where it showed none, or one that no authority of `client_ca` has signed.
    """
    connection = connection_of(transport)
    if not (isinstance(connection, _ServerConnection) and connection.shown and connection.is_trusted):
        return ()
    certificate = connection.get_peer_certificate(as_cryptography=True)
    return personal_names(certificate) if certificate is not None else ()


def reason_of(error: SSL.Error) -> str:
    """Why OpenSSL has failed, in its words: "wrong version number"."""
    if isinstance(error, SSL.SysCallError):
        return str(error.args[-1])
    queue = error.args[0] if error.args else ()
    return str(queue[-1][-1]) if queue else "the other side ended it"


def connection_of(transport: Any) -> SSL.Connection | None:
    """OpenSSL's side of a transport; None in the clear, and when the connection is gone."""
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    return handle if isinstance(handle, SSL.Connection) else None


def _judge(connection: SSL.Connection, certificate: Any, error: int, depth: int, ok: int) -> bool:
    """A client's certificate need not be good: one that is not is taken as none, and the handshake goes on."""
    if isinstance(connection, _ServerConnection):
        connection.shown = True
        connection.is_trusted &= bool(ok)
    return True


def _agree(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """The protocol, of those that a client names (RFC 7301). Hardly any mail client does, and then nobody asks here.

    One that names others alone was led here on its way to another server, as a browser can be; what it would say was
    meant for that one. The exception is what has OpenSSL send the alert.
    """
    for name in offered:
        if name in _PROTOCOLS:
            return name
    raise SSL.Error([("mta", "", "the client speaks other protocols, and not SMTP")])


def _trust(context: SSL.Context, authorities: Path) -> None:
    load_certificates(authorities)
    try:
        context.load_verify_locations(str(authorities))
        context.load_client_ca(str(authorities).encode())
    except SSL.Error as error:
        raise TlsProblem(authorities, f"OpenSSL does not take it: {reason_of(error)}") from error
