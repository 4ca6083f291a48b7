"""Copying: what is in the write-ahead log goes into the queue file while others commit, so that no 250 waits for it.

A copy is as slow as the disk is with thousands of pages in random order, and a sync. Nobody who commits is kept from
it by that, but the log begins again at its start only if a commit finds that all of it has been copied. So most of it
is copied without the lock that commits are made under, and the little that was added meanwhile under it.
"""

import apsw

from mta.spool.disk import Lock

FEW_PAGES = 100  # that are copied while commits wait, or so
PASSES = 10


def copy_log(db: apsw.Connection, lock: Lock) -> None:
    """Copy the log. lock: what commits are made under. Does nothing where another one is at it."""
    try:
        before = 0
        for _ in range(PASSES):  # each time what was added during the one before, which is less and less
            _, copied = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if copied - before <= FEW_PAGES:
                break
            before = copied
        lock.acquire()
        try:
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            lock.release()
    except apsw.BusyError:
        pass
