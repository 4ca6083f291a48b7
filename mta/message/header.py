"""Header: what must be known of a message's header section, read from its octets without parsing it as mail.

The content of mail in transit is never parsed and written again (that changes octets, and breaks signatures); these
functions only look.
"""

from collections.abc import Iterable

_END = b"\r\n\r\n"
_TRACE = b"\nreceived:"


def header_block(blocks: Iterable[bytes], limit: int) -> bytes:
    """The header section, each line with its CRLF, without the empty line; cut after a whole line within `limit`."""
    head = b""
    for block in blocks:
        head += block
        if len(head) > limit or _END in head:
            break
    if head.startswith(b"\r\n"):
        return b""
    end = head.find(_END, 0, limit)
    if end < 0:
        end = len(head) - 2 if len(head) <= limit and head.endswith(b"\r\n") else head.rfind(b"\r\n", 0, limit)
    return head[: end + 2] if end >= 0 else b""


class TraceCounter:
    """Counts the Received fields of a message as its content arrives, to stop a loop (RFC 5321 6.3).

    Feed it blocks until `done`; an ordinary message's header section is over within the first.
    """

    __slots__ = ("_tail", "done", "fields")

    def __init__(self) -> None:
        self.fields = 0
        self.done = False
        self._tail = b"\r\n"

    def feed(self, block: bytes) -> bytes:
        """The next block of content, which is given back as it is."""
        seen = self._tail + block
        end = seen.find(_END)
        if end >= 0:
            seen = seen[:end]
            self.done = True
        self.fields += trace_fields(seen.lower())
        # What may be the beginning of a name or of the end is looked at again, a whole name is never counted twice.
        self._tail = seen[1 - len(_TRACE) :]
        return block

    def finish(self) -> bytes:
        """No more comes; nothing was held back."""
        return b""


def trace_fields(header: bytes) -> int:
    """The Received fields of a header section in lower case, with a line end before its first field."""
    return header.count(_TRACE)
