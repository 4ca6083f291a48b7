"""Disk: the few things that the spool asks of a file system, in one place so that a simulation can stand in for it.

Every file is ours alone (0600, folders 0700) and is opened without following a link. Errors are `OSError`.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BLOCK = 64 * 1024
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC


class File:
    """A file that is being written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, octets: bytes) -> None:
        """Append all of it."""
        left = memoryview(octets)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def sync(self) -> None:
        """Return when what was written is on stable storage."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


class Lock:
    """An advisory lock between processes (flock), on a file of its own that stays where it is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def acquire(self) -> None:
        """Wait until it is ours."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def try_acquire(self) -> bool:
        """Take it if nobody has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give it back."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def sign(self, text: str) -> None:
        """Write into the file who holds it."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def signature(self) -> str:
        """What its last holder wrote."""
        return os.pread(self._descriptor, 100, 0).decode(errors="replace").strip()

    def close(self) -> None:
        """Let go of it, and of the lock if we have it."""
        os.close(self._descriptor)


class Disk:
    """The machine's own file system."""

    def make_folder(self, path: Path) -> None:
        """Make a private folder, and those above it, unless it is there; it is on stable storage afterwards."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        self.sync_folder(path.parent)

    def create(self, path: Path) -> File:
        """Begin a file that does not exist yet."""
        return File(_open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    def read(self, path: Path) -> Iterator[bytes]:
        """The octets of a file, in blocks of up to 64 KiB. It is opened when the first one is asked for."""
        descriptor = os.open(path, os.O_RDONLY | _SAFE)
        try:
            while octets := os.read(descriptor, BLOCK):
                yield octets
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> Lock:
        """The lock that goes by the name of this file; the file is made if need be."""
        return Lock(_open(path, os.O_RDWR | os.O_CREAT))

    def names(self, folder: Path) -> list[str]:
        """The names in a folder; none where there is no such folder."""
        try:
            return [entry.name for entry in os.scandir(folder)]
        except FileNotFoundError:
            return []

    def exists(self, path: Path) -> bool:
        """Is there anything by this name?"""
        return os.path.lexists(path)

    def unlink(self, path: Path) -> None:
        """Remove a file; that it has gone already is no error."""
        path.unlink(missing_ok=True)

    def link(self, path: Path, new: Path) -> None:
        """Give a file one more name, unless that is there already."""
        with suppress(FileExistsError):
            os.link(path, new, follow_symlinks=False)

    def rename(self, path: Path, new: Path) -> None:
        """Give a file a new name in the same folder, and sync the folder."""
        path.rename(new)
        self.sync_folder(new.parent)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder are on stable storage."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_octets(self, folder: Path) -> int:
        """Octets that we may still write to the file system of a folder."""
        figures = os.statvfs(folder)
        return figures.f_bavail * figures.f_frsize


def _open(path: Path, flags: int) -> int:
    """Open or make a file. Root (the command of an operator) gives what it makes to the owner of the folder."""
    descriptor = os.open(path, flags | _SAFE, 0o600)
    if os.geteuid() == 0:
        try:
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        except OSError:
            os.close(descriptor)
            raise
    return descriptor
