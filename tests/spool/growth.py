"""Large queues for tests: filled and worked through the spool's own interface, its writer inline, on a still clock."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spools import DEADLINE, SqliteWorld, clock_at_start
from twisted.internet.defer import Deferred, gatherResults

from mta.interfaces import Claim, NewDelivery, Record
from mta.message.envelope import Client, Envelope, Recipient
from mta.message.timeline import Event

CONTENT = b"Subject: growth\r\n\r\n".ljust(1022, b"x") + b"\r\n"  # 1 KiB
BATCH = 100  # to a commit
CLIENT = Client("192.0.2.7", "client.example", "ESMTP")


class Crowd(SqliteWorld):
    """A spool with many messages of 1 KiB, each with one recipient."""

    def __init__(self, folder: Path) -> None:
        super().__init__(clock_at_start(), folder)
        self._number = 0

    def accept(self, count: int, destinations: int = 1, eager: bool = False) -> list[Claim]:
        """Keep messages, in turn for so many destinations; the claims of eager ones."""
        claims: list[Claim] = []
        for size in _batches(count):
            kept = [self._keep(destinations, eager) for _ in range(size)]
            claims += [claim for each in self.wait(gatherResults(kept)) for claim in each]
        return claims

    def claim_some(self, count: int) -> list[Claim]:
        """Claim what is due, a few of each destination, as the manager does."""
        claims: list[Claim] = []
        while len(claims) < count:
            dues = self.due(20)
            for one in dues:
                claims += self.claim(one.destination, min(20, count - len(claims)))
                if len(claims) == count:
                    break
        return claims

    def end(self, claims: list[Claim]) -> None:
        """Record claims as delivered."""
        for first in range(0, len(claims), BATCH):
            self.wait(gatherResults([self._end(one) for one in claims[first : first + BATCH]] + [self._urgent()]))

    def _keep(self, destinations: int, eager: bool) -> "Deferred[list[Claim]]":
        name = f"d{self._number % destinations}.example"
        self._number += 1
        to = (Recipient(f"user{self._number}@{name}"),)
        reception = self.spool.receive(self.now)
        reception.write(CONTENT)
        envelope = Envelope("sender@example.org", to, self.now, len(CONTENT), CLIENT)
        received = {"client": CLIENT.address, "sender": envelope.sender, "recipients": [to[0].address]}
        delivery = NewDelivery(name, to, self.now, self.now + DEADLINE, eager)
        kept: Deferred[list[Claim]] = reception.commit(envelope, [delivery], (Event(self.now, "received", received),))
        return kept

    def _end(self, claim: Claim) -> "Deferred[bool]":
        told = {"recipients": [claim.envelope.recipients[0].address], "reply": "250 2.0.0 queued as 4F2aBc"}
        stored: Deferred[bool] = self.spool.record(
            Record(claim, self.now, events=(Event(self.now, "delivered", told),))
        )
        return stored

    def _urgent(self) -> "Deferred[Any]":
        """Something that those who can wait share a commit with."""
        asked: Deferred[Any] = self.spool.next_deadline()
        return asked


def microseconds(work: Any, count: int) -> float:
    """CPU for each of `count` pieces of work, done in one call, in microseconds."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e6 / count


def _batches(count: int) -> Iterator[int]:
    while count > 0:
        yield min(count, BATCH)
        count -= BATCH
