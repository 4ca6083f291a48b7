"""Content between DATA and its end: made transparent for sending, read back when received (RFC 5321 4.5.2).

Both directions work on blocks as they come, with the block-wise methods of bytes: no loop per line. Only CRLF ends a
line and only CRLF.CRLF ends content, for every way of cutting the octets; a bare CR or LF never leaves us, so that a
strict and a lax reader see the same message end at the same octet.
"""

import re
from collections.abc import Iterable, Iterator

END_OF_CONTENT = b"\r\n.\r\n"
_NUL_AND_DOT = re.compile(rb"\r\n(\0+\.)")
_AT_A_TIME = 65536  # octets


def stuff(blocks: Iterable[bytes], dotted: bool = True) -> Iterator[bytes]:
    """The octets to send for a content given in blocks of any size, up to and with the end of content.

    Doubles every dot that begins a line and completes a last line that lacks its CRLF. dotted: False skips the search
    for dots, for content known to have no line that begins with one (`ContentReader.dotted`). Our own content has no
    bare CR or LF; should one come here all the same it is sent as CRLF, since what it hides must not end the content
    for a reader that is laxer than we are. Nor must it end for one that leaves out NUL before it looks at a line: a dot
    behind NUL at the beginning of a line counts as its first octet.
    """
    return _doubled_behind_nul(_stuffed(blocks, dotted))


def _stuffed(blocks: Iterable[bytes], dotted: bool) -> Iterator[bytes]:
    at_line_start = True
    held = b""
    for block in blocks:
        if held:
            block = held + block
        if block.endswith(b"\r"):  # its LF may be the next block's first octet
            held, block = b"\r", block[:-1]
        else:
            held = b""
        if not block:
            continue
        if not _has_whole_line_ends(block):
            block = _with_whole_line_ends(block)
            dotted = True  # lines that nobody has looked at
        if dotted:
            block = block.replace(b"\r\n.", b"\r\n..")
            if at_line_start and block.startswith(b"."):
                block = b"." + block
        at_line_start = block.endswith(b"\n")
        yield block
    yield b".\r\n" if at_line_start and not held else END_OF_CONTENT


def _doubled_behind_nul(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Begins each line with a dot that has nothing but NUL before its first dot. No CRLF is cut by the blocks.

    A reader takes that dot away (RFC 5321 4.5.2), whether it leaves out NUL or not. A line of NUL alone must not get
    one, so what ends with NUL at the beginning of a line waits for what follows: as a number, however many there are.
    """
    at_line_start = True
    waiting = 0
    for block in blocks:
        if waiting or b"\0" in block:
            if at_line_start:
                rest = block.lstrip(b"\0")
                waiting += len(block) - len(rest)
                if not rest:
                    continue
                if waiting and rest.startswith(b"."):
                    yield b"."
                yield from _nul(waiting)
                waiting, block = 0, rest
            block = _NUL_AND_DOT.sub(rb"\r\n.\1", block)
            rest = block.rstrip(b"\0")
            if rest.endswith(b"\r\n"):
                waiting, block = len(block) - len(rest), rest
        at_line_start = block.endswith(b"\n")
        yield block


def _nul(number: int) -> Iterator[bytes]:
    while number:
        length = min(number, _AT_A_TIME)
        yield bytes(length)
        number -= length


class Reader:
    """What both ways of receiving content collect about it.

    bare_lf: "refuse": content with a bare CR or LF is consumed to its end, to be refused there; "fix": a bare CR or
    LF is kept as CRLF; "keep": it is binary, and stays as it is. limit: the largest size in octets, 0 for none; what
    exceeds it is consumed and not returned.

    size: octets, without the end of content and the dots that were added for transparency (RFC 1870 5), as kept.
    eight_bit: an octet above 127 was seen. dotted: a line begins with a dot. bare: a bare CR or LF was seen, where
    that matters. too_big: the size exceeds the limit.
    """

    __slots__ = ("_at_line_start", "_bare_lf", "_limit", "bare", "dotted", "eight_bit", "size", "too_big")

    def __init__(self, bare_lf: str, limit: int) -> None:
        self._bare_lf = bare_lf
        self._limit = limit
        self._at_line_start = True
        self.size = 0
        self.eight_bit = False
        self.dotted = False
        self.bare = False
        self.too_big = False

    def _keep(self, block: bytes, may_be_dotted: bool) -> bytes:
        """Note the facts of a block without transparency, in which no CRLF is cut; what of it is to be kept."""
        if not _has_whole_line_ends(block) and self._bare_lf != "keep":
            self.bare = True
            if self._bare_lf == "fix":
                block = _with_whole_line_ends(block)
        if not self.eight_bit and not block.isascii():
            self.eight_bit = True
        if (may_be_dotted or self.bare) and not self.dotted:
            self.dotted = b"\n." in block or (self._at_line_start and block.startswith(b"."))
        if block:
            self._at_line_start = block.endswith(b"\n")
        self.size += len(block)
        if self._limit and self.size > self._limit:
            self.too_big = True
        if self.too_big or (self.bare and self._bare_lf == "refuse"):
            return b""
        return block


class ContentReader(Reader):
    """Reads one content from octets cut in any way, up to its end, which is CRLF.CRLF.

    ended: the end of content has been seen; `rest` holds the octets behind it.
    """

    __slots__ = ("_ahead", "_tail", "ended", "rest")

    def __init__(self, bare_lf: str, limit: int) -> None:
        super().__init__(bare_lf, limit)
        # The line of the DATA command ends with a CRLF that counts for the end of content and for a first dot.
        self._tail = b"\r\n"  # octets that may belong to an end of content, not returned yet
        self._ahead = 2  # how many of them come before the content
        self.ended = False
        self.rest = b""

    def feed(self, octets: bytes) -> bytes:
        """Some more octets: the content that they complete, b"" where there is none (yet) or it is not wanted.

        Not to be called once `ended` is true.
        """
        data = self._tail + octets if self._tail else octets
        end = -1
        dot = data.find(b".")  # base64 has none: one octet is found ten times as fast as three
        if dot >= 0:
            dot = data.find(b"\r\n.", max(dot - 2, 0))
        if dot >= 0:
            end = data.find(END_OF_CONTENT, dot)
        if end >= 0:
            self.ended = True
            self.rest = data[end + 5 :]
            self._tail = b""
            stop = end + 2
        else:
            self._tail = _beginning_of_end(data)
            stop = len(data) - len(self._tail)
            if not stop:
                return b""
        doubled = -1 < dot < stop and dot != end
        block = data[:stop].replace(b"\r\n.", b"\r\n")[self._ahead :] if doubled else data[self._ahead : stop]
        self._ahead = 0
        return self._keep(block, doubled)


class ChunkReader(Reader):
    """Reads one content from chunks whose lengths are known (RFC 3030): nothing in it can end it.

    Content that is not binary obeys the rules for lines, as with DATA, and is completed where it lacks its last CRLF.
    """

    __slots__ = ("_held",)

    def __init__(self, bare_lf: str, limit: int) -> None:
        super().__init__(bare_lf, limit)
        self._held = b""

    def feed(self, octets: bytes) -> bytes:
        """Some more octets: what of them is to be kept."""
        block = self._held + octets
        self._held = b"\r" if block.endswith(b"\r") else b""  # its LF may be the next one's first octet
        return self._keep(block[:-1] if self._held else block, True)

    def finish(self) -> bytes:
        """There is no more: the octets that complete it."""
        kept = self._keep(self._held, False) if self._held else b""
        self._held = b""
        if self._bare_lf != "keep" and not self._at_line_start:
            kept += self._keep(b"\r\n", False)
        return kept


def _beginning_of_end(data: bytes) -> bytes:
    """The longest end of `data` with which an end of content may begin."""
    for length in (4, 3, 2, 1):
        if data.endswith(END_OF_CONTENT[:length]):
            return END_OF_CONTENT[:length]
    return b""


def _has_whole_line_ends(block: bytes) -> bool:
    """Is every CR followed by LF, and every LF preceded by CR?

    Taken apart and put together again: a quarter of the time of counting CR, LF and CRLF.
    """
    return block.replace(b"\n", b"").replace(b"\r", b"\r\n") == block


def _with_whole_line_ends(block: bytes) -> bytes:
    """Every CRLF, bare CR and bare LF as CRLF."""
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
