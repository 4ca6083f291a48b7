"""Steps: what the generators of `mta.smtp.client` yield, and the promise of whoever drives them over a connection.

A generator yields a step and is sent the replies to it, as many as the step asks for, always. Where the peer gave none
(it hung up, was silent for too long, talked nonsense), the driver puts what ended the session in the place of every
missing reply: an `OwnReply`, or the peer's own 421. So a dialogue has one way through, whatever happens, and never
waits for ever. After the end of the session every step is answered so, at once. A step's `seconds` are for each reply.
"""

from collections.abc import Generator, Iterator
from typing import TypeAlias, TypeVar

from mta.smtp import limits
from mta.smtp.reply import Reply


class Greeting:
    """Wait for the server's first reply."""

    replies = 1
    seconds = limits.CLIENT_GREETING


class Handshake:
    """Turn the connection into an encrypted one. The reply is ours: 220 when it is done, `NoHandshake` when it failed.

    What the server sent before it in the clear, and nobody has read, ends the session (RFC 3207 4.2 and 6).
    """

    replies = 1
    seconds = limits.CLIENT_HANDSHAKE


class Commands:
    """Send these lines, in one go, and wait for a reply to each. secret: they are not to be shown to anybody."""

    __slots__ = ("lines", "replies", "seconds", "secret")

    def __init__(self, *lines: bytes, seconds: float = limits.CLIENT_MAIL, secret: bool = False) -> None:
        self.lines = lines
        self.replies = len(lines)
        self.seconds = seconds
        self.secret = secret


class Content:
    """Send these blocks as they are and wait for the replies. size: octets, about.

    They are transparent and ended already, or a chunk whose length is said first (RFC 3030 2).

    sent: set by the driver when it has handed on all of them: from then on the server may have taken the mail. An
    `OSError` of the blocks is thrown into the generator, after the connection was cut.
    """

    __slots__ = ("blocks", "replies", "seconds", "sent", "size")

    def __init__(self, blocks: Iterator[bytes], size: int, replies: int) -> None:
        self.blocks = blocks
        self.size = size
        self.replies = replies
        self.seconds = limits.CLIENT_END_OF_CONTENT
        self.sent = False


Step: TypeAlias = Greeting | Handshake | Commands | Content
T = TypeVar("T")
Dialogue: TypeAlias = Generator[Step, list[Reply], T]


class OwnReply(Reply):
    """What stands where the peer's reply should be: that there was none, and why, in the form of a reply."""

    __slots__ = ()


class NoHandshake(OwnReply):
    """The reply to a `Handshake` that came to nothing: it was not TLS, or not the right certificate."""

    __slots__ = ()
