"""The encoders of a conversion, fed in pieces of any size: each takes part in edits that are cut anywhere."""

from binascii import a2b_base64, a2b_qp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.message import edits
from mta.message.edits import Base64, Edit, Encoder, Masked, QuotedPrintable, Replacement, edited

_cuts = st.lists(st.integers(1, 300), min_size=1, max_size=5)


def encode(encoder: Encoder, octets: bytes, sizes: list[int]) -> bytes:
    result, place, turn = b"", 0, 0
    while place < len(octets):
        result += encoder.feed(octets[place : place + sizes[turn % len(sizes)]])
        place += sizes[turn % len(sizes)]
        turn += 1
    return result + encoder.finish()


@given(st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b".", b"a", b"\xe4", b"=", b"word " * 30])).map(b"".join), _cuts)
def test_quoted_printable(text: bytes, sizes: list[int]) -> None:
    """Lines are taken as too long to be held far sooner than they are, so that many are given in pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edits, "_LONGEST_HELD", 20)
        quoted = encode(QuotedPrintable(), text, sizes)
    assert a2b_qp(quoted) == text
    assert quoted.isascii()
    lines = quoted.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.endswith((b" ", b"\t")) for line in lines)
    assert not any(one == b"=" for one in lines)  # a line that says nothing


@pytest.mark.parametrize("end", [b"a", b" ", b"\t ", b"\xe4", b".", b"\r"])
@pytest.mark.parametrize("length", range(60, 160))
def test_a_piece_of_a_line_leaves_room_for_its_line_end(
    length: int, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "_LONGEST_HELD", 20)
    text = b"a" * length + end + b"\nb" * end.endswith(b"\r")
    quoted = encode(QuotedPrintable(), text, [length + len(end)])
    assert a2b_qp(quoted) == text
    lines = quoted.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line in (b"=", b"=20", b"=09") for line in lines[:-1])


@given(st.binary(max_size=400), _cuts, st.booleans())
def test_base64(octets: bytes, sizes: list[int], ends_content: bool) -> None:
    encoded = encode(Base64(ends_content), octets, sizes)
    assert a2b_base64(encoded) == octets
    assert encoded.endswith(b"\r\n") == ends_content
    *lines, last = encoded.removesuffix(b"\r\n").split(b"\r\n")
    assert all(len(line) == 76 for line in lines)
    assert len(last) <= 76


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"\0", b"a", b"\xe4"])).map(b"".join), _cuts, st.booleans())
def test_masked(text: bytes, sizes: list[int], eight_bit: bool) -> None:
    masked = encode(Masked(eight_bit), text, [min(size, 3) for size in sizes])
    expected = text.replace(b"\r\n", b"!!").replace(b"\r", b"?").replace(b"\n", b"?").replace(b"\0", b"?")
    expected = expected.replace(b"!!", b"\r\n")
    assert masked == (expected if eight_bit else expected.replace(b"\xe4", b"?"))


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8), st.integers(1, 40))
def test_edits_change_what_they_say_and_nothing_else(content: bytes, places: list[int], piece: int) -> None:
    places = sorted(min(place, len(content)) for place in places)[: len(places) // 2 * 2]
    pairs = list(zip(places[::2], places[1::2], strict=True))
    expected, at = b"", 0
    for begin, end in pairs:
        expected += content[at:begin] + b"<>"
        at = end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mta.message.structure.PIECE", piece)
        result = edited([content], [Edit(begin, end, lambda: Replacement(b"<>")) for begin, end in pairs])
        assert b"".join(result) == (expected + content[at:] if content else b"")
