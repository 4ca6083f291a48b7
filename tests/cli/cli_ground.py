"""A spool folder on the disk and a configuration that names it, filled as a relay would fill it, for the commands."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from click.testing import CliRunner, Result

from mta.cli.program import program
from mta.interfaces import NewDelivery, Record, Waiting
from mta.message.envelope import Client, Envelope, QueueIds, Recipient, format_queue_id, parse_queue_id
from mta.message.timeline import Event
from mta.spool import claims, database, settling
from mta.spool.content import LARGEST_ROW
from mta.spool.disk import Disk, Lock
from mta.spool.folder import Folder
from mta.spool.keeping import Kept, keep
from mta.spool.store import Store

CONTENT = b"Received: from client.test\r\nFrom: a@sender.test\r\nSubject: waiting\r\n\r\n.dots\r\nbody\r\n"
DIALOGUE = ["S: 220 mx.test", "C: EHLO relay.test", "C: RCPT TO:<bob@there.test>", "S: 450 4.2.1 come back later"]
CONFIGURATION = """\
hostname: relay.test
postmaster: postmaster@elsewhere.test
spool: spool
"""
MTA = Path(sys.executable).with_name("mta")


class Ground:
    """One folder. Each method that changes the queue is one transaction; the file is closed in between."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "mta.yml"
        self.file.write_text(CONFIGURATION)
        self.spool = folder / "spool"
        self.began = time.time()
        self.folder = Folder(self.spool, Disk(), None)
        self._ids = QueueIds()
        self._disk = Disk()
        self._disk.make_folder(self.spool)
        self._lock = self.folder.write_lock(0)
        self.store = Store(database.open_queue(self.folder.queue(0), self._disk, None), self._lock, 0, time.time)

    def close(self) -> None:
        self.store.close()
        self._lock.close()

    def hold(self) -> Lock:
        """Be the living worker of this spool."""
        return self.folder.hold(0)

    def add(
        self, *to: str, sender: str = "alice@sender.test", content: bytes = CONTENT, many: int = 1, notice_for: int = 0
    ) -> str:
        """Receive a message for these recipients, each domain a destination; the id of the (last) one."""
        with self.store.transaction():
            for _ in range(many):
                number = self._keep(to, sender, content, notice_for)
        return format_queue_id(number)

    def _keep(self, to: Sequence[str], sender: str, content: bytes, notice_for: int) -> int:
        now = time.time()
        number = self._ids.next(now)
        recipients = tuple(map(Recipient, to))
        client = Client("192.0.2.7", "client.test", "ESMTP")
        envelope = Envelope(sender, recipients, now, len(content), client, notice_for=notice_for)
        groups: dict[str, list[Recipient]] = {}
        for one in recipients:
            groups.setdefault(one.address.rpartition("@")[2].lower(), []).append(one)
        deliveries = [NewDelivery(name, tuple(group), now, now + 3600) for name, group in groups.items()]
        received = {"client": client.address, "helo": client.helo, "protocol": client.protocol, "sender": sender}
        events = [Event(now, "received", {**received, "recipients": list(to), "size": len(content)})]
        body: bytes | None = content
        if len(content) > LARGEST_ROW:
            body = None
            path = self.folder.contents(0).path(number)
            self._disk.make_folder(path.parent)
            path.write_bytes(content)
        keep(self.store, Kept(number, envelope, len(content), body, deliveries, events))
        return number

    def content_file(self, queue_id: str) -> Path:
        """Where a large content is."""
        return self.folder.contents(0).path(self.number(queue_id))

    @staticmethod
    def number(queue_id: str) -> int:
        number = parse_queue_id(queue_id)
        assert number is not None
        return number

    def claim(self, queue_id: str) -> None:
        """Begin to try all that waits of a message."""
        with self.store.transaction():
            for (delivery,) in self._deliveries(queue_id):
                assert claims.claim_one(self.store, delivery) is not None

    def add_for_a_list(self, into: Sequence[str], **asked: Any) -> str:
        """Receive a message for a list, list@ours.test, with these members and an owner; its id."""
        now = time.time()
        number = self._ids.next(now)
        client = Client("192.0.2.7", "client.test", "ESMTPSA", "alice", "TLSv1.3 TLS_AES_256_GCM_SHA384")
        members = tuple(map(Recipient, into))
        envelope = Envelope("alice@sender.test", members, now, len(CONTENT), client, **asked)
        due = envelope.queued_since
        deliveries = [
            NewDelivery(one.address.rpartition("@")[2], (one,), due, due + 3600, reverse_path="owner@ours.test")
            for one in members
        ]
        received = {"client": client.address, "helo": client.helo, "protocol": client.protocol, "size": len(CONTENT)}
        received |= {"sender": envelope.sender, "login": client.login, "tls": client.tls}
        events = [
            Event(now, "received", {**received, "recipients": ["list@ours.test"]}),
            Event(now, "expanded", {"recipients": ["list@ours.test"], "into": list(into)}),
        ]
        with self.store.transaction():
            keep(self.store, Kept(number, envelope, len(CONTENT), CONTENT, deliveries, events))
        return format_queue_id(number)

    def defer(
        self,
        queue_id: str,
        reply: str = "450 4.2.1 come back later",
        host: str = "mx.there.test",
        state: str = "waiting",
    ) -> None:
        """Try it, in vain; it waits for an hour, or is held."""
        with self.store.transaction():
            for (delivery,) in self._deliveries(queue_id):
                claim = claims.claim_one(self.store, delivery)
                assert claim is not None
                now = time.time()
                to = claim.envelope.recipients
                addresses = [one.address for one in to]
                where = {"host": f"{host}[192.0.2.9]:25", "reply": reply}
                attempt = {"destination": claim.destination, "try": 1, **where, "seconds": 0.25, "dialogue": DIALOGUE}
                events = (
                    Event(now, "attempt", attempt),
                    Event(now, "deferred", {"recipients": addresses, **where, "next": now + 3600}),
                )
                waits = Waiting(to, claim.destination, now + 3600, now + 7200, 1, False, reply, state)
                assert settling.record(self.store, Record(claim, now, (waits,), events=events))

    def deliver(self, queue_id: str, reply: str = "250 2.0.0 ok") -> None:
        """Try it, with success."""
        with self.store.transaction():
            for (delivery,) in self._deliveries(queue_id):
                claim = claims.claim_one(self.store, delivery)
                assert claim is not None
                now = time.time()
                addresses = [one.address for one in claim.envelope.recipients]
                where = {"host": "mx.there.test[192.0.2.9]:25", "reply": reply}
                attempt = {"destination": claim.destination, "try": claim.attempts + 1, **where, "seconds": 0.01}
                events = (
                    Event(now, "attempt", {**attempt, "tls": "TLSv1.3"}),
                    Event(now, "delivered", {"recipients": addresses, **where}),
                )
                assert settling.record(self.store, Record(claim, now, events=events))

    def _deliveries(self, queue_id: str) -> list[tuple[int]]:
        return self.store.rows("SELECT id FROM delivery WHERE message = ? ORDER BY id", (self.number(queue_id),))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What is stored."""
        return self.store.rows(query)

    def mta(self, verb: str, *words: str, status: int = 0, typed: str | None = None) -> Result:
        """`mta verb …` with this configuration, in this process. Fails on another exit status, and on a traceback."""
        return run(verb, "--config", str(self.file), *words, status=status, typed=typed)


def run(*words: str, status: int = 0, typed: str | None = None) -> Result:
    """`mta …` in this process."""
    result = CliRunner().invoke(program, words, prog_name="mta", input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


class Launch(Protocol):
    """Starts `mta …` as a process of its own, which does not outlive the test."""

    def __call__(self, *words: str | Path, **options: Any) -> "subprocess.Popen[bytes]": ...


@contextmanager
def launching() -> Iterator[Launch]:
    """A way to start processes."""
    with ExitStack() as started:

        def launch(*words: str | Path, **options: Any) -> "subprocess.Popen[bytes]":
            environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
            # As from a terminal, also where the tests run in a background that has ctrl-C ignored.
            heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            chosen = {**pipes, "preexec_fn": heed, **options}
            one = started.enter_context(subprocess.Popen([str(MTA), *map(str, words)], env=environment, **chosen))
            started.callback(one.kill)
            return one

        yield launch
