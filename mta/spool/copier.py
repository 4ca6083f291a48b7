"""Copier: has the write-ahead log copied in a thread of its own, for the writer of a queue file."""

import time
from collections.abc import Callable
from threading import Thread

import apsw
from twisted.logger import Logger

from mta.spool.copying import copy_log
from mta.spool.disk import Lock

LONGEST_LOG = 32_000  # pages (128 MiB) after which commits wait for the copy: the disk is slower than the mail
PAUSE = 0.2  # seconds between two copies: a reader (a listing, say) can keep one from getting to the end of the log

_log = Logger()


class Copier:
    """See above. All methods are called in the writer's thread, or where that does nothing meanwhile."""

    def __init__(self, connect: Callable[[], apsw.Connection], make_lock: Callable[[], Lock]) -> None:
        """connect: opens the file; it is done for each copy, so that no connection outlives an error."""
        self._connect = connect
        self._make_lock = make_lock
        self._thread: Thread | None = None
        self._ended = float("-inf")
        self._failed = False

    @property
    def is_busy(self) -> bool:
        """Is a copy under way?"""
        return self._thread is not None and self._thread.is_alive()

    def is_due(self, pages: int) -> bool:
        """Is it time to copy a log of so many pages?"""
        return pages >= LONGEST_LOG or (not self.is_busy and time.monotonic() - self._ended >= PAUSE)

    def copy(self, pages: int) -> bool:
        """See to it that a log of so many pages is copied soon. False: it cannot be done here."""
        if self._failed:
            self._failed = False
            return False
        if not self.is_busy and self.is_due(pages):
            self._thread = Thread(target=self._copy, name="spool copier", daemon=True)
            self._thread.start()
        if pages >= LONGEST_LOG:
            self.wait()
        return True

    def wait(self) -> None:
        """Return when nothing is being copied."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _copy(self) -> None:
        try:
            lock = self._make_lock()
            try:
                db = self._connect()
                try:
                    copy_log(db, lock)
                finally:
                    db.close()
            finally:
                lock.close()
        except Exception as error:  # whoever asks next does it himself, and finds out what is wrong
            _log.warn("the log of the queue file could not be copied aside: {error}", error=error)
            self._failed = True
        self._ended = time.monotonic()
