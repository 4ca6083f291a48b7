"""TLS towards a server: contexts that are made once and shared, and one handshake, with its judgement in words.

A certificate is judged while the handshake runs: a server that is not who it should be is told so by an alert, and
nothing of ours has been said to it.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mta.net.certificates import load_certificates, why_not_for
from mta.net.tls import describe, reason_of
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

    def handshake(self, host: str, verify: bool) -> "ClientHandshake":
        """A handshake with a server of this name or IP address. verify: its certificate must be valid, and its own."""
        return ClientHandshake(self._verifying if verify else self._accepting, host, verify)

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
    return context


@implementer(IOpenSSLClientConnectionCreator)
class ClientHandshake:
    """One handshake with one server. verified: the certificate is valid, and its own. fault: "" or why it is not."""

    def __init__(self, context: SSL.Context, host: str, verify: bool) -> None:
        self._context = context
        self._host = host
        self._verify = verify
        self.fault = ""
        self.verified = False

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """The connection, for Twisted."""
        connection = SSL.Connection(self._context, None)
        if not is_ip_address(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))  # SNI; never an address (RFC 6066 3)
        if self._verify:
            connection.set_verify(SSL.VERIFY_PEER, self._judge)
        return connection

    @property
    def is_acceptable(self) -> bool:
        """It is done: is the server's certificate what it has to be?"""
        return self.verified or not self._verify

    def described(self, transport: Any) -> str:
        """What is in use: "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate verified for mx.example"."""
        verified = f"verified for {self._host}" if self.verified else "not verified"
        return f"{describe(transport)}, certificate {verified}"

    def _judge(self, connection: SSL.Connection, certificate: Any, error: int, depth: int, ok: int) -> bool:
        """One certificate of the chain, the authority's first and the server's last."""
        if not ok:
            self.fault = self.fault or _FAULTS.get(error, f"the certificate is not valid (OpenSSL's code {error})")
        elif depth == 0:
            try:
                self.fault = why_not_for(certificate.to_cryptography(), self._host)
            except ValueError:  # OpenSSL reads more than cryptography does
                self.fault = "the certificate cannot be read"
            self.verified = not self.fault
        return not self.fault


def why_lost(error: BaseException | None) -> str:
    """Why a connection is lost: what TLS has against it, where there is something."""
    return reason_of(error) if isinstance(error, SSL.Error) else "connection lost"
