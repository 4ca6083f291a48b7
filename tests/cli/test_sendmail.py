"""`sendmail`: what becomes of a message, whatever the relay says to it, and what its caller is told."""

import errno
import io
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
from cli_ground import MTA
from toy_relay import HANG_UP, SILENCE, Toy

from mta.cli import impostors, sendmail, submitting
from mta.cli.submitting import Place
from mta.cli.whereabouts import Whereabouts
from mta.smtp import replies
from mta.spool.drop import user_name

TEXT = "Subject: x\n\nbody\n"
NOBODY_THERE = Place("127.0.0.1", 9)


class Ground:
    """Runs sendmail in this process, with a relay that is a toy, and a drop folder."""

    def __init__(self, spool: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.drop = spool / "drop"
        self.drop.mkdir(parents=True)
        self.places: tuple[Place, ...] = (NOBODY_THERE,)
        self._patch = monkeypatch
        self._printed = capsys
        monkeypatch.setattr(
            sendmail, "find_relay", lambda *_: Whereabouts("relay.test", self.places, (self.drop.parent,))
        )

    def send(self, *words: str, text: str | bytes = TEXT, status: int = 0) -> str:
        """What it prints."""
        octets = text if isinstance(text, bytes) else text.encode()
        self._patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(octets)))
        assert sendmail.run(words) == status, self._printed.readouterr()
        out, err = self._printed.readouterr()
        return str(out + err)

    @property
    def left(self) -> list[bytes]:
        """What has been left in the drop folder."""
        return [one.read_bytes() for one in sorted(self.drop.iterdir())]


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ground:
    return Ground(tmp_path / "spool", monkeypatch, capsys)


@pytest.fixture
def toy(ground: Ground) -> Iterator[Toy]:
    with Toy().running() as one:
        ground.places = (one.place,)
        yield one


def test_it_is_submitted(ground: Ground, toy: Toy) -> None:
    words = ("-f", "a@b.test", "-N", "failure", "-R", "hdrs", "-V", "id 7", "c@d.test", "e@f.test")
    assert ground.send(*words, text="Subject: x\n\n.dots\nbody\n") == ""
    assert toy.heard == [
        "EHLO relay.test",
        "MAIL FROM:<a@b.test> RET=HDRS ENVID=id+207",
        "RCPT TO:<c@d.test> NOTIFY=FAILURE",
        "RCPT TO:<e@f.test> NOTIFY=FAILURE",
        "DATA",
        "QUIT",
    ]
    assert toy.contents == [b"From: a@b.test\r\nSubject: x\r\n\r\n..dots\r\nbody\r\n.\r\n"]
    assert ground.left == []


def test_who_says_nothing_of_himself_is_the_user(ground: Ground, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "Ann Other")
    ground.send("root")
    us = user_name(os.getuid())
    assert toy.heard[1:3] == [f"MAIL FROM:<{us}>", "RCPT TO:<root>"]
    assert toy.contents[0].startswith(f"From: Ann Other <{us}@relay.test>\r\n".encode())
    ground.send("-f", "<>", "root")
    assert b"From:" not in toy.contents[1]
    assert "MAIL FROM:<>" in toy.heard


def test_eight_bit_and_letters_of_the_world(ground: Ground, toy: Toy) -> None:
    toy.answers["EHLO"] = "250-toy.test\r\n250-8BITMIME\r\n250 SMTPUTF8"
    ground.send("-f", "a@b.test", "jos\u00e9@d\u00e9j\u00e0.test", text="Subject: x\n\n\u00e9\n")
    assert toy.heard[1:3] == ["MAIL FROM:<a@b.test> BODY=8BITMIME SMTPUTF8", "RCPT TO:<jos\u00e9@d\u00e9j\u00e0.test>"]


@pytest.mark.parametrize(
    ("event", "answer", "status"),
    [
        ("RCPT", "550 5.1.1 nobody", os.EX_NOUSER),
        ("RCPT", "550 5.1.2 no such domain", os.EX_NOHOST),
        ("RCPT", "550 5.7.1 not for you", os.EX_NOPERM),
        ("RCPT", "550 no", os.EX_UNAVAILABLE),
        ("CONTENT", "554 5.6.0 rubbish", os.EX_DATAERR),
        ("CONTENT", "552 5.3.4 too big", os.EX_UNAVAILABLE),
        ("MAIL", "553 5.1.8 \x1b[2Jno", os.EX_UNAVAILABLE),
    ],
)
def test_what_is_refused_for_good_is_told_and_not_kept(
    ground: Ground, toy: Toy, event: str, answer: str, status: int
) -> None:
    toy.answers[event] = answer
    said = ground.send("c@d.test", status=status)
    assert said.startswith(f"sendmail: c@d.test is refused: {answer[:9].strip()}")
    assert "\x1b" not in said
    assert ground.left == []


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        ("GREETING", "421 4.3.2 going down"),
        ("GREETING", "554 5.3.2 no service here"),
        ("GREETING", "HTTP/1.1 400 Bad Request"),
        ("GREETING", HANG_UP),
        ("GREETING", SILENCE),
        ("EHLO", "421 4.3.2 going down"),
        ("MAIL", "451 4.3.0 local error"),
        ("MAIL", str(replies.TLS_FIRST)),
        ("MAIL", str(replies.LOGIN_FIRST)),
        ("RCPT", "450 4.2.1 later"),
        ("RCPT", "421 4.3.2 going down"),
        ("RCPT", str(replies.RELAYING_DENIED)),
        ("RCPT", HANG_UP),
        ("DATA", "452 4.3.1 full"),
        ("CONTENT", "451 4.3.0 local error"),
        ("CONTENT", "nonsense"),
        ("CONTENT", HANG_UP),
    ],
)
def test_what_is_not_taken_now_is_left_for_the_relay(
    ground: Ground, toy: Toy, event: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "PATIENCE", 0.2)
    toy.answers[event] = answer
    assert ground.send("-f", "a@b.test", "c@d.test") == ""
    assert ground.left == [
        b"EHLO relay.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
        b"From: a@b.test\r\nSubject: x\r\n\r\nbody\r\n.\r\n"
    ]


def test_each_recipient_has_his_own_fate(ground: Ground, toy: Toy) -> None:
    toy.answers |= {"RCPT late@d.test": "450 4.2.1 later", "RCPT no@d.test": "550 5.1.1 no"}
    said = ground.send("-N", "never", "yes@d.test", "late@d.test", "no@d.test", status=os.EX_NOUSER)
    assert "no@d.test is refused" in said
    assert "it goes to the other recipients" in said
    assert len(toy.contents) == 1
    [left] = ground.left
    assert [line for line in left.split(b"\r\n") if line.startswith(b"RCPT")] == [b"RCPT TO:<late@d.test> NOTIFY=NEVER"]


def test_the_next_place_is_tried_where_nobody_is(ground: Ground, toy: Toy) -> None:
    ground.places = (NOBODY_THERE, toy.place)
    assert "250 2.0.0 queued as 1" in ground.send("-v", "c@d.test")
    assert ground.left == []


def test_many_recipients_are_left_in_several_files(ground: Ground) -> None:
    ground.send("-N", "never", *[f"{number}@d.test" for number in range(250)])
    assert sorted(one.count(b"RCPT TO:<") for one in ground.left) == [50, 100, 100]
    assert sum(one.count(b"NOTIFY=NEVER") for one in ground.left) == 250


def test_with_no_place_for_programs_all_is_left(ground: Ground) -> None:
    ground.places = ()
    assert "no listener is for programs" in ground.send("-v", "c@d.test")
    assert len(ground.left) == 1


def test_over_a_unix_socket(ground: Ground, tmp_path: Path) -> None:
    one = Toy()
    ground.places = (one.at(tmp_path / "socket"),)
    with one.running():
        ground.send("c@d.test")
    assert len(one.contents) == 1


def test_a_socket_that_is_anothers_file_is_given_nothing(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, path = Toy(), tmp_path / "socket"
    ground.places = (one.at(path),)
    whose = {path: 54321}
    stat = Path.stat

    def of_another(self: Path, **follow: bool) -> os.stat_result:
        found = stat(self, **follow)
        return os.stat_result([*found[:4], whose.get(self, found.st_uid), *found[5:10]])

    monkeypatch.setattr(impostors.Path, "stat", of_another)
    with one.running():
        assert "another user listens there" in ground.send("-v", "c@d.test")
        assert (one.contents, len(ground.left)) == ([], 1)
        whose.clear()
        ground.send("c@d.test")
    assert len(one.contents) == 1


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit"])
def test_where_the_listener_wants_tls_it_is_used(ground: Ground, implicit: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("another-name.test").configure_cert(context)
    with Toy({"EHLO": "250-toy.test\r\n250 STARTTLS"}, context=context, implicit=implicit).running() as one:
        ground.places = (one.place,)
        ground.send("c@d.test")
    assert len(one.contents) == 1
    assert one.heard.count("EHLO relay.test") == (1 if implicit else 2)


def test_what_was_said_before_tls_is_not_believed(ground: Ground, toy: Toy) -> None:
    toy.answers |= {"EHLO": "250-toy.test\r\n250 STARTTLS", "STARTTLS": "220 ready\r\n250 and more"}
    ground.send("c@d.test")
    assert (toy.contents, len(ground.left)) == ([], 1)


def test_nobody_else_is_given_the_mail_who_listens_in_its_place(
    ground: Ground, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = f"{toy.place.port:04X}"
    local, everywhere, wide = "0100007F", "00000000", "0" * 32
    mapped = "0000000000000000FFFF00000100007F"
    for address, uid, given in (
        (local, 54321, 0),
        (everywhere, 54321, 0),
        (wide, 54321, 0),
        (mapped, 54321, 0),
        (local, os.getuid(), 1),
        (local, 0, 2),
        ("0200007F", 54321, 3),  # another address
    ):
        (tmp_path / "table").write_text(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
            f"   0: {address}:{port} {everywhere}:0000 0A 00000000:00000000 00:00000000 00000000 {uid} 0 1 1 0\n"
            f"   1: {local}:{port} {local}:1234 01 00000000:00000000 00:00000000 00000000 54321 0 1 1 0\n"
        )
        monkeypatch.setattr(sendmail, "is_impostor", partial(impostors.is_impostor, tables=[tmp_path / "table"]))
        ground.send("c@d.test")
        assert len(toy.contents) == given, address
    assert len(ground.left) == 4
    assert "another user listens there" not in ground.send("-v", "c@d.test")


def test_the_kernel_tells_who_listens(toy: Toy) -> None:
    assert not impostors.is_impostor(toy.place, ())
    assert list(impostors._listeners(toy.place, impostors.TABLES)) == [os.getuid()]


def no_folder(drop: Path) -> None:
    drop.rmdir()


def a_file(drop: Path) -> None:
    drop.rmdir()
    drop.touch()


@pytest.mark.parametrize("spoil", [no_folder, a_file])
def test_with_neither_the_caller_is_told(ground: Ground, spoil: Callable[[Path], None]) -> None:
    spoil(ground.drop)
    said = ground.send("c@d.test", status=os.EX_CANTCREAT)
    assert "the relay cannot take it (127.0.0.1:9: 451 4.4.1" in said
    assert f"nor can it be left in {ground.drop}" in said


@pytest.mark.parametrize("missing", ["drop", "spool"])
def test_before_a_relay_has_ever_run_its_user_can_leave_mail(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    spool = ground.drop.parent
    ground.drop.rmdir()
    if missing == "spool":
        spool.rmdir()
    where = Whereabouts("relay.test", ground.places, (spool,), spool.parent / "mta.yml")
    monkeypatch.setattr(sendmail, "find_relay", lambda *_: where)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    ground.send("c@d.test", status=os.EX_CANTCREAT)
    assert not ground.drop.exists()
    monkeypatch.setattr(os, "geteuid", os.getuid)
    assert ground.send("c@d.test") == ""
    assert len(ground.left) == 1
    assert oct(ground.drop.stat().st_mode) == "0o41733"
    assert spool.stat().st_mode & 0o011 == 0o011


def test_a_queue_that_is_not_there_yet_is_empty(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mta.yml"
    file.write_text("spool: nowhere\n")
    monkeypatch.setattr(sendmail, "find_relay", lambda *_: Whereabouts("relay.test", (), (tmp_path / "nowhere",), file))
    assert ground.send("-bp") == "0 messages for 0 recipients, 0 octets\n"


def test_a_spool_that_lets_nobody_pass_is_told_like_that(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat

    def denied(self: Path, **follow: bool) -> os.stat_result:
        if self == ground.drop:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat(self, **follow)

    monkeypatch.setattr(sendmail.Path, "stat", denied)
    said = ground.send("c@d.test", status=os.EX_CANTCREAT)
    assert f"nor can it be left in {ground.drop}: Permission denied" in said


def test_on_a_full_disk_it_is_for_later(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in ground.send("c@d.test", status=os.EX_TEMPFAIL)
    assert ground.left == []  # not half of it either


@pytest.mark.parametrize(
    ("words", "text", "status"),
    [
        ([], TEXT, os.EX_USAGE),
        (["-Z", "a@b.test"], TEXT, os.EX_USAGE),
        (["-bd"], TEXT, os.EX_USAGE),
        (["-f", "a@b.test,c@d.test", "e@f.test"], TEXT, os.EX_USAGE),
        (["-t"], TEXT, os.EX_USAGE),
        (["-t"], "To: a@@b.test\n\n", os.EX_DATAERR),
        (["-t"], b"To: \xff@b.test\n\n", os.EX_DATAERR),
        (["a@b.test\r\nRCPT TO:<eve@d.test>"], TEXT, os.EX_DATAERR),
        (["-f", "a@b.test>\r\nRCPT TO:<eve@d.test", "c@d.test"], TEXT, os.EX_DATAERR),
        (["\udcff@d.test"], TEXT, os.EX_DATAERR),
        (["-f", "\udcff", "c@d.test"], TEXT, os.EX_DATAERR),
        (["-V", "\udcff", "c@d.test"], TEXT, os.EX_USAGE),
        (["-V", "a\r\nb", "c@d.test"], TEXT, os.EX_USAGE),
    ],
)
def test_what_makes_no_sense_is_said_and_nothing_sent(
    ground: Ground, toy: Toy, words: list[str], text: str | bytes, status: int
) -> None:
    assert ground.send(*words, text=text, status=status).startswith("sendmail: ")
    assert (toy.heard, ground.left) == ([], [])


@pytest.mark.parametrize("words", [["c@d.test"], ["-t"], ["-bs"]])
def test_with_standard_input_closed_there_is_no_message(
    ground: Ground, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert sendmail.run(words) == os.EX_NOINPUT
    assert "standard input is closed" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-bi"], ["-I"], ["-q"], ["-q15m"]])
def test_what_is_the_relays_own_work_is_done_already(ground: Ground, words: list[str]) -> None:
    assert ground.send(*words) == ""


def test_who_interrupts_it_is_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sendmail, "submit", interrupt)
    assert "interrupted" in ground.send("c@d.test", status=os.EX_TEMPFAIL)
    assert ground.left == []


def test_a_session_with_nobody_is_told_to_come_back(ground: Ground) -> None:
    assert ground.send("-bs", status=os.EX_TEMPFAIL).startswith("421 4.3.2 relay.test ")


def test_it_goes_by_other_names(tmp_path: Path) -> None:
    (tmp_path / "mta.yml").write_text("spool: spool\nlisten: [{address: '127.0.0.1:9'}]\n")
    (tmp_path / "spool" / "drop").mkdir(parents=True)
    for name, words, text, printed in (
        ("mailq", [], "", "0 messages"),
        ("sendmail", ["c@d.test"], TEXT, ""),
    ):
        (tmp_path / name).symlink_to(MTA)
        environment = {**os.environ, "MTA_CONFIG": str(tmp_path / "mta.yml")}
        done = subprocess.run(
            [tmp_path / name, *words], input=text, text=True, capture_output=True, env=environment, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), name
        assert done.stdout.startswith(printed)
    assert len(list((tmp_path / "spool" / "drop").iterdir())) == 1
