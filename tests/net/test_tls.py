"""The certificates that are shown, to Python's own TLS as the independent client over real sockets."""

import errno
import os
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from mta.net import eager
from mta.net.tls import ServerTls, TlsProblem, certificate_names, describe, start

CA = trustme.CA()
OTHER_CA = trustme.CA()
LARGE = b"".join(b"%07d a line of a large answer\r\n" % number for number in range(400_000))  # too much for a socket


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


class TlsTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mta-tls-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.certificate, self.key = keep(self.folder, "usual", CA.issue_cert("mx.example"))

    def listen(self, implicit: bool = False, **options: Any) -> Speakers:
        self.tls = ServerTls(self.certificate, self.key, **options)
        speakers = Speakers(self.tls, implicit)
        listening = eager.listen(reactor, "127.0.0.1", 0, speakers)
        self.port = listening.getHost().port

        async def close() -> None:
            await listening.stopListening()
            for speaker in speakers.speakers:
                if speaker.connected and not speaker.lost.called:
                    speaker.transport.abortConnection()
                await speaker.lost

        self.addCleanup(lambda: Deferred.fromCoroutine(close()))
        return speakers

    async def test_starttls_and_what_is_known_of_it(self) -> None:
        speakers = self.listen()

        def talk() -> tuple[bytes, bytes, bytes, str | None]:
            client = Client(self.port, context_of_client())
            plain = client.ask(b"in the clear")
            client.start_tls()
            said = plain, client.line(), client.ask(b"inside"), client.socket.version()
            client.socket.sendall(b"QUIT\r\n")
            assert client.line() == b""
            client.close()
            return said

        speakers.answer = lambda line, speaker: f"{line.decode()}: {describe(speaker.transport)}\r\n".encode()
        plain, greeting, inside, version = await deferToThread(talk)
        assert plain == b"in the clear: \r\n"
        assert greeting == b"hello inside\r\n"
        assert (inside, version) == (b"inside: TLSv1.3 TLS_AES_256_GCM_SHA384\r\n", "TLSv1.3")
        await speakers.speakers[0].lost

    async def test_tls_from_the_first_octet(self) -> None:
        self.listen(implicit=True)

        def talk() -> tuple[bytes, bytes]:
            client = Client(self.port, context_of_client()).start_tls(b"")
            said = client.line(), client.ask(b"inside")
            client.close()
            return said

        assert await deferToThread(talk) == (b"hello inside\r\n", b"inside\r\n")

    async def test_what_was_sent_in_the_clear_behind_starttls_is_not_heard(self) -> None:
        self.listen()

        def talk() -> bytes:
            client = Client(self.port, context_of_client())
            client.start_tls(b"STARTTLS\r\nevil\r\n")
            assert client.line() == b"hello inside\r\n"
            said = client.ask(b"good")
            client.close()
            return said

        assert await deferToThread(talk) == b"good\r\n"

    async def test_large_answers_pass_in_both_directions_of_pressure(self) -> None:
        """A client that does not read is not listened to, before and inside TLS, and is listened to again."""
        speakers = self.listen()
        speakers.answer = lambda line, _: LARGE

        def talk() -> tuple[int, int]:
            client = Client(self.port, context_of_client())
            client.socket.sendall(b"more\r\n")
            sizes = []
            for _ in range(2):
                got = 0
                while got < len(LARGE):
                    got += len(client.socket.recv(65_536))
                sizes.append(got)
                if len(sizes) == 1:
                    client.start_tls()
                    assert client.line() == b"hello inside\r\n"
                    client.socket.sendall(b"more\r\n")
            client.close()
            return sizes[0], sizes[1]

        assert await deferToThread(talk) == (len(LARGE), len(LARGE))

    async def test_a_client_that_pipelines_starttls_behind_answers_it_has_not_read(self) -> None:
        """The producer is paused when TLS begins. Left to Twisted, it would stay so."""
        speakers = self.listen()
        told = threading.Event()

        def answer(line: bytes, _: Speaker) -> bytes:
            if line == b"more":
                reactor.callLater(0, told.set)  # type: ignore[attr-defined]
            return LARGE if line == b"more" else b"yes\r\n"

        speakers.answer = answer

        def talk() -> bytes:
            client = Client(self.port, context_of_client())
            client.socket.sendall(b"more\r\nSTARTTLS\r\n")
            told.wait(10)
            got = 0
            while got < len(LARGE):
                got += len(client.socket.recv(min(65_536, len(LARGE) - got)))
            assert client.line() == b"220 go ahead\r\n"
            client.start_tls(b"")
            assert client.line() == b"hello inside\r\n"
            said = client.ask(b"still there?")
            client.close()
            return said

        assert await deferToThread(talk) == b"yes\r\n"

    async def test_the_name_that_a_client_asks_for_decides(self) -> None:
        other = keep(self.folder, "other", CA.issue_cert("Mail.Other.example"))
        self.listen(others={"Mail.Other.example": other})

        def names(asked: str) -> set[str]:
            context = context_of_client(check_hostname=False)
            client = Client(self.port, context, asked).start_tls()
            found = client.socket.getpeercert()["subjectAltName"]  # type: ignore[attr-defined]
            client.close()
            return {name for _, name in found}

        assert await deferToThread(names, "mx.example") == {"mx.example"}
        assert await deferToThread(names, "mail.OTHER.example") == {"mail.other.example"}
        assert await deferToThread(names, "else.example") == {"mx.example"}

    async def test_a_renewed_certificate_is_for_the_next_and_open_connections_live_on(self) -> None:
        self.listen()

        def serial(client: Client) -> str:
            return str(client.socket.getpeercert()["serialNumber"])  # type: ignore[attr-defined]

        first = await deferToThread(lambda: Client(self.port, context_of_client()).start_tls())
        assert self.tls.refresh() is False
        keep(self.folder, "usual", CA.issue_cert("mx.example"))
        assert self.tls.refresh() is True
        assert self.tls.refresh() is False
        second = await deferToThread(lambda: Client(self.port, context_of_client()).start_tls())
        assert serial(first) != serial(second)

        self.key.write_text("broken")
        with self.assertRaises(TlsProblem) as told:
            self.tls.refresh()
        assert str(self.key) in str(told.exception)
        assert self.tls.refresh() is False, "it is said once"
        third = await deferToThread(lambda: Client(self.port, context_of_client()).start_tls())
        assert serial(third) == serial(second)

        keep(self.folder, "usual", CA.issue_cert("mx.example"))
        self.certificate.unlink()
        with self.assertRaises(TlsProblem) as told:
            self.tls.refresh()
        assert "no such file" in str(told.exception)
        keep(self.folder, "usual", CA.issue_cert("mx.example"))
        assert self.tls.refresh() is True
        for client in (first, second, third):
            assert await deferToThread(client.line) == b"hello inside\r\n"
            assert await deferToThread(client.ask, b"still here") == b"still here\r\n"
            client.close()

    async def _names(self, issued: trustme.LeafCert | None) -> tuple[str, ...]:
        authority = self.folder / "clients.pem"
        CA.cert_pem.write_to_path(str(authority))
        speakers = self.listen(client_ca=authority)

        def talk() -> bytes:
            context = context_of_client()
            if issued is not None:
                issued.configure_cert(context)
            client = Client(self.port, context).start_tls()
            said = client.line()
            client.close()
            return said

        assert await deferToThread(talk) == b"hello inside\r\n"
        return speakers.speakers[0].names

    async def test_a_client_with_a_certificate_has_names(self) -> None:
        issued = CA.issue_cert("alice@example.org", "al@example.org", common_name="alice")
        assert await self._names(issued) == ("alice@example.org", "al@example.org", "alice")

    async def test_a_certificate_of_a_stranger_is_as_good_as_none(self) -> None:
        assert await self._names(OTHER_CA.issue_cert("alice@example.org")) == ()

    async def test_a_client_without_a_certificate_has_no_names(self) -> None:
        assert await self._names(None) == ()

    async def test_nobody_is_asked_for_a_certificate_where_none_is_wanted(self) -> None:
        speakers = self.listen()

        def talk() -> None:
            context = context_of_client()
            CA.issue_cert("alice@example.org").configure_cert(context)
            client = Client(self.port, context).start_tls()
            client.line()
            client.close()

        await deferToThread(talk)
        assert speakers.speakers[0].names == ()

    async def test_old_versions_are_refused(self) -> None:
        speakers = self.listen()

        def talk() -> bool:
            with pytest.warns(DeprecationWarning):
                context = context_of_client(
                    minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1
                )
            context.set_ciphers("ALL:@SECLEVEL=0")
            client = Client(self.port, context)
            with pytest.raises(ssl.SSLError):
                client.start_tls()
            client.close()
            return True

        assert await deferToThread(talk)
        await speakers.speakers[0].lost
        context = context_of_client(maximum_version=ssl.TLSVersion.TLSv1_2)
        client = await deferToThread(lambda: Client(self.port, context).start_tls())
        assert client.socket.version() == "TLSv1.2"  # type: ignore[attr-defined]
        client.close()

    async def test_no_session_is_resumed(self) -> None:
        self.listen()

        def talk() -> bool:
            context = context_of_client(maximum_version=ssl.TLSVersion.TLSv1_2)
            client = Client(self.port, context).start_tls()
            client.line()
            session = client.socket.session  # type: ignore[attr-defined]
            client.close()
            client = Client(self.port, context)
            client.socket.sendall(b"STARTTLS\r\n")
            client.line()
            again = context.wrap_socket(client.socket, server_hostname="mx.example", session=session)
            reused = again.session_reused
            again.close()
            return bool(reused)

        assert await deferToThread(talk) is False


def test_what_is_wrong_with_files_is_said(tmp_path: Path) -> None:
    issued, stranger = CA.issue_cert("mx.example"), CA.issue_cert("mx.example")
    certificate, key = keep(tmp_path, "mx", issued)
    _, other_key = keep(tmp_path, "other", stranger)
    empty = tmp_path / "empty"
    empty.write_text("")
    backwards = tmp_path / "backwards"
    backwards.write_bytes(CA.cert_pem.bytes() + issued.cert_chain_pems[0].bytes())
    locked = tmp_path / "locked"
    locked.write_bytes(_with_passphrase(issued))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for files, what in [
        ((tmp_path / "gone", key), "gone: there is no such file"),
        ((certificate, tmp_path / "gone"), "gone: there is no such file"),
        ((tmp_path, key), "is a directory"),
        ((pipe, key), "pipe: is a named pipe"),
        ((certificate, pipe), "pipe: is a named pipe"),
        ((empty, key), "empty: holds no certificate"),
        ((key, key), "mx.key: holds no certificate"),
        ((certificate, certificate), "mx.crt: holds no private key"),
        ((certificate, other_key), f"other.key: is not the key of the certificate in {certificate}"),
        ((backwards, key), "backwards: the certificate of the key must be the first"),
        ((certificate, locked), "locked: the key has a passphrase"),
    ]:
        with pytest.raises(TlsProblem) as problem:
            ServerTls(*files)
        assert what in str(problem.value)
    with pytest.raises(TlsProblem, match="empty: holds no certificate"):
        ServerTls(certificate, key, client_ca=empty)
    with pytest.raises(TlsProblem, match=r"other\.key"):
        ServerTls(certificate, key, others={"other.example": (certificate, other_key)})
    both = tmp_path / "both"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    assert ServerTls(both, both).warnings == ()


def test_a_key_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = keep(tmp_path, "mx", CA.issue_cert("mx.example"))

    def read(file: Path) -> bytes:
        if file == key:
            raise PermissionError(errno.EACCES, "Permission denied")
        with file.open("rb") as stream:
            return stream.read()

    monkeypatch.setattr(Path, "read_bytes", read)  # root, who runs these tests at times, may read everything
    with pytest.raises(TlsProblem, match="permission denied; the user that runs this relay"):
        ServerTls(certificate, key)


def test_an_expired_certificate_is_used_with_a_warning(tmp_path: Path) -> None:
    old = CA.issue_cert(
        "mx.example", not_after=datetime(2020, 1, 2, tzinfo=UTC), not_before=datetime(2020, 1, 1, tzinfo=UTC)
    )
    certificate, key = keep(tmp_path, "mx", old)
    [warning] = ServerTls(certificate, key).warnings
    assert str(certificate) in warning
    assert "expired on 2020-01-02" in warning


def test_a_connection_in_the_clear_has_nothing_to_tell() -> None:
    ours, theirs = socket.socketpair()

    class Plain:
        def getHandle(self) -> socket.socket:
            return ours

    assert describe(Plain()) == describe(object()) == ""
    assert certificate_names(Plain()) == certificate_names(object()) == ()
    ours.close()
    theirs.close()


def _with_passphrase(issued: trustme.LeafCert) -> bytes:
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
