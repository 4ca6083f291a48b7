"""`mta sink`: what it answers and prints, in memory, and once as a process."""

import re
import signal
import smtplib
import socket

import pytest
from cli_ground import Launch, run
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mta.cli import sink
from mta.cli.sink import SinkFactory, SinkSession


class Toy:
    """A sink in memory, with one session."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.factory = SinkFactory(self.said.append)
        self.clock = Clock()
        self.session, self.transport = self.connect()

    def connect(self) -> tuple[SinkSession, StringTransport]:
        session = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 4711))
        assert session is not None
        session.callLater = self.clock.callLater
        transport = StringTransport()
        session.makeConnection(transport)
        return session, transport

    def codes(self, octets: bytes) -> list[str]:
        """What these octets are answered with."""
        self.transport.clear()
        self.session.dataReceived(octets)
        return re.findall(r"^(\d{3}) ", self.transport.value().decode(), re.M)


TRANSACTION = (
    b"EHLO me.test\r\nMAIL FROM:<a@b.test> BODY=8BITMIME\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<e@f.test>\r\nDATA\r\n"
)


def test_it_takes_a_pipelined_transaction_and_prints_it() -> None:
    toy = Toy()
    assert toy.codes(TRANSACTION) == ["250", "250", "250", "250", "354"]
    assert toy.said == []
    assert toy.codes(b"Subject: hi\r\n\tthere \x1b[2J\r\nTo: c\r\n\r\nbody\r\n..\r\n.\r\nQUIT\r\n") == ["250", "221"]
    assert toy.transport.disconnecting
    [said] = toy.said
    time, *lines = said.split("\n")
    assert re.fullmatch(r"\S+Z  127.0.0.1 me.test", time)
    assert lines == [
        "    from a@b.test BODY=8BITMIME",
        "    to   c@d.test",
        "    to   e@f.test",
        "    44 octets, taken",
        "    | Subject: hi",
        "    |         there \\x1b[2J",
        "    | To: c",
    ]


def test_any_split_of_the_octets_prints_the_same() -> None:
    octets = TRANSACTION + b"Subject: hi\r\n\r\nbody\r\n.\r\n"
    whole, slow = Toy(), Toy()
    whole.codes(octets)
    for number in range(len(octets)):
        slow.codes(octets[number : number + 1])
    assert whole.said[0].partition("\n")[2] == slow.said[0].partition("\n")[2]
    assert "\n    | Subject: hi" in whole.said[0]


def test_the_null_path_and_the_next_transaction() -> None:
    toy = Toy()
    toy.codes(TRANSACTION + b"first\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<g@h.test>\r\nDATA\r\nsecond: 2\r\n.\r\n")
    assert toy.said[1].split("\n")[1:] == [
        "    from <>",
        "    to   g@h.test",
        "    11 octets, taken",
        "    | second: 2",
    ]


def test_content_that_no_relay_may_send_is_refused_and_said() -> None:
    toy = Toy()
    assert toy.codes(TRANSACTION + b"bare\nline\r\n.\r\n")[-1] == "550"
    assert "octets, refused: 550 5.5.2" in toy.said[0]
    assert toy.codes(b"\x1b[31mEHLO\r\n") == ["500"]
    assert "rejected \\x1b[31mEHLO: 500" in toy.said[1]


def test_other_commands_are_answered() -> None:
    toy = Toy()
    codes = toy.codes(b"HELO x\r\nNOOP\r\nRSET\r\nVRFY a\r\nHELP\r\nHELP DATA\r\nRCPT TO:<a@b.test>\r\nEXPN a\r\n")
    assert codes == ["250", "250", "250", "252", "214", "214", "503", "502"]


def test_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    many = b"".join(b"RCPT TO:<u%d@d.test>\r\n" % n for n in range(1005))
    codes = toy.codes(b"EHLO me.test\r\nMAIL FROM:<>\r\n" + many)
    assert (codes.count("250"), codes.count("452")) == (1002, 5)
    toy.codes(b"DATA\r\n" + b"Long: " + b"x" * 900 + b"\r\n" + b"Field: y\r\n" * 100_000 + b".\r\n")
    lines = toy.said[0].split("\n    | ")
    assert len(lines) == 1 + sink.HEAD_LINES
    assert max(map(len, lines[1:])) <= sink.LINE
    monkeypatch.setattr(sink, "CONNECTIONS", 2)
    toy.connect()
    assert toy.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 4712)) is None
    toy.clock.advance(sink.IDLE + 1)
    assert toy.transport.disconnected or toy.transport.disconnecting or toy.transport.aborting


def test_as_a_process(launch: Launch) -> None:
    toy = launch("sink", "--port", "0")
    assert toy.stdout is not None
    where = re.fullmatch(rb"listening on 127.0.0.1:(\d+); ctrl-C ends it\n", toy.stdout.readline())
    assert where is not None
    port = int(where[1])
    taken = run("sink", "--port", str(port), status=1)
    assert taken.stderr == f"mta: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    with smtplib.SMTP("127.0.0.1", port, "me.test", timeout=10) as client:
        client.sendmail("a@b.test", ["c@d.test"], b"Subject: hi\r\n\r\nbody\r\n")
    printed = [toy.stdout.readline().decode().strip() for _ in range(5)]
    assert printed[1:] == ["from a@b.test SIZE=21", "to   c@d.test", "21 octets, taken", "| Subject: hi"]
    toy.send_signal(signal.SIGINT)
    _, errors = toy.communicate(timeout=10)
    assert (toy.returncode, errors) == (0, b"")


def test_it_ends_when_nobody_reads_what_it_prints(launch: Launch) -> None:
    toy = launch("sink", "--port", "0")
    assert toy.stdout is not None
    port = int(toy.stdout.readline().split(b";")[0].rpartition(b":")[2])
    toy.stdout.close()
    toy.stdout = None
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(TRANSACTION + b"x\r\n.\r\n")
        _, errors = toy.communicate(timeout=10)
    assert b"Traceback" not in errors


def test_wrong_words() -> None:
    for words in (["--port", "65536"], ["--port", "smtp"], ["more"]):
        run("sink", *words, status=2)
    refused = run("sink", "--address", "192.0.2.1", status=1)
    assert refused.stderr.startswith("mta: cannot listen on 192.0.2.1:2526: ")
