"""Opening: what is made, what is upgraded, what is refused, and what is set aside."""

import os
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest
from spools import SqliteWorld, clock_at_start, kill
from twisted.internet.task import Clock

from mta.interfaces import SpoolBroken
from mta.message.envelope import Envelope, format_queue_id, parse_queue_id
from mta.spool import database
from mta.spool.desk import Desk
from mta.spool.disk import Disk
from mta.spool.folder import RELAY_PATIENCE, Folder
from mta.spool.keeping import ADD_MESSAGE
from mta.spool.sqlite import SqliteSpool


@pytest.fixture
def clock() -> Clock:
    return clock_at_start()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def refused(folder: Path, clock: Clock) -> str:
    """Why a spool does not start."""
    with pytest.raises(SpoolBroken) as error:
        SqliteSpool(folder, clock, clock.seconds, inline=True).start()
    return str(error.value)


def filled(folder: Path, clock: Clock, messages: int = 3) -> list[int]:
    world = SqliteWorld(clock, folder)
    made = [world.commit()[0] for _ in range(messages)]
    world.close()
    return made


def listed(folder: Path) -> list[int]:
    with Desk(folder) as desk:
        return [one.id for one in desk.queue()]


def test_a_new_spool_is_private_and_set_up(folder: Path, clock: Clock) -> None:
    os.umask(0o022)
    world = SqliteWorld(clock, folder / "deep", worker=3)
    world.commit(content=b"x" * 300_000)
    files = {path.relative_to(folder / "deep"): path.stat() for path in (folder / "deep").rglob("*")}
    names = {str(name) for name in files}
    assert {"queue-3.db", "queue-3.db-wal", "queue-3.db-shm", "queue-3.lock", "queue-3.write", "content/3"} < names
    for name, status in files.items():
        assert status.st_mode & 0o777 == (0o700 if name.name in ("content", "3") else 0o600), name
    assert folder.stat().st_mode & 0o777 == 0o700
    db = world.spool._writer._committer._store.db
    for pragma, value in [
        ("page_size", 4096),
        ("auto_vacuum", 2),
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("secure_delete", 0),
        ("wal_autocheckpoint", 0),
        ("user_version", len(database.schema())),
        ("application_id", database.APPLICATION_ID),
    ]:
        assert db.execute(f"PRAGMA {pragma}").fetchall() == [(value,)], pragma
    world.close()
    assert sorted(path.name for path in (folder / "deep").iterdir()) == [
        "content", "queue-3.db", "queue-3.lock", "queue-3.write",
    ]  # fmt: skip


def test_a_draft_that_was_left_behind_is_made_anew(folder: Path, clock: Clock) -> None:
    folder.mkdir()
    for suffix in ("", "-wal", "-journal"):
        (folder / f"queue-0.db.new{suffix}").write_bytes(b"left behind")
    filled(folder, clock)
    assert not list(folder.glob("*.new*"))


def test_a_second_relay_is_refused_by_name(folder: Path, clock: Clock) -> None:
    world = SqliteWorld(clock, folder)
    reason = refused(folder, clock)
    assert str(folder) in reason
    assert f"process {os.getpid()}" in reason
    other = SqliteWorld(clock, folder, worker=1)
    other.close()
    world.close()
    SqliteWorld(clock, folder).close()


def test_a_relay_in_another_process_is_refused(folder: Path, clock: Clock) -> None:
    code = (
        "import sys, pathlib; from twisted.internet.task import Clock; from mta.spool.sqlite import SqliteSpool;"
        "clock = Clock(); SqliteSpool(pathlib.Path(sys.argv[1]), clock, clock.seconds, inline=True).start();"
        "print('started', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"started\n"
        assert f"process {process.pid}" in refused(folder, clock)
        process.kill()
    SqliteWorld(clock, folder).close()


STANDS_STILL = """
import os, pathlib, signal, sys
from mta.spool.disk import Disk
from mta.spool.folder import RELAY_PATIENCE, Folder

folder = Folder(pathlib.Path(sys.argv[1]), Disk(), None)
held = folder.hold_for_a_moment(0) if sys.argv[2] == "looks" else folder.write_lock(0)
held.acquire() if sys.argv[2] == "writes" else None
print("it has it", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.parametrize("does", ["looks", "writes"])
def test_a_command_that_stands_still_is_named(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    """One that was stopped when it saw whether there is a relay, or in the middle of a change."""
    SqliteWorld(clock, folder).close()
    monkeypatch.setattr("mta.spool.folder.RELAY_PATIENCE", 0.1)
    monkeypatch.setattr("mta.spool.folder.COMMAND_PATIENCE", 0.1)
    command = [sys.executable, "-c", STANDS_STILL, str(folder), does]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"it has it\n"
            pid = process.pid
            assert refused(folder, clock) == (
                f"the spool {folder} is held up by process {pid}, most likely an mta command that was stopped "
                f"(queue 0); let it go on (kill -CONT {pid}) or end it (kill -KILL {pid}), then start again"
            )
        finally:
            process.kill()
    SqliteWorld(clock, folder).close()


def test_commands_do_not_take_one_another_for_a_relay_and_a_start_waits_for_them(folder: Path, clock: Clock) -> None:
    SqliteWorld(clock, folder).close()
    one, other = (Folder(folder, Disk(), None).hold_for_a_moment(0) for _ in range(2))
    assert one is not None
    assert other is not None
    one.close()
    later = threading.Timer(RELAY_PATIENCE + 0.1, other.close)
    later.start()
    world = SqliteWorld(clock, folder)
    later.join()
    assert Folder(folder, Disk(), None).hold_for_a_moment(0) is None
    world.close()


def test_an_sqlite_that_can_lose_mail_is_refused(folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    assert "3.51.2" in refused(folder, clock)
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.40.1")
    assert "3.51.3 or newer" in refused(folder, clock)
    for good in ("3.51.3", "3.60.0", "4.0.0"):
        monkeypatch.setattr(apsw, "sqlite_lib_version", lambda good=good: good)
        SqliteWorld(clock, folder).close()


# Schema


SECOND = "ALTER TABLE message ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'; CREATE INDEX c ON message (colour)"


def test_an_old_file_is_upgraded_and_keeps_its_mail(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = filled(folder, clock)
    first = database.schema()
    monkeypatch.setattr(database, "schema", lambda: (*first, SECOND))
    with pytest.raises(SpoolBroken, match="start the relay once"):
        Desk(folder)
    world = SqliteWorld(clock, folder)
    assert listed(folder) == messages
    store = world.spool._writer._committer._store
    assert store.rows("SELECT DISTINCT colour FROM message") == [("grey",)]
    assert store.value("PRAGMA user_version") == len(first) + 1
    assert len(world.claim()) == 3
    world.close()
    monkeypatch.undo()
    reason = refused(folder, clock)
    assert "newer version" in reason
    assert "damaged" not in reason
    assert not list(folder.glob("*damaged*")), "a newer file is not a damaged one"


def test_a_file_of_the_first_schema_is_upgraded(folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = database.schema()
    monkeypatch.setattr(database, "schema", lambda: steps[:1])
    place = Folder(folder, Disk(), None)
    place.disk.make_folder(folder)
    db = database.open_queue(place.queue(0), place.disk, None)
    number = parse_queue_id("CR7CY6C240G0")
    envelope = Envelope("s@example.org", (), clock.seconds(), 1).to_json()
    db.execute(ADD_MESSAGE, (number, clock.seconds(), 1, False, envelope, "", b"x"))
    db.execute(
        """INSERT INTO delivery VALUES (?, ?, 'example.net', 'waiting', 0, 1.0, 9e9, 0, 0, 0, '', '', 's@example.org',
        '["a@example.net"]')""",
        (number, number),
    )
    db.execute("UPDATE totals SET messages = 1, octets = 1, waiting = 1")
    db.execute("INSERT INTO destination VALUES ('example.net', 1.0, 0.0, 0, '')")
    db.close()
    monkeypatch.undo()
    world = SqliteWorld(clock, folder)
    assert listed(folder) == [number]
    [claim] = world.claim()
    assert (claim.message, claim.envelope.sender) == (number, "s@example.org")
    assert world.record(claim)
    assert world.story(claim.message).sender == "s@example.org"
    world.close()


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = filled(folder, clock)
    first = database.schema()
    monkeypatch.setattr(database, "schema", lambda: (*first, f"{SECOND}; CREATE TABLE message (id)"))
    assert "already exists" in refused(folder, clock)
    monkeypatch.undo()
    assert listed(folder) == messages


# Damage


def spoil(path: Path, kind: str) -> None:
    octets = bytearray(path.read_bytes())
    if kind == "header":
        octets[:16] = b"#!/bin/sh\nexit 0"
    elif kind == "middle":
        octets[4096:] = os.urandom(len(octets) - 4096)
    elif kind == "short":
        del octets[len(octets) // 2 :]
    elif kind == "empty":
        octets.clear()
    elif kind == "zeros":
        octets[4096:12288] = bytes(8192)
    path.write_bytes(octets)


@pytest.mark.parametrize("kind", ["header", "middle", "short", "empty", "zeros"])
def test_a_damaged_file_is_set_aside_and_the_start_refused(folder: Path, clock: Clock, kind: str) -> None:
    filled(folder, clock, messages=200)
    path = folder / "queue-0.db"
    spoil(path, kind)
    spoiled = path.read_bytes()
    reason = refused(folder, clock)
    [aside] = folder.glob("queue-0.db.damaged-*Z")
    assert aside.read_bytes() == spoiled, "nothing of it is changed"
    assert "is damaged" in reason
    assert str(aside) in reason
    assert "begins with an empty queue" in reason
    assert not path.exists()
    world = SqliteWorld(clock, folder)  # starting again begins with an empty queue
    assert world.restart().unwise == (
        f"{aside} was set aside as damaged, and what is in it is not in the queue; "
        "save what can be saved, then move it out of the spool",
    )
    assert listed(folder) == []


def test_a_damaged_file_is_not_set_aside_by_the_command(folder: Path, clock: Clock) -> None:
    filled(folder, clock)
    spoil(folder / "queue-0.db", "header")
    with pytest.raises(SpoolBroken, match=r"cannot be opened|damaged"):
        Desk(folder)
    assert (folder / "queue-0.db").exists()


def test_the_companions_go_with_a_damaged_file(folder: Path, clock: Clock) -> None:
    world = SqliteWorld(clock, folder)
    world.commit()
    log = (folder / "queue-0.db-wal").read_bytes()
    kill(world.spool)
    spoil(folder / "queue-0.db", "header")
    (folder / "queue-0.db-wal").write_bytes(log)
    refused(folder, clock)
    [aside] = folder.glob("queue-0.db.damaged-*Z")
    assert (folder / f"{aside.name}-wal").read_bytes() == log


def test_a_log_without_its_file_is_not_read_into_a_new_one(folder: Path, clock: Clock) -> None:
    folder.mkdir()
    (folder / "queue-0.db-wal").write_bytes(b"whose?")
    assert "-wal is still there" in refused(folder, clock)
    world = SqliteWorld(clock, folder)
    [why] = world.restart().unwise
    assert re.search(r"/queue-0\.db\.damaged-\w+ was set aside", why)
    world.close()
    assert listed(folder) == []


def test_another_programs_database_is_not_touched(folder: Path, clock: Clock) -> None:
    folder.mkdir()
    other = sqlite3.connect(folder / "queue-0.db")
    other.execute("CREATE TABLE precious (x)")
    other.close()
    assert "not a queue file" in refused(folder, clock)
    [aside] = folder.glob("queue-0.db.damaged-*")
    with sqlite3.connect(aside) as again:
        assert again.execute("SELECT count(*) FROM precious").fetchall() == [(0,)]
    again.close()


def test_damage_at_the_ends_of_a_large_file_is_found_without_reading_it_all(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(folder, clock, messages=300)
    monkeypatch.setattr(database, "FULL_CHECK", 0)
    world = SqliteWorld(clock, folder)
    assert len(world.claim(limit=1000)) == 300
    world.close()
    spoil(folder / "queue-0.db", "middle")
    assert "is damaged" in refused(folder, clock)


def test_links_are_not_followed(folder: Path, clock: Clock, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    filled(elsewhere, clock)
    for name in ("queue-0.db", "queue-0.lock", "queue-0.write"):
        folder.mkdir(exist_ok=True)
        (folder / name).symlink_to(elsewhere / name)
        assert str(folder) in refused(folder, clock)
        for path in folder.iterdir():
            if path.is_file() or path.is_symlink():
                path.unlink()
    assert len(listed(elsewhere)) == 3


def test_a_spool_behind_a_link_to_its_folder_is_fine(folder: Path, clock: Clock, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    messages = filled(tmp_path / "link", clock)
    assert listed(folder) == listed(tmp_path / "link") == messages


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file" / "spool") in refused(tmp_path / "file" / "spool", clock)


# Content files


def test_the_sweep_removes_what_no_row_names_and_nothing_else(folder: Path, clock: Clock) -> None:
    world = SqliteWorld(clock, folder)
    named, _ = world.commit(content=b"x" * 300_000)
    small, _ = world.commit()
    [kept] = (folder / "content" / "0").iterdir()
    orphans = [format_queue_id(named + 25600), format_queue_id(small)]
    others = ["README", "not-ours", orphans[0].lower(), f"{orphans[0]}.txt"]
    for name in [*orphans, *others]:
        (folder / "content" / "0" / name).write_bytes(b"?")
    found = world.restart()
    assert found.removed_files == len(orphans)
    assert {path.name for path in (folder / "content" / "0").iterdir()} == {kept.name, *others}
    assert world.content(next(one for one in world.claim() if one.message == named)) == b"x" * 300_000
    world.close()


def test_a_content_file_that_is_gone_or_cut_off_cannot_be_read(folder: Path, clock: Clock) -> None:
    world = SqliteWorld(clock, folder)
    _, [claim] = world.commit(content=b"x" * 300_000, eager=True)
    [path] = (folder / "content" / "0").iterdir()
    for octets in (b"x" * 299_999, b"x" * 300_001, None):
        path.write_bytes(octets) if octets is not None else path.unlink()
        with pytest.raises(OSError, match=r"not as long|No such file"):
            world.content(claim)
    world.close()
