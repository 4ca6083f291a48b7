"""Duplicate: a copy of some of a queue, without contents and timelines, for who wants to try out what would happen.

It is read in short transactions, and nothing of the queue itself is changed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mta.message.envelope import recipients_from_json
from mta.spool import database
from mta.spool.adoption import ADD_DELIVERY, ADD_DESTINATION, READ_DELIVERIES, READ_DESTINATION
from mta.spool.desk import Desk
from mta.spool.disk import Disk
from mta.spool.folder import Folder
from mta.spool.keeping import ADD_MESSAGE, unkeep
from mta.spool.store import Row, Store

STEP = 100  # messages that are read in one transaction

MESSAGE = "SELECT id, received, size, 0, envelope, '', x'' FROM message WHERE id = ?"


def duplicate(desk: Desk, messages: Sequence[int], folder: Path, now: Callable[[], float]) -> list[int]:
    """Copy messages of a queue into a folder that is empty, where each worker's are in a file of their own number.

    Returns the numbers. What has left the queue meanwhile is left out, and what is in two files is in the later one.
    """
    into = Folder(folder, Disk(), None)
    stores: dict[int, Store] = {}
    locks = []
    try:
        for worker, source in desk.files():
            lock = into.write_lock(worker)
            locks.append(lock)
            made = database.open_queue(into.queue(worker), into.disk, None)
            stores[worker] = Store(made, lock, worker, now)
            for start in range(0, len(messages), STEP):
                _copy(source, stores[worker], messages[start : start + STEP], list(stores.values()))
    finally:
        for store in stores.values():
            store.close()
        for lock in locks:
            lock.close()
    return list(stores)


def _copy(source: Store, target: Store, messages: Sequence[int], earlier: Sequence[Store]) -> None:
    """Copy what of these messages is in a file. earlier: those that may have had it before it was moved here."""
    with source.reading():
        rows = [row for number in messages for row in source.rows(MESSAGE, (number,))]
        deliveries = [one for row in rows for one in source.rows(READ_DELIVERIES, (row[0],))]
        names = dict.fromkeys(one[2] for one in deliveries)
        destinations = [row for name in names for row in source.rows(READ_DESTINATION, (name,))]
    for store in earlier:
        if store is not target:
            with store.transaction():
                for row in rows:
                    unkeep(store, row[0])
    with target.transaction():
        _write(target, rows, deliveries, destinations)


def _write(target: Store, rows: Sequence[Row], deliveries: Sequence[Row], destinations: Sequence[Row]) -> None:
    for row in rows:
        target.db.execute(ADD_MESSAGE, row)
        target.counts["messages"] += 1
        target.counts["octets"] += row[2]
    for one in deliveries:
        target.db.execute(ADD_DELIVERY, one)
        _, _, destination, state, *_, recipients, _ = one
        target.counts[state] += len(recipients_from_json(recipients))
        target.stale[destination] = None
    for one in destinations:
        target.db.execute(ADD_DESTINATION, one)
