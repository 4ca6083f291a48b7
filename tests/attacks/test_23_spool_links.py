"""Case 23: a spool into which somebody else has put links, odd names or files.

That nothing which is read from it is run, `tests/test_plain_code.py` shows.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from spools import SqliteWorld, clock_at_start, kill

from mta.interfaces import SpoolBroken
from mta.message.envelope import format_queue_id

LARGE = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 20_000
SECRET = b"root:x:0:0:\r\n" * 30_000


def start(folder: Path) -> SqliteWorld:
    return SqliteWorld(clock_at_start(), folder / "spool")


@pytest.mark.parametrize("name", ["queue-0.db", "queue-0.db-wal", "queue-0.lock", "queue-0.write"])
def test_a_link_in_the_place_of_a_file_of_ours(folder: Path, name: str) -> None:
    """It leads to what the relay may write, and whoever made it may not."""
    (folder / "spool").mkdir(mode=0o700)
    target = folder / "target"
    target.write_bytes(SECRET)
    (folder / "spool" / name).symlink_to(target)
    with pytest.raises(SpoolBroken):
        start(folder)
    assert target.read_bytes() == SECRET


def test_a_link_in_the_place_of_a_content_is_not_sent(folder: Path) -> None:
    world = start(folder)
    world.commit(content=LARGE)
    [file] = (folder / "spool" / "content" / "0").iterdir()
    target = folder / "target"
    target.write_bytes(SECRET[: len(LARGE)])
    file.unlink()
    file.symlink_to(target)
    [claim] = world.claim()
    with pytest.raises(OSError, match="symbolic links"):
        world.content(claim)
    world.close()


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_by_the_name_that_the_next_content_will_have_is_not_written_through(
    folder: Path, link: Callable[[Path, Path], None]
) -> None:
    world = start(folder)
    target = folder / "target"
    target.write_bytes(SECRET)
    for number in range(world.spool.new_id(world.now), world.spool.new_id(world.now) + 400_000, 256):
        link(target, folder / "spool" / "content" / "0" / format_queue_id(number))
    with pytest.raises(SpoolBroken):
        world.commit(content=LARGE)
    assert target.read_bytes() == SECRET
    assert world.claim() == []
    world.close()


def test_the_sweep_removes_links_and_not_what_they_lead_to(folder: Path) -> None:
    world = start(folder)
    target = folder / "target"
    target.write_bytes(SECRET)
    orphan = folder / "spool" / "content" / "0" / format_queue_id(world.spool.new_id(world.now))
    orphan.symlink_to(target)
    odd = ["..", "a b", "\n", "queue-0.db", "x" * 200]
    for name in odd[1:]:
        (orphan.parent / name).write_bytes(b"?")
    assert world.restart().removed_files == 1
    assert not orphan.is_symlink()
    assert target.read_bytes() == SECRET
    assert all((orphan.parent / name).exists() for name in odd), "what is not ours is left alone"
    world.close()


@pytest.mark.parametrize("name", ["queue-x.db", "queue-0001.db", "queue--1.db", "queue-1.db.bak", "queue-1"])
def test_odd_names_are_no_queue(folder: Path, name: str) -> None:
    world = start(folder)
    (folder / "spool" / name).write_bytes(SECRET)
    assert world.restart().messages == 0
    with world.desk() as desk:
        assert desk.queue() == []
    world.close()


def test_a_queue_of_somebody_else_is_not_sent(folder: Path) -> None:
    """A file that is no queue of ours is set aside, or left alone, and never delivered from."""
    (folder / "spool").mkdir(mode=0o700)
    (folder / "spool" / "queue-0.db").write_bytes(b"SQLite format 3\0" + SECRET)
    with pytest.raises(SpoolBroken):
        start(folder)


def test_all_of_it_is_private(folder: Path) -> None:
    world = start(folder)
    world.commit(content=LARGE)
    everything = [folder / "spool", *(folder / "spool").rglob("*")]
    assert len(everything) > 5
    assert [str(one) for one in everything if one.lstat().st_mode & 0o077] == []
    kill(world.spool)
