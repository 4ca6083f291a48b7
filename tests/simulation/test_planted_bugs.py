"""A simulation that finds nothing proves nothing: bugs are planted in the relay, and it has to find each of them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

import pytest
from simulated.lives.bugs import planted
from simulated.machine import CrashPoint
from simulated.trial import trial
from twisted.internet.defer import Deferred

from mta.config.model import Config
from mta.interfaces import Record
from mta.smtp import client, content
from mta.spool import database, settling
from mta.spool.content import ContentFiles
from mta.spool.spill import Spill
from mta.spool.sqlite import SqliteSpool

MOST = 80  # crash points of a kind that are tried


def hunt(config: Config, *kinds: str) -> str:
    """What is found first: without a crash, or with crashes of these kinds. "" if all seems well."""
    for points in [(), *_points(kinds)]:
        _, found = trial(config, points)
        if found and not found[-1].startswith("it never came to"):
            return "\n".join(found)
    return ""


def _points(kinds: Iterable[str]) -> Iterator[Sequence[CrashPoint]]:
    for kind in kinds:
        event, moment, how = kind.split("-")
        numbers = Random(0).sample(range(1, MOST), MOST - 1)  # not in order: nothing is there to be lost at first
        yield from ([CrashPoint(event, number, moment, how)] for number in numbers)


def test_250_before_the_commit(config: Config) -> None:
    with planted("250-before-sync"):
        assert "of which nothing is stored" in hunt(config, "sync-before-kill")


def test_commit_without_a_sync(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = database._connect

    def careless(*arguments: Any) -> Any:
        db = connect(*arguments)
        db.execute("PRAGMA synchronous = OFF")
        return db

    monkeypatch.setattr(database, "_connect", careless)
    assert re.search("of which nothing is stored|is damaged", hunt(config, "answer-before-power"))


def test_content_file_that_is_not_synced(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(self: Spill) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    monkeypatch.setattr(Spill, "_sync", careless)
    assert "frank@up.test" in hunt(config, "answer-before-power")


def test_content_file_whose_name_is_not_synced(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContentFiles, "sync_names", lambda self: None)
    assert "frank@up.test" in hunt(config, "answer-before-power")


def test_content_file_that_goes_with_the_first_recipient(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    record = SqliteSpool.record

    def hasty(self: SqliteSpool, one: Record) -> "Deferred[bool]":
        if not one.waiting and one.events[-1].kind == "delivered":
            self._files.remove(one.claim.message)
        return record(self, one)

    monkeypatch.setattr(SqliteSpool, "record", hasty)
    assert "its content cannot be read" in hunt(config)


def test_record_that_drops_notices(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    record = settling.record
    monkeypatch.setattr(settling, "record", lambda store, one: record(store, one._replace(notices=())))
    assert "of which nothing is stored" in hunt(config)


def test_notices_in_a_write_of_their_own(config: Config) -> None:
    """All is well as long as nothing crashes in between."""
    with planted("bounce-lost-on-crash"):
        assert not trial(config)[1]
        assert "of which nothing is stored" in hunt(config, "sync-before-kill")


def test_recovery_that_forgets_what_was_being_tried(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "recover", lambda store: 0)
    assert "left in the queue" in hunt(config, "answer-before-kill")


def test_recovery_that_says_nothing_of_unknown_results(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "recover", lambda store: settling.release_all(store) or 0)
    assert "2 copies, but 0 unknown results" in hunt(config, "answer-before-kill")


def test_second_delivery_of_what_was_delivered(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery that takes up everything again, done or not, by never recording the end of a delivery."""
    monkeypatch.setattr(settling, "REMOVE_CLAIMED", f"{settling.REMOVE_CLAIMED} AND attempts < 0")
    assert "left in the queue" in hunt(config)


def test_missing_dots(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "stuff", lambda blocks, dotted: content.stuff(blocks, False))
    assert "with other octets than were sent" in hunt(config)


def test_tries_without_a_pause(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.delivery.destination.refused", lambda window, *_: window)
    monkeypatch.setattr("mta.policy.settlement.next_try", lambda policy, received, attempts, now, chance: now + 10)
    assert "was tried more than" in hunt(config)
