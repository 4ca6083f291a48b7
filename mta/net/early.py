"""Early: signals that have us reload or begin anew, and come before there is anybody who could, wait instead of ending
the process, as they would by themselves. Those that are to end it do so, where the kernel would not have it.

This is there before the rest of the program, so it imports nothing of it.
"""

import os
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
    end_at_once_by(signal.SIGTERM)  # the reactor has another way, from when it runs


def end_at_once_by(number: int) -> None:
    """Have a signal end the process, whatever it does. The first one of a container is spared by the kernel what it has
    no handler for, and whoever stops that container would wait in vain."""
    is_spared = os.getpid() == 1
    signal.signal(number, (lambda *_: os._exit(128 + number)) if is_spared else signal.SIG_DFL)


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
