"""Lines out of octets, for every way of cutting them."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp import limits
from mta.smtp.framing import LineFault, LineReader

LONG, TOO_LONG, ENDLESS = 2046, 2047, 65537
PARTS = st.sampled_from([b"a", b"NOOP", b"\r", b"\n", b"\r\n", b"x" * LONG, b"x" * TOO_LONG, b"x" * ENDLESS])


def lines(pieces: list[bytes], fix: bool) -> list[bytes | LineFault]:
    reader = LineReader(fix)
    found: list[bytes | LineFault] = []
    for piece in pieces:
        reader.receive(piece)
        while (line := reader.next_line()) is not None:
            found.append(line)
            if line in (LineFault.ENDLESS, LineFault.BARE_LF):  # nobody listens any longer
                return found
        assert len(reader) <= limits.ACCEPTED_COMMAND_LINE
    return found


@given(st.lists(PARTS, max_size=8).map(b"".join), st.lists(st.integers(0, 70000), max_size=8), st.booleans())
@settings(max_examples=500, deadline=None)
def test_every_way_of_cutting_gives_the_same_lines(octets: bytes, cuts: list[int], fix: bool) -> None:
    borders = [0, *sorted(cuts), len(octets)]
    pieces = [octets[start:end] for start, end in pairwise(borders)]
    assert lines(pieces, fix) == lines([octets], fix)


@pytest.mark.parametrize("step", [1, 2, 1000, 100000])
def test_an_over_long_line_never_becomes_a_command(step: int) -> None:
    octets = b"x" * 5000 + b"QUIT\r\nNOOP\r\n"
    pieces = [octets[at : at + step] for at in range(0, len(octets), step)]
    assert lines(pieces, False) == [LineFault.TOO_LONG, b"NOOP"]


@pytest.mark.parametrize("step", [1, 63, 64, 1000, 100000])
def test_the_head_of_an_over_long_line_is_kept(step: int) -> None:
    octets = b"NOOP\r\nBDAT 6 " + b"x" * 5000 + b"\r\n"
    reader = LineReader(False)
    found = []
    for at in range(0, len(octets), step):
        reader.receive(octets[at : at + step])
        while (line := reader.next_line()) is not None:
            found.append(line)
    assert found == [b"NOOP", LineFault.TOO_LONG]
    assert reader.head == b"BDAT 6 " + b"x" * 57


@pytest.mark.parametrize(("length", "expected"), [(LONG, b"x" * LONG), (TOO_LONG, LineFault.TOO_LONG)])
def test_the_limit_counts_the_line_end(length: int, expected: bytes | LineFault) -> None:
    assert lines([b"x" * length + b"\r\n"], False) == [expected]


def test_the_end_of_an_endless_line_is_not_waited_for() -> None:
    assert lines([b"x" * 1000] * 66, False) == [LineFault.ENDLESS]
    whole = b"x" * ENDLESS + b"\r\n"
    assert lines([whole], False) == lines([whole[:-1], whole[-1:]], False) == [LineFault.ENDLESS]


def test_bare_line_feeds() -> None:
    assert lines([b"NOOP\nQUIT\r\n"], False) == [LineFault.BARE_LF]
    assert lines([b"NOOP\nQUIT\r\n\n"], True) == [b"NOOP", b"QUIT", b""]
    assert lines([b"NO\rOP\r\r\n"], False) == [b"NO\rOP\r"]


def test_what_waits_can_be_taken_as_it_came() -> None:
    reader = LineReader(False)
    reader.receive(b"DATA\r\nHello\n")
    assert reader.next_line() == b"DATA"
    assert len(reader) == 6
    assert reader.take_all() == b"Hello\n"
    assert (len(reader), reader.take_all(), reader.next_line()) == (0, b"", None)
