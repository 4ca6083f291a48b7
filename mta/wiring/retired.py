"""Retired: what a newer configuration has replaced, and sessions or deliveries that began with it may still use."""

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime

LINGER: Final = 3600.0  # seconds after which nothing that began before is still under way, or has had its time

Stop = Callable[[], "Deferred[None]"]


class Retired:
    """Stops things an hour after they were replaced."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[IDelayedCall, Stop] = {}

    def add(self, stop: Stop) -> None:
        """Something has been replaced."""

        def end() -> None:
            del self._waiting[call]
            stop()

        call = self._clock.callLater(LINGER, end)
        self._waiting[call] = stop

    def stop(self) -> "Deferred[list[None]]":
        """Stop all of it now; fires when it has ended."""
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            call.cancel()
        return gatherResults([stop() for stop in waiting.values()])
