"""Folder: what lies where in a spool folder, and who may hold what.

queue-0.db            the queue file of worker 0 (and its -wal and -shm)
queue-0.lock          held by the worker for life, with its process id in it
queue-0.write         held by whoever has a transaction open, the worker or the `mta` command
content/0/            contents too large for a row, by queue id
"""

import os
import re
import time
from pathlib import Path

from mta.interfaces import SpoolBroken
from mta.spool.content import ContentFiles
from mta.spool.database import companions
from mta.spool.disk import Disk, Lock

LOCK_TRIES = 20  # the `mta` command takes a worker's lock for moments, to see whether there is a worker
LOCK_WAIT = 0.05  # seconds

_QUEUE_FILE = re.compile(r"queue-(\d{1,3})\.db")


class Folder:
    """A spool folder."""

    def __init__(self, path: Path, disk: Disk, vfs: str | None) -> None:
        """vfs: the name of the SQLite VFS under the queue files, None for SQLite's own."""
        self.path = path
        self.disk = disk
        self.vfs = vfs

    def queue(self, worker: int) -> Path:
        """The queue file of a worker."""
        return self.path / f"queue-{worker}.db"

    def workers(self) -> list[int]:
        """The workers that there are queue files of."""
        found = [_QUEUE_FILE.fullmatch(name) for name in self.disk.names(self.path)]
        return sorted(int(one[1]) for one in found if one is not None)

    def remove(self, worker: int) -> None:
        """Remove a queue file that is empty and closed. Its locks stay, as locks do."""
        path = self.queue(worker)
        for one in (path, *companions(path)):
            self.disk.unlink(one)
        self.disk.sync_folder(self.path)

    def contents(self, worker: int) -> ContentFiles:
        """The content files of a worker."""
        return ContentFiles(self.disk, self.path / "content" / str(worker))

    def write_lock(self, worker: int) -> Lock:
        """The lock for transactions."""
        return self.disk.lock(self.path / f"queue-{worker}.write")

    def hold(self, worker: int, holder: int | None = None) -> Lock:
        """Become the worker of a queue file, for life. Raises `SpoolBroken` where it has one that lives.

        holder: the process that others are told of; None for this one.
        """
        lock = self._life_lock(worker)
        for _ in range(LOCK_TRIES):
            if lock.try_acquire():
                lock.sign(f"{holder or os.getpid()}\n")
                return lock
            time.sleep(LOCK_WAIT)
        other = lock.signature() or "unknown"
        lock.close()
        raise SpoolBroken(f"the spool {self.path} is in use by another relay, process {other} (queue {worker})")

    def holder(self, worker: int) -> str:
        """What the worker of a queue file has signed with: its process id, or its supervisor's."""
        lock = self._life_lock(worker)
        try:
            return lock.signature()
        finally:
            lock.close()

    def hold_for_a_moment(self, worker: int) -> Lock | None:
        """Take the place of a worker that is not there; None where it is."""
        lock = self._life_lock(worker)
        if lock.try_acquire():
            return lock
        lock.close()
        return None

    def _life_lock(self, worker: int) -> Lock:
        return self.disk.lock(self.path / f"queue-{worker}.lock")
