"""Drop: the folder in which users of this machine leave mail while the relay is not there to take it.

Everybody may put a file there and nobody but the relay may list them (mode 1733). A file is its user's own (0600), and
an entry in its access list lets the relay's user read it; where the file system has no such lists, the relay finds it
readable by a name of 128 random bits, which nobody else knows. A file is written under a name that is passed over,
synced, and renamed: it is there as a whole or not at all. It holds one batch (`mta.smtp.batch`).

Nothing that lies there is believed. The relay opens what is a regular file with one name, which nobody but its owner
could write to, without following links or waiting for anybody; whose it is is asked of the open file. What cannot be
mail is moved to `aside/`, a private folder beside it, for somebody to look at.
"""

import errno
import os
import pwd
import re
import secrets
import stat
import struct
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from zope.interface import implementer

from mta.interfaces import Found, IDropFolder, IHanded, NotMail, SpoolBroken
from mta.spool.disk import Disk

NAME: Final = "drop"
ASIDE: Final = "aside"
MODE: Final = 0o1733
MOST_OF_A_USER: Final = 250  # files of one user that are taken up in a round, whatever else waits
MOST_ASIDE: Final = 1000  # things that are kept for somebody to look at; what comes then is removed
FORGOTTEN: Final = 86400.0  # seconds after which a file that nobody has finished is removed

_WHOLE = re.compile(r"mail-[0-9a-f]{32}")
_BEGUN = re.compile(r"new-[0-9a-f]{32}")
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH

# The access list of a file as Linux keeps it: a version, then tag, rights and whose they are (-1: as the tag says).
_ACL = "system.posix_acl_access"
_ACL_VERSION = struct.pack("<I", 2)
_ACL_ENTRY = struct.Struct("<HHI")
_NOBODY_IN_PARTICULAR = 0xFFFFFFFF
_OWNER, _USER, _GROUP, _MOST, _OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_LISTS = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


@implementer(IHanded)
class Handed:
    """See `IHanded`."""

    def __init__(self, descriptor: int, found: os.stat_result) -> None:
        self._descriptor = descriptor
        self._found = found
        self.uid = found.st_uid
        self.user = user_name(found.st_uid)
        self.size = found.st_size
        self.changed = found.st_ctime  # its user can set the other times as he likes

    def read(self, octets: int) -> bytes:
        """As in `IHanded`."""
        block = os.read(self._descriptor, octets)
        if _state(os.fstat(self._descriptor)) != _state(self._found):
            raise NotMail("it was changed while it was read")
        return block

    def close(self) -> None:
        """As in `IHanded`."""
        os.close(self._descriptor)


@implementer(IDropFolder)
class DropFolder:
    """The folder, for the relay: see `IDropFolder`."""

    def __init__(self, spool: Path) -> None:
        self.path = spool / NAME
        self._aside = spool / ASIDE
        self._disk = Disk()

    def prepare(self) -> str:
        """As in `IDropFolder`; the way to a folder that is made is made passable.

        How it is made is decided once: an operator who takes rights away from it, or from the spool, is obeyed.
        """
        if not self._disk.exists(self.path):
            self._disk.make_folder(self.path)
            # Others may pass through the spool, and see nothing: its files are 0600, its folders 0700.
            spool = self.path.parent
            spool.chmod(stat.S_IMODE(spool.stat().st_mode) | 0o011)
            self.path.chmod(MODE)
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            return f"{self.path} is not a folder; move it away"
        if os.geteuid() not in (0, found.st_uid):
            owner, us = user_name(found.st_uid), user_name(os.geteuid())
            return f"{self.path} belongs to {owner}, and this relay runs as {us}; say: chown {us} {self.path}"
        return ""

    def version(self) -> int:
        """As in `IDropFolder`."""
        return self.path.stat().st_mtime_ns

    def look(self, passed_over: Collection[str] = ()) -> Found:
        """As in `IDropFolder`. Files that nobody has finished in a day are removed."""
        files: dict[int, list[tuple[float, str]]] = {}
        strange: list[str] = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name in passed_over:
                    continue
                if not (entry.is_file(follow_symlinks=False) and (_WHOLE.fullmatch(entry.name) or _is_begun(entry))):
                    if len(strange) <= MOST_ASIDE:  # there may be any number of them, and mail behind them
                        strange.append(entry.name)
                elif entry.name.startswith("mail-"):
                    with suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        files.setdefault(found.st_uid, []).append((found.st_mtime, entry.name))
        turns = [sorted(of_one)[:MOST_OF_A_USER] for of_one in files.values()]
        longest = max(map(len, turns), default=0)
        names = [turn[number][1] for number in range(longest) for turn in turns if number < len(turn)]
        return Found(names, strange, sum(map(len, files.values())) > len(names) or len(strange) > MOST_ASIDE)

    def open(self, name: str) -> Handed:
        """As in `IDropFolder`."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | _SAFE)
        except PermissionError:
            raise NotMail("this relay may not read it") from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise NotMail("it is no file") from None
            raise
        found = os.fstat(descriptor)
        why = _why_not(found)
        if why:
            os.close(descriptor)
            raise NotMail(why)
        return Handed(descriptor, found)

    def remove(self, name: str) -> None:
        """As in `IDropFolder`."""
        (self.path / name).unlink(missing_ok=True)

    def put_aside(self, name: str) -> str:
        """As in `IDropFolder`. What is too much to be kept is removed, and so is what has the same name there."""
        path = self.path / name
        if stat.S_ISDIR(path.lstat().st_mode):
            path.rmdir()  # others' folders cannot be moved elsewhere but by root, nor removed unless they are empty
            return "removed"
        self._disk.make_folder(self._aside)
        if sum(1 for _ in self._aside.iterdir()) >= MOST_ASIDE:
            path.unlink()
            return "removed"
        path.rename(self._aside / name)
        return f"moved to {self._aside}"


def prepare_before(spool: Path) -> None:
    """Make the folder of a relay that has never run, as it would, for the user who is to run it.

    That is who owns the spool, or the folder that it is to be in. For others, root among them, whose folder the relay
    might not be able to use, nothing is done. Raises `OSError`.
    """
    above = spool
    while not above.exists():
        above = above.parent
    if above.stat().st_uid == os.geteuid():
        DropFolder(spool).prepare()


def leave(folder: Path, blocks: Iterable[bytes]) -> None:
    """Leave a batch in the folder, as any user may: on stable storage when this returns. Raises `OSError`."""
    relay = folder.stat().st_uid
    word = secrets.token_hex(16)
    begun = folder / f"new-{word}"
    descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
    try:
        for block in blocks:
            left = memoryview(block)
            while left:
                left = left[os.write(descriptor, left) :]
        _let_read(descriptor, relay)
        os.fsync(descriptor)
        begun.rename(folder / f"mail-{word}")
        # Who may not read a folder cannot sync it. But the new name of a file is part of what a file system writes
        # down for it, and in the order in which things have happened.
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            begun.unlink()
        raise
    finally:
        os.close(descriptor)


def user_name(uid: int) -> str:
    """The name of a user of this machine, as the log and the trace may have it; "uid1000" where there is none."""
    with suppress(KeyError, UnicodeError):
        name = pwd.getpwuid(uid).pw_name
        if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name):
            return name
    return f"uid{uid}"


def examine(folder: Path, found: os.stat_result) -> list[str]:
    """What is unwise about the folder, in sentences. Raises `SpoolBroken` where it is none."""
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        raise SpoolBroken(f"{folder} is not a folder; move it away")
    unwise = []
    if found.st_mode & _OTHERS_MAY_WRITE and not found.st_mode & stat.S_ISVTX:
        unwise.append(f"users could remove each other's mail from {folder}; say: chmod {MODE:o} {folder}")
    if found.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        unwise.append(f"users could see what others have left in {folder}; say: chmod {MODE:o} {folder}")
    return unwise


def _is_begun(entry: "os.DirEntry[str]") -> bool:
    """Is it a file that somebody is still writing? One that nobody will ever finish is removed."""
    if not _BEGUN.fullmatch(entry.name):
        return False
    with suppress(OSError):
        if time.time() - entry.stat(follow_symlinks=False).st_mtime > FORGOTTEN:
            Path(entry.path).unlink()
    return True


def _why_not(found: os.stat_result) -> str:
    """Why a file cannot be mail that its owner has left; "" where it may be."""
    if not stat.S_ISREG(found.st_mode):
        return "it is no file"
    if found.st_nlink != 1:
        return "it has a second name somewhere, so that it may be another's file"
    # With an access list, what stands in the place of the group is the most that it gives.
    if found.st_mode & _OTHERS_MAY_WRITE:
        return "others than its owner could write to it"
    return ""


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_nlink


def _let_read(descriptor: int, relay: int) -> None:
    """Have the relay's user be able to read a file, and nobody else."""
    if relay in (0, os.geteuid()):
        return
    entries = (
        (_OWNER, 6, _NOBODY_IN_PARTICULAR),
        (_USER, 4, relay),
        (_GROUP, 0, _NOBODY_IN_PARTICULAR),
        (_MOST, 4, _NOBODY_IN_PARTICULAR),
        (_OTHERS, 0, _NOBODY_IN_PARTICULAR),
    )
    try:
        os.setxattr(descriptor, _ACL, _ACL_VERSION + b"".join(_ACL_ENTRY.pack(*entry) for entry in entries))
    except OSError as error:
        if error.errno not in _NO_LISTS:
            raise
        os.fchmod(descriptor, 0o644)  # by a name that nobody knows
