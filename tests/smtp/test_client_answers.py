"""Replies read from a server's octets: the forms of RFC 5321 4.2, every way of cutting them, and what is no reply."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp.answers import KEPT_LIMIT, LINE_LIMIT, LINES_LIMIT, REPLY_LIMIT, AnswerReader, clean
from mta.smtp.reply import Reply, render


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"250 ok\r\n", Reply(250, "", ("ok",))),
        (b"250\r\n", Reply(250, "", ("",))),
        (b"250 \r\n", Reply(250, "", ("",))),
        (b"250 2.1.0 sender ok\r\n", Reply(250, "2.1.0", ("sender ok",))),
        (b"250 2.1.0\r\n", Reply(250, "2.1.0", ("",))),
        (b"550 5.1.1 no such user\r\n", Reply(550, "5.1.1", ("no such user",))),
        (b"550 4.1.1 of another class\r\n", Reply(550, "", ("4.1.1 of another class",))),
        (b"250 2.1.0x\r\n", Reply(250, "", ("2.1.0x",))),
        (b"250 2.1.0.4 is no status\r\n", Reply(250, "", ("2.1.0.4 is no status",))),
        (b"250-mx.example\r\n250-SIZE 100\r\n250 HELP\r\n", Reply(250, "", ("mx.example", "SIZE 100", "HELP"))),
        (b"250-mx.example\r\n250\r\n", Reply(250, "", ("mx.example", ""))),
        (b"550-5.7.1 go\r\n550 5.7.1 away\r\n", Reply(550, "5.7.1", ("go", "away"))),
        (b"550-5.7.1 go\r\n550 5.1.1 away\r\n", Reply(550, "5.7.1", ("go", "5.1.1 away"))),
        (b"550-5.7.1 go\r\n550 away\r\n", Reply(550, "5.7.1", ("go", "away"))),
        (b"250 only LF\n", Reply(250, "", ("only LF",))),
        (b"250 two CR\r\r\n", Reply(250, "", ("two CR",))),
        (b"550 \x1b[31mred\x07\x00\rend\tof\x7f\r\n", Reply(550, "", ("?[31mred?? end of?",))),
        (b"550 \xc3\xa9t\xc3\xa9 \xff\xe9\r\n", Reply(550, "", ("été ??",))),
        ("550 \u202eevil\u2028line\r\n".encode(), Reply(550, "", ("?evil line",))),
        (b"250 " + b"x" * 5000 + b"\r\n", Reply(250, "", ("x" * 996,))),
    ],
)
def test_a_reply_is_read(octets: bytes, reply: Reply) -> None:
    reader = AnswerReader()
    assert reader.receive(octets) == [reply]
    assert reader.nonsense == ""


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n",
        b"hello\r\n",
        b"25 ok\r\n",
        b"2500 ok\r\n",
        b"250ok\r\n",
        b"250\tok\r\n",
        b"150 ok\r\n",
        b"050 ok\r\n",
        b"600 ok\r\n",
        b" 250 ok\r\n",
        b"250-one\r\n251 two\r\n",
        b"250-one\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x16\x03\x01\x00\n",
        b"\xb2\xb5\xb0 ok\r\n",
    ],
)
def test_nonsense_is_told_at_once(octets: bytes) -> None:
    reader = AnswerReader()
    assert reader.receive(octets) == []
    assert reader.nonsense
    assert reader.nonsense.isprintable()
    assert reader.receive(b"250 too late\r\n") == []


def test_replies_before_nonsense_count() -> None:
    reader = AnswerReader()
    assert reader.receive(b"250 one\r\n250 two\r\nwhat?\r\n250 three\r\n") == [
        Reply(250, "", ("one",)),
        Reply(250, "", ("two",)),
    ]
    assert reader.nonsense == "not a reply: what?"


def test_of_a_long_reply_so_much_is_kept_as_any_answer_needs() -> None:
    reader = AnswerReader()
    [reply] = reader.receive((b"250-" + b"x" * 600 + b"\r\n") * 90 + b"250 end\r\n")
    assert not reader.nonsense
    assert KEPT_LIMIT - 1000 < sum(len(line) for line in reply.lines) <= KEPT_LIMIT
    assert reader.receive(b"250-" + b"x" * 60_000 + b"\r\n250 end\r\n") == [Reply(250, "", ("x" * 996,))]
    assert reader.receive(b"250 next\r\n") == [Reply(250, "", ("next",))]


def test_of_a_line_that_does_not_end_little_is_kept_while_all_of_it_is_counted() -> None:
    """Each piece that comes would else have all the pieces before it copied and searched again."""
    reader = AnswerReader()
    tracemalloc.start()
    try:
        for _ in range(REPLY_LIMIT - 4):
            reader.receive(b"x")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 4 * LINE_LIMIT
    reader.receive(b"xxxx")
    assert not reader.nonsense
    reader.receive(b"x")
    assert reader.nonsense == f"a reply of more than {REPLY_LIMIT} octets"


def test_a_long_line_is_the_same_however_it_comes() -> None:
    whole, bit_by_bit = AnswerReader(), AnswerReader()
    said = b"250-" + b"a" * 30_000 + b"\r\n250 " + b"b" * 20_000 + b"\r\n"
    pieces = [bit_by_bit.receive(said[at : at + 7]) for at in range(0, len(said), 7)]
    assert [reply for replies in pieces for reply in replies] == whole.receive(said)
    assert whole.is_empty and bit_by_bit.is_empty


def test_endless_things_come_to_an_end() -> None:
    lines = AnswerReader()
    for _ in range(LINES_LIMIT):
        assert not lines.receive(b"250-more\r\n")
        assert not lines.nonsense
    lines.receive(b"250-more\r\n")
    assert lines.nonsense == "a reply of more than 100 lines"

    line = AnswerReader()
    for _ in range(REPLY_LIMIT // 1024):
        line.receive(b"2" * 1024)
        assert not line.nonsense
    line.receive(b"2")
    assert line.nonsense == "a reply of more than 65536 octets"

    both = AnswerReader()
    for _ in range(65):
        both.receive(b"250-" + b"x" * 1020 + b"\r\n")
    assert both.nonsense == "a reply of more than 65536 octets"

    several = AnswerReader()
    for _ in range(3):
        assert len(several.receive((b"250-" + b"x" * 800 + b"\r\n") * 50 + b"250 end\r\n")) == 1
    assert not several.nonsense


codes = st.integers(200, 599)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(lambda text: f"text {text}")


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    code = draw(codes)
    enhanced = draw(st.sampled_from(["", f"{code // 100}.1.23"])) if code // 100 in (2, 4, 5) else ""
    return Reply(code, enhanced, tuple(draw(st.lists(texts, min_size=1, max_size=5))))


@settings(deadline=None)
@given(st.lists(replies(), max_size=6), st.lists(st.integers(0, 400)))
def test_every_way_of_cutting_gives_the_replies_that_were_rendered(said: list[Reply], cuts: list[int]) -> None:
    octets = b"".join(map(render, said))
    edges = [0, *sorted(cut for cut in cuts if cut < len(octets)), len(octets)]
    reader = AnswerReader()
    heard = [reply for i, j in pairwise(edges) for reply in reader.receive(octets[i:j])]
    assert heard == said
    assert reader.nonsense == ""


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_whatever_comes_what_is_given_out_is_clean(octets: bytes) -> None:
    reader = AnswerReader()
    for reply in [*reader.receive(octets), *reader.receive(b"\n250-" + octets)]:
        assert 200 <= reply.code <= 599
        assert str(reply).isprintable()
    assert reader.nonsense.isprintable()
    assert clean(octets).isprintable()
