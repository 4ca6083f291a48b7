"""Channel: the TLS of a connection, as what a login inside it can be bound to (RFC 5056).

Both sides take the same octets from their own ends of a connection. Who stands between two connections has others on
each, or another certificate: a login that is bound to the one is of no use in the other.
"""

from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import Certificate
from OpenSSL import SSL
from OpenSSL._util import lib as openssl  # what pyOpenSSL has no names of its own for
from zope.interface import implementer

from mta.logins import IChannel
from mta.net.tls import connection_of
from mta.smtp.login import Binding

EXPORTER: Final = "tls-exporter"
UNIQUE: Final = "tls-unique"
END_POINT: Final = "tls-server-end-point"

_LABEL: Final = b"EXPORTER-Channel-Binding"  # RFC 9266 2, with no octets of context, and 32 of result


@implementer(IChannel)
class Channel:
    """One end of a connection whose handshake is done. Nothing is computed before it is asked for."""

    __slots__ = ("_connection", "_is_server")

    def __init__(self, connection: SSL.Connection, is_server: bool) -> None:
        self._connection = connection
        self._is_server = is_server

    def binding(self, kind: str) -> bytes | None:
        """The octets of a type; None where it is not known, or says nothing about this connection."""
        find = _FINDERS.get(kind)
        return find(self) if find is not None else None

    def usual(self) -> Binding | None:
        """The type that any server with channel binding has to know for this version of TLS (RFC 5802 6.1, RFC 9266 3),
        else the certificate's; None where neither says anything."""
        for kind in (EXPORTER, UNIQUE, END_POINT):
            octets = self.binding(kind)
            if octets is not None:
                return Binding(kind, octets)
        return None

    @property
    def _is_1_3(self) -> bool:
        return self._connection.get_protocol_version() >= SSL.TLS1_3_VERSION

    def _exported(self) -> bytes | None:
        """RFC 9266. Of TLS 1.2 not all keys belong to one connection alone: it has `tls-unique`."""
        return self._connection.export_keying_material(_LABEL, 32, b"") if self._is_1_3 else None

    def _unique(self) -> bytes | None:
        """RFC 5929 3: the first Finished of the handshake, which there is no such thing of any more in TLS 1.3.

        The server says it first where a session is resumed. Two connections that resume one could have it in common if
        the session's key does not depend on the handshake that it is from (RFC 7627 1): then it says nothing.
        """
        if self._is_1_3:
            return None
        ssl: Any = self._connection._ssl
        resumed = bool(openssl.SSL_session_reused(ssl))
        if resumed and openssl.SSL_get_extms_support(ssl) != 1:
            return None
        ours_is_first = self._is_server == resumed
        return self._connection.get_finished() if ours_is_first else self._connection.get_peer_finished()

    def _end_point(self) -> bytes | None:
        """RFC 5929 4: the digest of the server's certificate."""
        connection = self._connection
        find: Any = connection.get_certificate if self._is_server else connection.get_peer_certificate
        try:
            certificate: Certificate | None = find(as_cryptography=True)
            return _digest(certificate) if certificate is not None else None
        except (ValueError, UnsupportedAlgorithm):  # OpenSSL reads more than cryptography does
            return None


_FINDERS: Final[dict[str, Callable[[Channel], bytes | None]]] = {
    EXPORTER: Channel._exported,
    UNIQUE: Channel._unique,
    END_POINT: Channel._end_point,
}


def channel_of(transport: Any, is_server: bool) -> Channel | None:
    """The TLS of a transport; None in the clear, and when the connection is gone."""
    connection = connection_of(transport)
    return Channel(connection, is_server) if connection is not None else None


def _digest(certificate: Certificate) -> bytes | None:
    """By the algorithm of the certificate's signature, or SHA-256 for those that are too weak (RFC 5929 4.1).

    None for signatures without a digest of their own, as Ed25519's: what goes for them is not defined.
    """
    algorithm = certificate.signature_hash_algorithm
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm) if algorithm is not None else None
