"""Structure: the entities of a message (RFC 2046) found in its octets as they pass, without keeping them.

The octets are searched in large pieces, so that a message costs the time of a few searches whatever its lines are.
Each piece but the first begins with the CRLF *before* its first line, and the first is given one: so a delimiter,
which RFC 2046 5.1.1 defines with the CRLF before it, is never cut, and each entity begins at a CRLF, be it the one
that ends a delimiter line or that of the empty line which ends the header of an enclosing message.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from mta.message.lines import CRLF
from mta.message.mime import TEXT, Header, read_header

PIECE: Final = 65_536
DEEPEST: Final = 50  # composite entities within one another
MOST_ENTITIES: Final = 10_000
LARGEST_HEADER: Final = 262_144
LONGEST_BOUNDARY: Final = 256  # RFC 2046 allows 70

_END_OF_HEADER: Final = b"\r\n\r\n"
# Room for white space that transports have put behind it. What is longer than a piece is no delimiter.
_DASHED_LINE = re.compile(rb"\r\n--([^\r\n]{1,600})(?=\r\n|\Z)")


class Entity:
    """A message or a part of one: a header and a body.

    inside: the composite entity that it is in; None for the message itself. type: as RFC 2045 5.2 and 2046 5.1.5
    have it where the header does not say. at: the offset of its header; fields_end: of the end of its last field.
    unclear: why one cannot know what is inside of its body, "" where one can. delimited: a multipart in which its
    own delimiter was found. reopened: its delimiter was found again behind the one that closed it.
    """

    __slots__ = ("at", "closed", "delimited", "fields_end", "header", "inside", "reopened", "type", "unclear")

    def __init__(self, inside: "Entity | None", header: Header, at: int, fields_end: int, unclear: str = "") -> None:
        self.inside = inside
        self.header = header
        self.at = at
        self.fields_end = fields_end
        in_digest = inside is not None and inside.type == "multipart/digest"
        self.type: str = header.type or ("message/rfc822" if in_digest else TEXT)
        self.unclear = unclear
        self.delimited = False
        self.closed = False
        self.reopened = False

    @property
    def is_multipart(self) -> bool:
        """A multipart, of whatever kind."""
        return self.type.startswith("multipart/")

    @property
    def is_message(self) -> bool:
        """The message itself or a message within: its header has the fields of a message."""
        return self.inside is None or self.inside.type == "message/rfc822"


class Kind(Enum):
    """What a stretch of octets is to its entity."""

    HEADER = "its header, without the empty line"
    BODY = "the body of one that is not composite"
    PREAMBLE = "what stands before the first part of a multipart"
    EPILOGUE = "what stands behind the last part of a multipart"


class Stretch(NamedTuple):
    """Some octets of a message, at an offset from its beginning.

    A body, preamble or epilogue may come in several stretches one after the other; a header comes whole. Octets
    between stretches (delimiters, empty lines behind headers) belong to none.
    """

    kind: Kind
    entity: Entity
    at: int
    octets: bytes


def evenly(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets in pieces of one size, but the last."""
    size = PIECE
    held: list[bytes] = []
    missing = size
    for block in blocks:
        if len(block) < missing:
            held.append(block)
            missing -= len(block)
            continue
        joined = b"".join((*held, block))
        whole = len(joined) - len(joined) % size
        for begin in range(0, whole, size):
            yield joined[begin : begin + size]
        held = [joined[whole:]]
        missing = size - len(held[0])
    rest = b"".join(held)
    if rest:
        yield rest


def walk(blocks: Iterable[bytes]) -> Iterator[Stretch]:
    """The stretches of a content, in order. However the octets are cut and whatever they are, it finds the same.

    Never raises. Where the bounds of this module are exceeded, or the structure cannot be known, the rest is the body
    of an entity that is `unclear`.
    """
    search = _Search()
    at = -len(CRLF)
    rest = b""
    for piece in _pieces(blocks):
        octets = rest + piece if rest else piece
        taken = yield from search.stretches(octets, at, last=False)
        rest = octets[taken:]
        at += taken
    yield from search.stretches(rest, at, last=True)


def _pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The octets behind a CRLF, cut before a CRLF; within a line only where that is longer than a piece."""
    held = CRLF
    for block in evenly(blocks):
        held += block
        if len(held) < PIECE:
            continue
        cut = held.rfind(CRLF, 1)
        if cut < 0:
            cut = len(held) - held.endswith(b"\r")
        yield held[:cut]
        held = held[cut:]
    yield held


class _Delimiter(NamedTuple):
    """A line that delimits a part of a multipart or, if it closes it, the last one; from its CRLF to its end."""

    begin: int
    end: int
    multipart: Entity
    closes: bool


class _Search:
    """Where a walk is: within which composite entities, and in what of the innermost one."""

    def __init__(self) -> None:
        self._open: list[Entity] = []
        self._boundaries: dict[bytes, Entity] = {}
        self._region: tuple[Kind, Entity] | None = None  # None: an entity begins, with its header
        self._entities = 0
        self._empty_line: int | None = None  # of the octets that are looked at; None: it is to be looked for

    def stretches(self, octets: bytes, at: int, last: bool) -> Generator[Stretch, None, int]:
        """The stretches in some octets, which begin at an offset; returns how many octets need not be given again."""
        position = 0
        self._empty_line = None
        while position < len(octets):
            region = self._region
            if region is None:
                after = yield from self._header(octets, position, at, last)
                if after is None:
                    return position
                position = after
                continue
            line = self._delimiter(octets, position, len(octets))
            end = line.begin if line else len(octets)
            if end > position:
                yield Stretch(*region, at + position, octets[position:end])
            position = self._cross(line) if line else end
        return position

    def _header(self, octets: bytes, position: int, at: int, last: bool) -> Generator[Stretch, None, int | None]:
        """An entity begins. Its header ends at the empty line, a delimiter or the end of everything, whichever is
        first. Returns where to go on, None where the end is not among these octets."""
        end = self._end_of_header(octets, position)
        fields_end = end + len(CRLF) if end >= 0 else len(octets)
        line = self._delimiter(octets, position, fields_end)
        if line is not None:
            fields_end = line.begin + len(CRLF)
        too_large = fields_end - position > LARGEST_HEADER
        if end < 0 and line is None and not too_large and not last:
            return None
        fields_begin = position + len(CRLF)
        entity = self._enter(octets[fields_begin:fields_end], at + fields_begin, too_large)
        if too_large:
            return fields_begin  # it is all body
        yield Stretch(Kind.HEADER, entity, entity.at, octets[fields_begin:fields_end])
        if line is None and end >= 0:
            if self._region is None:
                return fields_end  # a message within begins at the empty line
            # Its CRLF may be that of a delimiter; otherwise a body begins behind it.
            line = self._delimiter(octets, fields_end, len(octets))
            if line is None or line.begin > fields_end:
                return fields_end + len(CRLF)
        return self._cross(line) if line else len(octets)

    def _end_of_header(self, octets: bytes, position: int) -> int:
        """Where the next empty line is; -1 where there is none. Each octet is looked at once, though many headers
        begin among them that a delimiter ends."""
        if self._empty_line is None or 0 <= self._empty_line < position:
            self._empty_line = octets.find(_END_OF_HEADER, position)
        return self._empty_line

    def _enter(self, fields: bytes, at: int, too_large: bool) -> Entity:
        """An entity begins; says, by the region, what comes behind its header."""
        self._entities += 1
        inside = self._open[-1] if self._open else None
        header = Header() if too_large else read_header(fields)
        entity = Entity(inside, header, at, at + len(fields))
        boundary = header.boundary
        entity.unclear = self._why_unclear(entity, too_large)
        if self._entities > MOST_ENTITIES:
            self._boundaries.clear()
        if entity.unclear:
            self._region = Kind.BODY, entity
        elif entity.is_multipart:
            self._open.append(entity)
            self._boundaries[boundary] = entity
            self._region = Kind.PREAMBLE, entity
        elif entity.type == "message/rfc822" and header.is_identity:
            self._open.append(entity)
            self._region = None
        else:
            self._region = Kind.BODY, entity
        return entity

    def _why_unclear(self, entity: Entity, too_large: bool) -> str:
        if too_large:
            return f"a header is larger than {LARGEST_HEADER} octets"
        if self._entities > MOST_ENTITIES:
            return f"it has more than {MOST_ENTITIES} parts"
        if entity.header.contradicts:
            return "a part has several types"
        if not (entity.is_multipart or entity.type == "message/rfc822"):
            return ""
        if len(self._open) >= DEEPEST:
            return f"its parts are nested more than {DEEPEST} deep"
        if not entity.is_multipart:
            return ""
        boundary = entity.header.boundary
        if not boundary or len(boundary) > LONGEST_BOUNDARY:
            return "a multipart has no usable boundary"
        if boundary in self._boundaries:
            return "a multipart has the boundary of one around it"
        return ""

    def _delimiter(self, octets: bytes, begin: int, end: int) -> _Delimiter | None:
        """The first line that delimits a part of any of the multiparts around us. A longer boundary is another one."""
        if not self._boundaries:
            return None
        for line in _DASHED_LINE.finditer(octets, begin, end):
            text = line[1].rstrip(b" \t")
            multipart = self._boundaries.get(text)
            if multipart is not None:
                return _Delimiter(*line.span(), multipart, closes=False)
            if text.endswith(b"--"):
                multipart = self._boundaries.get(text[:-2])
                if multipart is not None:
                    return _Delimiter(*line.span(), multipart, closes=True)
        return None

    def _cross(self, line: _Delimiter) -> int:
        """A delimiter line: what was open within its multipart has ended. Returns where the line ends."""
        multipart = line.multipart
        while self._open[-1] is not multipart:
            self._boundaries.pop(self._open.pop().header.boundary, None)
        multipart.delimited = True
        if multipart.closed:
            multipart.reopened = True
        elif line.closes:
            multipart.closed = True
            self._region = Kind.EPILOGUE, multipart
        else:
            self._region = None
        return line.end
