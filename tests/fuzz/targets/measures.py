"""Measures: what holds of every parser: no input raises, keeps the reactor waiting, or costs too much memory.

Times are of CPU, so that it is no matter how busy a machine is.
"""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import thread_time
from typing import NamedTuple

# Seconds of CPU time for which the reactor may be kept from everybody else, at a stretch.
STRETCH = 0.050
# Octets of memory that may be held at once, for each octet of an input and for any. What is read from one octet is an
# object or two (a reply, an event), which Python needs some hundred octets for.
MEMORY_PER_OCTET = 2_000
MEMORY_FOR_ANY = 12_000_000
_TIMES = 3  # a stretch is too long where it is so each time: a machine has other things to do, and so has a collector

_patience = 1.0  # how many times longer things may take


class TooSlow(AssertionError):
    """A stretch took too long."""


class TooMuch(AssertionError):
    """An input took too much memory."""


class Target(NamedTuple):
    """A parser, and what holds of it.

    check: gives it an input; raises whatever is wrong. words: what inputs are made of, for who makes some up. largest:
    octets of the largest input that is worth making; the reactor reads so many at once.
    """

    name: str
    check: Callable[[bytes], None]
    words: tuple[bytes, ...]
    largest: int = 65_536


def have_patience(times: float) -> None:
    """Let everything take so many times longer, where each line that is reached is recorded."""
    global _patience
    _patience = times


@contextmanager
def without_limits() -> Iterator[None]:
    """What is done here may take any time."""
    before = _patience
    have_patience(inf)
    try:
        yield
    finally:
        have_patience(before)


@contextmanager
def stretch(allowed: float = STRETCH, octets: int = 0, per_octet: float = 0.0) -> Iterator[None]:
    """What is done here must not take longer than `allowed`, in seconds of CPU time.

    per_octet: for what is done elsewhere than in the reactor's thread: so many seconds more for each of its octets.
    """
    allowed = (allowed + octets * per_octet) * _patience
    begun = thread_time()
    yield
    taken = thread_time() - begun
    if taken > allowed:
        raise TooSlow(f"{taken * 1000:.0f} ms at a stretch, where {allowed * 1000:.0f} are allowed")


def examine(target: Target, octets: bytes) -> None:
    """Give a target an input, and find out whether it is slow each time."""
    for attempt in range(1, _TIMES + 1):
        try:
            target.check(octets)
            return
        except TooSlow:
            if attempt == _TIMES:
                raise
            gc.collect()


def examine_memory(target: Target, octets: bytes) -> None:
    """Give a target an input, and look at how much memory it takes. Times are no matter."""
    with without_limits():
        tracemalloc.start()
        try:
            target.check(octets)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    allowed = MEMORY_FOR_ANY + MEMORY_PER_OCTET * len(octets)
    if most > allowed:
        raise TooMuch(f"{most:,} octets of memory for an input of {len(octets):,}, where {allowed:,} are allowed")
