"""The log: one line for each event, harmless whatever is in it."""

import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.maillog import LineWriter, MailLog, Observer


def lines_of(style: str = "text", addresses: str = "full") -> tuple[list[str], MailLog]:
    lines: list[str] = []
    clock = Clock()
    clock.advance(1_800_000_000.5)
    return lines, MailLog(lines.append, clock, style, addresses)


def test_a_line_of_text() -> None:
    lines, log = lines_of()
    log.event(
        "delivered", 1 << 60, to=["a@example.org", "b@example.org"], host="mx[192.0.2.1]:25", reply="250 ok", tls=None
    )
    assert lines == [
        "2027-01-15T08:00:00.500Z 1000000000000 delivered to=<a@example.org,b@example.org>"
        ' host=mx[192.0.2.1]:25 reply="250 ok"',
    ]


def test_whoever_listens_goes_on_hearing_when_the_log_is_written_in_another_way() -> None:
    lines, log = lines_of()
    heard: list[dict[str, Any]] = []
    log.tap = heard.append
    log.write_as("json", "hashed")
    log.event("started", hostname="mail.test")
    assert [one["event"] for one in heard] == ["started"]
    assert json.loads(lines[0]) == heard[0]


def test_a_line_of_json_has_the_same_fields() -> None:
    lines, log = lines_of("json")
    log.event("delivered", None, to=["a@example.org"], size=3, tls=None)
    assert json.loads(lines[0]) == {
        "time": "2027-01-15T08:00:00.500Z",
        "id": "-",
        "event": "delivered",
        "to": ["a@example.org"],
        "size": 3,
    }


def test_addresses_are_hashed_on_request() -> None:
    lines, log = lines_of(addresses="hashed")
    log.event("received", 1, sender="anne@example.org", to=["", "ANNE@example.org"], size=1)
    hidden = hashlib.sha256(b"anne").hexdigest()[:12] + "@example.org"
    assert lines[0].endswith(f"received sender=<{hidden}> to=<,{hidden}> size=1")


@pytest.mark.parametrize("style", ["text", "json"])
def test_hostile_text_stays_on_its_line(style: str) -> None:
    lines, log = lines_of(style)
    log.event("refused", 1, sender="a\r\nb", why="\x1b[2Jgone\x00\n2026 fake line\u2028x")
    assert len(lines) == 1
    assert lines[0].isprintable()


class _Unwritable:
    def write(self, text: str) -> None:
        raise OSError(28, "No space left on device")


def test_lines_of_one_turn_are_written_at_once(tmp_path) -> None:
    clock = Clock()
    path = tmp_path / "mail.log"
    writer = LineWriter(clock, path)
    writer("one")
    writer("two")
    assert path.read_text() == ""
    clock.advance(0)
    assert path.read_text() == "one\ntwo\n"
    writer("three")
    writer.flush()
    assert path.read_text() == "one\ntwo\nthree\n"
    writer.close()


def test_a_full_disk_does_not_stop_the_mail(tmp_path) -> None:
    writer = LineWriter(Clock(), tmp_path / "mail.log")
    file, writer._file = writer._file, _Unwritable()
    writer("lost")
    writer.flush()
    file.close()


def test_failures_keep_their_traceback() -> None:
    lines: list[str] = []
    log = Logger(observer=Observer(lines.append))
    try:
        raise ValueError("broken")
    except ValueError:
        log.failure("something {what}", Failure(), what="bad")
    assert "critical something bad" in lines[0]
    assert "\n    Traceback" in lines[0]
    assert "ValueError: broken" in lines[0]


def test_what_twisted_says_is_json_where_the_log_is() -> None:
    lines: list[str] = []
    _, mail_log = lines_of("json")
    for observer in (Observer(lines.append, "json"), Observer(lines.append).follow(mail_log)):
        log = Logger(observer=observer)
        log.info("listening")
        try:
            raise ValueError("broken")
        except ValueError:
            log.failure("something bad")
    told = [json.loads(line) for line in lines]
    for said, failed in zip(told[::2], told[1::2], strict=True):
        assert said == {"time": said["time"], "id": "-", "event": "info", "text": "listening"}
        assert failed["event"] == "critical"
        assert failed["text"].startswith("something bad\nTraceback ")
    mail_log.write_as("text", "full")
    log.info("listening")
    assert lines[-1].endswith(" - info listening")


def test_what_twisted_says_of_its_factories_is_left_out() -> None:
    lines: list[str] = []
    log = Logger(observer=Observer(lines.append))
    log.info("Starting factory {x}", x=1)
    log.info("listening")
    assert len(lines) == 1


def test_addresses_within_a_text_are_hashed_too() -> None:
    lines, log = lines_of(addresses="hashed")
    log.event(
        "refused",
        client="192.0.2.1",
        why="alice@example.org may not send as this address",
        line="MAIL FROM:<bob@client.example> SIZE=1",
        reply="550 5.1.1 <carol@example.net>: unknown, see https://example.net/",
    )
    assert not any(name in lines[0] for name in ("alice", "bob", "carol"))
    assert all(kept in lines[0] for kept in ("@example.org may not", "SIZE=1", "@example.net>: unknown, see https:"))


class Turning:
    """A reactor whose turn ends while a thread is at it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.callLater = self.callFromThread = lambda *call: self.asked.append(call[-1])

    def turn(self) -> None:
        asked, self.asked = self.asked, []
        for call in asked:
            call()


def test_a_line_from_a_thread_is_written_and_silences_nobody(tmp_path: Path) -> None:
    reactor = Turning()
    writer = LineWriter(reactor, tmp_path / "log")
    for number in range(200):
        thread = threading.Thread(target=writer, args=(f"thread {number}",))
        thread.start()
        writer(f"reactor {number}")
        reactor.turn()
        thread.join()
        reactor.turn()
    writer.close()
    written = (tmp_path / "log").read_text().splitlines()
    assert sorted(written) == sorted(f"{who} {number}" for who in ("thread", "reactor") for number in range(200))


def test_long_words_are_looked_through_once() -> None:
    lines, log = lines_of(addresses="hashed")
    began = time.process_time()
    for text in ("@ " + "a" * 60_000, "@=" + ("a" * 990 + " ") * 60, "a" * 60_000 + "@"):
        log.event("failed", 1, reply=text)
    assert time.process_time() - began < 0.5  # minutes, where each letter may begin an address
    log.event("failed", 1, reply="x:kim@b.example,(tom@d.example) @zoe@f.example")
    assert all(name not in lines[-1] for name in ("kim@", "tom@", "zoe@"))
    assert all(domain in lines[-1] for domain in ("@b.example", "@d.example", "@f.example"))


@pytest.mark.alone
def test_long_names_are_looked_for_in_no_time() -> None:
    lines, log = lines_of(addresses="hashed")
    began = time.process_time()
    for number in range(10):
        name = "a" * 60_000 + str(number)
        log.event("failed", 1, to=[name + "@example.org"], reply=f"no {name.upper()} here")
    assert time.process_time() - began < 0.2  # ten times that, where each becomes an expression
    assert "aaa" not in lines[-1].lower()
    log.event("failed", 1, to=["stra\u00dfe@b.example", "kim@b.example", "kim.li@b.example"],
              reply="\u0130 STRA\u00dfE, kim_2, Kim.Li and kimono")  # fmt: skip
    reply = lines[-1].partition("reply=")[2]
    assert reply.startswith('"\u0130 ') and reply.endswith(' and kimono"') and "kim_2" in reply
    assert "STRA" not in reply and "Kim" not in reply and "Li" not in reply


HOSTILE = (
    {"line": 'MAIL FROM:<"alice cooper"@example.org> SIZE=1'},
    {"line": "RCPT TO:<alice>"},
    {"line": "RCPT TO: alice SIZE=1"},
    {"line": "RCPT TO:<alice" + "e" * 108},  # the rest of a long line is not kept
    {"line": "RCPT TO:<@one.example,@two.example:alice@example.org>"},
    {"line": "VRFY alice"},
    {"line": "MAIL FROM:<alice@>"},
    {"line": "MAIL FROM:alice cooper@client.example SIZE=1"},
    {"line": 'RCPT TO:<"bob>alice"@example.org>'},
    {"line": 'RCPT TO:<"alice'},
    {"line": "MAIL FROM:<> AUTH=alice"},
    {"line": "XCLIENT LOGIN=alice ADDR=192.0.2.1"},
    {"to": ["alice@example.org"], "reply": "550 5.1.1 no mailbox alice here; Alice has moved"},
    {"to": "alice@example.org", "why": 'the directory has no "alice"'},
    {"account": "alice", "why": "alice: wrong password"},
    {"recipient": "alice@example.org", "reply": "550 '\"alice\"@example.org' is unknown"},
    {"reply": "552 <alice+list=b@example.org>: over quota, (alice@[192.0.2.1])"},
    {"destination": "alice@example.org", "host": "mx.example.org"},
)


@pytest.mark.parametrize("fields", HOSTILE, ids=str)
@pytest.mark.parametrize("style", ["text", "json"])
def test_no_local_part_is_left_in_a_hashed_line(style: str, fields: dict[str, Any]) -> None:
    lines, log = lines_of(style, addresses="hashed")
    log.event("refused", 1, client="192.0.2.1", **fields)
    assert "alice" not in lines[0].lower()
    plain, log = lines_of(style)
    log.event("refused", 1, client="192.0.2.1", **fields)
    assert "alice" in plain[0].lower()


def test_what_twisted_says_is_hashed_too() -> None:
    lines: list[str] = []
    log = Logger(observer=Observer(lines.append, addresses="hashed"))
    try:
        raise ValueError("nothing is known of alice@example.org")
    except ValueError:
        log.failure("<alice@example.org> was not delivered")
    assert "alice" not in lines[0].replace('"nothing is known of alice@example.org"', "")
    assert "@example.org> was not" in lines[0]


def test_what_twisted_says_is_hidden_as_the_log_hides_it() -> None:
    lines: list[str] = []
    for addresses in ("hashed", "full"):
        _, log = lines_of(addresses=addresses)
        Logger(observer=Observer(lines.append).follow(log)).info("nothing is known of alice@example.org")
    assert ["alice" in line for line in lines] == [False, True]
