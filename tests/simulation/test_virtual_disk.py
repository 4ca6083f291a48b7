"""The virtual disk loses what was not synced, and nothing else; and a process that has been killed changes nothing."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import apsw
import pytest
from simulated.disk import SECTOR, VirtualDisk, Volume

SEEDS = range(40)


def after_power_cut(volume: Volume, disk: VirtualDisk, seed: int) -> set[str]:
    """The names of the files that are there then."""
    disk.end()
    volume.cut_power(Random(seed))
    return {path.name for path in volume.folder.iterdir()}


def fates(folder: Path, act: Callable[[VirtualDisk, Path], None], name: str) -> set[bytes | None]:
    """What may be found in a file after a power cut; None where it is not there."""
    found: set[bytes | None] = set()
    for seed in SEEDS:
        place = folder / str(seed)
        place.mkdir()
        volume = Volume(place)
        disk = VirtualDisk(volume)
        act(disk, place)
        names = after_power_cut(volume, disk, seed)
        found.add((place / name).read_bytes() if name in names else None)
    return found


def test_what_was_synced_stays(folder: Path) -> None:
    def act(disk: VirtualDisk, place: Path) -> None:
        file = disk.create(place / "a")
        file.write(b"hello ")
        file.write(b"world")
        file.sync()
        file.close()
        disk.sync_folder(place)

    assert fates(folder, act, "a") == {b"hello world"}


def test_what_was_not_synced_is_lost_or_kept_or_torn(folder: Path) -> None:
    first, second = b"a" * SECTOR, b"b" * SECTOR

    def act(disk: VirtualDisk, place: Path) -> None:
        file = disk.create(place / "a")
        disk.sync_folder(place)
        file.write(first + second)

    assert fates(folder, act, "a") == {b"", first, bytes(SECTOR) + second, first + second}


def test_a_name_that_was_not_synced_is_lost_or_kept(folder: Path) -> None:
    def act(disk: VirtualDisk, place: Path) -> None:
        file = disk.create(place / "a")
        file.write(b"content")
        file.sync()

    assert fates(folder, act, "a") == {None, b"content"}


def test_a_removal_that_was_not_synced_is_lost_or_kept(folder: Path) -> None:
    def act(disk: VirtualDisk, place: Path) -> None:
        disk.create(place / "a").close()
        disk.sync_folder(place)
        disk.unlink(place / "a")

    assert fates(folder, act, "a") == {None, b""}


def test_renaming_is_one_step(folder: Path) -> None:
    for seed in SEEDS:
        place = folder / str(seed)
        place.mkdir()
        volume = Volume(place)
        disk = VirtualDisk(volume)
        disk.create(place / "old").close()
        disk.sync_folder(place)

        def die(moment: str, disk: VirtualDisk = disk) -> None:
            disk.alive = False

        disk.at_sync = die
        disk.rename(place / "old", place / "new")
        assert after_power_cut(volume, disk, seed) in ({"old"}, {"new"})


def write_rows(place: Path, synchronous: str) -> tuple[Volume, VirtualDisk, apsw.Connection]:
    volume = Volume(place)
    disk = VirtualDisk(volume)
    disk.create(place / "queue.db").close()
    db = apsw.Connection(str(place / "queue.db"), flags=apsw.SQLITE_OPEN_READWRITE, vfs=disk.vfs)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (x)")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    disk.sync_folder(place)
    db.execute(f"PRAGMA synchronous = {synchronous}")
    for number in range(5):
        db.execute("INSERT INTO t VALUES (?)", (number,))
    return volume, disk, db


def rows(volume: Volume) -> int:
    disk = VirtualDisk(volume)
    db = apsw.Connection(str(volume.folder / "queue.db"), flags=apsw.SQLITE_OPEN_READWRITE, vfs=disk.vfs)
    ((count,),) = db.execute("SELECT count(*) FROM t").fetchall()
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    disk.end()
    return int(count)


@pytest.mark.parametrize(("synchronous", "possible"), [("FULL", {5}), ("OFF", {0, 1, 2, 3, 4, 5})])
def test_sqlite_keeps_what_it_has_synced(folder: Path, synchronous: str, possible: set[int]) -> None:
    found = set()
    for seed in SEEDS:
        place = folder / str(seed)
        place.mkdir()
        volume, disk, _ = write_rows(place, synchronous)
        disk.end()
        volume.cut_power(Random(seed))
        found.add(rows(volume))
    assert found <= possible
    assert len(found) > 1 or synchronous == "FULL"


def test_a_kill_loses_nothing_that_was_written(folder: Path) -> None:
    volume, disk, _ = write_rows(folder, "OFF")
    assert [Path(name).name for name in disk.end()] == ["queue.db"]
    assert rows(volume) == 5


def test_the_dead_change_nothing(folder: Path) -> None:
    volume, disk, db = write_rows(folder, "FULL")
    (folder / "content").mkdir()
    file = disk.create(folder / "content" / "a")
    file.write(b"alive")
    disk.alive = False
    file.write(b"dead")
    file.sync()
    disk.unlink(folder / "content" / "a")
    disk.rename(folder / "queue.db", folder / "other.db")
    disk.lock(folder / "lock").acquire()
    db.execute("INSERT INTO t VALUES (6)")
    with suppress(apsw.IOError):  # it does not find what it has written a moment ago
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with pytest.raises(OSError, match="killed"):
        disk.create(folder / "b")
    disk.end()
    file.close()
    assert (folder / "content" / "a").read_bytes() == b"alive"
    assert rows(volume) == 5
    assert not volume.locks
    assert volume.content_files() == [str(folder / "content" / "a")]


def test_a_lock_has_one_holder_until_that_ends(folder: Path) -> None:
    volume = Volume(folder)
    one, other = VirtualDisk(volume), VirtualDisk(volume)
    mine, theirs = one.lock(folder / "lock"), other.lock(folder / "lock")
    assert mine.try_acquire()
    assert mine.try_acquire()
    mine.sign("1\n")
    assert not theirs.try_acquire()
    assert theirs.signature() == "1"
    with pytest.raises(AssertionError, match="never let go"):
        theirs.acquire()
    mine.release()
    assert theirs.try_acquire()
    theirs.close()
    assert mine.try_acquire()
    assert one.end() == [str(folder / "lock")]
    assert theirs.try_acquire()
    other.end()


def test_what_a_failed_sync_did_not_write_is_not_written_by_the_next_one(folder: Path) -> None:
    """As Linux has it: the error is told once, and what could not be written counts as written."""
    found = set()
    for seed in SEEDS:
        place = folder / str(seed)
        place.mkdir()
        volume = Volume(place, Random(seed))
        disk = VirtualDisk(volume)
        file = disk.create(place / "a")
        disk.sync_folder(place)
        file.write(b"lost?")
        volume.failing = 1
        with pytest.raises(OSError, match="virtual sync"):
            file.sync()
        file.sync()
        assert (place / "a").read_bytes() == b"lost?"
        after_power_cut(volume, disk, seed)
        found.add((place / "a").read_bytes())
    assert found == {b"lost?", b""}


def test_a_full_disk_lets_nothing_grow_and_keeps_what_is_there(folder: Path) -> None:
    volume, disk, db = write_rows(folder, "FULL")
    volume.is_full = True
    with pytest.raises(OSError, match="full"):
        disk.create(folder / "b")
    with pytest.raises(apsw.FullError):
        db.execute("INSERT INTO t SELECT randomblob(100000)")
    volume.is_full = False
    disk.end()
    assert rows(volume) == 5


def test_what_is_stable_is_what_is_left_when_all_else_is_lost(folder: Path) -> None:
    volume = Volume(folder)
    disk = VirtualDisk(volume)
    file = disk.create(folder / "a")
    file.write(b"synced")
    file.sync()
    assert volume.stable_files() == {}, "nor is its name"
    disk.sync_folder(folder)
    file.write(b", and not")
    assert volume.stable_files() == {str(folder / "a"): b"synced"}
    disk.end()
