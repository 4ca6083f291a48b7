"""What is attacked: a listener in memory with all that stands behind it, the way onward from there, and delivery."""

from pathlib import Path
from typing import Any, cast

import clockwork
from carry_world import HOP, Letter, Server, World
from house_in_memory import InMemory
from twisted.internet.task import Clock

from mta.interfaces import Claim, IContent
from mta.message.outcome import Carried

GREETED = "EHLO client.example.com"
SENDER = "MAIL FROM:<smith@client.example.com>"
RECIPIENT = "RCPT TO:<jones@example.org>"
BEGUN = (GREETED, SENDER, RECIPIENT)
HEADER = b"From: smith@client.example.com\r\nSubject: hello\r\n\r\n"


class Victim(InMemory):
    """A listener that has greeted. settings: those of a `With:` line; the others as `InMemory` has them."""

    def __init__(self, folder: Path, cut: int = 0, checks: Any = (), spool: Any = None, **settings: str) -> None:
        super().__init__(folder, settings, cut, checks, spool)
        self.heard()

    def heard(self) -> list[str]:
        """The lines that it has sent since the last time."""
        octets = self.rest()
        self._octets = b""
        self._wire.clear()
        return octets.decode().split("\r\n")[:-1]

    def say(self, *lines: str | bytes) -> list[str]:
        """Send lines, all at once; the lines of the replies."""
        octets = [line if isinstance(line, bytes) else line.encode() for line in lines]
        return self.send_all(b"".join(one + b"\r\n" for one in octets))

    def send_all(self, octets: bytes) -> list[str]:
        """Send octets as they are; the lines of the replies."""
        if octets:
            self.send(octets)
        return self.heard()

    def begin(self) -> None:
        """A transaction up to its content."""
        assert self.say(*BEGUN, "DATA")[-1][:4] == "354 "

    def later(self, seconds: float, step: float = 1.0) -> list[str]:
        """Let time pass in steps, as a reactor would; the lines of the replies."""
        for _ in range(int(seconds / step)):
            self.wait(step)
        return self.heard()

    @property
    def closed(self) -> bool:
        return bool(self._wire.disconnecting)

    @property
    def claims(self) -> list[Claim]:
        """What it has taken, as it would be delivered."""
        return self.dispatcher.claims

    @property
    def contents(self) -> list[bytes]:
        """The contents of that, with its trace field."""
        return self.dispatcher.contents

    @property
    def log(self) -> str:
        return "\n".join(self.lines)


def codes(lines: list[str]) -> list[str]:
    """The reply codes of lines, the last line of each reply."""
    return [line[:3] for line in lines if line[3:4] != "-"]


def sent_on(claim: Claim, content: bytes, server: Server, block: int = 65_536, world: World | None = None) -> Carried:
    """Carry what was taken to a server, the content in blocks of a size."""
    world = world or World()
    world.host("mx.example.net", "192.0.2.1", server)
    return world.result(world.smtp.carry(HOP, claim.envelope, cast(IContent, Letter(content, block))), 60)


def wire_of(server: Server, connection: int = 0) -> bytes:
    """All octets that a server was sent on a connection."""
    return b"".join(server.conversations[connection].wire.written)


def house() -> clockwork.House:
    """The delivery side of a relay in memory, which works."""
    clock = Clock()
    clock.rightNow = clockwork.BEGINNING
    made = clockwork.House(clockwork.InMemory(clock), clock, poll=clockwork.HOUR)
    made.manager.start()
    return made
