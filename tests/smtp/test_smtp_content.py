"""Transparency and the end of content, for any body and any way of cutting it (RFC 5321 4.5.2)."""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mta.smtp.content import ContentReader, stuff

# Mostly the octets that matter, in the runs that matter.
ANY_BODY = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\x00", b"\xe9", b"\r\n.\r\n"]), max_size=20
).map(b"".join)
LINES = st.lists(st.lists(st.sampled_from([b".", b"a", b"\xe9"]), max_size=4).map(b"".join), max_size=12)
CLEAN_BODY = st.tuples(LINES, st.booleans()).map(lambda drawn: b"\r\n".join(drawn[0]) + (b"\r\n" if drawn[1] else b""))
CUTS = st.lists(st.integers(0, 100), max_size=20)


class Read(NamedTuple):
    content: bytes
    rest: bytes
    size: int
    eight_bit: bool
    dotted: bool
    bare: bool
    too_big: bool


def cut(octets: bytes, cuts: Iterable[int]) -> list[bytes]:
    borders = [0, *sorted(min(at, len(octets)) for at in cuts), len(octets)]
    return [octets[start:end] for start, end in pairwise(borders)]


def read(pieces: Iterable[bytes], bare_lf: str = "refuse", limit: int = 0) -> Read:
    """What a reader makes of pieces that hold an end of content."""
    reader = ContentReader(bare_lf, limit)
    content, rest = b"", b""
    for piece in pieces:
        if reader.ended:
            rest += piece
        else:
            content += reader.feed(piece)
    assert reader.ended
    facts = (reader.size, reader.eight_bit, reader.dotted, reader.bare, reader.too_big)
    return Read(content, reader.rest + rest, *facts)


def with_crlf(body: bytes) -> bytes:
    return re.sub(rb"\r\n|\r|\n", b"\r\n", body)


def model(wire: bytes, bare_lf: str) -> Read:
    """The same by the letter of the RFC, slowly, for a wire that holds an end of content."""
    raw, _, rest = (b"\r\n" + wire).partition(b"\r\n.\r\n")
    content = b"".join(line.removeprefix(b".") + b"\r\n" for line in raw.split(b"\r\n")[1:])
    bare = with_crlf(content) != content
    kept = with_crlf(content) if bare_lf == "fix" else content
    return Read(kept, rest, len(kept), max(kept, default=0) > 127, b"\n." in b"\n" + kept, bare, False)


@given(CLEAN_BODY, CUTS, CUTS)
@settings(max_examples=500, deadline=None)
def test_what_is_sent_is_read_back(body: bytes, sent: list[int], received: list[int]) -> None:
    wire = b"".join(stuff(cut(body, sent)))
    whole = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    dotted = b"\n." in b"\n" + body
    assert read(cut(wire + b"QUIT\r\n", received)) == Read(
        whole, b"QUIT\r\n", len(whole), not body.isascii(), dotted, False, False
    )
    if not dotted:
        assert b"".join(stuff(cut(body, sent), dotted=False)) == wire


@given(ANY_BODY, CUTS)
@example(b"\r", [])
@example(b".\r", [1])
@example(b"a\r\n.\r\nb", [1, 2, 3, 4, 5, 6])
@example(b"a\n.\nb", [1, 2, 3, 4])
@settings(max_examples=1000, deadline=None)
def test_any_body_shows_exactly_one_end_to_strict_and_lax_readers(body: bytes, cuts: list[int]) -> None:
    wire = b"".join(stuff(cut(body, cuts)))
    assert wire == b"".join(stuff([body]))
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)
    strict = (b"\r\n" + wire).find(b"\r\n.\r\n")
    lax = re.search(rb"(?:\r\n?|\n)\.(?:\r\n?|\n)", b"\r\n" + wire)
    assert lax is not None
    assert strict == lax.start() == len(wire) - 3
    assert read([wire]).content == (
        with_crlf(body) if body.endswith((b"\r", b"\n")) or not body else with_crlf(body) + b"\r\n"
    )


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a"]), max_size=12).map(b"".join), CUTS)
@settings(deadline=None)
def test_a_false_promise_about_dots_is_harmless_where_the_guard_acts(body: bytes, cuts: list[int]) -> None:
    if b"\r\n." not in b"\r\n" + body:
        assert b"".join(stuff(cut(body, cuts), dotted=False)) == b"".join(stuff([body]))


@given(ANY_BODY, CUTS, st.sampled_from(["refuse", "fix"]))
@settings(max_examples=1000, deadline=None)
def test_every_way_of_cutting_gives_the_same_content_and_facts(body: bytes, cuts: list[int], bare_lf: str) -> None:
    wire = body + b"\r\n.\r\nQUIT"
    expected = model(wire, bare_lf)
    got = read(cut(wire, cuts), bare_lf)
    if expected.bare and bare_lf == "refuse":  # what is refused is not given out in full, and nobody asks for it
        got, expected = got._replace(content=b""), expected._replace(content=b"")
    assert got == expected


@pytest.mark.parametrize("bare_lf", ["refuse", "fix"])
@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r.\n", b"\r\n.\r", b"\r.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n"],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_nothing_but_crlf_dot_crlf_ends_content(end: bytes, bare_lf: str, size: int) -> None:
    """SMTP smuggling: CVE-2023-51764, -51765, -51766."""
    wire = b"innocent" + end + b"MAIL FROM:<evil@example.com>\r\n.\r\n"
    got = read(cut(wire, range(0, len(wire), size)), bare_lf)
    assert got.rest == b""
    assert got.bare == (b"\0" not in end)
    onward = b"".join(stuff([got.content], got.dotted))
    assert re.search(rb"(?:\r\n?|\n)\.(?:\r\n?|\n)", b"\r\n" + onward).start() == len(onward) - 3
    if bare_lf == "fix":
        assert b"MAIL FROM:<evil@example.com>\r\n" in got.content


def test_a_lone_dot_between_bare_line_feeds_is_kept_as_a_line() -> None:
    got = read([b"a\n", b".\n", b"..b\n", b"\r\n.\r\n"], "fix")
    assert got.content == b"a\r\n.\r\n..b\r\n\r\n"
    assert got.dotted


@pytest.mark.parametrize(("limit", "too_big"), [(0, False), (7, False), (6, True)])
def test_the_limit_counts_neither_added_dots_nor_the_end(limit: int, too_big: bool) -> None:
    got = read([b"..ab\r", b"\nc\r\n.\r\n"], limit=limit + 1 if limit else 0)
    assert (got.size, got.too_big) == (8, too_big)
    assert got.content == (b".ab\r\nc\r\n"[: 3 if too_big else 8])


def test_nothing_is_kept_of_what_is_consumed_over_the_limit() -> None:
    reader = ContentReader("refuse", 100)
    block = b"x" * 1000
    assert [reader.feed(block) for _ in range(1000)] == [b""] * 1000
    assert reader.size == 1_000_000
    assert len(reader._tail) <= 4
