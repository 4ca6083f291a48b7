"""What SIGHUP comes to, what is different between two configurations, and what systemd is told."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from mta.config.again import read_again
from mta.config.load import load
from mta.config.model import Config
from mta.config.problems import ConfigError
from mta.wiring.changes import changed_keys, kept_listeners, until_restart
from mta.wiring.heartbeat import Heartbeat
from mta.wiring.reloading import Reloading
from mta.wiring.retired import LINGER, Retired
from mta.wiring.trouble import CannotStart


def written(folder: Path, text: str = "") -> Config:
    (folder / "mta.yml").write_text(f"spool: spool\nhostname: mail.example.org\n{text}")
    return load(folder / "mta.yml")


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ("", "", []),
        ("", "history: 7d", []),
        ("", "retry: {warn: never}", ["retry.warn"]),
        ("", "routes: [{to: a.test, via: mx}]\nlimits: {received: 3}", ["routes", "limits.received"]),
        ("", "logins: {p: {user: u, password_file: f}}", ["logins"]),
        ("directory: directory.yml", "", ["directory"]),
        ("", "postmaster: x@y.test\nlisten: [{address: '127.0.0.1:1'}]", ["postmaster", "listen"]),
    ],
)
def test_what_has_changed(tmp_path: Path, before: str, after: str, keys: list[str]) -> None:
    (tmp_path / "directory.yml").write_text("a.test: {mailboxes: {b: {}}}\n")
    assert changed_keys(written(tmp_path, before), written(tmp_path, after)) == keys


def test_a_directory_of_the_same_name_with_other_names_has_changed(tmp_path: Path) -> None:
    (tmp_path / "directory.yml").write_text("a.test: {mailboxes: {b: {}}}\n")
    before = written(tmp_path, "directory: directory.yml\n")
    (tmp_path / "directory.yml").write_text("a.test: {mailboxes: {c: {}}}\n")
    assert changed_keys(before, read_again(before).config) == ["directory"]


def test_what_needs_a_start_stays_and_is_told_with_its_line(tmp_path: Path) -> None:
    before, after = written(tmp_path), written(tmp_path, "workers: 3\nhistory: 1d\n")
    after = after.model_copy(update={"spool": tmp_path / "elsewhere"})
    config, said = until_restart(before, after)
    assert (config.spool, config.workers, config.history) == (before.spool, 1, 86400)
    assert config.sources == after.sources
    assert [(one.line, one.key) for one in said] == [(1, "spool"), (3, "workers")]


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("ab", "ab", [0, 1]),
        ("ab", "ba", [1, 0]),
        ("ab", "cb", [None, 1]),
        ("aab", "aaa", [0, 1, None]),
        ("", "a", [None]),
        ("a", "", []),
    ],
)
def test_listeners_are_known_by_their_addresses(old: str, new: str, kept: list[int | None]) -> None:
    assert kept_listeners(list(old), list(new)) == kept


def test_the_same_file_is_read_whatever_folder_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    before = load(Path("mta.yml"))
    monkeypatch.chdir("/")
    (tmp_path / "mta.yml").write_text("spool: spool\nhostname: other.test\n")
    assert read_again(before).config.hostname == "other.test"
    (tmp_path / "mta.yml").write_text("spool: spool\nhostnam: x\n")
    with pytest.raises(ConfigError, match=r"^mta\.yml:2: hostnam: is not a key here"):
        read_again(before)


class Reloads:
    """Reloads whose reading and taking are answered by hand."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.readings: list[Deferred[Any]] = []
        self.log: list[tuple[str, Any]] = []
        self.told: list[bool] = []
        self.refusal: Exception | None = None
        self.is_late = False  # it comes when the configuration is in force already
        self.reloading = Reloading(self._read, self._event, lambda: self.config, self._take, self.told.append)

    def _read(self, *_: Any) -> "Deferred[Any]":
        self.readings.append(Deferred())
        return self.readings[-1]

    def _event(self, kind: str, message: int | None = None, /, **fields: Any) -> None:
        self.log.append((kind, *fields.values()))  # type: ignore[arg-type]

    async def _take(self, config: Config) -> None:
        if self.is_late:
            self.config = config
        if self.refusal is not None:
            raise self.refusal
        self.config = config


def test_who_asks_while_one_is_under_way_gets_one_more(tmp_path: Path) -> None:
    config = written(tmp_path)
    reloads = Reloads(config)
    for _ in range(3):
        reloads.reloading.reload()
    assert (len(reloads.readings), reloads.told) == (1, [True])
    again = read_again(config)
    reloads.readings[0].callback(again)
    assert (len(reloads.readings), reloads.told) == (2, [True, False, True])
    reloads.readings[1].callback(again)
    assert (len(reloads.readings), reloads.told) == (2, [True, False, True, False])
    assert reloads.log == [("reloaded", "nothing")] * 2
    reloads.reloading.reload()
    assert len(reloads.readings) == 3


def test_each_reason_has_its_line_and_what_is_in_force_stays(tmp_path: Path) -> None:
    before = written(tmp_path)
    reloads = Reloads(before)
    (tmp_path / "mta.yml").write_text("spool: spool\nhistry: 1d\nretry: {warn: soon}\n")
    reloads.reloading.reload()
    try:
        read_again(before)
    except ConfigError as error:
        reloads.readings[0].errback(error)
    assert [kind for kind, _ in reloads.log] == ["not-reloaded"] * 2
    assert reloads.log[0][1].startswith(f"{tmp_path}/mta.yml:2: histry: is not a key here")
    again = read_again(written(tmp_path, "history: 1d\n"))
    for refusal, lines in ((CannotStart("one\ntwo"), ["one", "two"]), (CannotStart("three"), ["three"])):
        del reloads.log[:]
        reloads.refusal = refusal
        reloads.reloading.reload()
        reloads.readings[-1].callback(again)
        assert reloads.log == [("not-reloaded", line) for line in lines]
    assert reloads.config is before
    assert reloads.told == [True, False] * 3


def test_a_follower_that_fails_is_named_and_the_others_follow(tmp_path: Path) -> None:
    before = written(tmp_path)
    reloads, followed = Reloads(before), []

    def fail(config: Config) -> None:
        raise ValueError("no")

    reloads.reloading.follow("the console", fail)
    reloads.reloading.follow("somebody else", followed.append)
    reloads.reloading.reload()
    reloads.readings[0].callback(read_again(written(tmp_path, "history: 1d\n")))
    assert [one.history for one in followed] == [86400]
    assert reloads.config is not before
    why = "the console goes by the former configuration (unexpected ValueError: no); mta restart has it go by this one"
    assert reloads.log == [("alarm", why), ("reloaded", ["history"])]


@pytest.mark.parametrize("in_force", [False, True])
def test_a_bug_is_told_as_what_it_came_to(tmp_path: Path, in_force: bool) -> None:
    reloads = Reloads(written(tmp_path))
    reloads.refusal, reloads.is_late = ValueError("no"), in_force
    reloads.reloading.reload()
    reloads.readings[0].callback(read_again(written(tmp_path, "history: 1d\n")))
    why = "unexpected ValueError: no"
    part = ("alarm", f"it is in force in part ({why}); mta restart has all of it in force")
    assert reloads.log == [part if in_force else ("not-reloaded", why)]


def test_what_was_replaced_is_stopped_an_hour_later_or_at_the_end() -> None:
    clock, stopped = Clock(), []
    retired = Retired(clock)

    def stop(name: str) -> "Deferred[None]":
        stopped.append(name)
        return succeed(None)

    retired.add(lambda: stop("first"))
    clock.advance(LINGER / 2)
    retired.add(lambda: stop("second"))
    clock.advance(LINGER / 2)
    assert stopped == ["first"]
    assert retired.stop().called
    assert stopped == ["first", "second"]
    assert not clock.getDelayedCalls()


class Told:
    """What systemd hears."""

    def __init__(self, watchdog: float) -> None:
        self.hears = True
        self.keeps_us = False
        self.watchdog = watchdog
        self.words: list[tuple[str, ...]] = []

    def tell(self, *words: str) -> None:
        self.words.append(words)


class Running(Clock):
    def callWhenRunning(self, work: Any, *arguments: Any) -> None:
        self.callLater(0, work, *arguments)


def test_it_is_heard_of_twice_in_the_time_as_long_as_who_is_asked_answers() -> None:
    clock, systemd = Running(), Told(60.0)
    asked: list[Deferred[None]] = []

    def ask() -> "Deferred[None]":
        asked.append(Deferred())
        return asked[-1]

    heart = Heartbeat(clock, systemd, ask, lambda: "well")  # type: ignore[arg-type]
    heart.start()
    assert systemd.words == []
    clock.advance(0)
    assert systemd.words.pop() == ("READY=1", "STATUS=well")
    asked[0].callback(None)
    assert systemd.words.pop() == ("WATCHDOG=1", "STATUS=well")
    clock.advance(30)
    asked[1].errback(OSError("the disk is full, but somebody is there to say so"))
    assert systemd.words.pop() == ("WATCHDOG=1", "STATUS=well")
    clock.advance(30)
    clock.advance(600)
    assert (len(asked), systemd.words) == (3, []), "it does not answer: nothing is told, and nobody asks again"
    asked[2].callback(None)
    assert systemd.words.pop() == ("WATCHDOG=1", "STATUS=well")
    heart.stop()
    assert systemd.words.pop()[0] == "STOPPING=1"
    clock.advance(600)
    assert systemd.words == []
    systemd.keeps_us = True  # or it would count the time until it kills what begins anew
    heart.stop()
    assert systemd.words == [("STATUS=transactions under way may end",)]


def test_where_no_watchdog_is_wanted_nobody_is_asked() -> None:
    clock, systemd = Running(), Told(0.0)
    Heartbeat(clock, systemd, lambda: pytest.fail("asked"), lambda: "well").start()  # type: ignore[arg-type]
    clock.advance(600)
    assert systemd.words == [("READY=1", "STATUS=well")]
