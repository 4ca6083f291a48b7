"""Senders: people who hand mail over, well or badly, and know what they have been told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import ClientCreator
from twisted.internet.task import deferLater

from simulated.lives.domains import REFUSED, UNKNOWN
from simulated.lives.plan import HOUR, MINUTE, Posted
from simulated.network import Process, World
from simulated.people import Talk, described
from simulated.scenario import RELAY

AGAIN = 5 * MINUTE  # seconds until a sender tries again
MOST_TRIES = 12  # after which it gives up
PATIENCE = 2 * HOUR  # seconds that it waits for a reply
STALL = 4 * MINUTE  # seconds for which a slow one stops in the middle, which is less than the relay's patience
PIECE = 700  # octets at a time of one that sends in pieces
_ACCEPTED = "250 2.0.0 queued as "
_REFUSALS = ("550 5.1.1", "550 5.7.1")


@dataclass
class Letter:
    """A mail, and what its sender knows of it.

    accepted: the recipients that were taken, by the queue id in the final reply. unsure: how often the whole content
    was sent and no reply came. oddities: replies that do not belong to what they were given for.
    """

    posted: Posted
    content: bytes
    accepted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unsure: int = 0
    oddities: list[str] = field(default_factory=list)


def compose(posted: Posted, seed: int) -> bytes:
    """Its content."""
    chance = Random(f"{posted.mark}/{seed}")
    mark = posted.mark
    head = [f"From: {mark}@client.test", "Date: Fri, 15 Jan 2027 08:00:00 +0000", f"Message-ID: <{mark}@client.test>"]
    lines = ["." * length for length in range(4)] if posted.kind == "dots" else [". x", "y" * 60, ".." + "z" * 200, ""]
    body = chance.choices(lines, k=posted.size * len(lines) // (sum(map(len, lines)) + 2 * len(lines)) + 1)
    return "".join(f"{line}\r\n" for line in (*head, f"Subject: {mark}", "", *body)).encode()


class Sender:
    """Hands one mail over, again and again until it is taken."""

    def __init__(self, world: World, address: str, letter: Letter, chance: Random) -> None:
        self._world = world
        self._process = Process(world, address)
        self._letter = letter
        self._chance = chance

    async def work(self) -> None:
        """Until it is taken, or no more can be expected."""
        for number in range(MOST_TRIES):
            manners = self._letter.posted.manners
            manner = manners[number] if number < len(manners) else "pipelining"
            if await self._hand_over(manner):
                return
            await deferLater(self._process, AGAIN, lambda: None)

    async def _hand_over(self, manner: str) -> bool:
        """Try it once. Is there nothing left to do?"""
        letter, name = self._letter, self._process.address
        connecting = ClientCreator(self._process, Talk, self._world, name).connectTCP(RELAY, 25)
        try:
            talk: Talk = await connecting
        except ConnectError:
            return False
        self._world.note(name, f"is {letter.posted.mark}, who sends it: {manner}")
        patience = self._process.callLater(PATIENCE, talk.transport.abortConnection)
        try:
            (greeting,) = await talk.replies(1)
            if not greeting.startswith("220 "):
                return False
            await talk.ask(f"EHLO {name}")
            taken = await self._ask(talk, manner)
            if taken is not None:
                await self._send(talk, taken, manner)
            await talk.ask("QUIT")
        except ConnectionClosed:
            pass  # what it was told before counts
        finally:
            if patience.active():
                patience.cancel()
        return bool(letter.accepted)

    async def _ask(self, talk: Talk, manner: str) -> tuple[str, ...] | None:
        """The envelope: who was accepted; None where no content is wanted."""
        posted = self._letter.posted
        commands = [f"MAIL FROM:<{posted.sender}>"]
        for recipient in posted.recipients:
            commands += [f"RCPT TO:<{recipient}>", *(["NOOP"] if self._chance.random() < 0.2 else [])]
        if manner != "chunks":
            commands.append("DATA")
        if manner == "lockstep":
            replies = [(await talk.ask(command))[0] for command in commands]
        else:
            replies = await talk.ask(*commands)
        for command, reply in zip(commands, replies, strict=True):
            if not fits(command, reply):
                self._letter.oddities.append(f"{command}: {reply}")
        taken = tuple(
            command[command.find("<") + 1 : -1]
            for command, reply in zip(commands, replies, strict=True)
            if command.startswith("RCPT") and reply.startswith("25")
        )
        wanted = replies[-1].startswith("354") if manner != "chunks" else bool(taken)
        return taken if wanted else None

    async def _send(self, talk: Talk, taken: tuple[str, ...], manner: str) -> None:
        letter, content = self._letter, self._letter.content
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
        self._world.note(self._process.address, f"C: {described(content)}")
        cut = self._chance.randrange(len(stuffed))
        if manner in ("breaks", "falls silent"):
            talk.transport.write(stuffed[:cut])
            if manner == "breaks":
                await deferLater(self._process, 1.0, lambda: None)
                talk.transport.abortConnection()
            await talk.replies(1)  # which is none that this mail was taken
            return
        letter.unsure += 1
        if manner == "chunks":
            talk.transport.write(b"BDAT %d\r\n" % (cut % len(content)) + content[: cut % len(content)])
            talk.transport.write(b"BDAT %d LAST\r\n" % (len(content) - cut % len(content)))
            talk.transport.write(content[cut % len(content) :])
            first, final = await talk.replies(2)
            if not first.startswith("250"):
                final = first  # the transaction has ended with it, so what follows is out of order (RFC 3030 2)
        else:
            (final,) = await self._end(talk, stuffed, cut, manner)
        letter.unsure -= 1
        if final.startswith(_ACCEPTED):
            letter.accepted[final.removeprefix(_ACCEPTED)] = taken
        elif not final.startswith("4"):
            letter.oddities.append(f"the content: {final}")

    async def _end(self, talk: Talk, stuffed: bytes, cut: int, manner: str) -> Sequence[str]:
        """Send it all, one way or the other, and wait for the final reply."""
        if manner == "stalls":
            talk.transport.write(stuffed[:cut])
            await deferLater(self._process, STALL, lambda: None)
            stuffed = stuffed[cut:]
        if manner == "pieces":
            size = max(PIECE, len(stuffed) // 50)
            for start in range(0, len(stuffed), size):
                talk.transport.write(stuffed[start : start + size])
                await deferLater(self._process, self._chance.choice((0.0, 0.01, 1.0)), lambda: None)
        else:
            talk.transport.write(stuffed)
        if manner == "half-closes":
            talk.transport.loseWriteConnection()
        elif manner == "hangs up":
            talk.transport.loseConnection()
        waiting: Deferred[list[str]] = talk.replies(1)
        return await waiting


def fits(command: str, reply: str) -> bool:
    """Can this be the reply to that command, and to none of its neighbours?"""
    if reply.startswith("4"):
        return True
    if command.startswith("MAIL"):
        return reply.startswith("250 2.1.0")
    if command.startswith("RCPT"):
        if REFUSED in command or UNKNOWN in command:
            return reply.startswith(_REFUSALS)
        return reply.startswith(("250 2.1.5", "251 "))
    if command == "NOOP":
        return reply.startswith("250 2.0.0")
    return reply.startswith(("354", "503", "554"))
