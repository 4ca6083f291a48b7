"""Attempt: one claim on its way through: routed, carried, settled, and written down as one `Record`.

Callbacks, not coroutines: most of the time nothing has to be waited for but the transport.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.delivery.counting import count
from mta.delivery.notifier import Notifier
from mta.delivery.records import UNREADABLE, compose, given_back, owes_notice
from mta.delivery.rerouting import Route, Sorted, sort_recipients
from mta.delivery.story import attempts, tell
from mta.interfaces import Claim, IContent, ISpool, ITransport, Record, SpoolBroken
from mta.maillog import Log
from mta.message.envelope import Envelope, format_queue_id
from mta.message.outcome import Carried, Outcome, Result, deferred
from mta.message.returned import Returned
from mta.net.measures import Measures
from mta.policy.expansion import expand, is_expansion
from mta.policy.retry import RetryPolicy, is_too_late
from mta.policy.routing import Hop, Via
from mta.policy.settlement import Settlement, hold, settle

_BROKEN = deferred(451, "4.3.0", "internal error of this relay; its log has the details")
_UNREADABLE = deferred(451, "4.3.0", "the content of the message cannot be read from the spool")
_NOT_TRIED = deferred(451, "4.4.7", "it had not had its turn by then")

_NOTHING = Returned(b"")

_log = Logger()

Done = Callable[["Attempt", Record, Carried | None], None]


@dataclass(frozen=True, slots=True)
class Means:
    """What attempts are made with. transports: who carries mail over each kind of hop."""

    clock: IReactorTime
    spool: ISpool
    transports: Mapping[Via, ITransport]
    route: Route
    notifier: Notifier
    policy: RetryPolicy
    chance: Random
    log: Log
    measures: Measures = field(default_factory=Measures)


class Attempt:
    """One claim. Either `carry` or `decide` is called, once; `done` follows, once, with what is to be recorded.

    With it comes what the transport gave back, or None where nothing was carried and there is no news of the
    destination. octets: what its content takes in memory, for whoever adds that up.
    """

    __slots__ = (
        "_carried",
        "_content",
        "_done",
        "_means",
        "_outcomes",
        "_sorted",
        "claim",
        "is_interrupted",
        "is_over",
        "octets",
    )

    def __init__(self, means: Means, claim: Claim, content: IContent | None, done: Done, octets: int = 0) -> None:
        """content: where it is still at hand; else it is read from the spool when it is needed."""
        self.claim = claim
        self.octets = octets
        self.is_over = False
        self.is_interrupted = False
        self._means = means
        self._content = content
        self._done = done
        self._sorted = Sorted(None, claim.envelope.recipients)
        self._outcomes: Sequence[Outcome] = ()
        self._carried: Carried | None = None

    def carry(self) -> None:
        """Try it."""
        claim, envelope = self.claim, self.claim.envelope
        try:
            if is_expansion(claim.destination):
                self._conclude(expand(envelope, claim.destination), self._means.clock.seconds(), tried=False)
                return
            if envelope.by and is_too_late(envelope.by, envelope.by_mode, self._means.clock.seconds()):
                self._settle((_NOT_TRIED,) * len(envelope.recipients), claim.due)
                return
            self._sorted = sort_recipients(claim, self._means.route)
            hop = self._sorted.hop
            if hop is None:
                self._settle(())
            elif self._content is None:
                reading = self._means.spool.content(self.claim)
                reading.addCallbacks(self._read, self._unreadable, callbackArgs=(hop,)).addErrback(self._lost)
            else:
                self._send(self._content, hop)
        except Exception:
            self._lost(Failure())

    def decide(self, outcome: Outcome, tried: bool) -> None:
        """Settle it without a try of its own, with one outcome for all recipients.

        tried: it counts as one. Where it does not, those who stay in the queue are due when they were.
        """
        if is_expansion(self.claim.destination) and not self.claim.wish:
            self.carry()  # which takes no more
            return
        try:
            self._settle((outcome,) * len(self._sorted.here), None if tried else self.claim.due)
        except Exception:
            self._lost(Failure())

    def interrupt(self) -> None:
        """The relay is about to end it. What comes of that is no try of its own, and no news of the destination."""
        self.is_interrupted = True

    def abandon(self) -> None:
        """The claim has been put back: nothing that comes now is to be recorded."""
        self.is_over = True

    def _read(self, content: IContent, hop: Hop) -> None:
        self._content = content
        if not self.is_over:
            self._send(content, hop)

    def _unreadable(self, failure: Failure) -> None:
        self._alarm(failure, "its content cannot be read")
        self._settle((_UNREADABLE,) * len(self._sorted.here))

    def _send(self, content: IContent, hop: Hop) -> None:
        envelope, here = self.claim.envelope, self._sorted.here
        if here is not envelope.recipients:
            envelope = envelope._replace(recipients=here)
        try:
            carrying = self._means.transports[hop.via].carry(hop, envelope, content)
        except Exception:
            self._broken(Failure())
            return
        carrying.addCallbacks(self._came, self._broken).addErrback(self._lost)

    def _came(self, carried: Carried) -> None:
        if len(carried.outcomes) != len(self._sorted.here):
            self._broken(Failure(ValueError(f"not one outcome for each recipient: {carried.outcomes}")))
            return
        self._carried = carried
        self._settle(carried.outcomes, self.claim.due if self.is_interrupted else None)

    def _broken(self, failure: Failure) -> None:
        """The transport failed where it should have given outcomes. That content cannot be read is not its fault."""
        if failure.check(OSError):
            self._unreadable(failure)
        else:
            self._alarm(failure, "a transport failed")
            self._settle((_BROKEN,) * len(self._sorted.here))

    def _settle(self, outcomes: Sequence[Outcome], untried_due: float | None = None) -> None:
        if self._is_too_late():
            return
        claim, means, known = self.claim, self._means, self._sorted
        now = means.clock.seconds()
        tried = untried_due is None
        envelope = claim.envelope
        self._outcomes = outcomes
        if known.here is not envelope.recipients:
            envelope, outcomes = self._with_refused(outcomes)
        settlement = settle(
            envelope, outcomes, claim.attempts, claim.warned, now, means.policy, means.chance, untried_due, claim.wish
        )
        if settlement.held and self._carried is not None:
            self._tell_held(settlement)
        self._conclude(settlement, now, tried)

    def _conclude(self, settlement: Settlement, now: float, tried: bool) -> None:
        if not owes_notice(settlement):
            self._finish(_NOTHING, settlement, now, tried)
        elif self._content is not None:
            self._finish(self._given_back(self._content, settlement), settlement, now, tried)
        else:
            reading = self._means.spool.content(self.claim).addCallbacks(
                self._given_back, self._nothing_to_give, callbackArgs=(settlement,)
            )
            reading.addCallback(self._finish, settlement, now, tried).addErrback(self._lost)

    def _tell_held(self, settlement: Settlement) -> None:
        """Somebody must mend something, or no mail goes this way: a line that an operator is woken by."""
        stuck = [one.outcome for one in settlement.held if one.outcome.result is Result.HELD]
        if stuck:
            why = f"mail is held: {stuck[0].reply}"
            self._means.log("alarm", self.claim.message, destination=self.claim.destination, why=why)

    def _with_refused(self, outcomes: Sequence[Outcome]) -> tuple[Envelope, tuple[Outcome, ...]]:
        """All who are settled now: those who were to be carried, and those whom a route refuses."""
        known = self._sorted
        recipients = known.here + tuple(recipient for recipient, _ in known.refused)
        envelope = self.claim.envelope._replace(recipients=recipients)
        return envelope, (*outcomes, *(outcome for _, outcome in known.refused))

    def _given_back(self, content: IContent, settlement: Settlement) -> Returned:
        try:
            return given_back(content, self.claim.envelope, settlement)
        except OSError:
            return self._nothing_to_give(Failure())

    def _nothing_to_give(self, failure: Failure) -> Returned:
        """A notice that cannot quote the header is better than none."""
        self._alarm(failure, "its content cannot be read")
        return UNREADABLE

    def _is_too_late(self) -> bool:
        """Has the claim been put back meanwhile? Whoever did so has said what may have become of it."""
        if self.is_over:
            self._means.log("unknown", self.claim.message, why="it was put back before its try had ended")
        return self.is_over

    def _finish(self, given: Returned, settlement: Settlement, now: float, tried: bool) -> None:
        if self._is_too_late():
            return
        claim, means = self.claim, self._means
        tries = tuple(attempts(claim, self._carried, now)) if self._carried is not None else ()
        record = compose(claim, settlement, means.notifier, given, now, tried, tries, self._sorted)
        tell(means.log, claim, record.events, now)
        count(means.measures, settlement, self._carried, now - claim.envelope.queued_since, tried)
        self.is_over = True
        self._done(self, record, None if self.is_interrupted else self._carried)

    def _lost(self, failure: Failure) -> None:
        """A bug of ours stands between the outcomes and their settlement.

        Those who are not known to have the message are held, for an operator to look at: to try them again could
        end the same way for ever.
        """
        if self.is_over:
            self._alarm(failure, "its result was not recorded in full")
            return
        self._alarm(failure, "its result could not be settled")
        now = self._means.clock.seconds()
        envelope, outcomes = self._with_refused(self._outcomes or (_BROKEN,) * len(self._sorted.here))
        self._finish(_NOTHING, hold(envelope, outcomes, self.claim.attempts + 1, now), now, tried=True)

    def _alarm(self, failure: Failure, why: str) -> None:
        number = self.claim.message
        if not failure.check(SpoolBroken):  # the disk's fault and not the program's: where in it tells nobody anything
            _log.failure("{id}: {why}", failure, id=format_queue_id(number), why=why)
        self._means.log("alarm", number, why=f"{why}: {failure.getErrorMessage()}")
