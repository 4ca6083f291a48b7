"""Servers with the relay's own TLS, and Python's as the independent client, over real sockets."""

import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from mta.net import sockets
from mta.net.tls import ServerTls, certificate_names, start

CA = trustme.CA()


def keep(folder: Path, name: str, issued: trustme.LeafCert) -> tuple[Path, Path]:
    """Put a certificate and its key into files, the way that renewal tools do: written beside, then renamed."""
    files = folder / f"{name}.crt", folder / f"{name}.key"
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    for file, octets in zip(files, (chain, issued.private_key_pem.bytes()), strict=True):
        file.with_suffix(".new").write_bytes(octets)
        file.with_suffix(".new").replace(file)
    return files


@implementer(IHandshakeListener, IPushProducer)
class Speaker(Protocol):
    """Answers "STARTTLS" with "220", and each other line with what it is told to; what is behind STARTTLS is dropped.

    It is the producer of its answers, as the relay's own protocol is.
    """

    transport: Any

    def __init__(self, owner: "Speakers") -> None:
        self._owner = owner
        self._rest = b""
        self.paused = False
        self.lost: Deferred[None] = Deferred()
        self.names: tuple[str, ...] = ()

    def connectionMade(self) -> None:
        self._owner.speakers.append(self)
        self.transport.registerProducer(self, True)
        if self._owner.implicit:
            start(self.transport, self._owner.tls.creator(), self)

    def handshakeCompleted(self) -> None:
        self.names = certificate_names(self.transport)
        self.transport.write(b"hello inside\r\n")

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line == b"STARTTLS":
                self._rest = b""
                self.transport.write(b"220 go ahead\r\n")
                start(self.transport, self._owner.tls.creator(), self)
                return
            if line == b"QUIT":
                self.transport.unregisterProducer()
                self.transport.loseConnection()
                return
            self.transport.write(self._owner.answer(line, self))

    def pauseProducing(self) -> None:
        self.paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        pass

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class Speakers(Factory):
    noisy = False

    def __init__(self, tls: ServerTls, implicit: bool) -> None:
        self.tls = tls
        self.implicit = implicit
        self.speakers: list[Speaker] = []
        self.answer: Callable[[bytes, Speaker], bytes] = lambda line, _: line + b"\r\n"

    def buildProtocol(self, addr: Any) -> Speaker:
        return Speaker(self)


class Client:
    """A client in a thread: blocking, with the standard library's TLS."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str = "mx.example") -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._context = context
        self._name = name

    def start_tls(self, command: bytes = b"STARTTLS\r\n") -> "Client":
        if command:
            self.socket.sendall(command)
            assert self.line() == b"220 go ahead\r\n"
        self.socket = self._context.wrap_socket(self.socket, server_hostname=self._name)
        return self

    def line(self) -> bytes:
        got = b""
        while not got.endswith(b"\n"):
            octet = self.socket.recv(1)
            if not octet:
                return got
            got += octet
        return got

    def ask(self, line: bytes) -> bytes:
        self.socket.sendall(line + b"\r\n")
        return self.line()

    def close(self) -> None:
        self.socket.close()


def context_of_client(**options: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    for name, value in options.items():
        setattr(context, name, value)
    return context


class TlsTestCase(TestCase):
    """Listens. certificate, key: files of mx.example. tls, port: of the last that listens."""

    timeout = 60

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mta-tls-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.certificate, self.key = keep(self.folder, "usual", CA.issue_cert("mx.example"))

    def listen(self, implicit: bool = False, **options: Any) -> Speakers:
        self.tls = ServerTls(self.certificate, self.key, **options)
        speakers = Speakers(self.tls, implicit)
        listening = sockets.listen(reactor, "127.0.0.1", 0, speakers)
        self.port = listening.getHost().port

        async def close() -> None:
            await listening.stopListening()
            for speaker in speakers.speakers:
                if speaker.connected and not speaker.lost.called:
                    speaker.transport.abortConnection()
                await speaker.lost

        self.addCleanup(lambda: Deferred.fromCoroutine(close()))
        return speakers
