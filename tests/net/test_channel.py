"""What a login can be bound to: both ends of a connection have it in common, and with no other connection."""

import hashlib
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from tls_in_memory import NAME, End, PythonClient, client_end, python_context, server_end, server_tls, shake
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyObject

from mta.logins import IChannel
from mta.net import channel
from mta.net.channel import END_POINT, EXPORTER, UNIQUE, Channel, channel_of
from mta.net.tls import ServerTls
from mta.smtp.login import Binding

V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    return server_tls(tmp_path_factory.mktemp("tls"))


def of_server(end: End) -> Channel:
    return Channel(end.connection, True)


def of_client(end: End) -> Channel:
    return Channel(end.connection, False)


def ends(tls: ServerTls, version: ssl.TLSVersion) -> tuple[Channel, Channel]:
    """Both ends of a connection of ours."""
    client, server = client_end(version), server_end(tls)
    shake(client, server)
    return of_client(client), of_server(server)


@pytest.mark.parametrize("version", [V1_2, V1_3])
def test_both_ends_have_it_in_common_and_no_other_connection(tls: ServerTls, version: ssl.TLSVersion) -> None:
    ours, theirs = ends(tls, version)
    other, _ = ends(tls, version)
    verifyObject(IChannel, ours)
    own = EXPORTER if version is V1_3 else UNIQUE
    for kind in (EXPORTER, UNIQUE, END_POINT, "tls-unique-for-telnet", ""):
        octets = ours.binding(kind)
        assert octets == theirs.binding(kind)
        assert (octets is not None) == (kind in (own, END_POINT)), kind
        assert (octets == other.binding(kind)) == (kind != own), "a certificate is the same for all"
    assert ours.usual() == theirs.usual() == Binding(own, ours.binding(own) or b"")


def test_the_exporters_octets_are_those_of_rfc_9266(tls: ServerTls) -> None:
    """GnuTLS exports the same: GNU SASL's client has it, in tests/integration."""
    ours, _ = ends(tls, V1_3)
    octets = ours.binding(EXPORTER)
    assert octets is not None
    assert len(octets) == 32
    exported = ours._connection.export_keying_material(b"EXPORTER-Channel-Binding", 32)
    assert octets == exported, "in TLS 1.3 no context and an empty one are the same (RFC 8446 7.5)"


@pytest.mark.parametrize("extended", [True, False])
def test_unique_is_the_first_finished_also_of_a_resumed_session(
    tls: ServerTls, monkeypatch: pytest.MonkeyPatch, extended: bool
) -> None:
    context = python_context(version=V1_2)
    first, server = PythonClient(context), server_end(tls)
    shake(first, server)
    assert first.unique
    assert of_server(server).binding(UNIQUE) == first.unique
    second, server = PythonClient(context, first.tls.session), server_end(tls)
    shake(second, server)
    assert second.tls.session_reused
    assert second.unique != first.unique
    if not extended:
        monkeypatch.setattr(channel.openssl, "SSL_get_extms_support", lambda _: 0)
    octets = of_server(server).binding(UNIQUE)
    assert octets == (second.unique if extended else None)
    usual = of_server(server).usual()
    assert usual is not None
    assert usual.kind == (UNIQUE if extended else END_POINT)


def certificate(key: Any, algorithm: Any) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, algorithm)


@pytest.mark.parametrize(
    ("algorithm", "digest"), [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512")]
)
def test_a_certificate_is_digested_as_its_signature_is(algorithm: Any, digest: str) -> None:
    made = certificate(ec.generate_private_key(ec.SECP256R1()), algorithm)
    der = made.public_bytes(serialization.Encoding.DER)
    assert channel._digest(made) == hashlib.new(digest, der).digest()


def test_one_whose_signature_has_no_digest_says_nothing() -> None:
    assert channel._digest(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None


def test_one_with_a_weak_digest_gets_sha_256(tmp_path: Path) -> None:
    key, pem = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-sha1", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", f"/CN={NAME}", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)
    made = x509.load_pem_x509_certificate(pem.read_bytes())
    assert isinstance(made.signature_hash_algorithm, hashes.SHA1)
    assert channel._digest(made) == hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).digest()


def test_a_certificate_that_cannot_be_read_says_nothing(tls: ServerTls, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = ends(tls, V1_3)

    def unreadable(_: object) -> bytes:
        raise ValueError("not DER")

    monkeypatch.setattr(channel, "_digest", unreadable)
    assert ours.binding(END_POINT) is None


def test_in_the_clear_there_is_none() -> None:
    assert channel_of(StringTransport(), True) is None
    assert channel_of(None, False) is None
