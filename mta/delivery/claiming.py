"""Claiming: takes deliveries of a destination out of the spool, a few ahead, and puts back those that are not tried.

Between the two a claim is in memory alone: what is lost here would be found by nobody until the next start.
"""

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mta.delivery.destination import Destination, Destinations
from mta.delivery.lookout import UNSURE, Lookout
from mta.delivery.recorder import AGAIN
from mta.delivery.trouble import report
from mta.interfaces import Claim, ISpool
from mta.policy.window import allowed

Told = Callable[[Destination, Sequence[Claim]], None]


class Claiming:
    """Asks the spool for claims, and has it take them back."""

    def __init__(
        self,
        clock: IReactorTime,
        spool: ISpool,
        destinations: Destinations,
        lookout: Lookout,
        ahead: int,
        arrived: Told,
        returned: Told,
    ) -> None:
        """ahead: how many to claim in all, shared out among the destinations. arrived: takes what was claimed, perhaps
        nothing. returned: is told of what is in the spool again.
        """
        self._clock = clock
        self._spool = spool
        self._destinations = destinations
        self._lookout = lookout
        self._ahead = ahead
        self._arrived = arrived
        self._returned = returned
        self._stopped = False

    def stop(self) -> None:
        """Insist on nothing any more: the spool puts all back when it is stopped."""
        self._stopped = True

    def claim_more(self, one: Destination, now: float) -> None:
        """Claim a few ahead, no more than run at once; just one, and only for a free place, where it is a probe."""
        if self._lookout.is_crowded and one.has_claimed:
            return  # it makes room for others; what it leaves in the spool will have its turn again
        places = min(allowed(one.window, now), max(1, self._ahead // len(self._destinations)))
        if one.free(now) > len(one.ready) or (places > 1 and len(one.ready) <= places // 2):
            limit = max(1, places - len(one.ready))
            one.claiming = one.has_claimed = True
            one.more = False
            claiming = self._spool.claim(one.name, limit, now)
            claiming.addCallbacks(self._claimed, self._not_claimed, callbackArgs=(one, limit), errbackArgs=(one,))

    def _claimed(self, claims: list[Claim], one: Destination, limit: int) -> None:
        one.claiming = False
        if len(claims) >= limit:
            one.more = True
        if not claims:
            # It may have been woken for what is due later, as mail is that its sender holds back: look when that is.
            self._lookout.expect(self._clock.seconds() + UNSURE)
        self._arrived(one, claims)

    def _not_claimed(self, failure: Failure, one: Destination) -> None:
        report(failure, f"nothing could be claimed for {one.name}")
        one.claiming = False
        self._lookout.expect(self._clock.seconds() + UNSURE)
        self._arrived(one, ())

    def put_back(self, one: Destination, claims: Sequence[Claim]) -> None:
        """Have claims wait in the spool again, as they were."""
        one.unrecorded += 1
        self._put_back(one, claims)

    def _put_back(self, one: Destination, claims: Sequence[Claim]) -> None:
        self._spool.release(claims).addCallbacks(
            self._put, self._not_put, callbackArgs=(one, claims), errbackArgs=(one, claims)
        )

    def _not_put(self, failure: Failure, one: Destination, claims: Sequence[Claim]) -> None:
        """They are still claimed, so nobody would ever find them: ask again."""
        report(failure, "claims could not be put back")
        if self._stopped:
            self._put(None, one, claims)
        else:
            self._clock.callLater(AGAIN, self._put_back, one, claims)

    def _put(self, _: None, one: Destination, claims: Sequence[Claim]) -> None:
        one.unrecorded -= 1
        self._returned(one, claims)
