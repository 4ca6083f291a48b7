"""Disk: the few things that the spool asks of a file system, in one place so that a simulation can stand in for it.

Every file is ours alone (0600, folders 0700, whatever the umask is). It is opened without following a link, and what
turns out to be no file, or one that has a second name elsewhere where there should be none, is not used. Errors are
`OSError`.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BLOCK = 64 * 1024
_LOCKS = Path("/proc/locks")
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # the last for what is no file, such as a pipe, to wait for nobody


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
        return self._try(fcntl.LOCK_EX)

    def try_share(self) -> bool:
        """Take it beside others who share it, if nobody has it alone."""
        return self._try(fcntl.LOCK_SH)

    def _try(self, way: int) -> bool:
        try:
            fcntl.flock(self._descriptor, way | fcntl.LOCK_NB)
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

    def others(self) -> list[int]:
        """The processes that have it besides us, as far as the kernel tells: not of those in other containers, nor
        where a file system numbers its files otherwise than the kernel does."""
        found = os.fstat(self._descriptor)
        file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        try:
            held = [line.split() for line in _LOCKS.read_text().splitlines()]
        except OSError:  # there is no /proc here
            return []
        # Such as: 1: FLOCK ADVISORY WRITE 4711 fe:00:99 0 EOF; of one that is waited for there is an arrow more.
        return sorted({int(one[4]) for one in held if one[1] == "FLOCK" and one[5] == file} - {os.getpid()})

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
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFE)
            try:
                _own(descriptor, path.parent, 0o700)
            finally:
                os.close(descriptor)
        self.sync_folder(path.parent)

    def create(self, path: Path) -> File:
        """Begin a file that does not exist yet."""
        return File(_make(path, os.O_WRONLY))

    def read(self, path: Path) -> Iterator[bytes]:
        """The octets of a file, in blocks of up to 64 KiB. It is opened when the first one is asked for."""
        descriptor = _open(path, os.O_RDONLY)
        try:
            while octets := os.read(descriptor, BLOCK):
                yield octets
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> Lock:
        """The lock that goes by the name of this file; the file is made if need be."""
        try:
            return Lock(_make(path, os.O_RDWR))
        except FileExistsError:
            return Lock(_open(path, os.O_RDWR, names=1))

    def names(self, folder: Path) -> list[str]:
        """The names in a folder; none where there is no such folder."""
        try:
            return [entry.name for entry in os.scandir(folder)]
        except FileNotFoundError:
            return []

    def exists(self, path: Path) -> bool:
        """Is there anything by this name?"""
        return os.path.lexists(path)

    def status(self, path: Path) -> os.stat_result | None:
        """What stands by this name, a link itself where it is one; None where there is nothing."""
        try:
            return os.lstat(path)
        except FileNotFoundError:
            return None

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


def _make(path: Path, flags: int) -> int:
    """Make a file that is not there yet, and open it."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
    try:
        _own(descriptor, path.parent, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _open(path: Path, flags: int, names: int | None = None) -> int:
    """Open a file. names: how many it may have; None for any number, as while it is being moved."""
    descriptor = os.open(path, flags | _SAFE)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and names in (None, found.st_nlink):
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(found.st_mode):
        raise OSError(errno.EMLINK, "it has a second name somewhere", str(path))
    raise OSError(errno.EINVAL, "it is no file", str(path))


def _own(descriptor: int, folder: Path, mode: int) -> None:
    """Have what was just made be private. Root (the command of an operator) gives it to the owner of the folder."""
    os.fchmod(descriptor, mode)
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
