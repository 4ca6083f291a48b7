"""Posts over real sockets: what counts as taken, and that nothing a receiver does takes long or much."""

import contextlib
import os
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
import trustme
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from webhook_receiver import Receiver, receiving

from mta.webhooks.hook import NotNow
from mta.webhooks.post import LARGEST, Post


class PostTest(TestCase):
    """The receiver runs in a thread of its own."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        context = receiving()
        self.receiver: Receiver = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        self.reactor = reactor
        self.post = Post(reactor, patience=0.5)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.post.close()))

    async def refused(self, url: str = "") -> str:
        try:
            await self.post(url or self.receiver.url, {"X-Mta-Event": "held"}, b'{"events":[]}')
        except NotNow as error:
            return str(error)
        return ""

    def test_it_arrives_as_it_is_and_the_connection_is_kept(self) -> "Deferred[None]":
        async def test() -> None:
            for _ in range(3):
                assert await self.refused() == ""
            headers, body = self.receiver.posts[-1]
            assert body == b'{"events":[]}'
            assert headers["X-Mta-Event"] == "held"
            assert headers["User-Agent"].startswith("mta/")
            assert self.receiver.connections == 1

        return Deferred.fromCoroutine(test())

    def test_any_answer_but_2yz_is_a_refusal_and_a_redirect_leads_nowhere(self) -> "Deferred[None]":
        async def test() -> None:
            for answer, said in ((500, "500 Internal Server Error"), (404, "404 Not Found"), (410, "410 Gone")):
                self.receiver.answer = answer
                assert await self.refused() == said
            self.receiver.answer, self.receiver.location = 307, self.receiver.url
            assert await self.refused() == "307 Temporary Redirect"
            assert len(self.receiver.posts) == 4

        return Deferred.fromCoroutine(test())

    @pytest.mark.alone
    def test_a_receiver_that_stalls_or_is_down_is_given_up(self) -> "Deferred[None]":
        async def test() -> None:
            self.receiver.stall = 1.0
            began = time.monotonic()
            assert await self.refused() == "no answer within 0.5 s"
            assert 0.4 < time.monotonic() - began < 0.95
            self.receiver.stop()
            assert "refused" in await self.refused()

        return Deferred.fromCoroutine(test())

    def test_a_certificate_has_to_be_one_that_the_system_trusts(self) -> "Deferred[None]":
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pem = Path(folder.name) / "authority.pem"
        authority.cert_pem.write_to_path(str(pem))

        async def test() -> None:
            with receiving("localhost", context) as https:
                assert "certificate verify failed" in await self.refused(https.url)
                assert https.posts == []
                with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(pem)}):
                    trusting = Post(self.reactor, patience=2)
                    await trusting(https.url, {}, b'{"events":[]}')
                await trusting.close()
                assert len(https.posts) == 1

        return Deferred.fromCoroutine(test())

    def test_a_long_answer_is_not_read(self) -> "Deferred[None]":
        async def test() -> None:
            self.receiver.answer, self.receiver.filler = 200, 400 * LARGEST
            assert await self.refused() == ""
            self.receiver.filler = 0
            assert await self.refused() == ""
            assert self.receiver.connections == 2, "the first one was cut"

        return Deferred.fromCoroutine(test())

    def test_a_header_without_an_end_is_not_kept(self) -> "Deferred[None]":
        """The client's own parser would keep all of it for as long as there is patience."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        sent = [0]

        def answer() -> None:
            for begin, more in (
                (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
                (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
            ):
                client, _ = server.accept()
                with client, contextlib.suppress(OSError):
                    client.recv(65536)
                    client.sendall(begin)
                    while sent[0] < 100_000_000:
                        client.sendall(more)
                        sent[0] += len(more)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()

        self.post = Post(self.reactor, patience=5)

        async def test() -> None:
            for _ in range(2):
                said = await self.refused(f"http://127.0.0.1:{server.getsockname()[1]}/")
                assert said == f"its answer is longer than {LARGEST} octets"
            thread.join(5)
            assert sent[0] < 50_000_000

        return Deferred.fromCoroutine(test())

    def test_what_a_receiver_says_is_not_repeated_at_length(self) -> "Deferred[None]":
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 500 " + b"x" * 9000 + b"\r\nContent-Length: 0\r\n\r\n")
                client.recv(1)

        threading.Thread(target=answer, daemon=True).start()
        self.post = Post(self.reactor, patience=5)

        async def test() -> None:
            said = await self.refused(f"http://127.0.0.1:{server.getsockname()[1]}/")
            assert said.startswith("500 xxx")
            assert len(said) == 200

        return Deferred.fromCoroutine(test())
