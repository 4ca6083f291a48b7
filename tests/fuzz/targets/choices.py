"""Choices: an input read as decisions, texts and pieces, so that whoever makes inputs up need not know what of."""

from collections.abc import Iterator

END = b"\xff"  # of a piece; it stands in no text


class Choices:
    """Reads an input from its beginning. Behind its end every number is 0 and every piece empty."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def __bool__(self) -> bool:
        """Is anything left?"""
        return self._at < len(self._octets)

    def number(self, below: int) -> int:
        """A number from 0 up to another one, which is at most 256."""
        octet = self._octets[self._at : self._at + 1]
        self._at += 1
        return octet[0] % below if octet else 0

    def flag(self) -> bool:
        """Yes or no."""
        return self.number(2) == 1

    def piece(self) -> bytes:
        """Octets up to the next END."""
        end = self._octets.find(END, self._at)
        end = len(self._octets) if end < 0 else end
        piece = self._octets[self._at : end]
        self._at = end + len(END)
        return piece

    def text(self) -> str:
        """A piece as text."""
        return self.piece().decode(errors="replace")

    def pieces(self) -> Iterator[bytes]:
        """All that are left."""
        while self:
            yield self.piece()

    def rest(self) -> bytes:
        """All that is left."""
        rest = self._octets[self._at :]
        self._at = len(self._octets)
        return rest


def cut(octets: bytes, how: int) -> Iterator[bytes]:
    """The octets cut into pieces, in one of 256 ways: whole, one by one, by a few sizes, or by several in turn."""
    if how == 0 or not octets:
        yield octets
        return
    sizes = (how,) if how < 64 else (how & 3 or 5, how >> 3, how >> 1)
    at = turn = 0
    while at < len(octets):
        size = sizes[turn % len(sizes)]
        yield octets[at : at + size]
        at += size
        turn += 1
