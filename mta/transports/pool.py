"""Pool: open sessions, kept for a while after a message, since the next one for the same destination may be near."""

from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from mta.net.poller import passing
from mta.smtp.client import LEAVE, NOTHING
from mta.transports.session import Session


class PoolLimits(NamedTuple):
    """When a session is closed rather than kept: seconds without a message, messages carried, seconds since it was
    opened, idle sessions in all (the one that has rested longest goes)."""

    idle: float = 20.0
    messages: int = 100
    age: float = 300.0
    sessions: int = 100


USUAL_LIMITS = PoolLimits()


class Pool:
    """The sessions of a process: those in use, which it only counts, and those at rest, by destination.

    is_cut: its time is over, so that nobody should open another session.
    """

    def __init__(self, clock: IReactorTime, limits: PoolLimits = USUAL_LIMITS) -> None:
        self._clock = clock
        self._now = passing(clock)
        self._limits = limits
        self._open: dict[Session, None] = {}  # in the order in which they were opened, as a set is not
        self._by_destination: dict[str, list[Session]] = {}
        self._resting: dict[Session, str] = {}  # to their destination, the longest at rest first
        self._stopped: list[Deferred[None]] = []
        self._stopping = False
        self._renewed = float("-inf")  # sessions that were opened before this are not kept
        self.is_cut = False

    @property
    def open(self) -> int:
        """How many sessions are open, or being opened or closed."""
        return len(self._open)

    @property
    def resting(self) -> int:
        """How many sessions are at rest."""
        return len(self._resting)

    def watch(self, session: Session) -> None:
        """A session that is being opened. It is counted until `forget`."""
        self._open[session] = None

    def take(self, destination: str) -> Session | None:
        """An open session to a destination, the one used last; it is no longer the pool's until `keep`."""
        resting = self._by_destination.get(destination)
        while resting:
            session = resting[-1]
            self._remove(session)
            if session.is_idle and self._now() - session.opened < self._limits.age:
                return session
            session.leave()
        return None

    def keep(self, destination: str, session: Session) -> None:
        """A message has been tried over this session; keep it open, or close it."""
        limits = self._limits
        if session.next is NOTHING:
            session.cut()
        elif not session.is_idle:
            return
        elif (
            self._stopping
            or session.next is LEAVE
            or session.messages >= limits.messages
            or self._now() - session.opened >= limits.age
            or session.opened < self._renewed
        ):
            session.leave()
        else:
            session.rest(limits.idle)
            self._resting[session] = destination
            self._by_destination.setdefault(destination, []).append(session)
            if len(self._resting) > limits.sessions:
                longest = next(iter(self._resting))
                self._remove(longest)
                longest.leave()

    def forget(self, session: Session) -> None:
        """A session's connection is gone."""
        self._open.pop(session, None)
        if session in self._resting:
            self._remove(session)
        if self._stopping and not self._open:
            self._all_gone()

    def stop(self, patience: float | None = None) -> Deferred[None]:
        """Take leave of sessions at rest, and of others when they come back. Fires when none is open.

        patience: seconds after which those that are still open are cut and not waited for; None for ever.
        """
        self._stopping = True
        self._take_leave()
        if not self._open:
            return succeed(None)
        stopped = Deferred[None]()
        self._stopped.append(stopped)
        if patience is not None:
            cutting = self._clock.callLater(patience, self._out_of_patience)
            stopped.addBoth(lambda _: cutting.cancel() if cutting.active() else None)
        return stopped

    def renew(self) -> None:
        """What comes is to have sessions of its own: those that are open now carry what they carry, and no more."""
        self._renewed = self._now()
        self._take_leave()

    def _take_leave(self) -> None:
        for session in list(self._resting):
            self._remove(session)
            session.leave()

    def cut(self) -> None:
        """End every session but those at rest. One that is still being connected is gone as soon as that has come to
        something."""
        self.is_cut = True
        for session in [one for one in self._open if one not in self._resting]:
            session.cut()

    def _out_of_patience(self) -> None:
        self.cut()
        self._all_gone()

    def _all_gone(self) -> None:
        stopped, self._stopped = self._stopped, []
        for one in stopped:
            one.callback(None)

    def _remove(self, session: Session) -> None:
        destination = self._resting.pop(session)
        resting = self._by_destination[destination]
        resting.remove(session)
        if not resting:
            del self._by_destination[destination]
