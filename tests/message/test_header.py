"""The header section is read from octets alone, wherever the blocks are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.message.header import TraceCounter, header_block

MESSAGE = b"Received: a\r\nSubject: b\r\n continued\r\n\r\nReceived: in the body\r\n"


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(borders)]


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_the_header_block_ends_at_the_empty_line(places: list[int]) -> None:
    assert header_block(cut(MESSAGE, places), 1000) == b"Received: a\r\nSubject: b\r\n continued\r\n"


@pytest.mark.parametrize(
    ("content", "block"),
    [
        (b"", b""),
        (b"\r\nbody\r\n", b""),
        (b"A: b\r\n\r\n", b"A: b\r\n"),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b\r\nC", b"A: b\r\n"),
        (b"no line end at all", b""),
    ],
)
def test_header_blocks_of_odd_messages(content: bytes, block: bytes) -> None:
    assert header_block([content], 1000) == block


def test_a_header_block_is_cut_after_a_whole_line() -> None:
    assert header_block([b"A: 1234567\r\n" * 100], 30) == b"A: 1234567\r\nA: 1234567\r\n"
    assert header_block([b"A: " + b"x" * 100], 30) == b""


@given(st.integers(0, 12), st.lists(st.integers(0, 2000), max_size=12))
def test_received_fields_are_counted_wherever_the_blocks_are_cut(fields: int, places: list[int]) -> None:
    content = b"X: y\r\n" + b"rEceived: by a;\r\n\tReceived: folded\r\n" * fields + b"\r\nReceived: body\r\n"
    counter = TraceCounter()
    for block in cut(content, places):
        if not counter.done:
            counter.feed(block)
    assert (counter.fields, counter.done) == (fields, True)


def test_a_received_field_may_be_the_first_line() -> None:
    counter = TraceCounter()
    counter.feed(b"Received: x\r\n\r\n")
    assert counter.fields == 1


def test_a_message_without_header_has_no_trace() -> None:
    counter = TraceCounter()
    counter.feed(b"\r\nReceived: x\r\n\r\n")
    assert (counter.fields, counter.done) == (0, True)
