"""Case 13: a disk that is full, fails, or can be read only: never a 250, and what failed once is not trusted again."""

import errno
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from attack_ground import BEGUN, HEADER, Victim, codes
from faults import FaultyDisk, FaultyVFS
from spools import kill
from twisted.internet.task import Clock

from mta.spool.desk import Desk
from mta.spool.sqlite import SqliteSpool

SMALL, LARGE = HEADER + b"hello\r\n", HEADER + b"0123456789abcde\r\n" * 20_000
_names = (f"attacked{number}" for number in itertools.count())


class Disk:
    """A victim whose spool is the real one, on a disk that fails when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.vfs, self.files = FaultyVFS(next(_names)), FaultyDisk()
        self.folder = folder / "spool"
        self.victim = Victim(folder, spool=self.spool)

    def spool(self, clock: Clock) -> Any:
        made = SqliteSpool(self.folder, clock, clock.seconds, inline=True, floor=0, vfs=self.vfs.name, disk=self.files)
        self.running = made
        return made

    def send(self, content: bytes) -> str:
        """The reply to a content."""
        victim = self.victim
        if codes(victim.say("RSET", *BEGUN[1:], "DATA"))[-1] != "354":
            return ""
        said = victim.send_all(content) + victim.send_all(b".\r\n")
        for _ in range(20):
            said += victim.later(1)
        assert len(said) == 1, said
        return said[0][:9]

    def kept(self) -> int:
        with Desk(self.folder, self.victim.clock.seconds, rest=lambda seconds: None) as desk:
            return desk.totals().messages

    def mend(self) -> None:
        self.vfs.sync_fails.clear()
        self.vfs.write_fails.clear()
        self.vfs.open_fails = False
        self.files.fails.clear()

    def close(self) -> None:
        kill(self.running)
        self.vfs.unregister()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    made.victim.say(BEGUN[0])
    yield made
    made.mend()
    made.close()


def write_error(kind: type[Exception]) -> Callable[[Disk], None]:
    return lambda disk: disk.vfs.write_fails.update({"-wal": kind})


def file_error(step: str, number: int) -> Callable[[Disk], None]:
    return lambda disk: disk.files.fails.update({step: number})


BREAK: list[tuple[Callable[[Disk], Any], bytes, str]] = [
    (lambda disk: disk.vfs.sync_fails.add("-wal"), SMALL, "451 4.3.0"),
    (write_error(apsw.FullError), SMALL, "452 4.3.1"),
    (write_error(apsw.ReadOnlyError), SMALL, "451 4.3.0"),
    (write_error(apsw.IOError), SMALL, "451 4.3.0"),
    (file_error("create", errno.ENOSPC), LARGE, "452 4.3.1"),  # no inode is left
    (file_error("create", errno.EROFS), LARGE, "451 4.3.0"),
    (file_error("create", errno.EMFILE), LARGE, "451 4.3.0"),
    (file_error("write", errno.ENOSPC), LARGE, "452 4.3.1"),
    (file_error("write", errno.EDQUOT), LARGE, "452 4.3.1"),
    (file_error("sync", errno.EIO), LARGE, "451 4.3.0"),
    (file_error("sync_folder", errno.EIO), LARGE, "451 4.3.0"),
]


@pytest.mark.parametrize(("fail", "content", "reply"), BREAK)
def test_nothing_is_promised_and_nothing_kept(
    disk: Disk, fail: Callable[[Disk], Any], content: bytes, reply: str
) -> None:
    assert disk.send(SMALL) == "250 2.0.0"
    fail(disk)
    assert disk.send(content) == reply
    disk.mend()
    assert disk.kept() == 1
    assert disk.send(content) == "250 2.0.0", "it goes on"
    assert disk.kept() == 2


def test_a_disk_that_stays_broken(disk: Disk) -> None:
    disk.vfs.sync_fails.add("-wal")
    disk.vfs.open_fails = True
    assert {disk.send(SMALL) for _ in range(5)} == {"451 4.3.0"}
    disk.mend()
    assert disk.send(SMALL) == "250 2.0.0"
    assert disk.kept() == 1
