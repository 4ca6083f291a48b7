"""For any message: what a reader of mail gets is the same before and after, and what arrives can be sent."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sevenbit_trees import Made, binary_bodies, cut, messages, reader_sees, text_bodies

from mta.message import structure
from mta.message.lines import LONGEST_LINE
from mta.message.sevenbit import Unconvertible, converted, plan

_sizes = st.lists(st.integers(1, 400), min_size=1, max_size=4)


def convert(content: bytes, target: str = "7bit") -> bytes:
    return b"".join(converted([content], plan([content], target)))


def is_lines(octets: bytes) -> bool:
    bare = re.search(rb"\0|\r(?!\n)|(?<!\r)\n", octets)
    return bare is None and max(map(len, octets.split(b"\r\n"))) <= LONGEST_LINE


@given(messages(text_bodies))
def test_text_decodes_to_the_same(made: Made) -> None:
    result = convert(made.octets)
    assert reader_sees(result) == reader_sees(made.octets)
    assert result.isascii()
    assert is_lines(result)


@given(messages(text_bodies | binary_bodies), st.sampled_from(["7bit", "8bit"]))
def test_binary_decodes_to_the_same(made: Made, target: str) -> None:
    result = convert(made.octets, target)
    assert is_lines(result)
    assert target == "8bit" or result.isascii()
    bodies = [body for _, _, body in reader_sees(result)]
    expected = [body for _, body in made.leaves]
    assert bodies[:-1] == expected[:-1]
    # The line end of the whole content belongs to the body of a message that is no multipart.
    assert bodies[-1] in (expected[-1], expected[-1] + b"\r\n")


@given(messages(text_bodies), st.sampled_from(["7bit", "8bit"]))
def test_parts_that_need_no_change_are_left_alone(made: Made, target: str) -> None:
    result = convert(made.octets, target)
    fit = [part for part, body in made.leaves if is_lines(body) and (target == "8bit" or body.isascii())]
    assert all(part in result for part in fit)
    if len(fit) == len(made.leaves):
        assert result == made.octets


@given(messages(text_bodies))
def test_what_is_fit_stays_as_it_is(made: Made) -> None:
    result = convert(made.octets)
    assert plan([result], "7bit").edits == ()


@given(messages(text_bodies))
def test_encoded_lines_are_short(made: Made) -> None:
    added = set(convert(made.octets).split(b"\r\n")) - set(made.octets.split(b"\r\n"))
    assert all(len(line) <= 76 for line in added)


@given(messages(text_bodies | binary_bodies), _sizes, st.sampled_from(["7bit", "8bit"]))
def test_any_way_of_cutting_gives_the_same(made: Made, sizes: list[int], target: str) -> None:
    blocks = cut(made.octets, sizes)
    assert plan(blocks, target)[1:] == plan([made.octets], target)[1:]
    assert b"".join(converted(blocks, plan(blocks, target))) == convert(made.octets, target)


@given(messages(text_bodies), st.integers(1200, 1400))
def test_the_size_of_pieces_does_not_matter(made: Made, size: int) -> None:
    """The same with much smaller pieces than are used, so that their borders are everywhere."""
    found = plan([made.octets], "7bit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "PIECE", size)
        again = plan([made.octets], "7bit")
        result = b"".join(converted([made.octets], again))
    assert [edit[:2] for edit in again.edits] == [edit[:2] for edit in found.edits]
    assert reader_sees(result) == reader_sees(made.octets)


_FRAGMENTS = [
    b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b"\xff", b"--a", b"--a--", b"--b", b"--", b" ",
    b"x" * 1100, b'"', b"(", b"\\", b";",
    b"Content-Type: multipart/mixed; boundary=a\r\n", b"Content-Type: multipart/signed; boundary=b\r\n",
    b"Content-Type: multipart/digest; boundary=", b"Content-Type: message/rfc822\r\n", b"Content-Type: text/plain\r\n",
    b"Content-Transfer-Encoding: 8bit\r\n", b"content-transfer-encoding:", b"MIME-Version: 1.0\r\n",
]  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=40).map(b"".join), _sizes, st.sampled_from(["7bit", "8bit"]))
def test_anything_at_all_is_converted_or_refused(content: bytes, sizes: list[int], target: str) -> None:
    def outcome(blocks: list[bytes]) -> bytes | str:
        try:
            found = plan(blocks, target)
        except Unconvertible as why:
            return str(why)
        ends = [(edit.begin, edit.end) for edit in found.edits]
        assert all(0 <= begin <= end <= len(content) for begin, end in ends)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(ends))
        return b"".join(converted(blocks, found))

    result = outcome([content])
    assert outcome(cut(content, sizes)) == result
    if isinstance(result, bytes):
        assert b"\0" not in result
        assert re.search(rb"\r(?!\n)|(?<!\r)\n", result) is None
        assert target == "8bit" or result.isascii()
