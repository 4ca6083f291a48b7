"""TLS sessions that clients resume: OpenSSL's own client and Python's are the other side."""

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import trustme
from tls_world import CA, Client, TlsTestCase, context_of_client, keep
from twisted.internet.threads import deferToThread

OLDER = {"maximum_version": ssl.TLSVersion.TLSv1_2}


class Visitor:
    """A client that comes again, each time with the session that it was given last."""

    def __init__(self, issued: trustme.LeafCert | None = None, **options: Any) -> None:
        self._context = context_of_client(**options)
        if issued is not None:
            issued.configure_cert(self._context)
        self._session: Any = None

    def comes(self, port: int, name: str = "mx.example") -> bool:
        """Did the server go on with the session?"""
        client = Client(port, self._context, name)
        client.socket.sendall(b"STARTTLS\r\n")
        assert client.line() == b"220 go ahead\r\n"
        secured = self._context.wrap_socket(client.socket, server_hostname=name, session=self._session)
        client.socket = secured
        assert client.line() == b"hello inside\r\n"
        assert client.ask(b"still there?") == b"still there?\r\n"
        self._session = secured.session
        resumed = secured.session_reused
        secured.sendall(b"QUIT\r\n")
        assert client.line() == b""
        client.close()
        return bool(resumed)


class ResumptionTests(TlsTestCase):
    async def comes(self, visitor: Visitor, *name: str) -> bool:
        return await deferToThread(visitor.comes, self.port, *name)

    async def test_again_and_again(self) -> None:
        self.listen()
        for options in ({}, OLDER):
            visitor = Visitor(**options)
            assert [await self.comes(visitor) for _ in range(4)] == [False, True, True, True]

    async def test_openssls_client(self) -> None:
        """Whole sessions in files. What it says of early data is that there is none."""
        assert shutil.which("openssl"), "needs the Debian package openssl (tests/install-peers installs it)"
        self.listen(implicit=True)
        file = self.folder / "session"

        def connect(*options: str | Path) -> str:
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-ign_eof", *options]
            done = subprocess.run(command, input=b"QUIT\r\n", capture_output=True, timeout=20, check=True)
            return done.stdout.decode()

        for version in ("-tls1_3", "-tls1_2"):
            first = await deferToThread(connect, version, "-sess_out", file)
            second = await deferToThread(connect, version, "-sess_in", file)
            assert "\nNew, TLSv1." in first
            assert "\nReused, TLSv1." in second
            assert "hello inside" in second
            if version == "-tls1_3":
                assert "Early data was not sent" in second
                assert "Max Early Data: 0" in first
            else:
                assert "TLS session ticket lifetime hint: 3600 (seconds)" in first

    async def test_not_with_a_key_that_was_given_up(self) -> None:
        speakers = self.listen()
        visitor = Visitor()
        assert not await self.comes(visitor)
        standing = await deferToThread(lambda: Client(self.port, context_of_client()).start_tls())
        self.certificate.unlink()  # as for a relay that has given up the right to read it
        self.tls.renew_tickets()
        assert [await self.comes(visitor) for _ in range(3)] == [False, True, True]
        assert await deferToThread(standing.line) == b"hello inside\r\n"
        assert await deferToThread(standing.ask, b"still here") == b"still here\r\n"
        standing.close()
        assert len(speakers.speakers) == 5

    async def test_not_with_another_certificate(self) -> None:
        self.listen()
        visitor = Visitor()
        assert not await self.comes(visitor)
        keep(self.folder, "usual", CA.issue_cert("mx.example"))
        assert self.tls.refresh()
        assert not await self.comes(visitor)

    async def test_not_at_a_listener_with_another_context(self) -> None:
        self.listen()
        visitor = Visitor()
        assert not await self.comes(visitor)
        self.listen()
        assert not await self.comes(visitor)

    async def test_not_where_the_name_decides(self) -> None:
        self.listen(others={"other.example": keep(self.folder, "other", CA.issue_cert("other.example"))})
        for options in ({}, OLDER):
            visitor = Visitor(**options)
            for name in ("mx.example", "mx.example", "other.example", "other.example"):
                assert not await self.comes(visitor, name)
        self.tls.renew_tickets()
        assert not await self.comes(visitor, "other.example"), "its certificate is still there"

    async def test_not_where_the_clients_certificate_counts(self) -> None:
        authority = self.folder / "clients.pem"
        CA.cert_pem.write_to_path(str(authority))
        speakers = self.listen(client_ca=authority)
        for options in ({}, OLDER):
            visitor = Visitor(CA.issue_cert("alice@example.org"), **options)
            for _ in range(3):
                assert not await self.comes(visitor)
                assert speakers.speakers[-1].names == ("alice@example.org",)
            self.tls.renew_tickets()
