"""Recorder: gives results to the spool, and holds on to those that it could not store.

A result that is not stored stays with us: the delivery is still claimed, so nobody tries it again, and the result is
offered again until it is stored. How many wait is for the manager to bound.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mta.delivery.trouble import report
from mta.interfaces import ISpool, Record
from mta.message.envelope import format_queue_id

AGAIN = 5.0  # seconds after which a result that could not be stored is offered again


class Recorder:
    """Stores results, and tells `recorded` of each one's end: was it stored?"""

    def __init__(self, reactor: IReactorTime, spool: ISpool, recorded: Callable[[Record, bool], None]) -> None:
        self._reactor = reactor
        self._spool = spool
        self._recorded = recorded
        self._giving_up = False
        self._refused: list[Record] = []
        self._again: IDelayedCall | None = None  # to offer those again
        self._pending = 0

    def count(self) -> int:
        """How many results are not stored yet."""
        return self._pending

    def record(self, record: Record) -> None:
        """Store a result."""
        self._pending += 1
        self._offer(record)

    def give_up(self) -> None:
        """What cannot be stored now is lost, and its delivery will be tried again."""
        self._giving_up = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        refused, self._refused = self._refused, []
        for record in refused:
            self._end(False, record)

    def _offer(self, record: Record) -> None:
        self._spool.record(record).addCallbacks(
            self._end, self._not_stored, callbackArgs=(record,), errbackArgs=(record,)
        )

    def _end(self, stored: bool, record: Record) -> None:
        self._pending -= 1
        self._recorded(record, stored)

    def _not_stored(self, failure: Failure, record: Record) -> None:
        number = format_queue_id(record.claim.message)
        report(failure, f"the result of a try of {number} could not be stored")
        if self._giving_up:
            self._end(False, record)
            return
        if not self._refused:
            self._again = self._reactor.callLater(AGAIN, self._offer_again)
        self._refused.append(record)

    def _offer_again(self) -> None:
        self._again = None
        refused, self._refused = self._refused, []
        for record in refused:
            self._offer(record)
