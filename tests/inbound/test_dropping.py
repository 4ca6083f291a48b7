"""What is left in the drop folder: taken up as a submission is, and nothing that lies there does harm."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drop_ground import CONTENT, DropGround
from twisted.internet.defer import fail, succeed

from mta.inbound.dropping import MOST_REMEMBERED, PATIENCE, PAUSE
from mta.interfaces import SpoolFull
from mta.spool import drop
from mta.spool.drop import MOST_ASIDE, user_name

US = user_name(os.getuid())


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[DropGround]:
    one = DropGround(tmp_path)
    yield one
    one.stop()


def test_it_is_kept_as_a_submission_and_says_whose_it_was(ground: DropGround) -> None:
    ground.leave("bob@there.test")
    ground.wait()
    assert ground.kept == [("a@sender.test", ["bob@there.test"])]
    assert ground.names == []
    [claim] = ground.dispatcher.claims
    assert claim.envelope.client == ("drop", f"uid {os.getuid()}", "local", US, "")
    trace, _, content = ground.content().partition("From: ")
    assert re.fullmatch(
        rf"Received: by relay\.test \(from uid {os.getuid()}, {US}\)\r\n\tid [0-9A-Z]+\r\n\tfor <bob@there\.test>;"
        r"\s+[^\r\n]+\r\n",
        trace,
    )
    assert f"From: {content}".encode() == CONTENT
    assert any(f'received client=drop helo="uid {os.getuid()}" login={US}' in line for line in ground.lines)


def test_what_a_submission_lacks_is_added_and_names_are_completed(ground: DropGround) -> None:
    ground.leave("root", sender="cron", content=b"Subject: x\r\n\r\nbody\r\n")
    ground.wait()
    assert ground.kept == [("cron@relay.test", ["root@relay.test"])]
    assert {"Date", "From", "Message-ID"} <= set(re.findall(r"^([A-Za-z-]+):", ground.content(), re.M))
    assert "From: cron@relay.test\r\n" in ground.content()


def test_what_is_left_while_it_runs_is_taken_up_within_a_second(ground: DropGround) -> None:
    ground.wait(60)
    ground.leave("bob@there.test")
    ground.wait(1.0)
    assert len(ground.kept) == 1


def test_a_folder_that_has_not_changed_is_not_looked_at(ground: DropGround, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.leave("bob@there.test")
    ground.wait(3)
    monkeypatch.setattr(ground.folder, "look", lambda passed_over: pytest.fail("looked"))
    ground.wait(60)


def test_recipients_that_are_refused_come_back_the_others_get_it(ground: DropGround) -> None:
    ground.leave("bob@there.test", "x@closed.test")
    ground.wait()
    assert ground.kept == [("a@sender.test", ["bob@there.test"]), ("", ["a@sender.test"])]
    notice = ground.content(1)
    assert "Final-Recipient: rfc822; x@closed.test" in notice
    assert "550 5.7.1 this domain takes no mail" in notice
    assert "Message-ID: <1@sender.test>" in notice  # the header of what was left is given back
    assert "bob@there.test" not in notice
    assert ground.names == ground.kept_aside == []


def test_with_nobody_left_only_the_notice_is_kept(ground: DropGround) -> None:
    ground.leave("x@closed.test")
    ground.wait()
    assert ground.kept == [("", ["a@sender.test"])]
    assert (ground.names, ground.kept_aside) == ([], [])


def test_who_wants_no_notice_gets_none(ground: DropGround) -> None:
    ground.leave("x@closed.test", notify="NEVER")
    ground.wait()
    assert (ground.kept, ground.names, ground.kept_aside) == ([], [], [])


@pytest.mark.parametrize("sender", ["", "a@closed.test"])
def test_what_nobody_can_be_told_of_is_put_aside(ground: DropGround, sender: str) -> None:
    name = ground.leave("x@closed.test", sender=sender)
    ground.wait()
    assert (ground.kept, ground.names, ground.kept_aside) == ([], [], [name])


def test_content_that_is_refused_comes_back(ground: DropGround) -> None:
    for content in (
        b"Subject: big\r\n\r\n" + b"x" * 1100 + b"\r\n",
        b"Received: x\r\n" * 4 + b"Subject: big\r\n\r\n",
    ):
        ground.leave("bob@there.test", content=content)
    ground.wait()
    assert ground.kept == [("", ["a@sender.test"])] * 2
    codes = sorted(re.findall(r"x-mta; (\S+ \S+)", ground.content(number))[0] for number in range(2))
    assert codes == ["552 5.3.4", "554 5.4.6"]
    assert ground.names == []


def test_far_too_much_is_not_read_to_its_end(ground: DropGround) -> None:
    path = ground.put(BATCH[:-3])
    os.truncate(path, 1 << 40)  # a file with a hole of a terabyte
    ground.wait()
    assert ground.kept == [("", ["a@sender.test"])]
    assert "larger than a message may be" in ground.content()
    assert ground.kept_aside == [path.name]


@pytest.mark.parametrize("dated", [0, 2**33], ids=["when it was left", "in the future"])
def test_who_is_refused_for_now_is_waited_for_and_then_returned(ground: DropGround, dated: int) -> None:
    name = ground.leave("bob@there.test", "x@busy.test")
    if dated:
        os.utime(ground.drop / name, (dated, dated))
    ground.wait()
    assert (ground.kept, ground.names) == ([], [name])
    ground.wait(PAUSE)
    assert (ground.kept, ground.names) == ([], [name])
    ground.wait(PATIENCE)
    assert ground.kept == [("a@sender.test", ["bob@there.test"]), ("", ["a@sender.test"])]
    assert ground.names == []


def test_a_full_disk_keeps_it_where_it_is(ground: DropGround, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        ground.leave(f"bob{number}@there.test")
    receive, tried = ground.spool.receive, []

    def full(now: float) -> Any:
        tried.append(now)
        raise SpoolFull("full")

    monkeypatch.setattr(ground.spool, "receive", full)
    ground.wait()
    assert (len(ground.names), len(tried)) == (3, 1)  # the others would fare no better
    monkeypatch.setattr(ground.spool, "receive", receive)
    ground.wait(PAUSE)
    ground.wait()
    assert (len(ground.kept), ground.names) == (3, [])


def test_a_file_that_cannot_be_removed_is_not_taken_twice(ground: DropGround, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(ground.folder, "remove", refuse)
    name = ground.leave("bob@there.test")
    for _ in range(3):
        ground.leave("bob@there.test")
        ground.wait(PAUSE)
    assert len(ground.kept) == 4
    assert name in ground.names
    assert any("cannot be removed" in line for line in ground.lines)


BATCH = b"EHLO x\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<bob@there.test>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n"


@pytest.mark.parametrize(
    ("octets", "bounces"),
    [
        (b"", 0),
        (b"rubbish", 0),
        (b"rubbish\r\n", 0),
        (b"\0" * 70_000, 0),
        (b"GET / HTTP/1.1\r\n\r\n", 0),
        (BATCH[:-3], 1),
        (BATCH + BATCH, 1),
        (BATCH + b"QUIT\r\n", 1),
        (BATCH[:70], 1),
        (BATCH.replace(b"\r\n", b"\n"), 0),
        (BATCH.replace(b"EHLO x\r\n", b""), 0),
        (BATCH.replace(b"DATA", b"AUTH PLAIN AGFsaWNlAHNlY3JldA=="), 1),
        (BATCH.replace(b"DATA", b"XCLIENT ADDR=192.0.2.1"), 1),
        (BATCH.replace(b"DATA", b"STARTTLS"), 1),
        (BATCH.replace(b"DATA", b"ETRN there.test"), 1),
        (BATCH.replace(b"DATA", b"RSET"), 1),
        (BATCH.replace(b"DATA", b"BDAT 5 LAST"), 1),
        (BATCH.replace(b"EHLO x", b"VRFY bob"), 0),
    ],
)
def test_what_is_no_batch_is_put_aside_and_its_sender_told(ground: DropGround, octets: bytes, bounces: int) -> None:
    path = ground.put(octets)
    ground.wait()
    assert ground.kept == [("", ["a@sender.test"])] * bounces
    assert (ground.names, ground.kept_aside) == ([], [path.name])
    assert any("is no mail" in line and f"login={US}" in line for line in ground.lines)


def a_link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def a_second_name(path: Path, elsewhere: Path) -> None:
    path.hardlink_to(elsewhere)


def a_pipe(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path, elsewhere: Path) -> None:
    path.mkdir()


def a_file_for_all(path: Path, elsewhere: Path) -> None:
    path.write_bytes(BATCH)
    path.chmod(0o666)


@pytest.mark.parametrize("name", [f"mail-{'0' * 32}", f"new-{'1' * 32}", "mail-../x".replace("/", "_"), "\n\x1b[2J"])
@pytest.mark.parametrize("plant", [a_link, a_second_name, a_pipe, a_folder, a_file_for_all])
def test_what_is_not_left_there_is_put_away_unread(
    ground: DropGround, tmp_path: Path, plant: Callable[[Path, Path], None], name: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(BATCH)
    plant(ground.drop / name, secret)
    ground.wait()
    assert ground.kept == []
    if name.startswith("new-") and plant in (a_second_name, a_file_for_all):
        assert ground.names == [name]  # somebody may still be writing it
        return
    assert ground.names == []
    assert ground.kept_aside == ([] if plant is a_folder else [name])
    assert secret.read_bytes() == BATCH
    assert not [line for line in ground.lines if "\x1b" in line or "\n" in line]


def test_a_folder_with_something_in_it_is_passed_over(ground: DropGround) -> None:
    inside = ground.drop / f"mail-{'0' * 32}"
    inside.mkdir()
    (inside / "x").write_bytes(b"")
    ground.leave("bob@there.test")
    for _ in range(3):
        ground.leave("bob@there.test")
        ground.wait()
    assert len(ground.kept) == 4
    assert ground.names == [inside.name]
    assert len([line for line in ground.lines if "is no mail" in line]) == 1


def test_a_file_that_changes_while_it_is_read_is_not_taken(ground: DropGround, monkeypatch: pytest.MonkeyPatch) -> None:
    name = ground.leave("bob@there.test")
    read = drop.Handed.read

    def change(handed: drop.Handed, octets: int) -> bytes:
        with (ground.drop / name).open("ab") as file:
            file.write(b"more")
        return read(handed, octets)

    monkeypatch.setattr(drop.Handed, "read", change)
    ground.wait()
    assert [sender for sender, _ in ground.kept] == []
    assert ground.kept_aside == [name]


def test_one_that_is_still_written_is_left_alone_until_it_is_given_up(ground: DropGround) -> None:
    path = ground.put(BATCH, f"new-{'0' * 32}")
    ground.wait()
    assert ground.names == [path.name]
    os.utime(path, (0, 0))
    ground.leave("bob@there.test")
    ground.wait()
    assert ground.names == []


def test_no_user_keeps_another_waiting(ground: DropGround, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.fail("this test gives files to another user, which needs root")
    monkeypatch.setattr(drop, "MOST_OF_A_USER", 20)
    for number in range(25):
        ground.leave(f"{number}@many.test")
    os.chown(ground.drop / ground.leave("bob@there.test"), 54321, 54321)
    found = ground.folder.look()
    assert (len(found.names), found.more) == (21, True)
    ground.wait()
    assert ("a@sender.test", ["bob@there.test"]) in ground.kept[:2]
    assert any("login=uid54321" in line for line in ground.lines)
    ground.wait()
    assert (len(ground.kept), ground.names) == (26, [])


def test_what_is_put_aside_has_a_bound(ground: DropGround) -> None:
    ground.aside.mkdir()
    for number in range(MOST_ASIDE):
        (ground.aside / str(number)).touch()
    ground.put(b"rubbish")
    ground.wait()
    assert ground.names == []
    assert len(ground.kept_aside) == MOST_ASIDE


def test_mail_is_found_behind_any_number_of_other_things(ground: DropGround, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.wait()
    monkeypatch.setattr(drop, "MOST_ASIDE", 2)
    for number in range(30):
        (ground.drop / f"folder{number}" / "inside").mkdir(parents=True)
        ground.leave(f"{number}@there.test")
    found = drop.DropFolder(ground.drop.parent).look()
    assert (len(found.names), len(found.strange), found.more) == (30, 3, True)


def test_names_that_are_passed_over_are_not_remembered_without_end(ground: DropGround) -> None:
    ground.dropping._waiting = {str(number): float("inf") for number in range(MOST_REMEMBERED + 1)}
    ground.leave("bob@there.test")
    ground.wait()
    assert not ground.dropping._waiting
    assert len(ground.kept) == 1


def test_a_fault_of_ours_harms_that_one_file_alone(ground: DropGround, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ground.leave("bob@there.test")
    open_file = ground.folder.open

    def fault(name: str) -> Any:
        handed = open_file(name)
        if name == first:
            monkeypatch.setattr(handed, "read", lambda octets: 1 / 0)
        return handed

    monkeypatch.setattr(ground.folder, "open", fault)
    ground.leave("carol@there.test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mta.inbound.dropping._log.failure", lambda *_, **__: None)
        ground.wait()
    assert ground.kept == [("a@sender.test", ["carol@there.test"])]
    assert ground.names == [first]


def test_the_checks_of_an_operator_are_asked(tmp_path: Path) -> None:
    class Check:
        asked: list[tuple[str, ...]] = []

        def client(self, client_address: str) -> Any:
            return fail(AssertionError("no client connects"))

        def recipient(self, *of: str) -> Any:
            self.asked.append(of)
            return succeed(None)

    ground = DropGround(tmp_path, [Check()])  # type: ignore[list-item]
    ground.leave("bob@there.test")
    ground.wait()
    assert Check.asked == [("", "", "a@sender.test", "bob@there.test")]
    assert len(ground.kept) == 1
    ground.stop()


def test_the_folder_is_made_once_and_then_its_operators(tmp_path: Path) -> None:
    ground = DropGround(tmp_path)
    spool = ground.drop.parent
    assert (ground.drop.stat().st_mode & 0o7777, spool.stat().st_mode & 0o011) == (0o1733, 0o011)
    ground.drop.chmod(0o700)
    spool.chmod(0o700)
    ground.stop()
    again = DropGround(tmp_path)
    assert (ground.drop.stat().st_mode & 0o7777, spool.stat().st_mode & 0o777) == (0o700, 0o700)
    again.stop()


def test_a_folder_that_is_none_is_said_once_and_used_when_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "drop").symlink_to(tmp_path)
    ground = DropGround(tmp_path)
    ground.wait(5)
    assert [line for line in ground.lines if "is not a folder" in line][1:] == []
    ground.drop.unlink()
    ground.wait()
    ground.leave("bob@there.test")
    ground.wait()
    assert len(ground.kept) == 1
    ground.stop()


def test_stopped_it_takes_up_no_more(ground: DropGround) -> None:
    ground.stop()
    name = ground.leave("bob@there.test")
    ground.wait(5)
    assert (ground.kept, ground.names) == ([], [name])


def test_a_crash_before_the_file_is_removed_makes_one_extra_copy(tmp_path: Path) -> None:
    ground = DropGround(tmp_path)
    name = ground.leave("bob@there.test")
    octets = (ground.drop / name).read_bytes()
    ground.wait()
    ground.stop()
    assert len(ground.kept) == 1
    ground.put(octets, name)  # as if it had never been removed
    again = DropGround(tmp_path)
    again.wait(5)
    assert (len(again.kept), again.names) == (1, [])
    again.stop()


def test_a_folder_that_goes_is_made_anew(ground: DropGround, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.drop.rmdir()
    ground.wait(5)
    assert [line for line in ground.lines if "cannot be used" in line][1:] == []
    assert ground.drop.stat().st_mode & 0o7777 == 0o1733

    def broken(passed_over: object) -> Any:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(ground.folder, "look", broken)
        ground.leave("bob@there.test")
        ground.wait(5)
    ground.wait()
    assert len(ground.kept) == 1
    assert len([line for line in ground.lines if "Input/output" in line]) == 1
