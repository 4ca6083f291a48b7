"""Aside: content that is at hand of what waits for a place, while there is memory for it.

A message is mostly sent from memory, in the moment that it has been stored. Where all places of its destination are
taken it waits, and what is not kept here is read from the spool when its turn has come.
"""

from mta.interfaces import Claim, IContent


class Aside:
    """most: octets; content of more than `large` is in a file, and counts for no more than that."""

    def __init__(self, most: int, large: int) -> None:
        self._room = most
        self._large = large
        self._kept: dict[int, IContent] = {}  # by delivery

    def put(self, claim: Claim, content: IContent | None) -> None:
        """Keep it until it is taken, if it is there and there is room."""
        octets = self._octets(claim)
        if content is not None and octets <= self._room:
            self._room -= octets
            self._kept[claim.delivery] = content

    def take(self, claim: Claim) -> IContent | None:
        """What was kept, which is no longer; None where it was not."""
        content = self._kept.pop(claim.delivery, None)
        if content is not None:
            self._room += self._octets(claim)
        return content

    def _octets(self, claim: Claim) -> int:
        return min(claim.envelope.size, self._large)
