"""A server that takes mail, writes down how it was asked, and refuses what it is told to refuse."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Scripted:
    """One session after the other. refuse: the verb that is answered with 451, "" for none."""

    def __init__(self, refuse: str = "") -> None:
        self.sessions: list[list[str]] = []  # the verbs of each, as they came
        self.together: list[list[str]] = []  # the lines that were there in one piece, of all sessions
        self.contents: list[bytes] = []
        self._refuse = refuse
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                session, _address = self._socket.accept()
            except OSError:
                return
            with session:
                self._converse(session)

    def _converse(self, session: socket.socket) -> None:
        self.sessions.append([])
        session.sendall(b"220 scripted.test ESMTP\r\n")
        held, in_content = b"", False
        while got := session.recv(65536):
            held += got
            lines: list[str] = []
            while True:
                if in_content:
                    content, end, rest = held.partition(b"\r\n.\r\n")
                    if not end:
                        break
                    self.contents.append(content + b"\r\n")
                    session.sendall(b"250 2.0.0 taken\r\n")
                    held, in_content = rest, False
                line, end, rest = held.partition(b"\r\n")
                if not end:
                    break
                held = rest
                lines.append(line.decode("ascii"))
                verb = line[:4].decode("ascii")
                self.sessions[-1].append(verb)
                in_content = verb == "DATA"
                session.sendall(self._reply(verb))
                if verb == "QUIT":
                    self.together.append(lines)
                    return
            if lines:
                self.together.append(lines)

    def _reply(self, verb: str) -> bytes:
        if verb == self._refuse:
            return b"451 4.3.0 not now\r\n"
        replies = {"EHLO": b"250-scripted.test\r\n250 PIPELINING\r\n", "DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}
        return replies.get(verb, b"250 2.0.0 ok\r\n")


@contextmanager
def scripted(refuse: str = "") -> Iterator[Scripted]:
    server = Scripted(refuse)
    try:
        yield server
    finally:
        server.close()
