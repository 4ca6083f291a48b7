"""Pumping: inputs that repeat something as often as a limit allows, to see whether time and memory grow as they do.

What takes four times as long for four times as much is linear; for what goes by the square it is sixteen times.
"""

from math import inf
from time import thread_time

from targets.choices import Choices
from targets.measures import STRETCH, Target, TooSlow, without_limits

_GROWTH = 9.0
_WORTH_LOOKING = STRETCH / 2  # seconds; what takes less says nothing
_TIMES = 3


def pumped(size: int, begin: bytes, pump: bytes, end: bytes = b"") -> bytes:
    """About so many octets: a beginning, something again and again, an end."""
    return begin + pump * max((size - len(begin) - len(end)) // max(len(pump), 1), 1) + end


def grows_as_it_should(target: Target, begin: bytes, pump: bytes, end: bytes) -> None:
    """Give a target such an input of its largest size, and one of a quarter of it, and compare the times.

    What else a machine does only ever adds to a time, so that the least of some is the one to believe. One that is too
    long for a quarter would hide a growth, and one that is too long for the whole would make one up.
    """
    few = many = inf
    for _ in range(_TIMES):
        many = min(many, _time(target, pumped(target.largest, begin, pump, end)))
        if many < _WORTH_LOOKING:
            return
        few = min(few, *(_time(target, pumped(target.largest // 4, begin, pump, end)) for _ in range(_TIMES)))
        if many < few * _GROWTH:
            return
    raise TooSlow(f"{many * 1000:.0f} ms, and {few * 1000:.0f} ms for a quarter of it: {begin!r} {pump!r} {end!r}")


def read(octets: bytes, targets: tuple[Target, ...]) -> tuple[Target, bytes, bytes, bytes]:
    """A target, and a beginning, a pump and an end for it, from an input that a fuzzer makes."""
    choices = Choices(octets)
    target = targets[choices.number(len(targets))]
    lengths = choices.number(256), choices.number(64)
    rest = choices.rest()
    return target, rest[: lengths[0]], rest[lengths[0] : sum(lengths)] or b"\0", rest[sum(lengths) :]


def _time(target: Target, octets: bytes) -> float:
    """Seconds that it takes. Here it is no matter how long a stretch is."""
    with without_limits():
        begun = thread_time()
        target.check(octets)
        return thread_time() - begun
