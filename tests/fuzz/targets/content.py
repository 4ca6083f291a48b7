"""Content: what comes between DATA and its end or in chunks, in every manner, and what is made transparent of it."""

from collections.abc import Callable

from mta.smtp.content import END_OF_CONTENT, ChunkReader, ContentReader, Reader, stuff
from mta.smtp.framing import LineFault, LineReader
from targets.choices import Choices, cut
from targets.measures import Target, stretch

_MANNERS = ("refuse", "fix", "keep")
_LIMITS = (0, 10, 1000)


def data(octets: bytes) -> None:
    """However the octets are cut, the same is kept, and a bare CR or LF neither ends content nor is kept."""
    choices = Choices(octets)
    how, limit = choices.number(256), _LIMITS[choices.number(3)]
    wire = choices.rest()
    for bare_lf in _MANNERS[:2]:
        whole, reader = _read(wire, 0, bare_lf, limit)
        pieces, again = _read(wire, how, bare_lf, limit)
        assert (whole, _facts(reader), reader.rest) == (pieces, _facts(again), again.rest)
        end = (b"\r\n" + wire).find(END_OF_CONTENT)
        assert reader.ended == (end >= 0)
        if reader.ended:
            assert reader.rest == (b"\r\n" + wire)[end + 5 :]
            sent = b"".join(stuff([whole]))
            assert sent.endswith(b".\r\n")
            back, _ = _read(sent, how, "refuse", 0)
            assert back == whole, "what we would send is read as what was kept"
        _is_clean(whole, reader, limit)


def chunks(octets: bytes) -> None:
    """The same of content that comes by BDAT."""
    choices = Choices(octets)
    how, limit = choices.number(256), _LIMITS[choices.number(3)]
    wire = choices.rest()
    for bare_lf in _MANNERS:
        found = []
        for way in (0, how):
            reader = ChunkReader(bare_lf, limit)
            kept = b"".join(_fed(reader.feed, piece) for piece in cut(wire, way)) + reader.finish()
            found.append((_of_use(kept, reader, bare_lf), _facts(reader)))
        assert found[0] == found[1], "the cut makes a difference"
        if bare_lf != "keep":
            _is_clean(kept, reader, limit)
        elif not reader.too_big:
            assert kept == wire


def transparency(octets: bytes) -> None:
    """Whatever a content is, what is sent of it ends where it should, has whole lines, and is read as the same."""
    choices = Choices(octets)
    how, dotted = choices.number(256), choices.flag()
    content = choices.rest()
    whole = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if not dotted and whole != content:
        dotted = True  # whoever says that there are no dots has counted lines with whole ends
    if b"\r\n." in b"\r\n" + whole:
        dotted = True
    with stretch(per_octet=1e-7, octets=len(content)):
        sent = b"".join(stuff(cut(content, how), dotted))
    assert whole_lines(sent)
    reader = ContentReader("refuse", 0)
    back = reader.feed(sent)
    assert reader.ended and not reader.rest and not reader.bare
    assert back == whole + (b"" if whole.endswith(b"\r\n") or not whole else b"\r\n")


def lines(octets: bytes) -> None:
    """Command lines are the same however they are cut, and little is held of those that have no end."""
    choices = Choices(octets)
    how, fix, longest = choices.number(256), choices.flag(), (2048, 12288)[choices.number(2)]
    wire = choices.rest()
    assert _lines(wire, 0, fix, longest) == _lines(wire, how, fix, longest)


def whole_lines(octets: bytes) -> bool:
    """Is there no CR or LF but in CRLF?"""
    without = octets.replace(b"\r\n", b"")
    return not (b"\r" in without or b"\n" in without)


def _fed(feed: Callable[[bytes], bytes], piece: bytes) -> bytes:
    with stretch():
        return feed(piece)


def _read(wire: bytes, how: int, bare_lf: str, limit: int) -> tuple[bytes, ContentReader]:
    """What is kept of a content, and who read it. What comes behind its end is left."""
    reader = ContentReader(bare_lf, limit)
    kept = b""
    rest = b""
    for piece in cut(wire, how):
        if reader.ended:
            rest += piece
        else:
            kept += _fed(reader.feed, piece)
    reader.rest += rest
    return _of_use(kept, reader, bare_lf), reader


def _of_use(kept: bytes, reader: Reader, bare_lf: str) -> bytes:
    """What is refused in the end was given out up to the piece that decided it, and its owner throws it away."""
    return b"" if reader.too_big or (reader.bare and bare_lf == "refuse") else kept


def _facts(reader: Reader) -> tuple[object, ...]:
    facts = (reader.bare, reader.too_big, reader.eight_bit)
    # Content that is refused is read to its end, and nobody asks for more.
    return facts if reader.too_big or reader.bare else (*facts, reader.size, reader.dotted)


def _is_clean(kept: bytes, reader: Reader, limit: int) -> None:
    if reader.bare and not whole_lines(kept):
        raise AssertionError("a bare CR or LF was kept")
    if not (reader.too_big or reader.bare):
        assert reader.size == len(kept)
        assert not limit or reader.size <= limit
        assert reader.eight_bit is not kept.isascii()
        assert reader.dotted or b"\r\n." not in b"\r\n" + kept


_LAST = (LineFault.ENDLESS, LineFault.BARE_LF)  # nobody listens any longer


def _lines(wire: bytes, how: int, fix: bool, longest: int) -> list[bytes | LineFault]:
    reader = LineReader(fix, longest)
    found: list[bytes | LineFault] = []
    for piece in cut(wire, how):
        with stretch():
            reader.receive(piece)
            while (line := reader.next_line()) is not None:
                found.append(line)
                if isinstance(line, LineFault) and line in _LAST:
                    return found
        assert len(reader) <= longest
    return found


_WORDS = (
    b"\r\n", b"\r", b"\n", b".", b"\r\n.\r\n", b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\r\n", b"a", b"\x80",
    b"\0", b"..", b"QUIT\r\n", b"x" * 998, b"x" * 2048,
)  # fmt: skip
TARGETS = (
    Target("data", data, _WORDS),
    Target("chunks", chunks, _WORDS),
    Target("transparency", transparency, _WORDS, 1_048_576),
    Target("lines", lines, _WORDS),
)
