"""Fitting: content made fit for a next hop that takes only 7 bit, or only lines, before it is sent there."""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Final, NamedTuple

from twisted.internet.defer import Deferred, DeferredSemaphore
from zope.interface import implementer

from mta.interfaces import IContent
from mta.message.sevenbit import SEVEN_BIT, Plan, Unconvertible, converted, plan
from mta.smtp.reply import Reply

LARGEST_IN_MEMORY: Final = 1_048_576  # octets of a converted content; a larger one gets a file
AT_ONCE: Final = 2  # conversions
_BLOCK: Final = 65_536


class Fitted(NamedTuple):
    """A content that the next hop takes.

    content: can be read any number of times, and is the given one where nothing had to change. dotted: some line may
    begin with a dot. notes: what was done, for the timeline.
    """

    content: IContent
    dotted: bool
    notes: tuple[str, ...]


class Fitter:
    """Converts contents, a few at once, somewhere where the reactor need not wait for it."""

    def __init__(self, in_thread: Callable[..., Deferred[Any]]) -> None:
        """in_thread: calls a function with arguments elsewhere; its Deferred fires in the reactor's thread."""
        self._in_thread = in_thread
        self._slots = DeferredSemaphore(AT_ONCE)

    def fit(self, content: IContent, target: str) -> "Deferred[Fitted | Reply]":
        """Make a content fit for a next hop that takes "7bit" or "8bit" (RFC 2045 2.7, 2.8).

        Fires with a `Reply` (5.6.3) where it cannot be done. An `OSError` while the content is read, or while the
        converted one is written to its temporary file, passes through.
        """
        return self._slots.run(self._in_thread, _fit, content, target)


def _fit(content: IContent, target: str) -> Fitted | Reply:
    try:
        found = plan(content.blocks(), target)
    except Unconvertible as why:
        lacking = "8BITMIME" if target == SEVEN_BIT else "BINARYMIME"
        text = f"the message must be converted for a next hop without {lacking}, and cannot be: {why}"
        return Reply(554, "5.6.3", (text,))
    if not found.edits:
        return Fitted(content, True, ())
    return Fitted(_keep(converted(content.blocks(), found)), True, (_note(found, target),))


def _note(found: Plan, target: str) -> str:
    """What was done, for people."""
    bits = "7 bit" if target == SEVEN_BIT else "8 bit"
    counts = [(found.quoted_printable, "quoted-printable"), (found.base64, "base64")]
    parts = [f"{count} {encoding}" for count, encoding in counts if count]
    if parts:
        number, _, rest = parts[0].partition(" ")
        parts[0] = f"{number} {'part' if number == '1' else 'parts'} {rest}"
    if found.masked:
        parts.append("octets outside of any part replaced by question marks")
    note = f"converted to {bits}: {', '.join(parts)}"
    return f"{note}; the DKIM signature no longer holds" if found.breaks_dkim else note


@implementer(IContent)
class _InMemory:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.size = len(octets)

    def blocks(self) -> Iterator[bytes]:
        """As in `IContent`."""
        for begin in range(0, self.size, _BLOCK):
            yield self._octets[begin : begin + _BLOCK]


@implementer(IContent)
class _InFile:
    """A content in a file that has no name, so that it goes when nobody needs it, also when we are killed."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._descriptor = os.dup(file.fileno())
        self.size = size
        weakref.finalize(self, os.close, self._descriptor)

    def blocks(self) -> Iterator[bytes]:
        """As in `IContent`. Readers do not disturb one another."""
        for begin in range(0, self.size, _BLOCK):
            yield os.pread(self._descriptor, _BLOCK, begin)


def _keep(blocks: Iterable[bytes]) -> IContent:
    """Keep octets as a content, in memory as long as they are few."""
    held: list[bytes] = []
    size = 0
    remaining = iter(blocks)
    for block in remaining:
        held.append(block)
        size += len(block)
        if size > LARGEST_IN_MEMORY:
            break
    else:
        return _InMemory(b"".join(held))
    with tempfile.TemporaryFile() as file:
        for block in held:
            file.write(block)
        held.clear()
        for block in remaining:
            file.write(block)
            size += len(block)
        file.flush()
        return _InFile(file, size)
