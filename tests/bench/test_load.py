"""The benchmark's generator and sink: they speak SMTP as it is, and what goes wrong with a message is noticed."""

import socket
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from scripted import scripted

from bench.lanes import make_papers
from bench.ledger import faults
from bench.load import Load, Sink

HEADER = b"Date: Tue, 01 Dec 2026 12:00:00 +0000\r\nFrom: <a@bench.test>\r\n"


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    made = Sink(tmp_path)
    made.up()
    yield made
    made.end()


def deliver(port: int, content: bytes, at_once: int = 100_000) -> None:
    """A message in a session of its own, in pieces of so many octets."""
    words = b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n" + content + b".\r\nQUIT\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as session:
        session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin in range(0, len(words), at_once):
            session.sendall(words[begin : begin + at_once])
        heard = b""
        while got := session.recv(4096):
            heard += got
    assert heard.endswith(b"354 go on\r\n250 2.0.0 taken\r\n221 2.0.0 bye\r\n")


def faults_of(sink: Sink, load: Load, port: int = 0, again: bytes = b"") -> str:
    """What is found wrong with a load that goes to this port, or to the sink itself, with one message more."""
    before = sink.ledger.totals()
    sent = sink.send(load, port or sink.port)
    if again:
        deliver(sink.port, again)
    return faults(sink.ledger.entries(sent.first, load.messages), before, sink.ledger.totals())


def test_one_message_per_session(sink: Sink) -> None:
    with scripted() as server:
        sent = sink.send(Load(messages=3, sessions=1, size=3000), server.port)
    assert server.sessions == [["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]] * 3
    assert len(server.contents) == 3
    for number, content in enumerate(server.contents, sent.first):
        message = message_from_bytes(content)
        assert message["Message-ID"] == f"<{number:010}@bench.test>"
        assert all(message[name] for name in ("Date", "From", "To", "Subject"))
        assert len(content) == 3000
        bare = content.replace(b"\r\n", b"")
        assert b"\r" not in bare
        assert b"\n" not in bare


def test_a_large_message_has_a_doubled_dot(sink: Sink) -> None:
    with scripted() as server:
        sink.send(Load(messages=1, sessions=1, size=500_000), server.port)
    lines = server.contents[0].split(b"\r\n")
    assert [line[:2] for line in lines if line.startswith(b".")] == [b".."]


def test_many_messages_in_a_session(sink: Sink) -> None:
    with scripted() as server:
        sink.send(Load(messages=3, sessions=1, many=True), server.port)
    assert server.sessions[0] == ["EHLO", *["MAIL", "RCPT", "DATA"] * 3, "QUIT"]
    assert all(len(lines) == 1 for lines in server.together)


def test_the_pipelined_next_message_is_right_behind_the_content(sink: Sink) -> None:
    with scripted() as server:
        sink.send(Load(messages=3, sessions=1, size=1024, many=True, pipelined=True), server.port)
    transaction = ["MAIL FROM:<from@bench.test>", "RCPT TO:<to@bench.test>", "DATA"]
    assert [lines for lines in server.together if len(lines) > 1] == [transaction] * 3
    assert len(server.contents) == 3


@pytest.mark.alone
def test_times_are_in_order_and_the_rate_is_kept(sink: Sink) -> None:
    load = Load(messages=20, sessions=1, rate=100)
    sent = sink.send(load, sink.port)
    entries = sink.ledger.entries(sent.first, 20)
    assert all(0 < one.mailed <= one.arrived <= one.accepted for one in entries)
    assert entries[-1].mailed - entries[0].mailed >= 0.18e9


@pytest.mark.parametrize("size", [100, 1024, 65_536, 1_000_001])
@pytest.mark.parametrize(("many", "pipelined"), [(False, False), (True, False), (True, True)])
def test_nothing_is_wrong_with_what_arrives_once(sink: Sink, size: int, many: bool, pipelined: bool) -> None:
    load = Load(size=size, messages=50, sessions=7, many=many, pipelined=pipelined)
    assert faults_of(sink, load) == ""
    assert sink.ledger.totals().distinct == 50
    assert sink.ledger.totals().sessions in ((2, 3, 4, 5, 6, 7, 8) if many else (51,))


@pytest.mark.parametrize("resume", [False, True])
def test_tls(tmp_path: Path, resume: bool) -> None:
    sink = Sink(tmp_path, make_papers(tmp_path))
    sink.up(resume)
    try:
        load = Load(messages=50, sessions=1, tls=True, resume=True)  # two would be given one ticket at times
        before = sink.ledger.totals()
        sent = sink.send(load, sink.port)
        totals = sink.ledger.totals()
        assert faults(sink.ledger.entries(sent.first, 50), before, totals) == ""
    finally:
        sink.end()
    assert (totals.distinct, totals.secured, sent.secured) == (50, 50, 50)
    assert sent.resumed == totals.resumed
    assert sent.resumed == (49 if resume else 0)


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100_000])
def test_content_that_comes_in_pieces(sink: Sink, at_once: int) -> None:
    """What the generator has sent is sent once more, in pieces: no octet of it is taken for another."""
    with scripted() as server:
        sink.send(Load(messages=1, sessions=1, size=1000), server.port)
    deliver(sink.port, server.contents[0], at_once)
    entry = sink.ledger.entries(0, 1)[0]
    assert (entry.arrivals, entry.altered) == (1, 0)
    assert sink.ledger.totals().distinct == 1


def test_a_missing_message_id_is_noticed(sink: Sink) -> None:
    found = faults_of(sink, Load(messages=2), again=HEADER + b"\r\nMessage-ID: <0000000000@bench.test>\r\n")
    assert found == "1 without a Message-ID"


def test_a_message_that_nobody_sent_is_noticed(sink: Sink) -> None:
    found = faults_of(sink, Load(messages=2), again=b"Message-ID: <1234@elsewhere.test>\r\n\r\nA notice\r\n")
    assert found == "1 that nobody sent"


def test_a_second_copy_and_another_body_are_noticed(sink: Sink) -> None:
    found = faults_of(sink, Load(messages=2), again=b"message-id:  <0000000001@bench.test>\r\n\r\nAnother body\r\n")
    assert found == "1 doubled, 1 altered"


def test_what_never_arrives_is_noticed(sink: Sink) -> None:
    with scripted() as server:
        assert faults_of(sink, Load(messages=3, sessions=1), server.port) == "3 lost"


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA"])
def test_a_refusal_is_noticed(sink: Sink, verb: str) -> None:
    with scripted(refuse=verb) as server:
        found = faults_of(sink, Load(messages=3, sessions=1), server.port)
    assert found == ("3 broken off" if verb == "EHLO" else "3 refused")


def test_nobody_there_is_noticed(sink: Sink) -> None:
    sink.down()
    assert faults_of(sink, Load(messages=3)) == "3 broken off"
