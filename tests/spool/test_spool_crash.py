"""The real thing, killed, and the real thing beside an operator's command that changes everything."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from spools import folder_of
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.utils import getProcessOutput
from twisted.trial.unittest import TestCase

from mta.interfaces import NewDelivery, Record
from mta.message.envelope import Envelope, Recipient
from mta.spool import database
from mta.spool.desk import Desk
from mta.spool.disk import Disk
from mta.spool.folder import Folder
from mta.spool.keeping import ADD_DELIVERY, ADD_MESSAGE
from mta.spool.sqlite import SqliteSpool
from mta.spool.store import Store

HAMMER = Path(__file__).with_name("hammer.py")


def killed_after(folder: Path, seconds: float) -> Iterator[tuple[str, int]]:
    """What the hammer acknowledged until it was killed."""
    with subprocess.Popen([sys.executable, HAMMER, folder], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline().split()
        assert first[0] == b"found"
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        for line in process.stdout:
            word, _, number = line.partition(b" ")
            if line.endswith(b"\n"):
                yield word.decode(), int(number)
        timer.join()
        assert process.wait() == -9


def test_whatever_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    chance = Random(7)
    kept: set[int] = set()
    done: set[int] = set()
    for _ in range(4):
        for word, number in killed_after(folder, chance.uniform(0.2, 0.6)):
            (kept if word == "kept" else done).add(number)
    assert len(kept) > 100
    assert done
    with Desk(folder) as desk:
        queued = {one.id: one for one in desk.queue(limit=1_000_000)}
        assert kept - done <= queued.keys() | {one for one in kept if _has_ended(desk, one)}
        assert not done & queued.keys(), "what has ended does not come back"
        assert all(_has_ended(desk, one) for one in done)
        for number, one in queued.items():
            content = desk.content(number)
            assert content is not None
            assert b"".join(content.blocks()) == str(number).encode().ljust(one.size, b".")
        totals = desk.totals()
        assert totals.messages == len(queued)
        assert totals.octets == sum(one.size for one in queued.values())
        assert totals.recipients == sum(len(one.recipients) for one in queued.values())
    clock_spool = SqliteSpool(folder, reactor, time.time, inline=True, floor=0)
    clock_spool.start()
    large = sum(one.size > 262_144 for one in queued.values())
    assert len(list((folder / "content" / "0").iterdir())) == large, "no file too many, none too few"
    clock_spool._writer._committer.close()
    clock_spool._let_go()


def _has_ended(desk: Desk, message: int) -> bool:
    story = desk.story(message)
    assert story is not None, "it was acknowledged, and nothing is known of it"
    return story.ended is not None


def fill(folder: Path, rows: int) -> None:
    """Put messages into a queue file of a spool that is not running, faster than a relay would."""
    place = Folder(folder, Disk(), None)
    db = database.attach(place.queue(0), None)
    lock = place.write_lock(0)
    store = Store(db, lock, 0, time.time)
    for begin in range(0, rows, 10_000):
        with store.transaction():
            numbers = range(begin + 1, begin + 10_001)
            envelope = Envelope("s@example.org", (), 1.0).to_json()
            db.executemany(ADD_MESSAGE, [(number, 1.0, 1, False, envelope, "", b"x") for number in numbers])
            rest = (0, 1.0, 9e9, 0, "s@example.org", '["a@example.net"]', None)
            db.executemany(ADD_DELIVERY, [(number, number, "example.net", "waiting", *rest) for number in numbers])
            store.counts["messages"] += 10_000
            store.counts["octets"] += 10_000
            store.counts["waiting"] += 10_000
            store.stale["example.net"] = None
        store.checkpoint()
    store.close()
    lock.close()


OPERATE = """
import sys
from pathlib import Path
from mta.spool.desk import Desk
from mta.spool.matching import EVERYTHING

with Desk(Path(sys.argv[1])) as desk:
    print(desk.hold(EVERYTHING), desk.drop(EVERYTHING))
"""


@pytest.mark.alone
class BesideAnOperator(TestCase):
    """A worker that commits while the `mta` command changes every row."""

    ROWS = 30_000

    async def test_no_commit_waits_for_long(self) -> None:
        folder = folder_of(self)
        spool = SqliteSpool(folder, reactor, time.time, floor=0)
        spool.start()
        await spool.stop()
        fill(folder, self.ROWS)
        spool = SqliteSpool(folder, reactor, time.time, floor=0)
        spool.start()
        waits: list[float] = []
        running = [True]

        async def produce() -> None:
            while running[0]:
                now = time.time()
                to = (Recipient("b@example.com"),)
                delivery = NewDelivery("example.com", to, now, now + 9, eager=True)
                reception = spool.receive(now)
                reception.write(b"x" * 10_000)
                begun = time.perf_counter()
                [claim] = await reception.commit(Envelope("s@example.org", to, now, 10_000), [delivery], ())
                waits.append(time.perf_counter() - begun)
                spool.record(Record(claim, now)).addErrback(lambda failure: failure.printTraceback())
                rest: Deferred[None] = Deferred()
                reactor.callLater(0.002, rest.callback, None)
                await rest

        producers = [ensureDeferred(produce()) for _ in range(4)]

        output = await getProcessOutput(sys.executable, ["-c", OPERATE, str(folder)], env=os.environ, errortoo=True)
        held, dropped = map(int, output.split())
        running[0] = False
        await gatherResults(producers)
        await spool.stop()
        self.assertGreaterEqual(held, self.ROWS)
        self.assertGreaterEqual(dropped, self.ROWS)
        self.assertGreater(len(waits), 100)
        waits.sort()
        self.assertLess(waits[int(len(waits) * 0.995)], 0.15)
        self.assertLess(waits[-1], 1.0, "a disk that stalls by itself is not our fault")
