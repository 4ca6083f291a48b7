"""Those around the relay: clients that hand mail over, and mail servers that take it. They use nothing of its code."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import ClientCreator, Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from simulated.network import Process, World

AGAIN = 60.0  # seconds until a client sends again what nobody has taken
MOST_TRIES = 20  # of a client, before it gives up

_ACCEPTED = "250 2.0.0 queued as "


@dataclass
class Mail:
    """A mail that a client has to hand over, and what it knows of it.

    ids: the queue ids that it was told, by final replies. unsure: how often it has sent the final dot and got no reply,
    so that nobody knows whether it was taken. refusals: what else it was told.
    """

    mark: str
    sender: str
    recipients: Sequence[str]
    content: bytes
    ids: list[str] = field(default_factory=list)
    unsure: int = 0
    refusals: list[str] = field(default_factory=list)


class Client:
    """Hands one mail over after the other. After a connection that broke it sends the same again, as RFC 5321 asks."""

    def __init__(self, world: World, address: str, server: str, mails: Sequence[Mail]) -> None:
        self._world = world
        self._process = Process(world, address)
        self._server = server
        self._mails = mails

    async def work(self) -> None:
        """Until all is handed over."""
        for mail in self._mails:
            for _ in range(MOST_TRIES):
                if await self._hand_over(mail):
                    break
                await deferLater(self._process, AGAIN, lambda: None)

    async def _hand_over(self, mail: Mail) -> bool:
        """Try it once. Was it taken?"""
        try:
            talk: Talk = await ClientCreator(self._process, Talk, self._world, self._process.address).connectTCP(
                self._server, 25
            )
        except ConnectError:
            return False
        try:
            await talk.replies(1)
            await talk.ask(f"EHLO {self._process.address}")
            *_, data = await talk.ask(
                f"MAIL FROM:<{mail.sender}>", *(f"RCPT TO:<{one}>" for one in mail.recipients), "DATA"
            )
            if data.startswith("354"):
                await self._send(mail, talk)
            else:
                mail.refusals.append(data)
            await talk.ask("QUIT")
        except ConnectionClosed:
            pass  # what it was told before counts
        return len(mail.ids) > 0

    async def _send(self, mail: Mail, talk: Talk) -> None:
        mail.unsure += 1
        final = await talk.send(mail.content)
        mail.unsure -= 1
        if final.startswith(_ACCEPTED):
            mail.ids.append(final.removeprefix(_ACCEPTED))
        else:
            mail.refusals.append(final)


class Talk(Protocol):
    """A client's side of a session. Whoever waits for a reply when it ends gets the reason as an exception."""

    transport: Any

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._rest = b""
        self._replies: list[str] = []
        self._wanted = 0
        self._waiting: Deferred[list[str]] | None = None
        self._ended: Failure | None = None

    def ask(self, *lines: str) -> Deferred[list[str]]:
        """Send command lines in one go, and wait for a reply to each."""
        for line in lines:
            self._world.note(self._name, f"C: {line}")
        self.transport.write("".join(f"{line}\r\n" for line in lines).encode())
        return self.replies(len(lines))

    async def send(self, content: bytes) -> str:
        """Send content, and wait for the final reply."""
        self._world.note(self._name, f"C: {described(content)}")
        self.transport.write((b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
        (final,) = await self.replies(1)
        return final

    def replies(self, number: int) -> Deferred[list[str]]:
        """Wait for so many replies; the last line of each."""
        self._wanted = number
        self._waiting = Deferred()
        waiting = self._waiting
        self._see()
        return waiting

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            self._world.note(self._name, f"S: {line.decode()}")
            if line[3:4] == b" ":
                self._replies.append(line.decode())
        self._see()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._world.note(self._name, "the connection has ended")
        self._ended = reason
        self._see()

    def _see(self) -> None:
        waiting = self._waiting
        if waiting is not None and len(self._replies) >= self._wanted:
            self._waiting = None
            replies, self._replies = self._replies[: self._wanted], self._replies[self._wanted :]
            waiting.callback(replies)
        elif waiting is not None and self._ended is not None:
            self._waiting = None
            waiting.errback(self._ended)


def described(content: bytes) -> str:
    """Content, for a transcript."""
    return f"(content, {len(content)} octets, crc {zlib.crc32(content):08x})"


class Taken(NamedTuple):
    """A mail that a server has taken: it has sent a final 250, whether that arrived or not."""

    at: float
    host: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes


Manners = Callable[[float, str, str], str | None]
"""What a server says otherwise than the usual, given the time, a verb ("RCPT", or "." for the end of the content) and
its path."""


def polite(now: float, verb: str, path: str) -> None:
    """Takes everything."""


class Server(Factory):
    """Somebody's mail server. taken: what it is responsible for."""

    noisy = False

    def __init__(
        self,
        world: World,
        name: str,
        address: str,
        manners: Manners = polite,
        pipelining: bool = True,
        port: int = 25,
    ) -> None:
        self.world = world
        self.name = name
        self.manners = manners
        self.keywords = ["SIZE", "8BITMIME", *(["PIPELINING"] if pipelining else [])]
        self.taken: list[Taken] = []
        Process(world, address).listenTCP(port, self, interface=address)

    def buildProtocol(self, addr: object) -> Protocol | None:
        return ServerSession(self)


class ServerSession(Protocol):
    """One session of a server."""

    transport: Any

    def __init__(self, server: Server) -> None:
        self._server = server
        self._rest = b""
        self._content: bytearray | None = None
        self._sender: str | None = None
        self._recipients: list[str] = []

    def connectionMade(self) -> None:
        self._say(f"220 {self._server.name} ESMTP")

    def dataReceived(self, data: bytes) -> None:
        self._rest += data
        while self._rest:
            if self._content is not None:
                if not self._read_content(self._content):
                    return
            else:
                line, end, rest = self._rest.partition(b"\r\n")
                if not end:
                    return
                self._rest = rest
                self._command(line.decode("ascii"))

    def _command(self, line: str) -> None:
        self._server.world.note(self._server.name, f"C: {line}")
        verb = line.partition(" ")[0]
        path = line[line.find("<") + 1 : line.rfind(">")]
        if verb in ("EHLO", "HELO"):
            *more, last = [self._server.name, *self._server.keywords]
            usual = "".join(f"250-{line}\r\n" for line in more) + f"250 {last}"
            self._say(self._usual_or(usual, "EHLO", ""))
        elif verb == "MAIL":
            self._sender, self._recipients = None, []
            if self._say(self._usual_or("250 2.1.0 sender ok", verb, path)):
                self._sender, self._recipients = path, []
        elif verb == "RCPT" and self._sender is None:
            self._say("503 5.5.1 from whom?")
        elif verb == "RCPT":
            if self._say(self._usual_or("250 2.1.5 recipient ok", verb, path)):
                self._recipients.append(path)
        elif verb == "DATA":
            if self._recipients:
                self._content = bytearray(b"\r\n")
                self._say("354 go ahead")
            else:
                self._say("503 5.5.1 no recipient")
        elif verb == "RSET":
            self._sender, self._recipients = None, []
            self._say("250 2.0.0 reset")
        elif verb == "QUIT":
            self._say("221 2.0.0 bye")
            self.transport.loseConnection()
        else:
            self._say("500 5.5.1 what?")

    def _read_content(self, content: bytearray) -> bool:
        """Take up what has arrived of the content. Has it ended?"""
        start = max(0, len(content) - 4)
        content += self._rest
        self._rest = b""
        end = content.find(b"\r\n.\r\n", start)
        if end < 0:
            return False
        self._rest = bytes(content[end + 5 :])
        octets = bytes(content[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
        self._content = None
        self._server.world.note(self._server.name, f"C: {described(octets)}")
        self._end_of_content(octets)
        return True

    def _end_of_content(self, octets: bytes) -> None:
        assert self._sender is not None
        taken = Taken(self._server.world.seconds(), self._server.name, self._sender, tuple(self._recipients), octets)
        if self._say(self._usual_or("250 2.0.0 taken", ".", self._sender)):
            self._server.taken.append(taken)

    def _usual_or(self, usual: str, verb: str, path: str) -> str:
        return self._server.manners(self._server.world.seconds(), verb, path) or usual

    def _say(self, reply: str) -> bool:
        """Send a reply. Is it a positive one?"""
        for line in reply.split("\r\n"):
            self._server.world.note(self._server.name, f"S: {line}")
        self.transport.write(reply.encode() + b"\r\n")
        return reply.startswith("2")
