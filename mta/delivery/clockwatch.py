"""Clockwatch: notices that the machine's clock was set, and has what waits for a time of the other clock seen to.

Mail that was put off while the clock ran a day ahead waits for times that are a day away once it is put right. The
schedule says how far away a time can lie, so what lies farther is given a time anew. It costs a comparison a second;
the queue is looked through only where the clock has gone back, or had gone back before this relay began.
"""

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.delivery.destination import Destinations
from mta.delivery.trouble import report
from mta.interfaces import ISpool
from mta.policy.retry import RetryPolicy, anew, latest_try
from mta.policy.window import WindowLimits, latest_pause

_STEP = 1.0  # seconds back that are no matter
_LEAP = 90.0  # seconds forward that are no matter: a machine that slept for so long, or a reactor that was kept busy
_SAID = (
    "the clock was set back; deliveries that waited for a time too far ahead and are due by the schedule: {deliveries}"
)
_log = Logger()


class Clockwatch:
    """Compares the time now with what it was a moment ago."""

    def __init__(
        self,
        clock: IReactorTime,
        spool: ISpool,
        destinations: Destinations,
        look: Callable[[], None],
        settings: Callable[[], tuple[RetryPolicy, WindowLimits]],
    ) -> None:
        """look: finds out anew what is due, whatever was known of that. settings: those in force."""
        self._clock = clock
        self._spool = spool
        self._destinations = destinations
        self._look = look
        self._settings = settings
        self._last = clock.seconds()
        self._stopped = False

    def start(self, newest: float) -> None:
        """Begin. newest: what the clock said when something was last written to the spool."""
        self._last = max(self._clock.seconds(), newest)
        self.compare()

    def stop(self) -> None:
        """What is under way may fail now, since nobody waits for it."""
        self._stopped = True

    def compare(self) -> None:
        """Has the clock been set since the last call? There is to be one every second or so."""
        before, self._last = self._last, self._clock.seconds()
        if self._last < before - _STEP:
            self._set_back()
        elif self._last > before + _LEAP:
            self._look()

    def _set_back(self) -> None:
        now = self._last
        policy, limits = self._settings()
        pause = latest_pause(limits, now)
        self._destinations.hasten(pause)
        self._spool.hasten(latest_try(policy, now), pause, partial(anew, policy, now)).addCallbacks(
            self._hastened, self._failed
        )

    def _hastened(self, deliveries: int) -> None:
        if deliveries:
            _log.warn(_SAID, deliveries=deliveries)
        if not self._stopped:
            self._look()

    def _failed(self, failure: Failure) -> None:
        if not self._stopped:
            report(failure, "what waits too long since the clock was set back could not be given a time anew")
            self._last = float("inf")  # once more, with the next call
