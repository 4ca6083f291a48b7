"""Tail: what several processes write into a file, as lines, for the one that has the console."""

import os
from collections.abc import Callable, Sequence
from typing import Final

MOST: Final = 1 << 18  # octets that are read at a look; of more, the last ones


class Tail:
    """Reads on from where the file ends now."""

    def __init__(self, descriptor: int, take: Callable[[Sequence[str]], None]) -> None:
        """descriptor: of the file, though it be open for writing alone. Raises `OSError`."""
        self._take = take
        self._file = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        self._at = os.fstat(self._file).st_size
        self._begun = b""  # of a line whose end is not there yet

    def look(self) -> None:
        """Give what has been written since the last look."""
        size = os.fstat(self._file).st_size
        if size < self._at:  # it was copied and truncated, as logrotate does
            self._at, self._begun = 0, b""
        is_behind = size - self._at > MOST
        if is_behind:
            self._at, self._begun = size - MOST, b""
        octets = os.pread(self._file, MOST, self._at)
        self._at += len(octets)
        *lines, self._begun = (self._begun + octets).split(b"\n")
        if is_behind:
            del lines[:1]  # the end of one whose beginning was passed over
        if lines:
            self._take([line.decode("utf-8", "backslashreplace") for line in lines])
