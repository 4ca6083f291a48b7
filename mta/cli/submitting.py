"""Submitting: a message handed to the relay by a program that waits, over one connection at a time.

The dialogues are those of `mta.smtp`, which deliveries hold as well; here they are driven over a blocking socket.
"""

import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from mta.smtp import limits
from mta.smtp.answers import AnswerReader
from mta.smtp.asking import Mail, Peer
from mta.smtp.client import Ending, How, Stage, bye, deliver
from mta.smtp.opening import Security, open_up
from mta.smtp.reply import Reply
from mta.smtp.steps import Commands, Content, Dialogue, Greeting, Handshake, NoHandshake, OwnReply, Step

CONNECT: Final = 5.0  # seconds: the relay is on this machine
PATIENCE: Final = 30.0  # seconds for a reply to anything but the content: whoever is slower counts as not there
_READ: Final = 65536

T = TypeVar("T")


class Place(NamedTuple):
    """Where the relay may be reached on this machine: an address and a port, or the path of a socket.

    security: how much TLS it asks for. Nobody can stand between us and it, so no certificate is checked.
    """

    host: str
    port: int
    path: str = ""
    security: Security = Security()

    def __str__(self) -> str:
        return self.path or f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def connect(self) -> socket.socket:
        """A connection. Raises `OSError`."""
        if not self.path:
            return socket.create_connection((self.host, self.port), CONNECT)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT)
            connection.connect(self.path)
        except BaseException:
            connection.close()
            raise
        return connection


class Submitted(NamedTuple):
    """What came of it at one place. endings: of each recipient, in order."""

    place: Place
    endings: Sequence[Ending]


def submit(place: Place, name: str, mail: Mail) -> Submitted:
    """Hand a message to the relay at a place. An ending for each recipient, always. name: of this host, for EHLO."""
    everybody = len(mail.forward_paths)
    try:
        session = _Session(place.connect())
    except OSError as error:
        why = OwnReply(451, "4.4.1", (f"{place}: {error.strerror or error}",))
        return Submitted(place, [Ending(How.LOST, why, Stage.GREETING)] * everybody)
    with session:
        peer = session.hold(open_up(name, security=place.security))
        if isinstance(peer, Peer):
            endings = session.hold(deliver(peer, mail)).endings
            session.hold(bye())
            return Submitted(place, endings)
        ending = peer if isinstance(peer, Ending) else Ending(How.LOST, peer.reply, Stage.GREETING)
        return Submitted(place, [ending] * everybody)


class _Session:
    """Drives dialogues over a blocking connection, and keeps the promise of `mta.smtp.steps`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = AnswerReader()
        self._replies: list[Reply] = []
        self._over: Reply | None = None

    def __enter__(self) -> "_Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def hold(self, dialogue: Dialogue[T]) -> T:
        """Hold a dialogue; what it returns."""
        resume, value = dialogue.send, None
        while True:
            try:
                step = resume(value)  # type: ignore[arg-type]
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                value = self._take(step)
            except _Unreadable as error:
                self._end("the content cannot be read")
                resume, value = dialogue.throw, error.error  # type: ignore[assignment]
                continue
            resume = dialogue.send

    def _take(self, step: Step) -> list[Reply]:
        if self._over is None:
            self._do(step)
        replies: list[Reply] = []
        if isinstance(step, Handshake):
            return [self._over or OwnReply(220, "2.0.0", ("encrypted",))]
        patience = step.seconds if isinstance(step, Content) else min(step.seconds, PATIENCE)
        while len(replies) < step.replies:
            reply = self._next(time.monotonic() + patience)
            if reply is None:
                assert self._over is not None, "there is a reply, or there will be none"
                reply = self._over
            replies.append(reply)
        return replies

    def _do(self, step: Step) -> None:
        try:
            if isinstance(step, Commands):
                self._send(b"".join(step.lines), PATIENCE)
            elif isinstance(step, Content):
                for block in _Blocks(step):
                    self._send(block, limits.CLIENT_CONTENT_BLOCK)
                step.sent = True
            elif isinstance(step, Handshake):
                self._encrypt()
            elif not isinstance(step, Greeting):
                raise TypeError(f"no step of a dialogue: {step}")
        except TimeoutError:
            self._end("timed out while sending")
        except OSError as error:
            self._last_words()
            self._end(f"the connection broke: {error.strerror or error}")

    def _send(self, octets: bytes, seconds: float) -> None:
        self._connection.settimeout(seconds)
        self._connection.sendall(octets)

    def _encrypt(self) -> None:
        """Begin TLS, whoever's certificate it is. What came before it in the clear, unread, must not be inside."""
        if not self._reader.is_empty or self._replies:
            self._end("the relay went on in the clear behind its reply to STARTTLS")
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            self._connection.settimeout(limits.CLIENT_HANDSHAKE)
            self._connection = context.wrap_socket(self._connection)
        except (OSError, ValueError) as error:
            self._over = NoHandshake(451, "4.7.5", (f"the TLS handshake failed: {error}",))

    def _next(self, until: float) -> Reply | None:
        """The next reply; None where there will be none."""
        while not self._replies and self._over is None:
            try:
                self._connection.settimeout(max(until - time.monotonic(), 0.001))
                octets = self._connection.recv(_READ)
            except TimeoutError:
                self._end("timed out")
            except OSError as error:
                self._end(f"the connection broke: {error.strerror or error}")
            else:
                self._hear(octets)
        if not self._replies:
            return None
        reply = self._replies.pop(0)
        if reply.code == 421 and not isinstance(reply, OwnReply):
            self._over = self._over or reply
        return reply

    def _hear(self, octets: bytes) -> None:
        if not octets:
            self._end("the relay closed the connection")
            return
        self._replies += self._reader.receive(octets)
        if self._reader.nonsense:
            self._end(self._reader.nonsense)

    def _last_words(self) -> None:
        """It does not listen any more: perhaps it has said why."""
        with suppress(OSError):
            self._connection.settimeout(0.2)
            self._replies += self._reader.receive(self._connection.recv(_READ))

    def _end(self, why: str) -> None:
        if self._over is None:
            self._over = OwnReply(451, "4.4.2", (why,))


class _Unreadable(Exception):
    """The content's own octets could not be had: what the dialogue is to be told, unlike trouble of the connection."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _Blocks:
    """The blocks of a content, whose own errors are told from those of the connection."""

    def __init__(self, step: Content) -> None:
        self._blocks = step.blocks

    def __iter__(self) -> "_Blocks":
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._blocks)
        except OSError as error:
            raise _Unreadable(error) from error
