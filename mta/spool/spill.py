"""Spill: a content that is too large for a row, on its way into its file while the octets arrive."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.spool.content import MANY_BLOCKS, ContentFiles, full_or_broken
from mta.spool.disk import File

ENOUGH = 128 * 1024  # octets that are worth a hand-over to another thread
BEHIND = 256 * 1024  # octets not yet handed to the disk after which whoever writes should wait

Run = Callable[[Callable[[], None]], "Deferred[None]"]
"""Somewhere to do what may block; the Deferred fires in the reactor's thread."""

_log = Logger()


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
        if len(self._gathered) > MANY_BLOCKS:
            self._gathered = [b"".join(self._gathered)]
        self._octets += len(octets)
        if self._octets >= ENOUGH:
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
                await self._run(partial(self._complete, self._take()))
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
        self._busy = True
        self._run(partial(self._append, self._take())).addErrback(self._failed).addCallback(self._written)

    def _take(self) -> bytes:
        """What has gathered."""
        octets = b"".join(self._gathered)
        self._gathered = []
        self._octets = 0
        return octets

    def _failed(self, failure: Failure) -> None:
        self._error = failure.value
        self._gathered = []

    def _written(self, _: None) -> None:
        self._busy = False
        behind, self._behind = self._behind, []
        if self._octets >= ENOUGH:
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

    def _complete(self, octets: bytes) -> None:
        if octets:
            self._append(octets)
        self._sync()

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
