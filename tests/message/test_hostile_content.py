"""Content that was written to cost a relay its time, or to keep a notice from arriving."""

import time

import pytest

from mta.message.envelope import Recipient
from mta.message.mime import read_header
from mta.message.outcome import Outcome, Result
from mta.message.returned import returned, returned_part
from mta.message.sevenbit import SEVEN_BIT, Unconvertible, plan
from mta.message.statusfields import Action, Fate
from mta.message.structure import LARGEST_HEADER, Kind, walk
from mta.smtp.reply import Reply

HEADER = b"From: a@b.example\r\nSubject: x\r\n"
SIGNED = (
    HEADER + b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n"
    b"--s\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--s--\r\n"
)
WIDE = b"From: a@b.example\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\ntext\r\n"


@pytest.mark.parametrize(
    "value",
    [
        b'text/plain () "' + b'\\"' * 60_000,
        b"text/plain " + b"(" * 100_000,
        b"multipart/mixed () " + b';a="\\"' * 30_000,
    ],
)
def test_quotes_and_comments_that_do_not_end_take_no_longer_than_others(value: bytes) -> None:
    began = time.process_time()
    read_header(b"Content-Type: " + value + b"\r\n")
    assert time.process_time() - began < 2  # a minute where each quote is a new beginning


def test_a_quoted_string_is_no_place_for_comments() -> None:
    header = read_header(b'Content-Type: multipart/mixed (a "quoted" (one)); boundary="a(b)\\"c" (d)\r\n')
    assert header.boundary == b'a(b)"c'


def test_long_lines_that_are_allowed_are_looked_at_quickly() -> None:
    whole = HEADER + b"\r\n" + (b"x" * 998 + b"\r\n") * 1000
    began = time.process_time()
    assert returned(HEADER, whole).whole
    assert time.process_time() - began < 1  # in the reactor's thread


@pytest.mark.parametrize("line", [b"x" * 999, b"\r\n" + b"x" * 999, b"y\r\n\r\n" + b"x" * 2000 + b"\r\n"])
def test_a_line_that_is_too_long_is_found_wherever_it_stands(line: bytes) -> None:
    assert not returned(HEADER, HEADER + b"\r\n" + line + b"\r\n").whole


@pytest.mark.parametrize("whole", [SIGNED, WIDE])
def test_what_a_7_bit_relay_could_not_take_does_not_come_back_in_a_notice(whole: bytes) -> None:
    header = whole.partition(b"\r\n\r\n")[0] + b"\r\n"
    given = returned(header, whole)
    assert not given.whole
    assert given.sentence.startswith("Its header alone is attached, since ")
    assert plan([returned_part(given, smtputf8=False)], SEVEN_BIT).edits == ()


def test_what_can_be_converted_comes_back() -> None:
    whole = HEADER + b"\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    assert returned(HEADER, whole).whole == whole
    header = WIDE.partition(b"\r\n\r\n")[0] + b"\r\n"
    part = returned_part(returned(header, WIDE, smtputf8=True), smtputf8=True)
    assert plan([part], SEVEN_BIT).edits
    with pytest.raises(Unconvertible):
        plan([part.replace(b"message/global", b"message/rfc822")], SEVEN_BIT)


@pytest.mark.parametrize(("action", "code"), [(Action.DELAYED, "4.0.0"), (Action.FAILED, "5.7.1")])
def test_a_delay_has_no_status_of_a_failure(action: Action, code: str) -> None:
    outcome = Outcome(Result.DEFERRED, Reply(554, "5.7.1", ("not you",)), "mx.example[192.0.2.1]:25")
    assert Fate(Recipient("x@y.example"), outcome, 0.0, action).code == code


MULTIPART = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"


@pytest.mark.alone
def test_many_parts_without_an_empty_line_are_not_each_searched_for_one() -> None:
    def seconds(end: bytes) -> float:
        content = MULTIPART + (b"\r\n--b\r\nA: b" + end) * 10_000
        began = time.process_time()
        assert list(walk([content]))
        return time.process_time() - began

    assert min(seconds(b"") for _ in range(3)) < 2 * min(seconds(b"\r\n\r\n") for _ in range(3))


def test_a_header_that_is_too_large_begins_the_body_where_it_begins() -> None:
    first, *others = walk([b"x" * (LARGEST_HEADER + 1)])
    assert (first.kind, first.at) == (Kind.BODY, 0)
    assert sum(len(one.octets) for one in (first, *others)) == LARGEST_HEADER + 1


def test_what_stands_for_an_encoding_can_be_shown() -> None:
    with pytest.raises(Unconvertible) as caught:
        plan([b"Content-Transfer-Encoding: base64\r\n\t\x1b[2J\r\n\r\n\xff"], SEVEN_BIT)
    assert str(caught.value).isprintable()


@pytest.mark.alone
@pytest.mark.parametrize(
    "text",
    [
        MULTIPART + b"\r\n--b\r\n\r\nx" * 90_000,
        MULTIPART + (b"\r\n--b\r\nContent-Type: " + b"()" * 100_000) * 5,
        b"\r\n" * 500_000,
    ],
)
def test_what_takes_long_to_look_at_does_not_come_back_in_a_notice(text: bytes) -> None:
    began = time.process_time()
    returned(HEADER, HEADER + text + b"\r\n\xff\r\n")
    assert time.process_time() - began < 0.1  # in the reactor's thread


def test_a_comment_is_a_space_wherever_it_stands() -> None:
    for field in (b"text/(a(b)c)html", b"text/html(a)(b(\\)))", b"(())text(a)/(\\()html;", b"text/html((a)"):
        assert read_header(b"Content-Type: " + field + b"\r\n").type == "text/html", field
