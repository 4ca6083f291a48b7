"""The certificates that are shown, to Python's own TLS as the independent client over real sockets."""

import errno
import os
import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from tls_world import CA, Client, Speaker, TlsTestCase, context_of_client, keep
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from mta.net.tls import ServerTls, TlsProblem, certificate_names, describe

OTHER_CA = trustme.CA()
LARGE = b"".join(b"%07d a line of a large answer\r\n" % number for number in range(400_000))  # too much for a socket


class TlsTests(TlsTestCase):
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

    async def test_the_better_cipher_is_taken_whatever_the_client_likes_best(self) -> None:
        issued = CA.issue_cert("mx.example", key_type=trustme.KeyType.RSA)
        self.certificate, self.key = keep(self.folder, "rsa", issued)
        self.listen()

        def taken(offered: str) -> str:
            context = context_of_client(maximum_version=ssl.TLSVersion.TLSv1_2)
            context.set_ciphers(offered)
            client = Client(self.port, context).start_tls()
            name: str = client.socket.cipher()[0]  # type: ignore[attr-defined]
            client.close()
            return name

        curves, others, own_key = "ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES256-GCM-SHA384", "AES256-GCM-SHA384"
        assert await deferToThread(taken, f"{own_key}:{others}:{curves}") == curves
        assert await deferToThread(taken, own_key) == own_key


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
