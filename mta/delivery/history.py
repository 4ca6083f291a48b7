"""History: lets timelines go that have been kept for as long as the operator wants to look back."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mta.delivery.trouble import report
from mta.interfaces import ISpool

INTERVAL = 60.0  # seconds between purges
STEP = 0.2  # seconds between the steps of one purge, so that no commit waits for more than one of them


class History:
    """Purges, in small steps, what ended more than `keep` seconds ago, which may be changed."""

    def __init__(self, reactor: IReactorTime, spool: ISpool, keep: float) -> None:
        self._reactor = reactor
        self._spool = spool
        self.keep = keep
        self._call: IDelayedCall | None = None
        self._stopped = False

    def start(self) -> None:
        """Purge from now on."""
        self._in(INTERVAL, self._purge)

    def stop(self) -> None:
        """Purge no more."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _in(self, seconds: float, act: Callable[[], None]) -> None:
        if not self._stopped:
            self._call = self._reactor.callLater(seconds, act)

    def _purge(self) -> None:
        self._call = None
        self._spool.purge(self._reactor.seconds() - self.keep).addCallbacks(self._purged, self._failed)

    def _purged(self, removed: int) -> None:
        self._in(STEP if removed else INTERVAL, self._purge)

    def _failed(self, failure: Failure) -> None:
        report(failure, "old timelines could not be removed")
        self._in(INTERVAL, self._purge)
