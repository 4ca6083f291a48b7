"""Reception: one message on its way in, gathered in memory, and beyond a certain size in a content file."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.interfaces import Claim, IContent, IReception, NewDelivery, SpoolFull
from mta.message.envelope import Envelope
from mta.message.timeline import Event
from mta.spool.content import LARGEST_ROW, MANY_BLOCKS, ContentFiles, Octets
from mta.spool.keeping import Kept
from mta.spool.spill import Run, Spill

Keep = Callable[[Kept], "Deferred[list[Claim]]"]


@implementer(IReception)
class Reception:
    """See `IReception`."""

    __slots__ = ("_blocks", "_files", "_keep", "_run", "_size", "_spill", "content", "id")

    content: IContent

    def __init__(self, message: int, keep: Keep, files: ContentFiles, run: Run) -> None:
        """keep: commits it. run: does what may block."""
        self.id = message
        self._keep = keep
        self._files = files
        self._run = run
        self._blocks: list[bytes] = []
        self._size = 0
        self._spill: Spill | None = None

    def write(self, octets: bytes) -> "Deferred[None] | None":
        """As in `IReception`."""
        self._size += len(octets)
        if self._spill is not None:
            return self._spill.write(octets)
        self._blocks.append(octets)
        if len(self._blocks) > MANY_BLOCKS:
            self._blocks = [b"".join(self._blocks)]
        if self._size <= LARGEST_ROW:
            return None
        blocks, self._blocks = self._blocks, []
        self._spill = Spill(self._files, self.id, self._run)
        return self._spill.write(b"".join(blocks))

    def commit(
        self, envelope: Envelope, deliveries: Sequence[NewDelivery], events: Sequence[Event]
    ) -> "Deferred[list[Claim]]":
        """As in `IReception`."""
        if self._spill is not None:
            return Deferred.fromCoroutine(self._commit_file(self._spill, envelope, deliveries, events))
        body = b"".join(self._blocks)
        self._blocks = []
        self.content = Octets(body)
        return self._keep(Kept(self.id, envelope, self._size, body, deliveries, events))

    def discard(self) -> None:
        """As in `IReception`."""
        self._blocks = []
        if self._spill is not None:
            self._spill.abandon()

    async def _commit_file(
        self, spill: Spill, envelope: Envelope, deliveries: Sequence[NewDelivery], events: Sequence[Event]
    ) -> list[Claim]:
        await spill.finish()
        self.content = self._files.open(self.id, self._size)
        try:
            return await self._keep(Kept(self.id, envelope, self._size, None, deliveries, events))
        except SpoolFull:
            spill.abandon()
            raise  # after any other error a row may be there that names the file, which the next sweep will know
