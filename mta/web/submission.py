"""Submission: a message that a program posts, handed to the relay as any client hands it one: over SMTP, within.

So nothing is decided twice, and what is answered with 201 is on stable storage, as behind any 250.
"""

import io
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from smtplib import SMTP, SMTPException, SMTPServerDisconnected
from typing import IO, Any, Final, NamedTuple

from mta.web import patterns
from mta.web.compose import compose
from mta.web.patterns import is_like
from mta.web.schemas import MOST_RECIPIENTS
from mta.web.seams import OutOfOrder, Unusable

PATIENCE: Final = 120.0  # seconds for one answer of the relay's
BLOCK: Final = 1 << 16

_QUEUED: Final = re.compile(r"queued as ([0-9A-Z]+)")
_LONE_LF: Final = re.compile(rb"(?<!\r)\n")


class Refusal(NamedTuple):
    """A recipient that the relay did not take, and what it said."""

    address: str
    reply: str


class Submitted(NamedTuple):
    """id: in the queue. refused: recipients who are not among its own."""

    id: str
    refused: tuple[Refusal, ...]

    def told(self) -> dict[str, Any]:
        """For programs."""
        return {"id": self.id, "refused": [one._asdict() for one in self.refused]}


class Letter(NamedTuple):
    """What is to be submitted. sender: the reverse-path, "" for the null one."""

    sender: str
    recipients: tuple[str, ...]
    content: IO[bytes]


class AllRefused(Exception):
    """Nobody of the recipients was taken, or the sender was not, or the content. later: it may be tried again."""

    def __init__(self, reply: str, refused: Sequence[Refusal], later: bool) -> None:
        super().__init__(reply)
        self.refused = refused
        self.later = later


def addressed(sender: str, recipients: Sequence[str], content: IO[bytes]) -> Letter:
    """A letter with these addresses. Raises `Unusable`."""
    if not 0 < len(recipients) <= MOST_RECIPIENTS:
        raise Unusable(f"a message has 1 to {MOST_RECIPIENTS} recipients (to)")
    if not is_like(sender, patterns.REVERSE_PATH):
        raise _no_address(sender)
    for one in recipients:
        if not is_like(one, patterns.MAILBOX):
            raise _no_address(one)
    return Letter(sender.strip("<>"), tuple(dict.fromkeys(recipients)), content)


def composed(asked: Any) -> Letter:
    """A letter of what a program has sent as JSON. Raises `Unusable`."""
    message, sender, recipients = compose(asked)
    return addressed(sender, recipients, io.BytesIO(message.as_bytes()))


def submit(connection: socket.socket, hostname: str, letter: Letter) -> Submitted:
    """Hand a letter to the relay at the other end. Waits. Raises `AllRefused` or `OutOfOrder`."""
    try:
        with closing(_Within(connection, hostname)) as relay:  # with its file, which would keep the socket open
            done = _hand_over(relay, letter)
            with suppress(SMTPException, OSError):  # it is in the queue, whatever is said of the end
                relay.quit()
            return done
    except SMTPServerDisconnected as error:
        raise OutOfOrder("the relay broke off; it may be stopping, so try again") from error
    except (SMTPException, OSError) as error:
        raise OutOfOrder(f"the relay does not answer: {error}") from error
    finally:
        connection.close()


class _Within(SMTP):
    """A session over a socket that is there already."""

    def __init__(self, connection: socket.socket, hostname: str) -> None:
        connection.settimeout(PATIENCE)
        self._connection = connection
        super().__init__("within", local_hostname=hostname, timeout=PATIENCE)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._connection


def _hand_over(relay: _Within, letter: Letter) -> Submitted:
    relay.ehlo()
    relay.command_encoding = "utf-8"
    is_plain, is_eight_bit = _nature(letter)
    wishes = ("" if is_plain else " SMTPUTF8") + (" BODY=8BITMIME" if is_eight_bit else "")
    code, text = relay.docmd("MAIL", f"FROM:<{letter.sender}>{wishes}")
    if code != 250:
        raise AllRefused(_said(code, text), (), code < 500)
    refused: list[Refusal] = []
    codes: set[int] = set()
    for address in letter.recipients:
        code, text = relay.docmd("RCPT", f"TO:<{address}>")
        if code not in (250, 251):
            refused.append(Refusal(address, _said(code, text)))
            codes.add(code)
    if len(refused) == len(letter.recipients):
        raise AllRefused(refused[0].reply, refused, min(codes) < 500)
    code, text = _send(relay, letter.content)
    queued = _QUEUED.search(text.decode("ascii", "replace"))
    if code != 250 or queued is None:
        raise AllRefused(_said(code, text), refused, code < 500)
    return Submitted(queued[1], tuple(refused))


def _send(relay: _Within, content: IO[bytes]) -> tuple[int, bytes]:
    """The content in chunks (RFC 3030), which need no dots; the reply that ends it."""
    for block in _blocks(content):
        relay.putcmd("BDAT", str(len(block)))
        relay.send(block)
        code, text = relay.getreply()
        if code != 250:
            return code, text
    return relay.docmd("BDAT", "0 LAST")


def _blocks(content: IO[bytes]) -> Iterator[bytes]:
    """Its octets, with every line end a CRLF; the last line has one too."""
    content.seek(0)
    last = b"\n"
    while block := content.read(BLOCK):
        if block.endswith(b"\r"):
            block += content.read(1)
        last = block[-1:]
        yield _LONE_LF.sub(b"\r\n", block)
    if last != b"\n":
        yield b"\r\n"


def _nature(letter: Letter) -> tuple[bool, bool]:
    """Are its addresses and its header ASCII, and has it any octet that is not?"""
    is_plain = all(one.isascii() for one in (letter.sender, *letter.recipients))
    letter.content.seek(0)
    is_eight_bit, in_header, tail = False, True, b""
    while block := letter.content.read(BLOCK):
        if in_header:
            head = tail + block.replace(b"\r\n", b"\n")
            end = head.find(b"\n\n")
            is_plain = is_plain and (head if end < 0 else head[:end]).isascii()
            in_header, tail = end < 0, head[-2:]
        is_eight_bit = is_eight_bit or not block.isascii()
        if is_eight_bit and not in_header:
            break
    return is_plain, is_eight_bit


def _no_address(text: str) -> Unusable:
    return Unusable(f"{text[:100]!r} is not an address, such as ann@example.org")


def _said(code: int, text: bytes) -> str:
    return f"{code} {text.decode('utf-8', 'replace')}"
