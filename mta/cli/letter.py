"""Letter: a message as a program writes it to standard input, made one that can be sent.

Lines end with LF or CRLF, the header may lack, or end without an empty line. Of what is there nothing is changed but
line ends; Bcc goes where the recipients are taken from the header, and From comes where there is none.
"""

import re
from collections.abc import Iterator
from email.header import Header
from email.utils import getaddresses
from inspect import signature
from typing import IO, Any, Final

from mta.smtp.address import AddressError, parse_mailbox

LONGEST_HEADER: Final = 1024 * 1024  # octets that are looked at
BLOCK: Final = 65536
_MOST_SHOWN: Final = 80  # characters of what somebody wrote, in a sentence

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_MAILBOX_FILE = re.compile(rb">?From ")  # files of mail have such a line in front of each message
_EMPTY_GROUP = re.compile(r"\s*[^:;,<>@()]*:\s*;\s*")
_RESENT = frozenset({b"resent-to", b"resent-cc", b"resent-bcc"})
_TO = frozenset({b"to", b"cc", b"bcc"})
_BLIND = frozenset({b"bcc", b"resent-bcc"})
_QUOTED = re.compile(r'[()<>@,:;".\[\]\\]')
# Newer Pythons give up all of a list where a comma in a comment looks odd to them. What is odd is found out here.
_LENIENT: Final[dict[str, Any]] = {"strict": False} if "strict" in signature(getaddresses).parameters else {}


class Unfit(ValueError):
    """The message, or an address, cannot be sent as it is; the text says why. Exit status 65 (EX_DATAERR)."""


class Letter:
    """One message. `blocks` may be called any number of times. eight_bit: octets above 127 were seen."""

    def __init__(self, source: IO[bytes], dot_ends: bool, body: IO[bytes]) -> None:
        """Read it. dot_ends: a line with a dot alone ends it. body: where to keep its text. Raises `OSError`."""
        self._fields: list[bytes] = []  # each as it came, with its line ends
        self._is_long = False  # its header is too long to be looked at
        self._body = body
        self.eight_bit = False
        self.size = 0
        self._read(_lines(source, dot_ends))

    def _read(self, lines: Iterator[bytes]) -> None:
        size = 0
        for line in lines:
            size += len(line)
            if not self._fields and _MAILBOX_FILE.match(line) and not _FIELD.match(line):
                continue
            self.eight_bit = self.eight_bit or not line.isascii()
            if size > LONGEST_HEADER:
                self._is_long = True
                self._body.write(line)
                break
            if self._fields and (line[:1] in b" \t" or not self._fields[-1].endswith(b"\r\n")):
                self._fields[-1] += line
            elif _FIELD.match(line):
                self._fields.append(line)
            elif line == b"\r\n":
                break
            else:
                self._body.write(line)  # the empty line has been forgotten
                break
        for line in lines:
            self.eight_bit = self.eight_bit or not line.isascii()
            self._body.write(line)
        self.size = sum(map(len, self._fields)) + 2 + self._body.tell()

    def blocks(self) -> Iterator[bytes]:
        """The octets to send, lines with CRLF."""
        yield b"".join(self._fields) + (b"" if self._is_long else b"\r\n")
        self._body.seek(0)
        while block := self._body.read(BLOCK):
            yield block

    def recipients(self) -> list[str]:
        """Whom its header is addressed to; who is to be kept from the others is taken out of it. Raises `Unfit`.

        What was sent on (Resent-) goes where it was sent on to.
        """
        if self._is_long:
            raise Unfit(f"its header is longer than {LONGEST_HEADER} octets")
        names = [_name(field) for field in self._fields]
        wanted = _RESENT if not _RESENT.isdisjoint(names) else _TO
        found = [
            address
            for name, field in zip(names, self._fields, strict=True)
            if name in wanted
            for address in addresses_in(_value(field), name.decode().title())
        ]
        self._fields = [field for name, field in zip(names, self._fields, strict=True) if name not in _BLIND]
        return found

    def add_from(self, address: str, full_name: str) -> None:
        """Say whom it is from, where it does not say so."""
        if self._is_long or any(_name(field) == b"from" for field in self._fields):
            return
        whom = f"{_phrase(full_name)} <{address}>" if full_name else address
        self._fields.insert(0, f"From: {whom}\r\n".encode())
        self.eight_bit = self.eight_bit or not address.isascii()


def addresses_in(text: str, where: str) -> list[str]:
    """The addresses in a list of them, as header fields have it: with names, comments and groups (RFC 5322 3.4).

    Each as "local@domain", or as a local part alone. where: for what is wrong. Raises `Unfit`.
    """
    try:
        parsed = getaddresses([text], **_LENIENT)
    except RecursionError:
        raise Unfit(f"{where}: this is no list of addresses: {_shown(text)}") from None
    if len(parsed) > 1 + text.count(","):  # it has found some where there are none, or may have
        raise Unfit(f"{where}: this is no list of addresses, with commas between them: {_shown(text)}")
    found = [address for _, address in parsed if address]
    if not found and text.strip() and not _EMPTY_GROUP.fullmatch(text):
        raise Unfit(f"{where}: there is no address in {_shown(text)}")
    return [_checked(address, where) for address in found]


def _checked(address: str, where: str) -> str:
    is_whole = "@" in address
    try:
        mailbox = parse_mailbox(address if is_whole else f"{address}@localhost", utf8=True)
    except AddressError as error:
        raise Unfit(f"{where}: {_shown(address)} is not an address: {error.reason}") from None
    except UnicodeEncodeError:  # a word of the command line with octets that are none
        raise Unfit(f"{where}: {_shown(address)} is not UTF-8") from None
    return str(mailbox) if is_whole else mailbox.local


def _lines(source: IO[bytes], dot_ends: bool) -> Iterator[bytes]:
    """Its lines, each with CRLF; of long ones pieces, up to the one with the CRLF. A CR alone ends a line, too."""
    at_start, held = True, b""
    while piece := source.readline(BLOCK):
        if dot_ends and at_start and piece.rstrip(b"\r\n") == b"." and not held:
            return
        at_start = piece.endswith(b"\n")
        piece, held = held + piece, b""
        if not at_start and piece.endswith(b"\r"):
            piece, held = piece[:-1], b"\r"
        octets = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        yield from octets.splitlines(keepends=True)
    if held or not at_start:
        yield b"\r\n"


def _name(field: bytes) -> bytes:
    found = _FIELD.match(field)
    return found[1].lower() if found else b""


def _value(field: bytes) -> str:
    value = field.partition(b":")[2].replace(b"\r\n", b" ").strip()
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unfit(f"{_name(field).decode().title()}: this is not UTF-8") from None


def _phrase(name: str) -> str:
    """A name as it stands before an address: quoted where it must be, encoded where it is not ASCII (RFC 2047)."""
    name = " ".join(name.split())
    plain = "".join(letter for letter in name if letter.isprintable())
    if not plain.isascii():
        return Header(plain, "utf-8", header_name="From").encode(linesep="\r\n")
    if _QUOTED.search(plain):
        escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return plain


def _shown(text: str) -> str:
    quoted = repr(text[:_MOST_SHOWN])
    if len(text) <= _MOST_SHOWN and len(quoted) <= _MOST_SHOWN + 2:
        return quoted
    return f"{quoted[: _MOST_SHOWN + 1]}…{quoted[-1]}"  # what cannot be printed has become longer
