"""How much is in the queue in which state, and how old it is."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from mta.interfaces import NewDelivery
from mta.message.envelope import Envelope, QueueIds, Recipient
from mta.spool import claims, database
from mta.spool.desk import Desk
from mta.spool.disk import Disk
from mta.spool.figures import AGES, Figures
from mta.spool.folder import Folder
from mta.spool.keeping import Kept, keep
from mta.spool.store import Store

NOW = time.time()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Messages of different ages: due, due later, at a paused destination, and two that are claimed."""
    spool = Folder(tmp_path, Disk(), None)
    with closing(spool.write_lock(0)) as lock:
        store = Store(database.open_queue(spool.queue(0), Disk(), None), lock, 0, lambda: NOW)
        ids = QueueIds()
        with store.transaction():
            for age, destination, due in (
                (100_000.0, "late.test", NOW + 60),
                (5000.0, "paused.test", NOW - 10),
                (700.0, "tried.test", NOW - 10),
                (70.0, "tried.test", NOW - 10),
                (5.0, "ready.test", NOW - 1),
            ):
                envelope = Envelope("a@b.test", (Recipient(f"x@{destination}"),), NOW - age)
                delivery = NewDelivery(destination, envelope.recipients, due, NOW + 9000)
                keep(store, Kept(ids.next(NOW - age), envelope, 5, b"hello", [delivery], ()))
        with store.transaction():
            assert len(claims.claim(store, "tried.test", 5, NOW)) == 2
            store.db.execute("UPDATE destination SET paused_until = ? WHERE name = 'paused.test'", (NOW + 60,))
        store.close()
    return tmp_path


def test_figures(folder: Path) -> None:
    with closing(Folder(folder, Disk(), None).hold(0)), Desk(folder, lambda: NOW) as desk:
        found = desk.figures()
    assert (found.ready, found.active, found.deferred, found.held) == (1, 2, 2, 0)
    assert dict(zip(AGES, found.older, strict=True)) == {
        60.0: 4, 600.0: 3, 3600.0: 2, 14400.0: 1, 86400.0: 1, 259200.0: 0,
    }  # fmt: skip
    assert found.oldest == pytest.approx(NOW - 100_000)
    assert found.paused == 1


def test_nothing_is_tried_without_a_worker(folder: Path) -> None:
    with Desk(folder, lambda: NOW) as desk:
        assert (desk.figures().ready, desk.figures().active) == (3, 0)


def test_an_empty_queue(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        assert desk.figures() == Figures()
