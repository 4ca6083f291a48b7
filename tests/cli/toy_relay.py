"""A relay that says what it is told to, for whoever has to cope with that. One connection at a time."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mta.cli.submitting import Place
from mta.smtp.opening import Security

HANG_UP = "HANG UP"
SILENCE = "SILENCE"
USUAL: Mapping[str, str] = {
    "GREETING": "220 toy.test",
    "EHLO": "250-toy.test\r\n250-8BITMIME\r\n250-DSN\r\n250 PIPELINING",
    "DATA": "354 go on",
    "CONTENT": "250 2.0.0 queued as 1",
    "QUIT": "221 bye",
    "STARTTLS": "220 ready",
}


@dataclass
class Toy:
    """answers: to an event (GREETING, a verb, "RCPT <address>", CONTENT). heard: all lines, and contents."""

    answers: dict[str, str] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    context: ssl.SSLContext | None = None
    implicit: bool = False

    def __post_init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def place(self) -> Place:
        security = Security(implicit=self.implicit, wanted=not self.implicit, required=self.context is not None)
        host, port = self.listening.getsockname()[:2]
        return Place(host, port, security=security)

    def at(self, path: Path) -> Place:
        """The same behind a Unix socket."""
        self.listening.close()
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(str(path))
        self.listening.listen()
        return Place("", 0, str(path))

    @contextlib.contextmanager
    def running(self) -> Iterator["Toy"]:
        self._thread.start()
        yield self
        self._end.set()
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while not self._end.is_set():
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with contextlib.ExitStack() as opened:
                opened.enter_context(connection)
                with contextlib.suppress(OSError):
                    self._talk(connection, opened)

    def _talk(self, connection: socket.socket, opened: contextlib.ExitStack) -> None:
        if self.implicit and self.context is not None:
            connection = opened.enter_context(self.context.wrap_socket(connection, server_side=True))
        file = connection.makefile("rb")
        if not self._say(connection, "GREETING"):
            return
        while line := file.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self.heard.append(text)
            if text == "DATA":
                if not self._say(connection, "DATA"):
                    return
                if not self.answers.get("DATA", USUAL["DATA"]).startswith("354"):
                    continue
                content = b""
                while not content.endswith(b"\r\n.\r\n") and content != b".\r\n" and (more := file.readline()):
                    content += more
                self.contents.append(content)
                text = "CONTENT"
            if not self._say(connection, text):
                return
            if text == "STARTTLS" and self.context is not None:
                connection = opened.enter_context(self.context.wrap_socket(connection, server_side=True))
                file = connection.makefile("rb")

    def _say(self, connection: socket.socket, event: str) -> bool:
        verb, _, rest = event.partition(" ")
        address = rest.partition("<")[2].partition(">")[0]
        answer = self.answers.get(f"{verb} {address}") or self.answers.get(verb) or USUAL.get(verb, "250 ok")
        if answer == SILENCE:
            self._end.wait(5)
        if answer in (HANG_UP, SILENCE):
            return False
        connection.sendall(f"{answer}\r\n".encode())
        return True
