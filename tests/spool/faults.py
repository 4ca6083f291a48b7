"""Disks that fail on demand: under SQLite, as a VFS, and under the content files."""

import errno
import time
from collections import Counter
from pathlib import Path
from typing import Any

import apsw

from mta.spool.disk import Disk, File


class FaultyVFS(apsw.VFS):
    """SQLite's own VFS, but that writes or syncs of what is named fail. fail: parts of file names, such as "-wal".

    slow: seconds that a sync of such a file takes for each write since the last one.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.sync_fails: set[str] = set()
        self.write_fails: dict[str, type[Exception]] = {}
        self.open_fails = False
        self.syncs: list[str] = []
        self.slow: dict[str, float] = {}
        self.writes: Counter[str] = Counter()
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "FaultyFile":
        if self.open_fails:
            raise apsw.CantOpenError("the disk is gone")
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVFS, name: Any, flags: list[int]) -> None:
        self._vfs = vfs
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def _fails(self, parts: Any) -> str | None:
        return next((part for part in parts if self._name.endswith(part)), None)

    def xSync(self, flags: int) -> None:
        self._vfs.syncs.append(self._name)
        if self._fails(self._vfs.sync_fails):
            raise apsw.IOError("fsync said no")
        part = self._fails(self._vfs.slow)
        if part is not None:
            time.sleep(self._vfs.slow[part] * self._vfs.writes.pop(part, 0))
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        part = self._fails(self._vfs.write_fails)
        if part is not None:
            raise self._vfs.write_fails[part]("write said no")
        part = self._fails(self._vfs.slow)
        if part is not None:
            self._vfs.writes[part] += 1
        super().xWrite(data, offset)


class FaultyDisk(Disk):
    """A disk whose content files fail with an error number, at a step: "create", "write", "sync" or "sync_folder"."""

    def __init__(self) -> None:
        self.fails: dict[str, int] = {}
        self.free: int | None = None
        self.done: list[str] = []

    def step(self, name: str) -> None:
        self.done.append(name)
        if name in self.fails:
            raise OSError(self.fails[name], errno.errorcode[self.fails[name]])

    def create(self, path: Path) -> File:
        if path.suffix:  # the queue file itself
            return super().create(path)
        self.step("create")
        return _FaultyContent(super().create(path), self)

    def sync_folder(self, folder: Path) -> None:
        self.step("sync_folder")
        super().sync_folder(folder)

    def unlink(self, path: Path) -> None:
        self.step("unlink")
        super().unlink(path)

    def free_octets(self, folder: Path) -> int:
        return super().free_octets(folder) if self.free is None else self.free


class _FaultyContent(File):
    def __init__(self, file: File, disk: FaultyDisk) -> None:
        self._file = file
        self._disk = disk

    def write(self, octets: bytes) -> None:
        self._disk.step("write")
        self._file.write(octets)

    def sync(self) -> None:
        self._disk.step("sync")
        self._file.sync()

    def close(self) -> None:
        self._file.close()
