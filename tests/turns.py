"""Processes that share the tests take turns: many at once, or one alone."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
    """A room that any number of processes are in at once, or one alone.

    Who waits for the room holds its door: it waits for those who are inside, and for none who come later. The locks are
    the process's own, so that they end with it and nothing that it starts has them.
    """

    def __init__(self, folder: Path) -> None:
        self._door, self._room = ((folder / name).open("w+") for name in ("door", "room"))

    @contextmanager
    def turn(self, alone: bool) -> Iterator[None]:
        fcntl.lockf(self._door, fcntl.LOCK_EX)
        fcntl.lockf(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.lockf(self._door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.lockf(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        self._door.close()
        self._room.close()
