"""Alarm: a timer for the earliest of several times, none of which need be kept."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Alarm:
    """Rings once, at the earliest of the times it was set to. Setting it is cheap where an earlier time stands."""

    __slots__ = ("_at", "_call", "_reactor", "_ring")

    def __init__(self, reactor: IReactorTime, ring: Callable[[], None]) -> None:
        self._reactor = reactor
        self._ring = ring
        self._at = 0.0
        self._call: IDelayedCall | None = None

    def set(self, at: float) -> None:
        """Ring at `at`, in seconds since 1970 (at once if that is over), unless it rings earlier anyway."""
        if self._call is not None:
            if self._at <= at:
                return
            self._call.cancel()
        self._at = at
        self._call = self._reactor.callLater(max(0.0, at - self._reactor.seconds()), self._rung)

    def cancel(self) -> None:
        """Do not ring."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _rung(self) -> None:
        self._call = None
        self._ring()
