"""TLS whose octets go from hand to hand: the relay's own server, and clients that are Python's or the relay's own.

And what stands for TLS where nothing is encrypted.
"""

import ssl
from pathlib import Path
from typing import Any

import trustme
from OpenSSL import SSL
from zope.interface import implementer

from mta.logins import IChannel
from mta.net.client_tls import ClientTls
from mta.net.tls import ServerTls
from mta.smtp.login import Binding

NAME = "mx.example"


@implementer(IChannel)
class Channel:
    """What logins can be bound to in a TLS that is none: its types, and their octets."""

    def __init__(self, bindings: dict[str, bytes]) -> None:
        self._bindings = bindings

    def binding(self, kind: str) -> bytes | None:
        return self._bindings.get(kind)

    def usual(self) -> Binding | None:
        return next((Binding(kind, octets) for kind, octets in self._bindings.items()), None)


def server_tls(folder: Path) -> ServerTls:
    """With a new certificate."""
    file = folder / "server.pem"
    issued = trustme.CA().issue_cert(NAME)
    file.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    return ServerTls(file, file)


class PythonClient:
    """The standard library's."""

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=NAME, session=session)

    def step(self, octets: bytes) -> bytes:
        self._in.write(octets)
        try:
            self.tls.do_handshake()
            self.tls.read()  # tickets of TLS 1.3 come behind the handshake
        except ssl.SSLWantReadError:
            pass
        return self._out.read()

    @property
    def unique(self) -> bytes | None:
        return self.tls.get_channel_binding("tls-unique")


def python_context(authority: Path | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority) if authority else None)
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.maximum_version = version
    return context


class End:
    """A side of pyOpenSSL's."""

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection

    def step(self, octets: bytes) -> bytes:
        if octets:
            self.connection.bio_write(octets)
        try:
            self.connection.do_handshake()
            self.connection.recv(1)
        except SSL.WantReadError:
            pass
        try:
            return self.connection.bio_read(65_536)
        except SSL.WantReadError:
            return b""


def server_end(tls: ServerTls) -> End:
    end = End(tls.connection())
    end.connection.set_accept_state()
    return end


def client_end(version: int = SSL.TLS1_3_VERSION) -> End:
    """Of the relay, which verifies nothing here. version: the latest that it speaks."""
    tls = ClientTls()
    tls._accepting.set_max_proto_version(version)
    made: Any = tls.handshake(NAME, False)
    end = End(made.clientConnectionForTLS(None))
    end.connection.set_connect_state()
    return end


def shake(client: PythonClient | End, server: End) -> None:
    """A handshake, up to when both have no more to say."""
    octets = client.step(b"")
    for _ in range(10):
        octets = client.step(server.step(octets))
        if not octets:
            return
    raise AssertionError("the handshake has no end")
