"""Submission: what a message lacks when a client hands it over as its author, and what we add (RFC 6409 4.2 and 8).

Printers, scripts and cron jobs send mail without Date or Message-ID, from "root" to "admin". Nothing else is changed,
not an octet; and nothing that a signature covers.
"""

import re

from mta.message.header import TraceCounter, trace_fields
from mta.message.trace import mail_date

_END = b"\r\n\r\n"
# A header section of more octets than these is passed on as it is.
_LIMIT = 65536

# What the first line of a header section looks like. (Files of mail have a line "From " in front of each message.)
_FIRST_LINE = re.compile(rb"[!-9;-~]+[ \t]*:|>?From ")

# The rest looks at a header section in lower case, with a line end before its first field.
_TEXT = rb"([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)"
_VALUE = _TEXT + rb"(?=\r\n|\Z)"
_ADDRESSES = re.compile(rb"\r\n(?:from|sender|to|cc):" + _VALUE)
_SIGNATURE = re.compile(rb"\r\n(?:dkim|arc-message)-signature[ \t]*:" + _VALUE)
_SIGNED_NAMES = re.compile(rb"(?:\A|;)\s*h\s*=([^;]*)")
# The fields that matter here, each with its value. A blank before the colon is an old habit (RFC 5322 4.5). A message
# that has others than the usual ones is signed, or was sent on: its addresses are not ours to complete.
_FIELDS = re.compile(
    rb"\r\n(date|from|message-id|sender|to|cc|(?:dkim-signature|arc-|resent-)[!-9;-~]*+)[ \t]*+:" + _TEXT
)
# A field of addresses that is not just one whole address on one line.
_SEVERAL_OR_BARE = re.compile(rb"\r\n(?:from|sender|to|cc)[ \t]*+:(?![^@,\r\n]*+@[^@,\r\n]*+(?:\r\n[^ \t]|\r\n\Z|\Z))")
_OF_ADDRESSES = frozenset({b"from", b"sender", b"to", b"cc"})
_USUAL = _OF_ADDRESSES | {b"date", b"message-id"}
_REQUIRED = frozenset({b"date", b"from", b"message-id"})

# Whatever has one of these is more than words with or without a name before them, and left as it is.
_INVOLVED = re.compile(rb'["()\\:;\[\]\x00-\x08\x80-\xff]')
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_UNQUALIFIED = re.compile(rb"\s*+([^<>@]*+<\s*+)?(%b(?:\.%b)*+)\s*+(?(1)>\s*+)" % (_ATOM, _ATOM))


def complete(local_part: str, domain: str) -> str:
    """The address of a mailbox that was given without its domain (RFC 6409 4.2)."""
    return f"{local_part}@{domain}"


class Submission:
    """Completes one message while its content passes through. A header section is over within the first block or so.

    Added, where they lack: Date, Message-ID, and From with the reverse-path. Completed with the host name: addresses
    in From, Sender, To and Cc that are a plain word. The fields of a message that is signed (DKIM, ARC) or was sent
    on (Resent-) stay as they are, and it is given none that its signature names.

    As with a `TraceCounter`: done: the rest may pass by. fields: the Received fields that were there.
    """

    __slots__ = ("_hostname", "_long", "_now", "_queue_id", "_read", "_sender", "done", "fields")

    def __init__(self, hostname: str, queue_id: str, sender: str, now: float) -> None:
        """sender: the reverse-path as "local@domain", "" for the null one. now: in seconds since 1970."""
        self._hostname = hostname
        self._queue_id = queue_id
        self._sender = sender
        self._now = now
        self._read = b""  # of a header section whose end has not come
        self._long: TraceCounter | None = None
        self.done = False
        self.fields = 0

    def feed(self, block: bytes) -> bytes:
        """The next block of content; what is to be kept of it, and of what was held back before."""
        if self.done:
            return block
        if self._long is not None:
            return self._count(self._long, block)
        seen = len(self._read)
        head = self._read + block if seen else block
        # An empty line may also be the first, and the header section empty.
        found = -2 if head.startswith(b"\r\n") else head.find(_END, max(seen - 3, 0))
        if found == -1 and len(head) <= _LIMIT:
            self._read = head
            return b""
        self._read = b""
        if found == -1:
            self._long = TraceCounter()
            return self._count(self._long, head)
        self.done = True
        return self._completed(head, found + 2)

    def finish(self) -> bytes:
        """No more comes; what was held back, of a message without an empty line."""
        if self.done or self._long is not None:
            return b""
        self.done = True
        head, self._read = self._read, b""
        return self._completed(head, len(head))

    def _count(self, trace: TraceCounter, block: bytes) -> bytes:
        """Nothing is added to a header section that is as long as that; but a loop is stopped."""
        trace.feed(block)
        self.done, self.fields = trace.done, trace.fields
        return block

    def _completed(self, content: bytes, end: int) -> bytes:
        """The content, whose header section ends at a position, behind the line end of its last field.

        Fields are added before the first one: there they are fields even if some line among the others is none.
        """
        header = b"\r\n" + content[:end].lower()
        self.fields = trace_fields(header)
        if end and not _FIRST_LINE.match(content):
            return self._missing_fields(set()) + b"\r\n" + content  # it begins with its body
        if _lacks_nothing(header):
            return content
        fields: list[tuple[bytes, bytes]] = _FIELDS.findall(header)
        names = {name for name, _ in fields}
        if not names <= _USUAL:
            return self._missing_fields(names | _signed_names(header)) + content
        for name, value in fields:
            if name in _OF_ADDRESSES and not _is_qualified(value):
                content = self._qualified(content, header)
                break
        return content if names >= _REQUIRED else self._missing_fields(names) + content

    def _missing_fields(self, names: set[bytes]) -> bytes:
        """The fields to add, each with its line end; names: in lower case, those that are there, or not to be added."""
        fields = ""
        if b"date" not in names:
            fields += f"Date: {mail_date(self._now)}\r\n"
        if self._sender and b"from" not in names:
            fields += f"From: {self._sender}\r\n"
        if b"message-id" not in names:
            fields += f"Message-ID: <{self._queue_id}@{self._hostname}>\r\n"
        return fields.encode()

    def _qualified(self, content: bytes, header: bytes) -> bytes:
        """The content with its plain words completed to addresses."""
        pieces: list[bytes] = []
        done = 0
        for field in _ADDRESSES.finditer(header):
            value = field[1]
            if _is_qualified(value) or _INVOLVED.search(value):
                continue
            start, end = field.start(1) - 2, field.end(1) - 2
            pieces += (content[done:start], self._qualified_list(content[start:end]))
            done = end
        return b"".join((*pieces, content[done:])) if pieces else content

    def _qualified_list(self, value: bytes) -> bytes:
        """A list of addresses with its plain words completed."""
        domain = b"@" + self._hostname.encode()
        parts = value.split(b",")
        for number, part in enumerate(parts):
            word = _UNQUALIFIED.fullmatch(part)
            if word is not None:
                at = word.end(2)
                parts[number] = part[:at] + domain + part[at:]
        return b",".join(parts)


def _lacks_nothing(header: bytes) -> bool:
    """Is all there, as can be told at a glance? So it is with nearly all mail."""
    return (
        b"\r\ndate:" in header
        and b"\r\nfrom:" in header
        and b"\r\nmessage-id:" in header
        and _SEVERAL_OR_BARE.search(header) is None
    )


def _is_qualified(value: bytes) -> bool:
    """Has each of a list of addresses its domain, as far as can be told at a glance?"""
    return value.count(b"@") > value.count(b",")


def _signed_names(header: bytes) -> frozenset[bytes]:
    """The fields that the signatures cover, or will not have added (RFC 6376 3.5, 5.4.2)."""
    names = b":".join(names for field in _SIGNATURE.findall(header) for names in _SIGNED_NAMES.findall(field))
    return frozenset(name.strip() for name in names.split(b":"))
