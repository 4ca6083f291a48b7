"""Custody: whose the spool is, and that nobody else can take mail out of it or put some in.

Nothing here is followed or opened, only looked at. What is dangerous keeps a relay from starting; what is unwise it
says. Whoever else could change the folder could change it between our look and our use, so the folder comes first.
There is one place that everybody may write to, the drop folder, where nothing is believed (`drop`).
"""

import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from mta.interfaces import SpoolBroken
from mta.spool.disk import Disk
from mta.spool.drop import NAME as DROP
from mta.spool.drop import examine as examine_drop

_FILE = re.compile(r"queue-\d{1,3}\.(db(-wal|-shm)?|lock|write)")
_SET_ASIDE = re.compile(r"(queue-\d{1,3}\.db\.damaged-\d{8}T\d{6}Z)(-wal|-shm)?")  # by `database.set_aside`
_NUMBER = re.compile(r"\d{1,3}")
_ROOT = 0


def examine(folder: Path, disk: Disk) -> list[str]:
    """What is unwise about a spool folder and what is in it, in sentences. Raises `SpoolBroken` for what is dangerous.

    The folder itself may have been reached by a link, since its path is an operator's word; nothing in it may.
    """
    found = disk.status(folder)
    if found is None:
        raise SpoolBroken(f"the spool {folder} has gone")
    us = os.geteuid()
    # Root may use what belongs to the spool's owner; that owner has no use for files that root has not given away.
    files_of = {us, found.st_uid} if us == _ROOT else {us}
    unwise = list(_examine(f"the spool {folder}", folder, found, files_of | {_ROOT}))
    if us == _ROOT != found.st_uid:
        owner = _name(found.st_uid)
        unwise.append(
            f"the spool {folder} belongs to {owner}, and this relay runs as root; start it with --uid {owner}"
        )
    drop = disk.status(folder / DROP)
    if drop is not None:
        unwise += examine_drop(folder / DROP, drop)
    for path, is_folder in _ours(folder, disk):
        found = disk.status(path)
        if found is not None:  # or else it has been removed just now
            _be_what_it_should(path, found, is_folder)
            unwise += _examine(str(path), path, found, files_of | ({_ROOT} if is_folder else set()))
    # Whoever was to be told when that was done may not have heard it.
    for name in sorted({one[1] for one in map(_SET_ASIDE.fullmatch, disk.names(folder)) if one is not None}):
        unwise.append(
            f"{folder / name} was set aside as damaged, and what is in it is not in the queue; "
            "save what can be saved, then move it out of the spool"
        )
    return unwise


def _ours(folder: Path, disk: Disk) -> Iterator[tuple[Path, bool]]:
    """What the relay uses in it, but for single contents, which are looked at when they are opened. Is it a folder?"""
    content = folder / "content"
    for name in sorted(disk.names(folder)):
        if _FILE.fullmatch(name):
            yield folder / name, False
    if disk.exists(content):
        yield content, True
        for name in sorted(disk.names(content)):
            if _NUMBER.fullmatch(name):
                yield content / name, True


def _be_what_it_should(path: Path, found: os.stat_result, is_folder: bool) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise SpoolBroken(f"{path} is a link, and links are not followed in a spool; put in its place what it leads to")
    if not (stat.S_ISDIR if is_folder else stat.S_ISREG)(found.st_mode):
        raise SpoolBroken(f"{path} is not a {'folder' if is_folder else 'file'}; move it away")
    if not is_folder and found.st_nlink > 1:
        raise SpoolBroken(f"{path} has a second name somewhere, by which others may change it; put a copy in its place")


def _examine(what: str, path: Path, found: os.stat_result, trusted: set[int]) -> Iterator[str]:
    us = _name(os.geteuid())
    if found.st_uid not in trusted:
        raise SpoolBroken(
            f"{what} belongs to {_name(found.st_uid)}, and this relay runs as {us}; "
            f"if it is to be this relay's, say: chown {us} {path}"
        )
    if found.st_mode & stat.S_IWOTH:
        raise SpoolBroken(f"{what} can be written by everybody on this machine; say: chmod go-w {path}")
    if found.st_mode & stat.S_IWGRP:
        yield f"{what} can be written by a group; say: chmod g-w {path}"


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
