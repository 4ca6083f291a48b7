"""Spare: a descriptor of this process that is kept for when there is no other, for a client to be told so.

Twisted has one too, but closes whoever it accepts with it, and once it is lost accepts in vain, again and again.
"""

import os
from contextlib import suppress


class Spare:
    """Such a descriptor."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def keep(self) -> bool:
        """Have it from now on. Could it be had?"""
        if self._descriptor is None:
            with suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY)
        return self._descriptor is not None

    def give(self) -> bool:
        """Let go of it. Was it there?"""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def make_room(self) -> bool:
        """Let go of it only if there is no other that is free. Is there?"""
        if self._descriptor is None:
            return True  # as far as we know
        try:
            os.close(os.dup(self._descriptor))
        except OSError:
            self.give()
            return False
        return True


spare = Spare()
