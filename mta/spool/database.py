"""Database: a queue file as an SQLite connection: made, checked, upgraded, and set aside where it is damaged.

A file is made complete under another name and renamed, since page size, auto_vacuum and WAL have to be settled before
anybody else opens it.
"""

import sys
import time
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import apsw

from mta.interfaces import SpoolBroken, SpoolDamaged
from mta.spool.disk import Disk

OLDEST_SQLITE = (3, 51, 3)  # a commit beside a checkpoint of another connection could lose pages until then
APPLICATION_ID = 0x6D746171  # "mtaq", in the header of the file
PAGE_SIZE = 4096
CACHE_KIB = 8 * 1024
BUSY_MS = 5_000  # for programs that know nothing of our lock, such as the sqlite3 shell
FULL_CHECK = 64 * 1024 * 1024  # octets; checking a file of this size takes some 50 ms

_COMPANIONS = ("-wal", "-shm")
DAMAGE = (apsw.CorruptError, apsw.NotADBError)
ENDS = (  # of tables and indexes: damage to what is common to all of them shows here
    "SELECT id, envelope FROM message WHERE id IN ((SELECT min(id) FROM message), (SELECT max(id) FROM message))",
    "SELECT * FROM delivery WHERE id IN ((SELECT min(id) FROM delivery), (SELECT max(id) FROM delivery))",
    "SELECT min(deadline) FROM delivery WHERE state = 'waiting'",
    "SELECT max(deadline) FROM delivery WHERE state = 'waiting'",  # not in one: for both SQLite goes through them all
    "SELECT * FROM delivery WHERE state = 'active'",
    "SELECT * FROM destination WHERE next_due IN ((SELECT min(next_due) FROM destination), NULL) LIMIT 1",
    "SELECT * FROM timeline WHERE ended = (SELECT min(ended) FROM timeline) LIMIT 1",  # many may have ended together
    "SELECT * FROM timeline WHERE ended = (SELECT max(ended) FROM timeline) LIMIT 1",
    "SELECT * FROM owed WHERE id IN ((SELECT min(id) FROM owed), (SELECT max(id) FROM owed))",
    "SELECT * FROM event WHERE id IN ((SELECT min(id) FROM event), (SELECT max(id) FROM event))",
)


class Damaged(Exception):
    """This is not a sound queue file; the text says why."""


@cache
def schema() -> tuple[str, ...]:
    """The steps from an empty file to the present schema, as SQL. A file remembers how many it has behind it."""
    folder = resources.files("mta.spool") / "schema"
    scripts = sorted((one.name, one.read_text("utf-8")) for one in folder.iterdir() if one.name.endswith(".sql"))
    return tuple(text for _, text in scripts)


def open_queue(path: Path, disk: Disk, vfs: str | None) -> apsw.Connection:
    """Open the queue file that is ours alone, make it if there is none, upgrade it if it is old.

    Raises `SpoolBroken` where it cannot be used. A damaged one is set aside first, and starting again begins with an
    empty queue: whoever starts us should know.
    """
    require_sqlite()
    try:
        if not disk.exists(path):
            _refuse_orphans(path, disk)
            _make(path, disk, vfs)
        db = _connect(path, vfs)
        try:
            _upgrade(db, path)
            check(db)
            _trust(db)
        except BaseException:
            db.close()
            raise
    except (*DAMAGE, Damaged) as error:
        raise set_aside(path, disk, str(error)) from error
    except (apsw.Error, OSError) as error:
        raise SpoolBroken(f"the queue file {path} cannot be opened: {error}") from error
    return db


def attach(path: Path, vfs: str | None) -> apsw.Connection:
    """Open a queue file beside the relay it belongs to. Nothing is made, upgraded or set aside."""
    require_sqlite()
    try:
        db = _connect(path, vfs)
        try:
            found, known = _version(db), len(schema())
            if found != known:
                raise SpoolBroken(
                    f"the queue file {path} has schema {found}, this program works with {known}: "
                    f"{'start the relay once to upgrade it' if found < known else 'use the newer program'}"
                )
            _trust(db)
        except BaseException:
            db.close()
            raise
    except Damaged as error:
        raise SpoolBroken(f"the queue file {path} is damaged: {error}") from error
    except apsw.Error as error:
        raise SpoolBroken(f"the queue file {path} cannot be opened: {error}") from error
    return db


def peek(path: Path, vfs: str | None) -> apsw.Connection:
    """Open a queue file to look for a moment at what all schemas have. Raises `apsw.Error` and `Damaged`."""
    require_sqlite()
    return _connect(path, vfs)


def require_known(path: Path) -> None:
    """Look whether this program could start with a queue file, which is left as it is. Raises `SpoolBroken`."""
    require_sqlite()
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOFOLLOW)
        try:
            db.set_busy_timeout(BUSY_MS)
            _require_known(_version(db), path)
        finally:
            db.close()
    except (apsw.Error, Damaged) as error:
        raise SpoolBroken(f"the queue file {path} cannot be used: {error}") from error


def reopen(path: Path, vfs: str | None) -> apsw.Connection:
    """Open our queue file again after an error, and check it. Raises `SpoolBroken`; nothing is set aside."""
    db = attach(path, vfs)
    try:
        check(db)
    except (apsw.Error, Damaged) as error:
        db.close()
        raise SpoolBroken(f"the queue file {path} cannot be used: {error}") from error
    return db


def set_aside(path: Path, disk: Disk, why: str) -> SpoolDamaged:
    """Rename a damaged file and its companions. Returns what to raise, which tells the operator what to do."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for old, new in zip([path, *companions(path)], [aside, *companions(aside)], strict=True):
        if disk.exists(old):
            disk.rename(old, new)
    sqlite = f"{sys.executable} -m apsw"
    return SpoolDamaged(
        f"the queue file {path} is damaged ({why}). It was set aside as {aside}. To save what is in it: "
        f"{sqlite} {aside} .dump | {sqlite} {path} (this program's own SQLite shell; the system's may be too old). "
        f"Starting again without doing so begins with an empty queue"
    )


def require_sqlite() -> None:
    """Refuse an SQLite that can lose what was committed."""
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) < OLDEST_SQLITE:
        oldest = ".".join(str(part) for part in OLDEST_SQLITE)
        raise SpoolBroken(f"SQLite {version} can lose committed mail; {oldest} or newer is needed (upgrade apsw)")


def check(db: apsw.Connection) -> None:
    """A look for damage that takes no longer for a large file: all of a small one, both ends of each table else."""
    pages = _value(db, "PRAGMA page_count")
    if pages * PAGE_SIZE <= FULL_CHECK:
        verdict = _value(db, "PRAGMA quick_check(1)")
        if verdict != "ok":
            raise Damaged(str(verdict))
    else:
        for look in ENDS:
            db.execute(look).fetchall()
    if len(db.execute("SELECT * FROM totals").fetchall()) != 1:
        raise Damaged("the totals are missing")


def _connect(path: Path, vfs: str | None) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
    db = apsw.Connection(str(path), flags=flags, vfs=vfs)
    try:
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)  # leave a damaged file and its log as they are
        db.set_busy_timeout(BUSY_MS)
        _version(db)  # before anything is changed: it may not be ours
        mode = _value(db, "PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise Damaged(f"its journal mode is {mode}, and cannot be changed to WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = OFF")  # some builds have it on, and zero every body that is finished
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.wal_autocheckpoint(0)  # `Store.checkpoint` chooses the time
    except BaseException:
        db.close()
        raise
    return db


def _trust(db: apsw.Connection) -> None:
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, False)


def _make(path: Path, disk: Disk, vfs: str | None) -> None:
    draft = path.with_name(f"{path.name}.new")
    for leftover in (draft, *companions(draft), draft.with_name(f"{draft.name}-journal")):
        disk.unlink(leftover)
    disk.create(draft).close()  # so that it is private from the beginning, and its companions as well
    db = apsw.Connection(str(draft), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW, vfs=vfs)
    try:
        db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA journal_mode = WAL")
        for number, script in enumerate(schema(), 1):
            _step(db, number, script)
    finally:
        db.close()
    disk.rename(draft, path)


def _upgrade(db: apsw.Connection, path: Path) -> None:
    found, steps = _version(db), schema()
    _require_known(found, path)
    for number in range(found, len(steps)):
        _step(db, number + 1, steps[number])


def _require_known(found: int, path: Path) -> None:
    known = len(schema())
    if found > known:
        raise SpoolBroken(
            f"the queue file {path} was written by a newer version of this program "
            f"(schema {found}, this one knows {known}): start that version"
        )


def _step(db: apsw.Connection, number: int, script: str) -> None:
    db.execute(f"BEGIN EXCLUSIVE; {script}; PRAGMA user_version = {number}; COMMIT")


def _version(db: apsw.Connection) -> int:
    application = _value(db, "PRAGMA application_id")
    version: int = _value(db, "PRAGMA user_version")
    if application != APPLICATION_ID or version < 1:
        raise Damaged("it is not a queue file of this program")
    return version


def _value(db: apsw.Connection, statement: str) -> Any:
    ((value,),) = db.execute(statement).fetchall()
    return value


def companions(path: Path) -> list[Path]:
    """The files that SQLite keeps beside a queue file while it is open."""
    return [path.with_name(path.name + suffix) for suffix in _COMPANIONS]


def _refuse_orphans(path: Path, disk: Disk) -> None:
    """A write-ahead log without its database would be read into the new one. An empty one is not meant."""
    log = path.with_name(f"{path.name}-wal")
    if disk.exists(log):
        if next(disk.read(log), b""):
            raise Damaged("it has gone, but its -wal is still there")
        disk.unlink(log)
