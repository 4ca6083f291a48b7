"""A drop folder on the disk, and a relay in memory that takes up what lies there."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from house_in_memory import Dispatcher
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.task import Clock

from mta.config.load import load
from mta.inbound.dropping import Dropping
from mta.inbound.house import House
from mta.inbound.manners import Manners
from mta.inbound.reception import Keeping
from mta.interfaces import ICheck
from mta.maillog import MailLog
from mta.policy.addressing import Addressing
from mta.smtp.asking import Mail, Wishes
from mta.smtp.batch import batch
from mta.spool.drop import DropFolder, leave
from mta.spool.memory import MemorySpool

CONTENT = b"From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\n\r\n.dots\r\n"
CONFIGURATION = """\
hostname: relay.test
spool: spool
limits: {message_size: 1KiB, recipients: 5, received: 3}
relay: {networks: []}
routes:
  - {to: closed.test, via: 550 5.7.1 this domain takes no mail}
  - {to: busy.test, via: 450 4.2.1 come back later}
"""


class DropGround:
    """One spool folder, and whoever takes up what is left in it."""

    def __init__(self, folder: Path, checks: Sequence[ICheck] = ()) -> None:
        (folder / "mta.yml").write_text(CONFIGURATION)
        config = load(folder / "mta.yml")
        config.spool.mkdir(exist_ok=True)
        self.clock = Clock()
        self.clock.advance(time.time())
        self.lines: list[str] = []
        self.dispatcher = Dispatcher()
        self.folder = DropFolder(config.spool)
        self.drop = self.folder.path
        self.aside = config.spool / "aside"
        self.spool: Any = MemorySpool(self.clock.seconds, self.clock)
        self.spool.start()
        routing, directory = config.routing(), config.directory()
        keeping = Keeping(
            config.hostname,
            self.spool,
            self.dispatcher,
            MailLog(self.lines.append, self.clock),
            self.clock.seconds,
            deadline=lambda since, by, mode: since + 86400,
            max_received=config.limits.received,
        )
        addressing = Addressing(directory, routing, config.postmaster)
        house = House(
            config.hostname, config.postmaster, keeping, config.access(), routing, directory, addressing, None, checks
        )
        manners = Manners(message_size=config.limits.message_size, recipients=config.limits.recipients)
        self.dropping = Dropping(self.folder, house, manners, self.clock, self._in_thread)
        self.dropping.start()
        self.wait(0)

    @staticmethod
    def _in_thread(work: Any, *arguments: Any) -> "Deferred[Any]":
        return maybeDeferred(work, *arguments)

    def leave(self, *to: str, sender: str = "a@sender.test", content: bytes = CONTENT, notify: str = "") -> str:
        """Leave a message, as `mta sendmail` does; its name."""
        wishes = Wishes(notifications=[(notify, "")] * len(to) if notify else ())
        mail = Mail(sender, to, len(content), not content.isascii(), True, lambda: iter((content,)), wishes=wishes)
        before = set(self.names)
        leave(self.drop, batch("client.test", mail))
        [name] = set(self.names) - before
        return name

    def put(self, octets: bytes, name: str = f"mail-{'0' * 32}") -> Path:
        """Put a file there, as somebody may who means no good."""
        path = self.drop / name
        path.write_bytes(octets)
        path.chmod(0o600)
        return path

    @property
    def names(self) -> list[str]:
        """What lies there."""
        return sorted(one.name for one in self.drop.iterdir())

    @property
    def kept_aside(self) -> list[str]:
        return sorted(one.name for one in self.aside.iterdir()) if self.aside.exists() else []

    def wait(self, seconds: float = 1.0) -> None:
        """Let time pass, a second at a time, and everybody answer."""
        while seconds > 1:
            self.wait(1)
            seconds -= 1
        self.clock.advance(seconds)
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    @property
    def kept(self) -> list[tuple[str, list[str]]]:
        """The reverse-path and the forward-paths of what is in the queue."""
        return [
            (one.envelope.sender, [who.address for who in one.envelope.recipients]) for one in self.dispatcher.claims
        ]

    def content(self, number: int = 0) -> str:
        return self.dispatcher.contents[number].decode()

    def stop(self) -> None:
        ensureDeferred(self.dropping.stop())
        self.wait()
