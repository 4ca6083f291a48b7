"""Content: the octets of kept messages, in memory, and in files where they are too many for a row of the database.

A content file is written while the octets arrive. It is complete and synced, and its name too, before the row that
names it is committed, and it is removed after the commit that removes the row. So a crash leaves files too many, never
too few, and the sweep at the next start removes them.
"""

import errno
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from zope.interface import implementer

from mta.interfaces import IContent, SpoolBroken, SpoolFull
from mta.message.envelope import format_queue_id, parse_queue_id
from mta.spool.disk import BLOCK, Disk

LARGEST_ROW = 256 * 1024  # octets; larger contents get a file
MANY_BLOCKS = 256  # are put together: a client that sends two octets at a time would cost us twenty for each of them

_NAME = re.compile(r"[0-9A-HJKMNP-TV-Z]{12,13}")


@implementer(IContent)
class Octets:
    """A content in memory."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.size = len(octets)

    def blocks(self) -> Iterator[bytes]:
        """As in `IContent`."""
        if self.size <= BLOCK:
            yield self._octets
            return
        for begin in range(0, self.size, BLOCK):
            yield self._octets[begin : begin + BLOCK]


@implementer(IContent)
class ContentFile:
    """A content in a file."""

    def __init__(self, disk: Disk, path: Path, size: int) -> None:
        self._disk = disk
        self._path = path
        self.size = size

    def blocks(self) -> Iterator[bytes]:
        """As in `IContent`. A file that has another size than what was kept is an `OSError`, too."""
        left = self.size
        for octets in self._disk.read(self._path):
            left -= len(octets)
            if left < 0:
                break
            yield octets
        if left:
            raise OSError(errno.EIO, "the content file is not as long as what was kept", str(self._path))


class ContentFiles:
    """The folder of one worker's content files, which bear the queue ids of their messages."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self.disk = disk
        self._folder = folder

    def path(self, message: int) -> Path:
        """Where the content of a message is, or would be."""
        return self._folder / format_queue_id(message)

    def open(self, message: int, size: int) -> ContentFile:
        """The content of a message that has a file."""
        return ContentFile(self.disk, self.path(message), size)

    def remove(self, message: int) -> None:
        """Remove the file of a message that no row names any more."""
        self.disk.unlink(self.path(message))

    def sweep(self, is_named: Callable[[int], bool]) -> int:
        """Remove the files that no row names, and nothing that we did not make. How many."""
        removed = 0
        for name in self.disk.names(self._folder):
            message = parse_queue_id(name) if _NAME.fullmatch(name) else None
            if message is not None and not is_named(message):
                self.disk.unlink(self._folder / name)
                removed += 1
        return removed

    def clear(self) -> None:
        """Remove all of them, for good."""
        if self.disk.exists(self._folder):
            self.sweep(lambda message: False)
            self.sync_names()

    def make_folder(self) -> None:
        """Make the folder unless it is there."""
        self.disk.make_folder(self._folder)

    def sync_names(self) -> None:
        """Return when the names of the files are on stable storage."""
        self.disk.sync_folder(self._folder)


def full_or_broken(error: BaseException) -> SpoolFull | SpoolBroken:
    """What an error of the disk means for whoever wanted something kept."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpoolFull(f"the disk of the spool is full: {error}")
    return SpoolBroken(f"the spool cannot be written: {error}")
