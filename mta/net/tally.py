"""Tally: connections that several processes count together, by client and in all, in memory that they share; and
which of them let clients in.

Each process writes in a part of its own, and reads those of the others, so there is nothing to lock and nothing that
one of them could leave half done. A client is found by two hashes of its address, and the smaller count is believed:
two clients would have to fall together twice to be taken for each other. The hashes have a key of their own each time,
or anybody could look for addresses that fall together with a client's, connect from there, and have him refused.
"""

import hashlib
import mmap
import os
import secrets
from functools import lru_cache
from typing import Final

_SLOTS: Final = 1 << 13  # of each hash
_PART: Final = 2 + 2 * _SLOTS  # numbers of 4 octets: whether it lets in, all connections, the slots of both hashes
_OCTETS: Final = 4
_KEY: Final = 16  # octets, behind all parts


def make_tally(processes: int) -> int:
    """Memory for so many processes, all of it 0 but the key; its descriptor."""
    descriptor = os.memfd_create("mta-connections")
    os.pwrite(descriptor, secrets.token_bytes(_KEY), processes * _PART * _OCTETS)
    return descriptor


class Tally:
    """What one of the processes has of it."""

    def __init__(self, descriptor: int, number: int, processes: int) -> None:
        """number: which one we are, from 0."""
        counts = processes * _PART * _OCTETS
        memory = memoryview(mmap.mmap(descriptor, counts + _KEY))
        self._counts = memory[:counts].cast("I")
        self._key = bytes(memory[counts:])
        self._start = number * _PART
        self._others = {one: one * _PART for one in range(processes) if one != number}

    def clear(self) -> None:
        """Nobody is connected to us: we have just begun."""
        self._forget(self._start)

    def forget(self, number: int) -> None:
        """Nobody is connected to this process: it is no more."""
        self._forget(number * _PART)

    def _forget(self, start: int) -> None:
        self._counts[start : start + _PART] = memoryview(bytes(_PART * _OCTETS)).cast("I")

    def let_in(self, whether: bool) -> None:
        """Do we serve clients from now on, or not any more?"""
        self._counts[self._start] = whether

    def change(self, client: str, by: int) -> None:
        """So many more (or less) connections from a client to us. Never fewer than none: what counts wrong lets in one
        too many, or one too few, and that is all.
        """
        for slot in (self._start + 1, *(self._start + one for one in _slots(client, self._key))):
            self._counts[slot] = max(0, self._counts[slot] + by)

    def elsewhere(self) -> int:
        """How many connections the others have."""
        return sum(self._counts[other + 1] for other in self._others.values())

    def elsewhere_from(self, client: str) -> int:
        """How many of those are from this client."""
        return min(
            sum(self._counts[other + slot] for other in self._others.values()) for slot in _slots(client, self._key)
        )

    def here(self) -> int:
        """How many connections we have."""
        return self._counts[self._start + 1]

    def idlest(self) -> tuple[int, int] | None:
        """How many connections that one of the others has who has the fewest, and its number; None where no other lets
        clients in.
        """
        counts = self._counts
        return min(((counts[at + 1], number) for number, at in self._others.items() if counts[at]), default=None)


class Alone:
    """The tally of the only process."""

    def change(self, client: str, by: int) -> None:
        """As in `Tally`."""

    def elsewhere(self) -> int:
        """As in `Tally`."""
        return 0

    def elsewhere_from(self, client: str) -> int:
        """As in `Tally`."""
        return 0


@lru_cache(maxsize=1024)
def _slots(client: str, key: bytes) -> tuple[int, int]:
    octets = hashlib.blake2b(client.encode(), digest_size=4, key=key).digest()
    first, second = int.from_bytes(octets[:2], "big"), int.from_bytes(octets[2:], "big")
    return 2 + first % _SLOTS, 2 + _SLOTS + second % _SLOTS
