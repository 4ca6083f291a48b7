"""Case 2, smuggling out: whatever a content is, and however it is read, the next hop sees one end of it, at its end."""

from typing import cast

import pytest
from attack_ground import wire_of
from carry_world import Letter, World
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.interfaces import IContent

END = b"\r\n.\r\n"
HOSTILE = [
    b".", b".\r\n", b"..\r\n", b".\r\n.\r\n", b"\r\n.\r\n", b"\r\n.\r\n.\r\n.\r\n", b"no line end", b"",
    b"\r\n", b"\r\n.",
    b"a\r\n.\r\nMAIL FROM:<evil@client.example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n",
]  # fmt: skip


def sent(content: bytes, block: int) -> tuple[bytes, bytes]:
    """What went over the wire behind DATA, and what a server made of it. block: octets that are read at a time."""
    world = World()
    server = world.serve()
    world.carry(content=cast(IContent, Letter(content, block)), seconds=60)
    [(_, _, kept)] = server.messages
    assert server.heard[-1] == "DATA", "nothing of a content is a command"
    return wire_of(server).partition(b"DATA\r\n")[2], kept


def shows_one_end(wire: bytes) -> bool:
    """The first end of content is the last thing that is sent. The line of DATA has an end, too."""
    return (b"\r\n" + wire).find(END) == len(wire) + 2 - len(END)


@pytest.mark.parametrize("content", HOSTILE)
def test_one_end_for_every_size_of_block(content: bytes) -> None:
    for block in range(1, min(len(content), 40) + 2):
        wire, kept = sent(content, block)
        assert shows_one_end(wire), (block, wire)
        assert kept == content or kept == content + b"\r\n"


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([b".", b"\r\n", b"a", b"\r\n.\r\n", b"..", b"\r\n.\r\nQUIT\r\n"]), max_size=12), st.data()
)
def test_any_body_any_block(pieces: list[bytes], data: st.DataObject) -> None:
    content = b"".join(pieces)
    wire, kept = sent(content, data.draw(st.integers(1, len(content) + 1)))
    assert shows_one_end(wire)
    assert kept.removesuffix(b"\r\n") == content.removesuffix(b"\r\n")


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"a", b"\n.\n", b"\r.\r", b"\r\n."]), max_size=12), st.data()
)
def test_not_even_where_a_bare_line_end_came_into_the_spool(pieces: list[bytes], data: st.DataObject) -> None:
    """It cannot; should somebody find a way, it does not go on from here."""
    content = b"".join(pieces)
    wire, _ = sent(content, data.draw(st.integers(1, len(content) + 1)))
    assert shows_one_end(wire)
    rest = wire.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest


@pytest.mark.parametrize("content", [b"\0.\r\nQUIT\r\n", b"a\r\n\0\0.\0\r\nQUIT\r\n", b"a\r\n.\0\r\nQUIT\r\n", b"\0"])
def test_nor_for_a_reader_that_leaves_out_nul(content: bytes) -> None:
    for block in range(1, len(content) + 2):
        wire, kept = sent(content, block)
        assert shows_one_end(wire.replace(b"\0", b"")), (block, wire)
        assert kept.removesuffix(b"\r\n") == content.removesuffix(b"\r\n"), "everybody else sees what we have"


@settings(max_examples=50)
@given(st.lists(st.sampled_from([b".", b"\0", b"\r\n", b"a", b"\r\n\0.", b"\r\n.\0"]), max_size=12), st.data())
def test_nor_for_it_whatever_it_reads(pieces: list[bytes], data: st.DataObject) -> None:
    content = b"".join(pieces)
    wire, kept = sent(content, data.draw(st.integers(1, len(content) + 1)))
    assert shows_one_end(wire)
    assert shows_one_end(wire.replace(b"\0", b""))
    assert kept.removesuffix(b"\r\n") == content.removesuffix(b"\r\n")
