"""Destination: what memory holds of one destination while something for it is in flight, and what is remembered after.

The spool is the queue; this is the little that must be at hand: how many deliveries are under way, those that were
claimed and wait for their turn, and the window. What is at rest can be forgotten at any time, since a pause is also in
the spool: it comes back with whatever is claimed, and until it is over nothing begins that was not claimed there.
"""

import random
import re
from collections import OrderedDict, deque
from collections.abc import Iterator

from mta.interfaces import Claim, Pause
from mta.message.outcome import DEFERRED, DELIVERED, HELD, Carried, Outcome, deferred
from mta.policy.retry import RetryPolicy, Step, next_step
from mta.policy.settlement import put_off
from mta.policy.window import Window, WindowLimits, allowed, answered, is_paused, lifted, opened, refused

_SERVICE_NOT_AVAILABLE = 421
_AHEAD = 4  # times as many as may run may wait in memory: a burst that comes to an end need not be read back
_REPLY = re.compile(r"([45][0-9]{2}) (?:([45]\.[0-9]{1,3}\.[0-9]{1,3}) )?(.*)", re.DOTALL)
_CONGESTED = deferred(451, "4.4.5", "more mail waits for this destination than it takes at a time")


class Destination:
    """One destination.

    running: deliveries under way, reservations included. reserved: these. ready: claimed, waiting for their turn.
    promised: reservations of those that will wait so. claiming: the spool has been asked for more. has_claimed: it has
    been asked since this was last at rest, or sent something new. brought: a look into the spool has put an end to its
    rest. more: it may have more that is due. line: where it stands for the next free place, if it does. unrecorded:
    changes on their way into the spool. answers: it did when it was last tried. estranged: deliveries under way that
    began when it had not. refusal: what was said when it last failed as a whole. known: a try has told how it is, or
    the spool. paused_look: the number of the last look into the spool before it was paused (see `Lookout`).
    """

    __slots__ = (
        "answers",
        "brought",
        "claiming",
        "estranged",
        "has_claimed",
        "known",
        "line",
        "more",
        "name",
        "paused_look",
        "promised",
        "ready",
        "refusal",
        "reserved",
        "running",
        "unrecorded",
        "window",
    )

    def __init__(self, name: str, window: Window) -> None:
        self.name = name
        self.window = window
        self.running = 0
        self.unrecorded = 0
        self.answers = False
        self.estranged = 0
        self.ready: list[Claim] = []
        self.reserved = 0
        self.promised = 0
        self.claiming = False
        self.has_claimed = False
        self.brought = False
        self.more = False
        self.line: deque[Destination] | None = None
        self.refusal: Outcome | None = None
        self.known = False
        self.paused_look = 0

    def is_paused(self, now: float) -> bool:
        """Is it to be left in peace?"""
        return is_paused(self.window, now)

    def free(self, now: float) -> int:
        """Places for further deliveries. In a pause there is one for those that get their last try (`ready`)."""
        places = allowed(self.window, now)
        if not places and self.ready:
            places = 1
        return places - self.running

    def may_wait(self, now: float) -> bool:
        """May one more that is new wait in memory? Not before those that wait in the spool, nor for a probe."""
        if self.more or self.claiming or self.window.failures:
            return False
        return len(self.ready) + self.promised < _AHEAD * allowed(self.window, now)

    def line_up(self, claim: Claim) -> None:
        """Have it wait for its turn, before those of a lower priority, as it would in the spool (RFC 6710 4)."""
        at = len(self.ready)
        while at and self.ready[at - 1].envelope.priority < claim.envelope.priority:
            at -= 1
        self.ready.insert(at, claim)

    def step(self, policy: RetryPolicy, claim: Claim, now: float, due: float, full: bool, started: float) -> Step:
        """What to do with a claim of it. As for `next_step`."""
        envelope = claim.envelope
        return next_step(
            policy,
            envelope.queued_since,
            claim.warned,
            due,
            now,
            self.is_paused(now),
            full,
            self.window.refused_at,
            started,
            claim.wish,
            envelope.by,
            envelope.by_mode,
        )

    @property
    def is_idle(self) -> bool:
        """Is nothing of it in flight?"""
        return not (self.running or self.unrecorded or self.ready or self.promised or self.claiming)

    def heard(self, carried: Carried, limits: WindowLimits, now: float, chance: random.Random) -> Pause | None:
        """Learn from a try that has ended (and is no longer counted as running): what to store of it, if anything."""
        self.known = True
        before = self.window
        outcomes = carried.outcomes
        refusal = None if outcomes[0].result is DELIVERED else _refusal(carried)
        self.answers = carried.reached
        if refusal is None:
            settled = any(outcome.result is not DEFERRED for outcome in outcomes)
            self.window = after = answered(before, limits, settled)
            return Pause(0.0, 0, "") if before.failures and not after.failures else None
        self.refusal = refusal
        down = not carried.reached or refusal.result is HELD
        self.window = after = refused(before, limits, now, self.running, down, chance)
        if after.failures == before.failures:
            return None
        return Pause(after.paused_until, after.failures, str(refusal.reply))

    def last_outcome(self, claim: Claim) -> Outcome:
        """Why a claim of it still waits, as far as anybody knows. It does: others are held, it is only put off."""
        if self.refusal is not None and not claim.attempts:
            return put_off(self.refusal) if self.refusal.result is HELD else self.refusal
        said = _REPLY.fullmatch(claim.last_reply)
        if said is None:
            return _CONGESTED
        outcome = deferred(int(said[1]), said[2] or "", said[3])
        if not outcome.reply.is_permanent:
            return outcome
        # Of a try: one host has said so, and others may not. Of the destination: others are held there.
        if claim.attempts:
            return deferred(451, "4.4.0", f"the last answer was: {claim.last_reply}")
        return put_off(outcome)

    def lift(self) -> None:
        """End its pause: an operator wants it tried."""
        self.window = lifted(self.window)


def _refusal(carried: Carried) -> Outcome | None:
    """The outcome that stands for the whole destination: nobody was reached, or all that was said was 421, or all
    are held, which is for a fault on our side that concerns whatever goes there.

    Where nobody was reached and yet all is settled, the DNS has given a final answer, and the destination is not down.
    """
    if all(outcome.result is HELD for outcome in carried.outcomes):
        return carried.outcomes[0]
    deferred = [outcome for outcome in carried.outcomes if outcome.result is DEFERRED]
    if not carried.reached:
        return deferred[0] if deferred else None
    if all(outcome.remote and outcome.reply.code == _SERVICE_NOT_AVAILABLE for outcome in deferred):
        return deferred[0] if len(deferred) == len(carried.outcomes) else None
    return None


class Destinations:
    """Those in flight, and a bounded number of those at rest, the longest rested forgotten first.

    Those that fail have half of the room at least, however many others there are, and the others likewise.
    """

    def __init__(self, limits: WindowLimits, most: int, remembered: int) -> None:
        """most: in flight, before work for others is left in the spool. remembered: at rest."""
        self._limits = limits
        self._most = most
        self._remembered = remembered
        self._fresh = opened(limits)
        self._active: dict[str, Destination] = {}
        self._resting: OrderedDict[str, Destination] = OrderedDict()
        self._failing: OrderedDict[str, Destination] = OrderedDict()  # at rest too
        self._forgotten_until = 0.0  # when the last pause will be over of those that have been forgotten

    def adopt(self, limits: WindowLimits) -> None:
        """Have windows open, and pauses last, as these say from now on."""
        self._limits = limits
        self._fresh = opened(limits)

    def __len__(self) -> int:
        """How many have something in flight."""
        return len(self._active)

    def __iter__(self) -> Iterator[Destination]:
        """Those that have something in flight."""
        return iter(self._active.values())

    @property
    def room(self) -> int:
        """How many more may be in flight. Below zero where deliveries that came of themselves took more."""
        return self._most - len(self._active)

    @property
    def has_much_room(self) -> bool:
        """Is it worth a look into the spool to fill it?"""
        return self.room >= self._most // 2

    @property
    def room_for_due(self) -> int:
        """How many more a look into the spool may bring. Where there is little room, they may be half as many as there
        is room for, or as there are others: new mail takes room as soon as it is made, and would have it all for ever.
        """
        if self.has_much_room:
            return self.room
        brought = sum(one.brought and one.has_claimed for one in self._active.values())
        return max(self.room, max(self._most, len(self._active) - brought) // 2 - brought)

    def known(self, now: float) -> frozenset[str]:
        """Those of which a look into the spool could tell nothing new: it has more for them, or they are asking it.

        One that has all it can do is not among them, for what has become due would wait as long as new mail keeps it
        so; nor one that is paused, for an operator may end that.
        """
        return frozenset(
            one.name for one in self._active.values() if one.claiming or (one.more and not one.is_paused(now))
        )

    @property
    def resting(self) -> int:
        """How many are remembered with nothing in flight."""
        return len(self._resting) + len(self._failing)

    def is_active(self, name: str) -> bool:
        """Is something of it in flight?"""
        return name in self._active

    def window(self, name: str) -> Window | None:
        """What is known of one; None where nothing is remembered. May be asked in any thread."""
        one = self._active.get(name) or self._resting.get(name) or self._failing.get(name)
        return None if one is None else one.window

    def wake(self, name: str) -> Destination:
        """The destination, from now on among the active."""
        one = self._active.get(name)
        if one is None:
            one = self._resting.pop(name, None) or self._failing.pop(name, None) or Destination(name, self._fresh)
            self._active[name] = one
        return one

    def learn(self, one: Destination, failures: int, paused_until: float) -> None:
        """What the spool knows of it: that holds where nothing is known here."""
        if failures and not one.known:
            one.known = True
            one.window = opened(self._limits, failures, paused_until)

    def hasten(self, latest: float) -> None:
        """No pause ends later than this: the clock has been set back, and those that do are over."""
        for one in (*self._active.values(), *self._resting.values(), *self._failing.values()):
            if one.window.paused_until > latest:
                one.lift()
        self._forgotten_until = min(self._forgotten_until, latest)

    def may_be_paused(self, one: Destination, now: float) -> bool:
        """Is it paused, or may it have been forgotten that it is?"""
        return is_paused(one.window, now) or (now < self._forgotten_until and not one.known)

    def rest(self, one: Destination) -> bool:
        """Put it to rest, if nothing of it is in flight; forget it where there is nothing to remember.

        Is one less in flight?
        """
        if not one.is_idle or self._active.pop(one.name, None) is None:
            return False
        one.more = one.has_claimed = one.brought = False
        if one.window != self._fresh:
            shelf = self._failing if one.window.failures else self._resting
            shelf[one.name] = one
            if len(self._failing) + len(self._resting) > self._remembered:
                _, forgotten = max(self._failing, self._resting, key=len).popitem(last=False)
                self._forgotten_until = max(self._forgotten_until, forgotten.window.paused_until)
        return True
