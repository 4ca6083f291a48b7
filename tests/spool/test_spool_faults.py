"""What is kept, and what is said, when the disk is full, or fails, or one operation of many does."""

import errno
import itertools
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import apsw
import pytest
from faults import FaultyDisk, FaultyVFS
from spools import DEADLINE, SqliteWorld, clock_at_start, kill

from mta.interfaces import NewDelivery, SpoolBroken, SpoolFull
from mta.message.envelope import Envelope, Recipient
from mta.message.timeline import Event
from mta.spool.desk import Desk
from mta.spool.disk import Lock
from mta.spool.matching import EVERYTHING
from mta.spool.sqlite import SqliteSpool
from mta.spool.store import Store

_names = (f"faulty{n}" for n in itertools.count())


@pytest.fixture
def vfs():
    made = FaultyVFS(next(_names))
    yield made
    made.unregister()


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def world(tmp_path: Path, vfs: FaultyVFS, disk: FaultyDisk):
    made = SqliteWorld(clock_at_start(), tmp_path / "spool", vfs=vfs.name, disk=disk)
    yield made
    vfs.sync_fails.clear()
    vfs.write_fails.clear()
    disk.fails.clear()
    vfs.open_fails = False
    made.close()


LARGE = b"x" * 300_000


def messages(world: SqliteWorld) -> list[int]:
    with world.desk() as desk:
        return [one.id for one in desk.queue()]


def content_files(world: SqliteWorld) -> list[Path]:
    return list((world.folder / "content" / "0").iterdir())


def test_each_commit_is_synced_before_it_is_answered(world: SqliteWorld, vfs: FaultyVFS) -> None:
    vfs.syncs.clear()
    world.commit()
    assert [Path(name).name for name in vfs.syncs][-1] == "queue-0.db-wal"


def test_trouble_is_told_until_something_could_be_written_again(world: SqliteWorld, vfs: FaultyVFS) -> None:
    assert world.spool.trouble() == ""
    vfs.sync_fails.add("-wal")
    with pytest.raises(SpoolBroken):
        world.commit()
    assert "fsync said no" in world.spool.trouble()
    vfs.sync_fails.clear()
    world.wait(world.spool.changes())
    assert world.spool.trouble(), "that it can be read shows little"
    world.commit()
    assert world.spool.trouble() == ""


def test_what_an_operator_changed_stays_though_the_log_cannot_be_copied_behind_him(
    world: SqliteWorld, vfs: FaultyVFS
) -> None:
    message, _ = world.commit()
    world.wait(world.spool.stop())
    with Desk(world.folder, world.clock.seconds, vfs=vfs.name) as desk:
        assert desk.hold(EVERYTHING) == 1
        vfs.sync_fails.add("-wal")  # who is the last to close the file has its log copied into it
    vfs.sync_fails.clear()
    assert world.start().messages == 1
    with world.desk() as desk:
        assert [(one.id, one.recipients[0].state) for one in desk.queue()] == [(message, "held")]


def test_after_a_failed_sync_nothing_was_kept(world: SqliteWorld, vfs: FaultyVFS) -> None:
    before, _ = world.commit()
    [claim] = world.claim()
    vfs.sync_fails.add("-wal")
    with pytest.raises(SpoolBroken, match="fsync said no"):
        world.commit(eager=True)
    vfs.sync_fails.clear()
    assert messages(world) == [before]
    after, _ = world.commit()
    assert messages(world) == [before, after], "it goes on, with a new connection"
    assert world.record(claim), "what was claimed before is still ours"
    world.crash()
    assert messages(world) == [after]


def test_what_a_failed_commit_left_on_the_disk_is_undone(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst case: the commit failed, and all of it is there when the file is opened again."""
    waiting, _ = world.commit()
    reception = world.spool.receive(world.now)
    to = (Recipient("b@example.com"),)
    envelope = Envelope("s@example.org", to, world.now, 0)
    deliveries = [NewDelivery("example.com", to, world.now, world.now, eager=True)]
    kept = reception.commit(envelope, deliveries, [Event(world.now, "discarded", {"recipients": ["c@example.com"]})])
    claimed = world.spool.claim("example.net", 5, world.now)
    real = Store.transaction

    def transaction(store: Store) -> CommittedButFailed:
        monkeypatch.setattr(Store, "transaction", real)
        return CommittedButFailed(real(store))

    monkeypatch.setattr(Store, "transaction", transaction)
    for asked in (kept, claimed):
        with pytest.raises(SpoolBroken):
            world.wait(asked)
    assert messages(world) == [waiting]
    assert world.story(reception.id) is None
    assert [claim.message for claim in world.claim()] == [waiting], "the claim was put back"


def test_what_is_being_tried_is_not_given_out_again_however_often_the_file_is_opened_anew(
    world: SqliteWorld, vfs: FaultyVFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second try of it would be a second copy though nobody has died."""
    _, eager = world.commit(eager=True)
    world.commit()
    held = [*eager, *world.claim()]
    for _ in range(2):
        vfs.sync_fails.add("-wal")
        vfs.open_fails = True
        for _ in range(2):
            with pytest.raises(SpoolBroken):
                world.commit()
        vfs.sync_fails.clear()
        vfs.open_fails = False
        assert world.claim() == []
        monkeypatch.setattr(Store, "commit", committed_but_failed)
        with pytest.raises(SpoolBroken):
            world.commit(eager=True)
        monkeypatch.undo()
        assert world.claim() == []
        assert world.wait(world.spool.overdue(world.now + DEADLINE, 10)) == []
        assert [world.content(one) for one in held] == [b"Subject: x\r\n\r\nhello\r\n"] * 2
    assert [world.record(one) for one in held] == [True] * 2


_commit = Store.commit


def committed_but_failed(store: Store) -> None:
    _commit(store)
    raise apsw.IOError("it was written, and yet the sync failed")


class CommittedButFailed:
    def __init__(self, transaction: AbstractContextManager[None]) -> None:
        self._transaction = transaction

    def __enter__(self) -> None:
        self._transaction.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._transaction.__exit__(*error)
        raise apsw.IOError("it was written, and yet the sync failed")


def test_as_long_as_the_file_cannot_be_opened_all_is_refused_and_then_it_goes_on(
    world: SqliteWorld, vfs: FaultyVFS
) -> None:
    waiting, _ = world.commit()
    vfs.sync_fails.add("-wal")
    vfs.open_fails = True
    for _ in range(2):
        with pytest.raises(SpoolBroken):
            world.commit()
    with pytest.raises(SpoolBroken):
        world.due()
    vfs.sync_fails.clear()
    vfs.open_fails = False
    assert [claim.message for claim in world.claim()] == [waiting]


def test_a_full_disk_keeps_nothing_and_harms_nothing(world: SqliteWorld, vfs: FaultyVFS) -> None:
    before, [claim] = world.commit(eager=True)
    vfs.write_fails["-wal"] = apsw.FullError
    with pytest.raises(SpoolFull):
        world.commit()
    with pytest.raises(SpoolFull):
        world.record(claim)
    vfs.write_fails.clear()
    assert messages(world) == [before]
    assert world.record(claim)


def test_an_error_while_writing_breaks_and_heals(world: SqliteWorld, vfs: FaultyVFS) -> None:
    vfs.write_fails["-wal"] = apsw.IOError
    with pytest.raises(SpoolBroken):
        world.commit()
    vfs.write_fails.clear()
    message, _ = world.commit()
    assert messages(world) == [message]


def test_a_failed_checkpoint_harms_nothing(world: SqliteWorld, vfs: FaultyVFS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.spool.store.CHECKPOINT_PAGES", 1)
    vfs.sync_fails.add("queue-0.db")
    first, _ = world.commit()
    second, _ = world.commit()
    vfs.sync_fails.clear()
    third, _ = world.commit()
    assert messages(world) == [first, second, third]


def test_an_operation_that_fails_does_not_harm_its_batch_mates(world: SqliteWorld) -> None:
    def fail(store: Store) -> None:
        store.db.execute("DELETE FROM message")
        raise ValueError("a bug")

    def wrong(store: Store) -> None:
        store.db.execute("INSERT INTO nowhere VALUES (1)")

    before, _ = world.commit(destination="other")
    writer = world.spool._writer
    failing, claimed, broken = writer.submit(fail), world.spool.claim("other", 5, world.now), writer.submit(wrong)
    after, _ = world.commit()
    with pytest.raises(ValueError, match="a bug"):
        world.wait(failing)
    with pytest.raises(SpoolBroken, match="nowhere"):
        world.wait(broken)
    assert [claim.message for claim in world.wait(claimed)] == [before]
    assert messages(world) == [before, after]
    with world.desk() as desk:
        assert (desk.totals().messages, desk.totals().active, desk.totals().waiting) == (2, 1, 1)


def test_below_the_floor_nothing_is_received(world: SqliteWorld, disk: FaultyDisk) -> None:
    world.spool._floor = 1000
    disk.free = 1000
    world.clock.advance(1)
    world.spool.receive(world.now)
    disk.free = 999
    world.spool.receive(world.now)  # one look at the disk is good for a second
    world.clock.advance(1)
    with pytest.raises(SpoolFull):
        world.spool.receive(world.now)
    disk.free = 1000
    world.clock.advance(1)
    world.spool.receive(world.now)


# Content files


def test_a_content_file_is_synced_with_its_name_before_the_commit(
    world: SqliteWorld, disk: FaultyDisk, vfs: FaultyVFS
) -> None:
    disk.done.clear()
    vfs.syncs = disk.done
    world.commit(content=LARGE)
    steps = [Path(one).name for one in disk.done]
    assert list(dict.fromkeys(steps)) == ["create", "write", "sync", "sync_folder", "queue-0.db-wal"]


@pytest.mark.parametrize("step", ["create", "write", "sync", "sync_folder"])
@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, SpoolFull), (errno.EDQUOT, SpoolFull), (errno.EIO, SpoolBroken)]
)
def test_a_content_file_that_fails(
    world: SqliteWorld, disk: FaultyDisk, step: str, number: int, error: type[Exception]
) -> None:
    disk.fails[step] = number
    with pytest.raises(error):
        world.commit(content=LARGE * 3)
    disk.fails.clear()
    world.clock.advance(0)
    assert content_files(world) == []
    assert messages(world) == []
    message, _ = world.commit(content=LARGE)
    assert messages(world) == [message]


def test_where_the_row_does_not_fit_the_content_file_goes(world: SqliteWorld, vfs: FaultyVFS) -> None:
    vfs.write_fails["-wal"] = apsw.FullError
    with pytest.raises(SpoolFull):
        world.commit(content=LARGE)
    world.clock.advance(0)
    assert content_files(world) == []


def test_the_content_file_goes_after_the_commit_that_ends_its_message(world: SqliteWorld, vfs: FaultyVFS) -> None:
    _, [claim] = world.commit(content=LARGE, eager=True)
    vfs.write_fails["-wal"] = apsw.FullError
    with pytest.raises(SpoolFull):
        world.record(claim)
    world.clock.advance(0)
    assert len(content_files(world)) == 1
    vfs.write_fails.clear()
    assert world.record(claim)
    world.clock.advance(0)
    assert content_files(world) == []


def test_a_content_file_that_cannot_be_removed_is_swept_away_at_the_next_start(
    world: SqliteWorld, disk: FaultyDisk
) -> None:
    _, [claim] = world.commit(content=LARGE, eager=True)
    disk.fails["unlink"] = errno.EIO
    assert world.record(claim)
    world.clock.advance(0)
    disk.fails.clear()
    assert len(content_files(world)) == 1
    assert world.restart().removed_files == 1
    assert content_files(world) == []


@pytest.mark.alone
def test_a_program_that_keeps_the_file_locked_is_waited_for_once(world: SqliteWorld) -> None:
    world.spool._writer._committer._store.patience = 50
    before, _ = world.commit()
    other = apsw.Connection(str(world.folder / "queue-0.db"))
    other.execute("BEGIN IMMEDIATE")
    asked = [world.spool.claim("example.net", 1, world.now) for _ in range(20)]
    begun = time.monotonic()
    for one in asked:
        with pytest.raises(SpoolBroken, match="another program"):
            world.wait(one)
    assert time.monotonic() - begun < 0.5
    other.execute("ROLLBACK")
    other.close()
    assert [claim.message for claim in world.claim()] == [before]


def test_a_spool_that_did_not_start_can_be_stopped(tmp_path: Path) -> None:
    clock = clock_at_start()
    world = SqliteWorld(clock, tmp_path / "spool")
    second = SqliteSpool(tmp_path / "spool", clock, clock.seconds, inline=True)
    with pytest.raises(SpoolBroken):
        second.start()
    world.wait(second.stop())
    message, _ = world.commit()
    assert messages(world) == [message]
    world.close()
    world.wait(world.spool.stop())


# In the reactor's own part of a write nothing may get lost either: nobody would ever be answered again.


def test_a_lock_that_cannot_be_taken_once_stops_nobody(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit(eager=True)
    left = [OSError(errno.ENOLCK, "no locks are available")]
    real = Lock.try_acquire

    def try_acquire(lock: Lock) -> bool:
        if left:
            raise left.pop()
        return real(lock)

    monkeypatch.setattr(Lock, "try_acquire", try_acquire)
    message, _ = world.commit(eager=True)
    assert message in messages(world)
    assert not left


def test_a_file_that_cannot_be_read_when_it_is_opened_anew_is_opened_once_more(
    world: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = world.commit(eager=True)
    left = [apsw.IOError("read said no")]
    real = Store.renew_ids

    def renew_ids(store: Store) -> None:
        if left:
            raise left.pop()
        real(store)

    def commit() -> None:
        raise apsw.IOError("fsync said no")

    monkeypatch.setattr(Store, "renew_ids", renew_ids)
    monkeypatch.setattr(world.spool._writer._committer._store, "commit", commit)
    with pytest.raises(SpoolBroken):
        world.commit(eager=True)
    assert not left
    after, _ = world.commit(eager=True)
    assert messages(world) == [before, after]


def test_a_disk_that_is_full_at_the_start_is_told_of_and_loses_nothing(world: SqliteWorld, vfs: FaultyVFS) -> None:
    """What is in the log can then be copied into the file neither by the recovery nor when that gives up."""
    world.commit(eager=True)
    for connection in apsw.connections():
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
    kill(world.spool)
    vfs.write_fails |= {"-wal": apsw.FullError, ".db": apsw.FullError}
    with pytest.raises(SpoolBroken, match="cannot be used"):
        world.start()
    vfs.write_fails.clear()
    assert world.start().unknown == 1
