"""Manager: runs the queue. It claims what is due, gives each destination its turn, and records what came of it.

Three things bring work: `deliver`, for what this process has just stored and claimed in the same write; a look into
the spool for what is due, destination by destination; and `Deadlines`, for what is owed a warning or an end although
its destination is paused. What is known to be due is not what is in memory: of each destination a few deliveries are
claimed ahead, and the rest stays where it is.
"""

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from mta.delivery.alarm import Alarm
from mta.delivery.aside import Aside
from mta.delivery.attempt import Attempt, Means
from mta.delivery.claiming import Claiming
from mta.delivery.clockwatch import Clockwatch
from mta.delivery.deadlines import Deadlines
from mta.delivery.destination import Destination, Destinations
from mta.delivery.history import History
from mta.delivery.lookout import UNSURE, Lookout
from mta.delivery.recorder import Recorder
from mta.delivery.records import interrupted, untouched
from mta.delivery.starts import Starts
from mta.delivery.turns import Bounds, Turns
from mta.interfaces import Busy, Claim, Due, IContent, IDispatcher, Pause, Record
from mta.maillog import timestamp
from mta.message.outcome import Carried, Outcome
from mta.policy.retry import Step, deadline
from mta.policy.settlement import returned_by_operator
from mta.policy.window import WindowLimits


@implementer(IDispatcher)
class Manager:
    """The queue manager. `start` it when the spool has been started, `stop` it before the spool."""

    def __init__(
        self,
        means: Means,
        limits: WindowLimits,
        history: float,
        bounds: Bounds | None = None,
        poll: float = 1.0,
    ) -> None:
        """limits: of each destination's window. history: how long timelines are kept, in seconds. poll: how often to
        ask whether an operator has changed something, in seconds.
        """
        self._means = means
        self._clock = means.clock
        self._spool = means.spool
        self._limits = limits
        self._bounds = bounds or Bounds()
        self._destinations = Destinations(limits, self._bounds.destinations, self._bounds.remembered)
        # Not by delivery: whatever the spool has given out, each try gives its place back. Nothing that is under way is
        # given out twice, not even where a disk error had the queue file opened anew.
        self._tries: dict[Attempt, None] = {}
        self._decisions: dict[Attempt, None] = {}  # what is settled without a try, and takes no place
        self._recorder = Recorder(self._clock, self._spool, self._recorded)
        self._turns = Turns(self._clock, self._bounds, self._recorder.count, self._begin_in_turn)
        self._aside = Aside(self._bounds.aside, self._bounds.large)
        self._deadlines = Deadlines(self._clock, self._spool, self._take_overdue)
        self._patience = Alarm(self._clock, self._look_at_ready)
        self._history = History(self._clock, self._spool, history)
        self._clockwatch = Clockwatch(
            self._clock, self._spool, self._destinations, self._look_anew, lambda: (self._means.policy, self._limits)
        )
        called = (self._found, self._put_ready_back, self._deadlines.look, self._clockwatch.compare)
        self._lookout = Lookout(self._clock, self._spool, self._destinations, *called, poll)
        at_hand = (self._destinations, self._lookout, 2 * self._bounds.deliveries)
        self._claiming = Claiming(self._clock, self._spool, *at_hand, self._arrived, self._returned)
        self._starts = Starts(self._clock, self._spool, self._lookout.look)
        self._started = self._clock.seconds()
        self._grace: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    @property
    def in_flight(self) -> int:
        """Deliveries under way, reservations included."""
        return self._turns.in_flight

    def window(self, destination: str) -> int | None:
        """How many deliveries a destination is given at once; None where nothing is remembered of it. In any thread."""
        window = self._destinations.window(destination)
        return None if window is None else window.limit

    @property
    def most_pauses(self) -> int:
        """How many stored pauses to take up: those that there is memory for, and one to know how long others last."""
        return self._bounds.remembered + 1

    def start(self, newest: float = 0.0) -> None:
        """Begin: with what is due now, whether it was stored a minute or six days ago. newest: see `Recovered`."""
        self._started = self._clock.seconds()
        self._clockwatch.start(newest)
        self._lookout.start()
        self._deadlines.look()
        self._history.start()

    def take_up(self, destination: str, pause: Pause) -> None:
        """Know of a pause that is stored, as if this manager had begun it. Called before `start`, for each of them, or
        for the `most_pauses` that end last.
        """
        one = self._destinations.wake(destination)
        self._destinations.learn(one, pause.failures, pause.until)
        self._destinations.rest(one)

    def adopt(self, means: Means, limits: WindowLimits, history: float) -> None:
        """Go by these from now on; what is under way ends with what it began with. As in `__init__`."""
        self._means, self._limits = means, limits
        self._destinations.adopt(limits)
        self._history.keep = history

    def stop(self, grace: float) -> "Deferred[None]":
        """Begin nothing more; fires when what is under way has ended and is recorded.

        What has not ended after `grace` seconds is cut off, and put back as what only waited for its turn is at once.
        """
        self._stopped = Deferred()
        self._claiming.stop()
        self._clockwatch.stop()
        self._lookout.stop()
        self._deadlines.stop()
        self._patience.cancel()
        self._history.stop()
        self._turns.clear()
        for one in list(self._destinations):
            claims, one.ready = one.ready, []
            self._release(one, claims)
        self._grace = self._clock.callLater(grace, self._out_of_time)
        self._stop_if_done()
        return self._stopped

    # What this process has just stored

    def reserve(self, destination: str) -> bool:
        """See `IDispatcher`."""
        if self._stopped is not None:
            return False
        one = self._destinations.wake(destination)
        now = self._clock.seconds()
        if not (self._turns.is_full_for(one) or self._destinations.may_be_paused(one, now)):
            if one.free(now) > 0:
                self._turns.take(one)
                one.reserved += 1
                return True
            if one.may_wait(now):
                one.promised += 1
                return True
        self._destinations.rest(one)
        return False

    def unreserve(self, destination: str) -> None:
        """See `IDispatcher`."""
        one = self._destinations.wake(destination)
        if one.promised:
            one.promised -= 1
        else:
            one.reserved -= 1
            self._turns.leave(one)
        self._turn(one)
        self._stop_if_done()

    def deliver(self, claim: Claim, content: IContent | None) -> None:
        """See `IDispatcher`."""
        one = self._destinations.wake(claim.destination)
        one.has_claimed = False  # it stays for what is new: whatever room others need, what is old goes with it
        if self._stopped is not None:
            self._release(one, [claim])
            self.unreserve(claim.destination)
        elif one.reserved:
            one.reserved -= 1
            self._begin(one, claim, content)
        else:
            one.promised -= 1
            self._aside.put(claim, content)
            self._sort(one, [claim], overdue=False)  # it may be paused since it was promised
            self._turn(one)

    def wake(self, destination: str) -> None:
        """See `IDispatcher`."""
        self._deadlines.stored()
        if self._stopped is not None:
            return
        if self._destinations.room <= 0 and not self._destinations.is_active(destination):
            self._lookout.leave_outside()
            return
        one = self._destinations.wake(destination)
        now = self._clock.seconds()
        if one.is_paused(now):
            self._lookout.expect(one.window.paused_until)
        else:
            one.more = True
        self._turn(one)

    def start_queue(self, domain: str, destination: str) -> "Deferred[int]":
        """See `IDispatcher`."""
        if self._stopped is not None:
            return fail(Busy("this relay is shutting down"))
        return self._starts.start(domain, destination)

    # Turns

    def _turn(self, one: Destination) -> None:
        """Something has changed for a destination: claim more for it, put it in the line, or put it to rest."""
        if self._stopped is None:
            if one.more or one.ready:
                now = self._clock.seconds()
                if one.more and not one.claiming and not one.is_paused(now):
                    self._claiming.claim_more(one, now)
                self._turns.queue(one, now)
            self._turns.work()
        if self._destinations.rest(one):
            self._lookout.room_was_made()

    def _begin_in_turn(self, one: Destination, claim: Claim) -> None:
        self._begin(one, claim, self._aside.take(claim))

    def _begin(self, one: Destination, claim: Claim, content: IContent | None) -> None:
        octets = self._turns.fill(claim.envelope.size)
        attempt = Attempt(self._means, claim, content, self._tried, octets)
        self._tries[attempt] = None
        attempt.carry()

    def _look_anew(self) -> None:
        self._started = min(self._started, self._clock.seconds())
        self._lookout.look_anew()
        self._deadlines.look_anew()

    # What the spool has

    def _found(self, due: Due) -> None:
        one = self._destinations.wake(due.destination)
        one.brought = one.brought or one.is_idle
        self._destinations.learn(one, due.failures, due.paused_until)
        if one.is_paused(self._clock.seconds()) and not one.unrecorded and one.paused_look < self._lookout.looks:
            # The spool knew of the pause when it was asked, and knows of it no more: an operator has ended it, or
            # a client has had its queue started.
            one.lift()
        one.more = not one.is_paused(self._clock.seconds())
        self._turn(one)

    def _arrived(self, one: Destination, claims: Sequence[Claim]) -> None:
        self._sort(one, claims, overdue=False)
        self._turn(one)
        self._stop_if_done()

    def _take_overdue(self, claims: list[Claim]) -> None:
        for claim in claims:
            one = self._destinations.wake(claim.destination)
            self._sort(one, [claim], overdue=True)
            self._turn(one)
        self._stop_if_done()

    def _sort(self, one: Destination, claims: Sequence[Claim], overdue: bool) -> None:
        """Find out what each claim is for. overdue: its deadline has brought it up, not its turn."""
        policy, now = self._means.policy, self._clock.seconds()
        if self._stopped is not None:
            self._release(one, claims)
            return
        if claims and not one.known:
            self._destinations.learn(one, claims[0].failures, claims[0].paused_until)
            if one.is_paused(now):
                self._lookout.expect(one.window.paused_until)
        back: list[Claim] = []
        for claim in claims:
            full = overdue and one.free(now) <= len(one.ready)
            step = one.step(policy, claim, now, claim.due if overdue else now, full, self._started)
            if step is Step.TRY:
                one.line_up(claim)
                self._be_patient(claim, now)
            elif step is Step.BOUNCE:
                self._decide(one, claim, returned_by_operator(), tried=False)
            elif step is Step.EXPIRE:
                self._decide(one, claim, one.refusal or one.last_outcome(claim), tried=True)
            elif step is Step.WARN or step is Step.RETURN:
                self._decide(one, claim, one.last_outcome(claim), tried=False)
            elif overdue:
                self._postpone(one, claim, now)
            else:
                back.append(claim)
        self._release(one, back)

    def _be_patient(self, claim: Claim, now: float) -> None:
        """It waits here, where its deadline is not looked for in the spool: look for it then, within a second."""
        envelope = claim.envelope
        at = deadline(self._means.policy, envelope.queued_since, claim.warned, envelope.by, envelope.by_mode)
        if at > now:
            self._patience.set(max(at, now + UNSURE))

    def _look_at_ready(self) -> None:
        """A deadline may have come of what waits here: its sender is warned, or has it returned, as from the spool."""
        policy, now = self._means.policy, self._clock.seconds()
        for one in list(self._destinations):
            for claim in one.ready.copy():
                step = one.step(policy, claim, now, claim.due, True, self._started)
                if step is Step.WARN or step is Step.RETURN:
                    one.ready.remove(claim)
                    self._decide(one, claim, one.last_outcome(claim), tried=False)
                else:
                    self._be_patient(claim, now)

    def _decide(self, one: Destination, claim: Claim, outcome: Outcome, tried: bool) -> None:
        one.unrecorded += 1
        attempt = Attempt(self._means, claim, self._aside.take(claim), self._decided)
        self._decisions[attempt] = None
        attempt.decide(outcome, tried)

    def _postpone(self, one: Destination, claim: Claim, now: float) -> None:
        """Put a claim back as it was, not to be brought up again for a while: it will have its turn."""
        self._aside.take(claim)
        one.unrecorded += 1
        self._recorder.record(Record(claim, now, waiting=(untouched(claim, self._means.policy, now),)))

    def _release(self, one: Destination, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._aside.take(claim)
        if claims:
            self._claiming.put_back(one, claims)

    def _put_ready_back(self) -> None:
        """An operator has written, and may have meant what waits here: it has its turn again if it still waits then."""
        for one in list(self._destinations):
            if one.ready:
                claims, one.ready = one.ready, []
                one.more = True
                self._release(one, claims)

    def _returned(self, one: Destination, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._deadlines.settled(claim.delivery)
        self._turn(one)
        self._stop_if_done()

    # What came of it

    def _tried(self, attempt: Attempt, record: Record, carried: Carried | None) -> None:
        one = self._place_freed(attempt)
        one.unrecorded += 1
        if carried is not None:
            pause = one.heard(carried, self._limits, record.at, self._means.chance)
            if pause is not None:
                record = record._replace(pause=pause)
                self._lookout.expect(pause.until)
                self._tell_pause(one, pause)
            if one.ready and one.is_paused(record.at):
                # What was claimed ahead goes back, but for what is at its end: this was the last try for that.
                claims, one.ready = one.ready, []
                self._sort(one, claims, overdue=False)
        self._recorder.record(record)
        self._turn(one)

    def _place_freed(self, attempt: Attempt) -> Destination:
        del self._tries[attempt]
        one = self._destinations.wake(attempt.claim.destination)
        self._turns.leave(one, attempt.octets)
        return one

    def _tell_pause(self, one: Destination, pause: Pause) -> None:
        if pause.until:
            one.paused_look = self._lookout.looks
            until = timestamp(pause.until)
            self._means.log("paused", None, destination=one.name, until=until, reply=pause.last_reply)
        else:
            self._means.log("resumed", None, destination=one.name)

    def _decided(self, attempt: Attempt, record: Record, _: Carried | None) -> None:
        del self._decisions[attempt]
        self._recorder.record(record)

    def _recorded(self, record: Record, stored: bool) -> None:
        claim = record.claim
        one = self._destinations.wake(claim.destination)
        one.unrecorded -= 1
        self._deadlines.settled(claim.delivery)
        if stored:
            for waiting in record.waiting:
                if waiting.state == "waiting":
                    self._deadlines.expect(waiting.deadline)
                    if waiting.destination == claim.destination:
                        self._lookout.expect(waiting.due)
                    else:
                        self.wake(waiting.destination)
            for notice in record.notices:
                for delivery in notice.deliveries:
                    self.wake(delivery.destination)
        else:
            self._means.log("stale", claim.message, why="its delivery was no longer ours; its result is not kept")
        self._turn(one)
        self._stop_if_done()

    # The end

    def _out_of_time(self) -> None:
        """What is still under way is cut off, and put back where it has not arrived. What was sent, and not answered
        yet, may arrive even so: one more copy than asked for (RFC 1047)."""
        self._grace = None
        self._recorder.give_up()
        for attempt in list(self._tries):
            self._means.log("interrupted", attempt.claim.message, destination=attempt.claim.destination)
            attempt.interrupt()
        for transport in dict.fromkeys(self._means.transports.values()):
            transport.cut()
        tries, decisions = list(self._tries), list(self._decisions)  # who has not heard of that
        for attempt in (*tries, *decisions):
            attempt.abandon()
        for attempt in tries:
            self._place_freed(attempt).unrecorded += 1
            self._recorder.record(interrupted(attempt.claim, self._means.policy, self._clock.seconds()))
        for attempt in decisions:
            del self._decisions[attempt]
            one = self._destinations.wake(attempt.claim.destination)
            one.unrecorded -= 1
            self._release(one, [attempt.claim])
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self._stopped is None or self._stopped.called or self._deadlines.is_asking:
            return
        if self._grace is not None:
            if len(self._destinations):
                return
            self._grace.cancel()
        elif any(one.unrecorded or one.claiming for one in self._destinations):
            return
        self._stopped.callback(None)
