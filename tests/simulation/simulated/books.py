"""The books: what the relay has stored of every message that it has ever taken or made, read when it has stopped."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import apsw

from mta.message.envelope import format_queue_id
from mta.operating.audit import Audit, audit
from mta.spool.desk import Desk
from mta.spool.history import Story
from simulated.disk import VirtualDisk, Volume

ENDS = ("delivered", "failed", "discarded", "expanded", "dropped")
_TABLES = ("message", "delivery", "destination", "timeline", "event")


@dataclass
class Kept:
    """A message as its timeline tells of it. The lists are of recipients, and name one as often as it is told.

    waiting: who is still in the queue. received, failed_at: in seconds since 1970.
    """

    id: str
    sender: str
    about: str
    received: float
    recipients: list[str]
    ended: int
    ends: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    waiting: list[str] = field(default_factory=list)
    failed_at: dict[str, float] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    notices: list[tuple[str, str]] = field(default_factory=list)  # what about, and their ids


@dataclass
class Books:
    """kept: all messages that the relay has ever taken or made, by queue id. queued: recipients still waiting.

    messages: still waiting. rows: in the tables of the queue file, by table. audit: what `mta audit` says.
    """

    kept: dict[str, Kept]
    queued: int
    messages: int
    rows: dict[str, int]
    audit: Audit


def read_books(volume: Volume, now: float) -> Books:
    """What the spool has stored. The relay has been stopped, or is between two turns."""
    disk = VirtualDisk(volume)
    try:
        ids: list[int] = []
        rows: Counter[str] = Counter()
        for path in sorted(volume.folder.glob("queue-*.db")):
            db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=disk.vfs)
            ids += [number for (number,) in db.execute("SELECT id FROM message UNION ALL SELECT message FROM timeline")]
            rows.update({table: db.execute(f"SELECT count(*) FROM {table}").get for table in _TABLES})
            db.close()
        with Desk(volume.folder, lambda: now, disk=disk, vfs=disk.vfs, rest=lambda seconds: None) as desk:
            stories = [desk.story(number) for number in ids]
            totals = desk.totals()
            audited = audit(desk, 0.0, now, history=now)
    finally:
        disk.end()
    kept = [_kept(story) for story in stories if story is not None]
    twice = [format_queue_id(one) for one, times in Counter(ids).items() if times > 1]
    assert not twice, f"in two places: {twice}"
    return Books({one.id: one for one in kept}, totals.recipients, totals.messages, rows, audited)


def _kept(story: Story) -> Kept:
    received = story.events[0].detail
    kept = Kept(
        format_queue_id(story.id),
        story.sender,
        str(received.get("about", "")),
        story.received,
        list(received["recipients"]),
        sum(event.kind == "ended" for event in story.events),
    )
    if story.envelope is not None:
        kept.waiting += [one.address for one in story.envelope.recipients]
    for event in story.events:
        if event.kind == "failed":
            kept.failed_at.update(dict.fromkeys(event.detail["recipients"], event.at))
        if event.kind in ENDS:
            kept.ends[event.kind] += event.detail["recipients"]
        elif event.kind == "unknown":
            kept.unknown.update(event.detail["recipients"])
        elif event.kind == "notice" and "id" in event.detail:
            kept.notices.append((str(event.detail["about"]), str(event.detail["id"])))
    return kept
