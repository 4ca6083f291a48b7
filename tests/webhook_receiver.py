"""A webhook as its owner would have it: the standard library's HTTP server, which checks signatures by itself."""

import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "0123456789abcdef-of-the-webhook"


def is_genuine(header: str, body: bytes, secret: str = SECRET) -> bool:
    """As docs/webhooks.md has it for receivers."""
    parts = dict(part.split("=", 1) for part in header.split(","))
    expected = hmac.new(secret.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return abs(time.time() - int(parts["t"])) < 300 and hmac.compare_digest(expected, parts["v1"])


class Receiver:
    """answer: the status that is answered. stall: seconds before it is. taken: the events of posts answered with 2yz,
    in order. posts: headers and body of every post. filler: octets of an answer. location: where it redirects to."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.answer = 204
        self.stall = 0.0
        self.filler = 0
        self.location = ""
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[dict[str, Any]] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._host, self.port = host, port

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://{self._host}:{self.port}/events?of=mail"

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                receiver.connections += 1
                receiver._open.add(self.request)
                super().setup()

            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, *_: Any) -> None:
                """Not said."""

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer((self._host, self.port), Handler)
        self._server.daemon_threads = True
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.posts.append((dict(handler.headers.items()), body))
        answer = self.answer
        time.sleep(self.stall)
        with contextlib.suppress(OSError):
            handler.send_response(answer)
            if self.location:
                handler.send_header("Location", self.location)
            if answer != 204:
                handler.send_header("Content-Length", str(self.filler))
            handler.end_headers()
            handler.wfile.write(b"x" * self.filler)
            if 200 <= answer < 300:
                self.taken += json.loads(body)["events"]


@contextlib.contextmanager
def receiving(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    one = Receiver(host, tls=tls)
    one.start()
    try:
        yield one
    finally:
        one.stop()
