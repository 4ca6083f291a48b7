"""Folder: what lies where in a spool folder, and who may hold what.

queue-0.db            the queue file of worker 0 (and its -wal and -shm)
queue-0.lock          held by the worker for life, with its process id in it; shared by `mta` commands for moments
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

LOCK_WAIT = 0.05  # seconds between two tries to get a lock
RELAY_PATIENCE = 1.0  # seconds that a start waits for another relay to let go of a worker's lock
COMMAND_PATIENCE = 5.0  # and for `mta` commands, which share it for moments, or write for moments

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
        """Become the worker of a queue file, for life. Raises `SpoolBroken` where it has one that lives, or where a
        command that stands still is in the way.

        holder: the process that others are told of; None for this one.
        """
        lock = self._life_lock(worker)
        try:
            self._obtain(lock, worker)
            lock.sign(f"{holder or os.getpid()}\n")
            self._see_to_writers(worker)
        except BaseException:
            lock.close()
            raise
        return lock

    def _obtain(self, lock: Lock, worker: int) -> None:
        if _wait_for(lock, RELAY_PATIENCE):
            return
        other = lock.signature() or "unknown"
        if not lock.try_share():
            raise SpoolBroken(f"the spool {self.path} is in use by another relay, process {other} (queue {worker})")
        # There is no relay, but somebody who looks whether there is one.
        if not _wait_for(lock, COMMAND_PATIENCE):
            raise self._held_up(lock, worker)

    def _see_to_writers(self, worker: int) -> None:
        """Whoever has a transaction open has it for a moment, or stands still, and then nothing could be written."""
        lock = self.write_lock(worker)
        try:
            if not _wait_for(lock, COMMAND_PATIENCE):
                raise self._held_up(lock, worker)
        finally:
            lock.close()

    def _held_up(self, lock: Lock, worker: int) -> SpoolBroken:
        others = lock.others()
        who = "process " + " and ".join(map(str, others)) if others else "a process that the kernel does not name here"
        pids = " ".join(map(str, others)) or "PROCESS"
        return SpoolBroken(
            f"the spool {self.path} is held up by {who}, most likely an mta command that was stopped (queue {worker}); "
            f"let it go on (kill -CONT {pids}) or end it (kill -KILL {pids}), then start again"
        )

    def holder(self, worker: int) -> str:
        """What the worker of a queue file has signed with: its process id, or its supervisor's."""
        lock = self._life_lock(worker)
        try:
            return lock.signature()
        finally:
            lock.close()

    def hold_for_a_moment(self, worker: int) -> Lock | None:
        """Keep the place of a worker that is not there; None where it is. Others may keep it as well."""
        lock = self._life_lock(worker)
        if lock.try_share():
            return lock
        lock.close()
        return None

    def _life_lock(self, worker: int) -> Lock:
        return self.disk.lock(self.path / f"queue-{worker}.lock")


def _wait_for(lock: Lock, patience: float) -> bool:
    """Take a lock, within so many seconds."""
    for _ in range(round(patience / LOCK_WAIT)):
        if lock.try_acquire():
            return True
        time.sleep(LOCK_WAIT)
    return lock.try_acquire()
