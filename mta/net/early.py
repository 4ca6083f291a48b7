"""Early: signals that have us reload or begin anew, and come before there is anybody who could, wait instead of ending
the process, as they would by themselves.

This is there before the rest of the program, so it imports nothing of it.
"""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

WAITING: Final = frozenset({signal.SIGHUP, signal.SIGUSR2})

_came: list[int] = []


def hold_back() -> None:
    """Remember them, from now on."""
    for one in WAITING:
        signal.signal(one, lambda number, _: _came.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITING)  # whoever has executed us may have blocked them


def hand_on(reactor: Any, calls: Mapping[int, Callable[[], object]]) -> None:
    """Make these calls for them from now on, and for those that have come, in the reactor's turns."""
    for one, call in calls.items():
        signal.signal(one, lambda *_, call=call: reactor.callFromThread(call))
    for one in set(_came):
        reactor.callFromThread(calls[one])
    _came.clear()


@contextmanager
def blocked() -> Iterator[None]:
    """They come to us when this is over, and to a process that is started in it when it unblocks them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
