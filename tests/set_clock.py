"""A reactor's clock that is set by hand: the time of day, and beside it the time that passes, which nobody can set."""

import pytest

from mta.net import poller


class SetClock(poller.Poller):
    """As much of a `Poller` as tells the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, day: float) -> None:
        """day: the time of day at the beginning, in seconds since 1970."""
        self._passed = 1000.0
        self._ahead = day - self._passed
        monkeypatch.setattr(poller, "monotonic", lambda: self._passed)

    def set(self, seconds: float) -> None:
        """Somebody sets the clock forward, or back (less than 0), by so many seconds."""
        self._ahead += seconds

    def advance(self, seconds: float) -> None:
        """So many seconds pass."""
        self._passed += seconds
