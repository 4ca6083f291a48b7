"""Peers: other people's mail servers, which take mail when they are in the mood, and remember what they have said."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from twisted.internet.protocol import Protocol

from simulated.lives.plan import Spell
from simulated.network import START, World
from simulated.people import Server, ServerSession, Taken
from simulated.wire import Transport

NONSENSE = ("hello, who is there?", "2x0 ok", "999 what now", "", "250", "\x1b[31m250 ok")
ENDLESS = 500  # pieces of what never ends that are sent, one each half second
PIECE = "x" * 400
SLOW = 20.0  # seconds before each reply
_YES = re.compile(r"250(?:[ -]|$)")
_VERBS = ("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "QUIT")
PATIENT = 10  # unknown commands, after which a session is ended
NOBODY = "nobody"  # how the local parts begin that no server knows


@dataclass
class Copy:
    """A message that a peer is responsible for. reply: octets after which its client knows; None where it said none."""

    taken: Taken
    transport: Transport
    reply: int | None = None

    @property
    def is_answered(self) -> bool:
        """Did the final reply get to live code at the other end?"""
        return self.reply is not None and self.transport.other.received >= self.reply


class Refusal(NamedTuple):
    """A 5yz. recipient: "" where it was for the whole session, or transaction."""

    at: float
    sender: str | None
    recipient: str


class Tried(NamedTuple):
    """A recipient whom the peer was asked to take."""

    at: float
    sender: str
    recipient: str


class Peer(Server):
    """One of them. spells: its moods. copies: what it has taken. refusals, tried: what it remembers."""

    def __init__(self, world: World, name: str, address: str, spells: Sequence[Spell], lmtp: bool = False) -> None:
        super().__init__(world, name, address, pipelining=len(name) % 2 == 0, port=24 if lmtp else 25)
        self.spells = spells
        self.is_lmtp = lmtp
        self.copies: list[Copy] = []
        self.refusals: list[Refusal] = []
        self.tried: list[Tried] = []

    @property
    def mood(self) -> str:
        """What it is like now."""
        now = self.world.seconds() - START
        return next((one.what for one in self.spells if one.begins <= now < one.ends), "")

    def buildProtocol(self, addr: object) -> Protocol | None:
        return None if self.mood == "is down" else _Session(self)


class _Session(ServerSession):
    """One of its sessions, in the mood that it began with."""

    _server: Peer

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self._mood = peer.mood
        self._said = 0
        self._free = 0.0  # when all is written that was said
        self._hangs = False
        self._unknown = 0

    def _does(self, what: str, verb: str) -> bool:
        return self._mood == f"{what} at {verb}"

    def connectionMade(self) -> None:
        if self._mood == "says 421":
            self._say("421 4.3.2 not now")
            self.transport.loseConnection()
        elif self._mood == "says 554":
            self._refuse(None, "")
            self._say("554 5.3.2 go away")
        elif not self._misbehaves("greeting"):
            super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if not self._hangs and self.transport.connected:
            super().dataReceived(data)

    def _command(self, line: str) -> None:
        if self._hangs or self.transport.disconnecting:
            return
        verb = line.partition(" ")[0]
        if verb == "RCPT" and self._sender is not None:
            path = line[line.find("<") + 1 : line.rfind(">")]
            self._server.tried.append(Tried(self._server.world.seconds(), self._sender, path))
        if verb == "LHLO":
            verb = "EHLO"
            line = f"EHLO{line[4:]}"
        if verb not in _VERBS:
            self._unknown += 1
        if self._unknown > PATIENT:
            self._say("421 4.7.0 you do not speak SMTP")
            self.transport.loseConnection()
        elif not self._misbehaves(verb):
            super()._command(line)

    def _misbehaves(self, verb: str) -> bool:
        """Does it do something with this that no server should?"""
        if self._does("hangs", verb):
            self._hangs = True
            return True
        if self._does("leaves", verb):
            self._note("leaves")
            self.transport.loseConnection()
            return True
        if self._does("never ends its line", verb):
            self._go_on_for_ever("")
            return True
        if self._does("never ends its reply", verb):
            self._go_on_for_ever("\r\n250-")
            return True
        if self._does("closes with 421", verb):
            self._say("421 4.3.2 closing down")
            self.transport.loseConnection()
            return True
        return False

    def _go_on_for_ever(self, between: str) -> None:
        self._hangs = True
        self._note("begins something that never ends")

        def more(left: int) -> None:
            if self.transport.connected and left:
                self.transport.write((PIECE + between).encode())
                self._server.world.callLater(0.5, more, left - 1)

        more(ENDLESS)

    def _usual_or(self, usual: str, verb: str, path: str) -> str:
        what, _, at = self._mood.partition(" ")
        if verb == "RCPT" and path.startswith(NOBODY):
            self._refuse(self._sender, path)
            return "550 5.1.1 no such user"
        if self._does("talks nonsense", verb):
            self._said += 1
            return NONSENSE[(self._said + int(self._server.world.seconds())) % len(NONSENSE)]
        if what == "defers" and at == verb:
            return "451 4.7.1 try again later"
        if what == "refuses" and at == verb:
            if verb == "RCPT":
                self._refuse(self._sender, path)
                return "550 5.7.1 not for this one"
            for recipient in self._recipients or [""]:
                self._refuse(path, recipient)
            return "554 5.7.1 we do not want this"
        return usual

    def _end_of_content(self, octets: bytes) -> None:
        """It is ours from now on, unless the client hears something else."""
        assert self._sender is not None
        peer = self._server
        # With LMTP each recipient has a reply of its own (RFC 2033 4.2).
        groups = [(one,) for one in self._recipients] if peer.is_lmtp else [tuple(self._recipients)]
        for group in groups:
            copy = Copy(Taken(peer.world.seconds(), peer.name, self._sender, group, octets), self.transport)
            peer.copies.append(copy)
            if self._misbehaves("."):
                return
            reply = self._usual_or("250 2.0.0 taken", ".", self._sender)
            if not _YES.match(reply):
                peer.copies.remove(copy)
            self._say(reply, lambda copy=copy: self._mark(copy))  # type: ignore[misc]
        self._sender, self._recipients = None, []

    def _mark(self, copy: Copy) -> None:
        copy.reply = self.transport.written

    def _refuse(self, sender: str | None, recipient: str) -> None:
        self._server.refusals.append(Refusal(self._server.world.seconds(), sender, recipient))

    def _note(self, what: str) -> None:
        self._server.world.note(self._server.name, what)

    def _say(self, reply: str, said: Callable[[], None] = lambda: None) -> bool:
        for line in reply.split("\r\n"):
            self._note(f"S: {line!r}" if not line.isprintable() else f"S: {line}")
        octets = reply.encode() + b"\r\n"
        pieces, wait = [octets], 0.0
        if self._mood == "is slow":
            wait = SLOW
        elif self._mood == "speaks in pieces":
            pieces, wait = [octets[at : at + 1] for at in range(len(octets))], 0.1
        for number, piece in enumerate(pieces, 1):
            self._write_after(wait, piece, said if number == len(pieces) else lambda: None)
        return bool(_YES.match(reply))

    def _write_after(self, seconds: float, octets: bytes, said: Callable[[], None]) -> None:
        """Not before what is to be written before it."""
        world = self._server.world
        if not seconds:
            self._write(octets, said)
            return
        self._free = max(world.seconds(), self._free) + seconds
        world.callLater(self._free - world.seconds(), self._write, octets, said)

    def _write(self, octets: bytes, said: Callable[[], None]) -> None:
        if self.transport.connected and not self.transport.disconnecting:
            self.transport.write(octets)
            said()
