"""Certificates: read from files with words for what is wrong with them, and the question whose they are."""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtensionOID, NameOID
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from mta.message.printable import visible
from mta.smtp.ip import is_ip_address

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey

_NAMES_SHOWN = 5
_NAME_SHOWN = 100  # characters


class TlsProblem(Exception):
    """TLS cannot be had so. file: what is wrong with it. why: what that is, and what to do; the text has both."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"{file}: {why}")
        self.file = file
        self.why = why


def load_certificates(file: Path) -> list[x509.Certificate]:
    """The certificates in a file, in order, at least one. Raises `TlsProblem`."""
    try:
        return x509.load_pem_x509_certificates(_read(file, "the certificate"))
    except ValueError as error:
        raise TlsProblem(file, "holds no certificate in PEM (-----BEGIN CERTIFICATE-----) that can be read") from error


def load_key(file: Path) -> PrivateKey:
    """The private key in a file. Raises `TlsProblem`."""
    try:
        key = load_pem_private_key(_read(file, "the private key"), None)
    except TypeError as error:
        raise TlsProblem(file, f"the key has a passphrase; take that off: openssl pkey -in {file} -out …") from error
    except ValueError as error:
        raise TlsProblem(file, "holds no private key in PEM (-----BEGIN PRIVATE KEY-----) that can be read") from error
    if not isinstance(key, PrivateKey):
        raise TlsProblem(file, "the key is of no kind that TLS is used with; make one for EC or RSA")
    return key


def check_key(certificate: Path, chain: Sequence[x509.Certificate], key: Path, private: PrivateKey) -> None:
    """Raises `TlsProblem` unless this is the key of the first certificate of the chain.

    certificate, key: the files that they are from.
    """
    wanted = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    of_key = [one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == wanted for one in chain]
    if not any(of_key):
        raise TlsProblem(key, f"is not the key of the certificate in {certificate}; put the two together that belong")
    if not of_key[0]:
        raise TlsProblem(certificate, "the certificate of the key must be the first in the file, its authorities after")


def why_not_for(certificate: x509.Certificate, host: str) -> str:
    """Why a certificate is not that of a host, a name or an IP address (RFC 6125 6, RFC 7817 3); "" where it is.

    Only what stands among the alternative names counts, never the common name.
    """
    try:
        if is_ip_address(host):
            verify_certificate_ip_address(certificate, host)
        else:
            verify_certificate_hostname(certificate, host)
    except (VerificationError, CertificateError, ValueError):
        names = _hosts(certificate)
        whose = f"for {', '.join(names)}" if names else "for no host by name"
        return f"the certificate is {whose}; not for {host}"
    return ""


def personal_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names of a person or an account: mail addresses, then the common names."""
    found = _alternative_names(certificate)
    addresses = found.get_values_for_type(x509.RFC822Name) if found is not None else []
    common = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(dict.fromkeys((*addresses, *common)))


def _hosts(certificate: x509.Certificate) -> list[str]:
    """The hosts and addresses that a certificate is for, as many as one wants to read."""
    found = _alternative_names(certificate)
    if found is None:
        return []
    hosts = found.get_values_for_type(x509.DNSName) + [str(ip) for ip in found.get_values_for_type(x509.IPAddress)]
    shown = [visible(host[:_NAME_SHOWN]) for host in hosts]
    more = [f"{len(shown) - _NAMES_SHOWN} more"] if len(shown) > _NAMES_SHOWN else []
    return shown[:_NAMES_SHOWN] + more


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        found = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    return found if isinstance(found, x509.SubjectAlternativeName) else None


def _read(file: Path, what: str) -> bytes:
    try:
        if file.is_fifo():  # to open one would wait for who writes into it
            raise TlsProblem(file, f"is a named pipe; it must be a file that holds {what}, in PEM")
        return file.read_bytes()
    except FileNotFoundError:
        raise TlsProblem(file, f"there is no such file; it must hold {what}, in PEM") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise TlsProblem(file, f"{why}; the user that runs this relay must be able to read it") from error
