"""TLS towards a server: contexts that are made once and shared, and one handshake, with its judgement in words.

A certificate is judged while the handshake runs: a server that is not who it should be is told so by an alert, and
nothing of ours has been said to it. A session that is resumed has no certificates in its handshake: it stands for those
of the handshake that it comes from (`mta.net.resumption`).
"""

from datetime import datetime
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mta.net.certificates import load_certificates, why_not_for
from mta.net.resumption import Resumable, Shelf
from mta.net.tls import connection_of, describe, reason_of
from mta.smtp.ip import is_ip_address

# Weak keys and digests are better than none where nobody verifies, since the mail would go in the clear else.
_CIPHERS_OF_ANY_STRENGTH = b"DEFAULT:@SECLEVEL=0"

_Codes = SSL.X509VerificationCodes
_UNTRUSTED = "the certificate is signed by nobody whom this machine trusts"
_FAULTS = {
    _Codes.ERR_CERT_HAS_EXPIRED: "the certificate has expired",
    _Codes.ERR_CERT_NOT_YET_VALID: "the certificate is not valid yet",
    _Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "the certificate is signed by itself alone",
    _Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: _UNTRUSTED,
    _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT: _UNTRUSTED,
    _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: _UNTRUSTED,
    _Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: _UNTRUSTED,
    _Codes.ERR_INVALID_PURPOSE: "the certificate is not one for servers",
    _Codes.ERR_CERT_REVOKED: "the certificate is revoked",
}


class ClientTls:
    """The TLS of this relay as a client.

    trust: a file with the certificates (PEM) of those who are trusted; None for whom the system trusts.
    """

    def __init__(self, trust: Path | None = None) -> None:
        """Raises `TlsProblem` where that file is of no use."""
        self._trust = trust
        if trust is not None:
            load_certificates(trust)

    def handshake(self, host: str, verify: bool, shelf: Shelf | None = None) -> "ClientHandshake":
        """A handshake with a server of this name or IP address. verify: its certificate must be valid, and its own.

        shelf: with sessions of handshakes with the same server, for the same host and the same `verify`.
        """
        return ClientHandshake(self._verifying if verify else self._accepting, host, verify, shelf)

    @cached_property
    def _accepting(self) -> SSL.Context:
        """Encrypts with whoever is there: TLS 1.2 or later, as OpenSSL has it."""
        context = _context()
        context.set_cipher_list(_CIPHERS_OF_ANY_STRENGTH)
        return context

    @cached_property
    def _verifying(self) -> SSL.Context:
        context = _context()
        if self._trust is None:
            context.set_default_verify_paths()
        else:
            context.load_verify_locations(str(self._trust))
        return context


def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # OpenSSL keeps no sessions itself. It does see to it that one of TLS 1.3 that was used, or whose connection was
    # broken off, is never offered again.
    context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT | SSL.SESS_CACHE_NO_INTERNAL)
    return context


@implementer(IOpenSSLClientConnectionCreator)
class ClientHandshake:
    """One handshake with one server.

    verified: the certificate is valid, and its own. fault: "" or why it is not.
    """

    def __init__(self, context: SSL.Context, host: str, verify: bool, shelf: Shelf | None = None) -> None:
        self._context = context
        self._host = host
        self._verify = verify
        self._shelf = shelf
        self._resumed: Resumable | None = None
        self._expires = inf
        self.fault = ""
        self.verified = False

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """The connection, for Twisted."""
        connection = SSL.Connection(self._context, None)
        if not is_ip_address(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))  # SNI; never an address (RFC 6066 3)
        if self._verify:
            connection.set_verify(SSL.VERIFY_PEER, self._judge)
        self._resumed = self._shelf.take() if self._shelf is not None else None
        if self._resumed is not None:
            connection.set_session(self._resumed.session)
            # What it was kept for was found out then. A server that does not go on with it shows its certificate, which
            # is judged.
            self.verified = self._verify
        return connection

    @property
    def offered(self) -> bool:
        """Was the server asked to go on with an earlier session, and is it not known to have shown a certificate?"""
        return self._resumed is not None

    def keep_session(self, transport: Any) -> None:
        """Keep the session for the next handshake. To be called when the server has said something inside: in TLS 1.3
        it gives what it takes behind the handshake (RFC 8446 4.6.1)."""
        connection = connection_of(transport)
        session = connection.get_session() if connection is not None else None
        if session is not None and self._shelf is not None:
            self._shelf.keep(session, self._expires, self._resumed)

    def forget_sessions(self) -> None:
        """Keep none of this server: the one that it was offered was of no use."""
        if self._shelf is not None:
            self._shelf.forget()

    @property
    def is_acceptable(self) -> bool:
        """It is done: is the server's certificate what it has to be?"""
        return self.verified or not self._verify

    def described(self, transport: Any) -> str:
        """What is in use: "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate verified for mx.example"."""
        verified = f"verified for {self._host}" if self.verified else "not verified"
        return f"{describe(transport)}, certificate {verified}"

    def _judge(self, connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int) -> bool:
        """One certificate of the chain, the authority's first and the server's last."""
        self.verified = False
        self._resumed = None
        if not ok:
            self.fault = self.fault or _FAULTS.get(error, f"the certificate is not valid (OpenSSL's code {error})")
            return False
        self._expires = min(self._expires, _expiry(certificate))
        if depth == 0:
            try:
                self.fault = why_not_for(certificate.to_cryptography(), self._host)
            except ValueError:  # OpenSSL reads more than cryptography does
                self.fault = "the certificate cannot be read"
            self.verified = not self.fault
        return not self.fault


def _expiry(certificate: X509) -> float:
    """When a certificate is over, in seconds since 1970; long ago where it does not say so in the usual way."""
    try:
        return datetime.strptime((certificate.get_notAfter() or b"").decode(), "%Y%m%d%H%M%S%z").timestamp()
    except ValueError:
        return 0.0


def why_lost(error: BaseException | None) -> str:
    """Why a connection is lost: what TLS has against it, where there is something."""
    return reason_of(error) if isinstance(error, SSL.Error) else "connection lost"
