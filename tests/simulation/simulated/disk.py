"""A disk that can lose what was not synced, under the real store: SQLite through a VFS, content files beside it.

`Volume` is the disk, `VirtualDisk` what one process has of it, for as long as that lives. What is written goes to real
files in a folder of the test's own, so that reading needs nothing special, and is noted down until it is synced. After
a power cut each write and each change of a name that had not been synced is lost or kept, as chance has it, and a write
can be torn between sectors. Folders are the exception: they are there as soon as they are made.
"""

from __future__ import annotations

import errno
import itertools
from pathlib import Path
from random import Random
from typing import Any

import apsw

from mta.spool.disk import Disk, File, Lock
from simulated.wire import Watch, unwatched

SECTOR = 512
PLENTY = 1 << 40  # octets

# SQLite syncs the folder of a log or journal with the first sync of that file, whether it was there already or not.
_NAMED_BY_SYNC = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
_numbers = itertools.count()


class Image:
    """A file as it would be found after a power cut, and what has been done to it since it was last synced."""

    def __init__(self) -> None:
        self._stable = bytearray()
        self._changes: list[tuple[int, bytes] | int] = []  # writes (where and what), and new sizes

    def write(self, offset: int, octets: bytes) -> None:
        """Some of it is written, or written over."""
        self._changes.append((offset, octets))

    def truncate(self, size: int) -> None:
        """It becomes as short as that."""
        self._changes.append(size)

    def sync(self) -> None:
        """All that was done to it is on stable storage."""
        for change in self._changes:
            self._apply(change)
        self._changes.clear()

    def fail_to_sync(self, chance: Random) -> None:
        """The kernel could not write some of it, says so once, and takes all of it for written from then on."""
        for change in self._changes:
            if chance.random() < 0.5:
                self._apply(change)
        self._changes.clear()

    def stable(self) -> bytes:
        """What is there for certain, whatever happens."""
        return bytes(self._stable)

    def settle(self, chance: Random) -> bytes:
        """What is there when the power is back."""
        for change in self._changes:
            fate = chance.choice(("lost", "kept", "torn"))
            if fate == "torn" and not isinstance(change, int):
                offset, octets = change
                for start in range(0, len(octets), SECTOR):
                    if chance.random() < 0.5:
                        self._apply((offset + start, octets[start : start + SECTOR]))
            elif fate == "kept":
                self._apply(change)
        self._changes.clear()
        return bytes(self._stable)

    def _apply(self, change: tuple[int, bytes] | int) -> None:
        if isinstance(change, int):
            del self._stable[change:]
            return
        offset, octets = change
        self._stable.extend(bytes(max(0, offset - len(self._stable))))
        self._stable[offset : offset + len(octets)] = octets


class Volume:
    """The disk itself. files: by path, as the kernel knows them.

    free: octets, as anybody is told who asks. is_full: no file can grow. failing: so many syncs are going to fail.
    failed: how many have. chance: what a failed sync has written all the same.
    """

    def __init__(self, folder: Path, chance: Random | None = None) -> None:
        self.folder = folder
        self.free = PLENTY
        self.is_full = False
        self.failing = self.failed = 0
        self.chance = chance or Random(0)
        self.files: dict[str, Image] = {}
        self.locks: dict[str, VirtualLock] = {}  # by path, those that somebody has
        self.signatures: dict[str, str] = {}
        self._stable: dict[str, Image] = {}
        self._changes: list[dict[str, Image | None]] = []  # of names; None: the name is gone

    def refuses(self, path: str | Path, end: int) -> bool:
        """Is there no room to write up to this offset of a file?"""
        return self.is_full and (not Path(path).exists() or end > Path(path).stat().st_size)

    def fails(self) -> bool:
        """Does this sync fail?"""
        if self.failing <= 0:
            return False
        self.failing -= 1
        self.failed += 1
        return True

    def stable_files(self) -> dict[str, bytes]:
        """What would be found by name if the power went and all was lost that could be."""
        return {name: image.stable() for name, image in self._stable.items()}

    def content_files(self) -> list[str]:
        """The paths of the content files."""
        return [name for name in self.files if "/content/" in name]

    def change_names(self, change: dict[str, Image | None]) -> None:
        """Give, take away or change names in one folder, in one step."""
        _apply_names(self.files, change)
        self._changes.append(change)

    def sync_names(self, folder: Path) -> None:
        """The names in a folder are on stable storage."""
        left = []
        for change in self._changes:
            if all(Path(name).parent == folder for name in change):
                _apply_names(self._stable, change)
            else:
                left.append(change)
        self._changes = left

    def cut_power(self, chance: Random) -> None:
        """Lose what was not synced, or some of it. Nobody may use the disk meanwhile."""
        for change in self._changes:
            if chance.random() < 0.5:
                _apply_names(self._stable, change)
        self._changes.clear()
        self.files = dict(self._stable)
        for path in [path for path in self.folder.rglob("*") if path.is_file()]:
            path.unlink()
        for name, image in self.files.items():
            Path(name).write_bytes(image.settle(chance))


def _apply_names(names: dict[str, Image], change: dict[str, Image | None]) -> None:
    for name, image in change.items():
        if image is None:
            names.pop(name, None)
        else:
            names[name] = image


class VirtualDisk(Disk):
    """The disk as one process has it. `vfs` names the way that SQLite takes, the object itself serves the rest.

    at_sync: watches every sync. alive: whoever uses it has not been killed; afterwards nothing that is done here has
    any effect.
    """

    def __init__(self, volume: Volume, at_sync: Watch = unwatched) -> None:
        self.volume = volume
        self.alive = True
        self.at_sync = at_sync
        self.vfs = f"simulated-{next(_numbers)}"
        self._filesystem = _Filesystem(self)
        self._open_files: list[_ContentFile] = []

    def end(self) -> list[str]:
        """The kernel closes what the process had open: this, by name."""
        self.alive = False
        left = []
        for connection in apsw.connections():
            if connection.open_vfs == self.vfs:
                left.append(connection.filename)
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
                connection.close(True)
        for file in self._open_files:
            left.append(file.name)
            file.close()
        for name in [name for name, lock in self.volume.locks.items() if lock.disk is self]:
            left.append(name)
            del self.volume.locks[name]
        self._filesystem.unregister()
        return left

    def create(self, path: Path) -> File:
        if not self.alive:
            raise OSError(errno.EIO, "this process has been killed")
        if self.volume.is_full:
            raise OSError(errno.ENOSPC, "the virtual disk is full", str(path))
        super().create(path).close()
        image = Image()
        self.volume.change_names({str(path): image})
        file = _ContentFile(self, path, image)
        self._open_files.append(file)
        return file

    def closed(self, file: _ContentFile) -> None:
        """A file is not used any more."""
        self._open_files = [one for one in self._open_files if one is not file]

    def lock(self, path: Path) -> Lock:
        return VirtualLock(self, str(path))

    def unlink(self, path: Path) -> None:
        if self.alive:
            super().unlink(path)
            if str(path) in self.volume.files:
                self.volume.change_names({str(path): None})

    def link(self, path: Path, new: Path) -> None:
        if self.alive and not new.exists():
            super().link(path, new)
            self.volume.change_names({str(new): self.volume.files[str(path)]})

    def rename(self, path: Path, new: Path) -> None:
        if self.alive:
            path.rename(new)
            if str(path) in self.volume.files:  # or else it is the shared memory of a write-ahead log
                self.volume.change_names({str(path): None, str(new): self.volume.files[str(path)]})
            self.sync_folder(new.parent)

    def sync_folder(self, folder: Path) -> None:
        self.at_sync("before")
        if self.alive:
            if self.volume.fails():
                raise OSError(errno.EIO, "a virtual sync has failed", str(folder))
            self.volume.sync_names(folder)
        self.at_sync("after")

    def free_octets(self, folder: Path) -> int:
        return self.volume.free


class _ContentFile(File):
    """A file that is being written."""

    def __init__(self, disk: VirtualDisk, path: Path, image: Image) -> None:
        self.name = str(path)
        self._disk = disk
        self._file = path.open("ab", buffering=0)
        self._image = image

    def write(self, octets: bytes) -> None:
        if self._disk.alive:
            if self._disk.volume.refuses(self.name, self._file.tell() + len(octets)):
                raise OSError(errno.ENOSPC, "the virtual disk is full", self.name)
            self._image.write(self._file.tell(), bytes(octets))
            self._file.write(octets)

    def sync(self) -> None:
        self._disk.at_sync("before")
        if self._disk.alive:
            if self._disk.volume.fails():
                self._image.fail_to_sync(self._disk.volume.chance)
                raise OSError(errno.EIO, "a virtual sync has failed", self.name)
            self._image.sync()
        self._disk.at_sync("after")

    def close(self) -> None:
        self._file.close()
        self._disk.closed(self)


class VirtualLock(Lock):
    """A lock between the processes of the simulation, in which nobody can wait for anybody."""

    def __init__(self, disk: VirtualDisk, name: str) -> None:
        self.disk = disk
        self._name = name

    def acquire(self) -> None:
        assert self.try_acquire(), f"whoever has {self._name} would never let go of it"

    def try_acquire(self) -> bool:
        return not self.disk.alive or self.disk.volume.locks.setdefault(self._name, self) is self

    def try_share(self) -> bool:
        """Whoever has it has it alone, as nobody else does anything meanwhile."""
        return self.try_acquire()

    def others(self) -> list[int]:
        return []  # they are processes of the simulation alone

    def release(self) -> None:
        if self.disk.alive and self.disk.volume.locks.get(self._name) is self:
            del self.disk.volume.locks[self._name]

    def sign(self, text: str) -> None:
        if self.disk.alive:
            self.disk.volume.signatures[self._name] = text

    def signature(self) -> str:
        return self.disk.volume.signatures.get(self._name, "").strip()

    def close(self) -> None:
        self.release()


class _Filesystem(apsw.VFS):
    """SQLite's view of the disk."""

    def __init__(self, disk: VirtualDisk) -> None:
        self.disk = disk
        super().__init__(disk.vfs, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        if not self.disk.alive:
            raise apsw.CantOpenError("this process has been killed")
        return _DatabaseFile(self.disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if self.disk.alive:
            super().xDelete(filename, syncdir)
            self.disk.volume.change_names({filename: None})
            if syncdir:
                self.disk.sync_folder(Path(filename).parent)


class _DatabaseFile(apsw.VFSFile):
    """A file of SQLite: the queue file, or its write-ahead log. SQLite's own files that have no name are nobody's."""

    def __init__(self, disk: VirtualDisk, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._disk = disk
        self._path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name) if name else None
        super().__init__("", name, flags)
        path = str(self._path)
        is_new = path not in disk.volume.files
        self._image = disk.volume.files.get(path) or Image()
        self._is_unnamed = bool(flags[0] & _NAMED_BY_SYNC)
        if is_new and disk.alive and self._path is not None:
            disk.volume.change_names({path: self._image})

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk.alive:
            if self._path is not None and self._disk.volume.refuses(self._path, offset + len(data)):
                raise apsw.FullError("the virtual disk is full")
            self._image.write(offset, bytes(data))
            super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        if self._disk.alive:
            self._image.truncate(newsize)
            super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk.at_sync("before")
        if self._disk.alive:
            if self._disk.volume.fails():
                self._image.fail_to_sync(self._disk.volume.chance)
                raise apsw.IOError("a virtual sync has failed")
            self._image.sync()
            if self._is_unnamed and self._path is not None:
                self._is_unnamed = False
                self._disk.volume.sync_names(self._path.parent)
        self._disk.at_sync("after")
