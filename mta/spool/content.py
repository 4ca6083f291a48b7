"""Content: the octets of kept messages, in memory, and in files where they are too many for a row of the database.

A content file is written while the octets arrive. It is complete and synced, and its name too, before the row that
names it is committed, and it is removed after the commit that removes the row. So a crash leaves files too many, never
too few, and the sweep at the next start removes them.
"""

import errno
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.interfaces import IContent, SpoolBroken, SpoolFull
from mta.message.envelope import format_queue_id, parse_queue_id
from mta.spool.disk import BLOCK, Disk, File

LARGEST_ROW = 256 * 1024  # octets; larger contents get a file
BEHIND = 256 * 1024  # octets not yet handed to the disk after which whoever writes should wait

Run = Callable[[Callable[[], None]], "Deferred[None]"]
"""Somewhere to do what may block; the Deferred fires in the reactor's thread."""

_log = Logger()
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


class Spill:
    """A content on its way into its file. Octets gather while the disk is busy with those before them.

    An error of the disk is kept until `finish`; until then further octets are thrown away.
    """

    def __init__(self, files: ContentFiles, message: int, run: Run) -> None:
        """run: does what may block, one thing at a time as far as this file is concerned."""
        self._files = files
        self._message = message
        self._run = run
        self._file: File | None = None
        self._gathered: list[bytes] = []
        self._octets = 0
        self._busy = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._behind: list[Deferred[None]] = []
        self._idle: Deferred[None] | None = None

    def write(self, octets: bytes) -> "Deferred[None] | None":
        """As `IReception.write`."""
        if self._error is not None or self._abandoned:
            return None
        self._gathered.append(octets)
        self._octets += len(octets)
        self._go_on()
        if self._octets < BEHIND:
            return None
        self._behind.append(Deferred())
        return self._behind[-1]

    async def finish(self) -> None:
        """Complete the file and sync it. Raises `SpoolFull` or `SpoolBroken`; the file is gone then."""
        if self._busy:
            self._idle = Deferred()
            await self._idle
        if self._error is None:
            try:
                await self._run(self._sync)
            except OSError as error:
                self._error = error
        if self._error is not None:
            self.abandon()
            raise full_or_broken(self._error) from self._error

    def abandon(self) -> None:
        """Remove the file, as soon as nobody writes to it any more."""
        self._gathered = []
        if not self._abandoned:
            self._abandoned = True
            if not self._busy:
                self._remove()

    def _go_on(self) -> None:
        if self._busy or not self._gathered:
            return
        octets = b"".join(self._gathered)
        self._gathered = []
        self._octets = 0
        self._busy = True
        self._run(partial(self._append, octets)).addErrback(self._failed).addCallback(self._written)

    def _failed(self, failure: Failure) -> None:
        self._error = failure.value
        self._gathered = []

    def _written(self, _: None) -> None:
        self._busy = False
        behind, self._behind = self._behind, []
        self._go_on()
        for one in behind:
            one.callback(None)
        if not self._busy:
            if self._abandoned:
                self._remove()
            if self._idle is not None:
                self._idle.callback(None)

    def _remove(self) -> None:
        self._run(self._unlink).addErrback(
            lambda failure: _log.failure("content file {path} cannot be removed", failure, path=self._path)
        )

    @property
    def _path(self) -> Path:
        return self._files.path(self._message)

    # What follows may block, and is run where it may.

    def _append(self, octets: bytes) -> None:
        if self._file is None:
            self._file = self._files.disk.create(self._path)
        self._file.write(octets)

    def _sync(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.sync()
            finally:
                file.close()
            self._files.sync_names()

    def _unlink(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
        self._files.remove(self._message)


def full_or_broken(error: BaseException) -> SpoolFull | SpoolBroken:
    """What an error of the disk means for whoever wanted something kept."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpoolFull(f"the disk of the spool is full: {error}")
    return SpoolBroken(f"the spool cannot be written: {error}")
