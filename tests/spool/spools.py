"""Spools for tests, on a clock that stands still: the real one, its writer inline, and its twin in memory."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mta.interfaces import Claim, NewDelivery, NewMessage, Record, Waiting
from mta.message.envelope import Client, Envelope, Recipient
from mta.message.timeline import Event
from mta.spool.desk import Desk
from mta.spool.matching import Selection
from mta.spool.memory import MemorySpool
from mta.spool.sqlite import SqliteSpool

START = 1_800_000_000.0
DEADLINE = 14_400.0
CLIENT = Client("192.0.2.7", "client.example", "ESMTP")


def clock_at_start() -> Clock:
    clock = Clock()
    clock.advance(START)
    return clock


class World:
    """A spool with its clock, and the few things that tests do with it all the time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.spool: Any = None

    @property
    def now(self) -> float:
        return self.clock.seconds()

    def wait(self, deferred: "Deferred[Any]") -> Any:
        """The result of a Deferred, in as many turns as it takes, but without time passing."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        for _ in range(200):
            if results:
                break
            self.clock.advance(0)
        assert results, "nothing was answered"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def commit(
        self,
        to: Sequence[str] = ("a@example.net",),
        destination: str = "example.net",
        *,
        content: bytes = b"Subject: x\r\n\r\nhello\r\n",
        due: float | None = None,
        deadline: float | None = None,
        eager: bool = False,
        sender: str = "s@example.org",
        deliveries: Sequence[NewDelivery] | None = None,
        **asked: Any,
    ) -> tuple[int, list[Claim]]:
        reception = self.spool.receive(self.now)
        for begin in range(0, len(content), 65536):
            behind = reception.write(content[begin : begin + 65536])
            if behind is not None:
                self.wait(behind)
        recipients = tuple(Recipient(one) for one in to)
        if deliveries is None:
            when = self.now if due is None else due
            last = self.now + DEADLINE if deadline is None else deadline
            deliveries = [NewDelivery(destination, recipients, when, last, eager)]
        everybody = tuple(r for d in deliveries for r in d.recipients)
        envelope = Envelope(sender, everybody, self.now, len(content), CLIENT, **asked)
        received = Event(self.now, "received", {"sender": sender, "recipients": list(to), "size": len(content)})
        claims = self.wait(reception.commit(envelope, deliveries, (received,)))
        return reception.id, claims

    def claim(self, destination: str = "example.net", limit: int = 100) -> list[Claim]:
        return self.wait(self.spool.claim(destination, limit, self.now))

    def due(self, limit: int = 10, skip: frozenset[str] = frozenset()) -> list[Any]:
        return self.wait(self.spool.due(self.now, limit, skip))

    def record(self, claim: Claim, *waiting: Waiting, kind: str = "delivered", **more: Any) -> bool:
        still = {one.address for group in waiting for one in group.recipients}
        ended = [one.address for one in claim.envelope.recipients if one.address not in still]
        events = [Event(self.now, kind, {"recipients": ended})] if ended and kind else []
        recorded = self.spool.record(Record(claim, self.now, tuple(waiting), events=tuple(events), **more))
        self.wait(self.spool.next_deadline())  # a record waits for something urgent to ride along with
        return self.wait(recorded)

    def waiting(self, claim: Claim, *, due: float = 300.0, to: Sequence[str] | None = None, **more: Any) -> Waiting:
        """What a try that was deferred leaves."""
        values: dict[str, Any] = {
            "recipients": claim.envelope.recipients if to is None else tuple(Recipient(one) for one in to),
            "destination": claim.destination,
            "due": self.now + due,
            "deadline": self.now + DEADLINE,
            "attempts": claim.attempts + 1,
            "warned": claim.warned,
            "last_reply": "450 4.2.0 later",
        }
        return Waiting(**values | more)

    def notice(self, about: Claim, to: str = "s@example.org", destination: str = "example.org") -> NewMessage:
        content = b"Subject: failed\r\n\r\nsorry\r\n"
        recipients = (Recipient(to),)
        envelope = Envelope("", recipients, self.now, len(content), notice_for=about.message)
        delivery = NewDelivery(destination, recipients, self.now, self.now + DEADLINE, eager=True)
        events = (Event(self.now, "received", {"sender": "", "recipients": [to], "size": len(content)}),)
        return NewMessage(self.spool.new_id(self.now), envelope, content, (delivery,), events)

    def content(self, claim: Claim) -> bytes:
        return b"".join(self.wait(self.spool.content(claim)).blocks())

    def kinds(self, message: int) -> list[str]:
        """The timeline of a message, in one word each."""
        return [event.kind for event in self.story(message).events]

    def story(self, message: int) -> Any:
        raise NotImplementedError

    def operate(self, verb: str, message: int) -> None:
        raise NotImplementedError

    def crash(self) -> Any:
        """Die, and start again: what start() found."""
        raise NotImplementedError

    def restart(self) -> Any:
        """Stop in good order, and start again."""
        self.wait(self.spool.stop())
        return self.start()

    def start(self, pauses: int = 0) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.wait(self.spool.stop())


class MemoryWorld(World):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.spool = MemorySpool(clock.seconds, clock)
        self.spool.start()

    def story(self, message: int) -> Any:
        return self.spool.story(message)

    def operate(self, verb: str, message: int) -> None:
        self.spool.operate(verb, message)

    def crash(self) -> Any:
        return self.spool.start()

    def start(self, pauses: int = 0) -> Any:
        return self.spool.start(pauses)


class SqliteWorld(World):
    def __init__(self, clock: Clock, folder: Path, **more: Any) -> None:
        super().__init__(clock)
        self.folder = folder
        self._more = {"inline": True, "floor": 0} | more
        self.start()

    def start(self, pauses: int = 0) -> Any:
        self.spool = SqliteSpool(self.folder, self.clock, self.clock.seconds, **self._more)
        return self.spool.start(pauses)

    def desk(self) -> Desk:
        return Desk(self.folder, self.clock.seconds, rest=lambda seconds: None)

    def story(self, message: int) -> Any:
        with self.desk() as desk:
            return desk.story(message)

    def operate(self, verb: str, message: int) -> None:
        selection = Selection(ids=frozenset({message}))
        with self.desk() as desk:
            if verb == "bounce":
                desk.bounce(selection, _compose_nothing)
            else:
                getattr(desk, verb)(selection)

    def crash(self) -> Any:
        """The connection and the locks go, as they do when a process dies; nothing is put in order."""
        kill(self.spool)
        return self.start()


def _compose_nothing(claim: Claim, content: Any) -> Record:
    raise AssertionError("nothing waits that could be bounced at once")


def folder_of(test: TestCase) -> Path:
    """A folder for a spool that goes with the test."""
    parent = tempfile.mkdtemp()
    test.addCleanup(shutil.rmtree, parent)
    return Path(parent) / "spool"


def kill(spool: SqliteSpool) -> None:
    """What a process that dies leaves behind: its files as they are, no locks."""
    if spool._adoption._call is not None:
        spool._adoption._call.cancel()
    spool._adoption._let_go(None)
    spool._writer._committer.close()
    spool._let_go()
