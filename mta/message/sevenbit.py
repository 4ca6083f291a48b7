"""Seven bit: the content of a message made fit for a next hop without 8BITMIME or BINARYMIME (RFC 6152 3, RFC 3030 3).

A first reading finds out what would have to change (`plan`), a second one changes it (`converted`): the bodies of
parts are encoded, the fields that say so are put into their headers, and nothing else is touched.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

from mta.message.edits import Base64, Edit, Masked, QuotedPrintable, Replacement, edited
from mta.message.lines import CRLF, has_long_line, has_whole_line_ends
from mta.message.mime import TEXT
from mta.message.structure import Entity, Kind, Stretch, walk

SEVEN_BIT: Final = "7bit"
EIGHT_BIT: Final = "8bit"

_PROTECTED: Final = {
    "multipart/signed": "it has a signed part",
    "multipart/encrypted": "it has an encrypted part",
    "application/pkcs7-mime": "it has an S/MIME part",
    "application/x-pkcs7-mime": "it has an S/MIME part",
}


class Unconvertible(Exception):
    """It cannot be converted. The text says why, and goes behind "it cannot be converted: "."""


class Plan(NamedTuple):
    """What has to be done to a content. Without edits it is fit as it is.

    quoted_printable, base64: how many parts get these encodings. masked: how many stretches outside of the parts
    have octets replaced by question marks. breaks_dkim: it bears a DKIM signature, which will not hold.
    """

    edits: tuple[Edit, ...] = ()
    quoted_printable: int = 0
    base64: int = 0
    masked: int = 0
    breaks_dkim: bool = False


def plan(blocks: Iterable[bytes], target: str) -> Plan:
    """Find out how to convert a content. target: what the next hop takes, "7bit" or "8bit".

    Parts with octets that may not be sent (NUL, bare CR or LF, and above 127 where the target is "7bit") or lines of
    more than 998 octets get encoded: text as quoted-printable where its line ends are whole, all else as base64. Text
    before the first and behind the last part of a multipart, which nobody is shown (RFC 2046 5.1.1), cannot be
    encoded: there such octets become question marks. A message that is not MIME becomes it, as text in an unknown
    character set (RFC 1428). Raises `Unconvertible` where octets may not be sent and it cannot be helped: in headers,
    in parts whose type or encoding forbids it or whose structure is not clear, and in any message that has a signed
    or encrypted part, here or in a message within. Lines that are only too long are left alone in such parts.
    """
    planner = _Planner(target)
    for stretch in walk(blocks):
        planner.look(stretch)
    return planner.finish()


def converted(blocks: Iterable[bytes], found: Plan) -> Iterator[bytes]:
    """The content as the plan for it says, in blocks of any size. Lines are at most 76 characters where encoded."""
    return edited(blocks, found.edits)


class _Planner:
    """Looks at stretches and notes what has to change.

    The stretches of one body, preamble or epilogue are a region; what is found in it decides when it has ended.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._edits: list[Edit] = []
        self._changed: dict[Entity, str] = {}  # with the transfer encoding of the body, "" for composite ones
        self._charsets: dict[Entity, str] = {}
        self._quoted_printable = self._base64 = self._masked = 0
        self._protected = ""
        self._cannot_pass = False  # there are octets, somewhere, that may not be sent
        self._has_dkim = False
        self._begin(None)

    def look(self, stretch: Stretch) -> None:
        """The next stretch."""
        if stretch.kind is Kind.HEADER:
            self._end(is_last=False)
            self._begin(None)
            self._look_at_header(stretch)
            return
        region = self._region
        if region is None or stretch.entity is not region.entity or stretch.kind is not region.kind:
            self._end(is_last=False)
            self._begin(stretch)
        self._until = stretch.at + len(stretch.octets)
        self._ends_line = stretch.octets.endswith(CRLF)
        self._measure(stretch.octets)

    def finish(self) -> Plan:
        """There are no more."""
        self._end(is_last=True)
        if self._protected:
            return Plan()
        for entity, encoding in self._changed.items():
            self._edits += self._header_edits(entity, encoding)
        edits = tuple(sorted(self._edits, key=lambda edit: edit.begin))
        return Plan(edits, self._quoted_printable, self._base64, self._masked, self._has_dkim and bool(edits))

    # What is there.

    def _begin(self, region: Stretch | None) -> None:
        self._region = region
        self._until = 0
        self._ends_line = False
        self._eight_bit = self._binary = self._long = False

    def _measure(self, octets: bytes) -> None:
        """Note what is in some octets of a region, which are whole lines or, of a very long one, a piece."""
        self._eight_bit = self._eight_bit or not octets.isascii()
        self._binary = self._binary or b"\0" in octets or not has_whole_line_ends(octets)
        self._long = self._long or has_long_line(octets)

    def _may_not_pass(self) -> bool:
        """Has something been measured that may not be sent to the target?"""
        return self._binary or (self._eight_bit and self._target == SEVEN_BIT)

    def _look_at_header(self, stretch: Stretch) -> None:
        entity = stretch.entity
        self._measure(stretch.octets)
        if self._may_not_pass():
            what = "header fields with NUL, bare CR or bare LF" if self._binary else "8-bit octets in header fields"
            raise Unconvertible(f"it has {what}, for which there is no encoding")
        self._begin(None)
        self._protected = self._protected or _PROTECTED.get(entity.type, "")
        self._has_dkim = self._has_dkim or (entity.inside is None and entity.header.is_signed)
        self._check_protected()

    def _check_protected(self) -> None:
        if self._protected and self._cannot_pass:
            raise Unconvertible(self._protected)

    # What has to change.

    def _end(self, is_last: bool) -> None:
        """A region has ended: what becomes of it."""
        region = self._region
        may_not_pass = self._may_not_pass()
        if region is None or not (may_not_pass or self._long):
            return
        if may_not_pass:
            self._cannot_pass = True
            self._check_protected()
        why_not = self._why_not(region)
        if why_not:
            if may_not_pass:
                raise Unconvertible(why_not)
        elif region.kind is Kind.BODY:
            self._encode(region, is_last)
        elif may_not_pass:
            self._edits.append(Edit(region.at, self._until, partial(Masked, self._target == EIGHT_BIT)))
            self._masked += 1
            self._change(region.entity, "")

    def _why_not(self, region: Stretch) -> str:
        """Why the region that has ended cannot be changed; "" where it can."""
        entity = region.entity
        if region.kind is Kind.PREAMBLE:
            return "" if entity.delimited else "a multipart has no parts"
        if region.kind is Kind.EPILOGUE:
            return "parts follow the end of a multipart" if entity.reopened else ""
        if entity.unclear:
            return entity.unclear
        if not entity.header.is_identity:
            what = "binary" if self._binary else "8-bit"
            return f"a part with {what} octets says that its transfer encoding is {entity.header.encoding}"
        # RFC 2046 5.2 forbids it for the types of message/, RFC 6532 3.7 and RFC 6533 allow it for the global ones.
        if entity.type.startswith("message/") and not entity.type.startswith("message/global"):
            return f"a part of type {entity.type} may not be encoded"
        return ""

    def _encode(self, region: Stretch, is_last: bool) -> None:
        entity = region.entity
        until = self._until
        if is_last and self._ends_line and _in_multipart(entity):
            # Where the closing delimiter is missing, its line end is there, and is no more of the body than elsewhere.
            until -= len(CRLF)
            is_last = False
        if entity.type.startswith(("text/", "message/")) and not self._binary:
            self._edits.append(Edit(region.at, until, QuotedPrintable))
            self._quoted_printable += 1
            self._change(entity, "quoted-printable")
        else:
            self._edits.append(Edit(region.at, until, partial(Base64, is_last)))
            self._base64 += 1
            self._change(entity, "base64")
        if entity.is_message and not entity.header.is_mime and not entity.header.type:
            self._charsets[entity] = "unknown-8bit" if self._eight_bit else "us-ascii"

    def _change(self, entity: Entity, encoding: str) -> None:
        """An entity changes, and so do those that it is in."""
        self._changed[entity] = encoding
        around = entity.inside
        while around is not None and around not in self._changed:
            self._changed[around] = ""
            around = around.inside

    def _header_edits(self, entity: Entity, encoding: str) -> Iterator[Edit]:
        """The edits of the header of an entity that changes."""
        header = entity.header
        added = b""
        if entity.is_message and not header.is_mime:
            added = b"MIME-Version: 1.0\r\n"
            if entity in self._charsets:
                added += f"Content-Type: {TEXT}; charset={self._charsets[entity]}\r\n".encode()
        if not encoding and header.encoding not in (SEVEN_BIT, self._target):
            encoding = self._target
        if encoding:
            field = f"Content-Transfer-Encoding: {encoding}\r\n".encode()
            for begin, end in header.encoding_fields:
                yield Edit(entity.at + begin, entity.at + end, partial(Replacement, field))
                field = b""
            added += field
        if added:
            yield Edit(entity.fields_end, entity.fields_end, partial(Replacement, added))


def _in_multipart(entity: Entity) -> bool:
    """Is it a part of a multipart, or of a message that is one?"""
    around = entity.inside
    while around is not None and not around.is_multipart:
        around = around.inside
    return around is not None
