"""Poller: Twisted's epoll reactor, undisturbed by a clock that is set, without the logging context around every event,
and with an end to each turn.

Twisted's timers ring at a time of day. Where the machine's clock is set back by a day, all of them would be a day late
and nothing would go on; where it is set forward, all time limits would be over. So they are set with it: what was
to be in ten seconds is in ten seconds. What has a time of day of its own, as the next try of a message has, keeps it.

That context says in Twisted's own log which connection a line is about. Our log has that in the line; and ten events
a message cost 4 % of a relay's CPU. What goes wrong in an event is logged, and its connection closed, one layer below.
tests/net/test_poller.py fails when Twisted does more in that place than it did.

The end of a turn is when all events have been handled that there were. It is idle when there are no others yet: the
time to do together what many events have asked for one by one, such as a commit. A busy relay then commits for more of
its sessions at once, and an idle one waits for nobody. Twisted has timers for that, and a pipe to itself.
"""

import errno
import sys
from collections.abc import Callable
from functools import partial
from select import EPOLLIN
from time import monotonic, time
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python import log

Call = Callable[[], None]

_FOR_EVER = -1
_TRIFLE = 0.001  # seconds that our time of day may be wrong by
_STEP = 1.0  # seconds that no clock gains or loses by itself from one turn to the next
_SOON = 0.005  # seconds after which what waits for an idle moment is done in a busy one
_log = Logger()


class Poller(EPollReactor):
    """The reactor that `twistd mta start` runs, where it has not been told to take another one."""

    def __init__(self) -> None:
        self._last: list[Call] = []
        self._idle: list[Call] = []
        self._latest = 0.0
        self._ahead = time() - monotonic()  # from what measures time that passes, and cannot be set, to the time of day
        super().__init__()

    def at_turn_end(self, call: Call) -> None:
        """Have something called once the events of this turn have been handled. Not to be called from a thread."""
        self._last.append(call)

    def when_idle(self, call: Call) -> None:
        """Have something called when no more events wait to be handled, or soon. Not to be called from a thread."""
        if not self._idle:
            self._latest = monotonic() + _SOON
        self._idle.append(call)

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, so many seconds at the longest (None for ever), and have them handled."""
        wait = 0 if self._last or self._idle else _FOR_EVER if timeout is None else timeout
        try:
            events = self._poller.poll(wait, len(self._selectables))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        if not -_TRIFLE < time() - monotonic() - self._ahead < _TRIFLE:
            self._follow_clock()  # now, when nobody is at work whose idea of the time could be another one
        for descriptor, event in events:
            selectable = self._selectables.get(descriptor)
            if selectable is None:
                continue  # an event before this one may have closed it
            if event == EPOLLIN and isinstance(selectable, Connection):
                self._read(selectable)
            else:
                self._doReadOrWrite(selectable, descriptor, event)
        if self._last:
            calls, self._last = self._last, []
            _do(calls)
        if self._idle and (not events or monotonic() >= self._latest):
            calls, self._idle = self._idle, []
            _do(calls)

    def seconds(self) -> float:
        """Seconds since 1970: the time of day when the clock was last looked at, and what has passed since.

        So it is that of the timers, wherever in a turn the clock is set.
        """
        return monotonic() + self._ahead

    def _follow_clock(self) -> None:
        """Take over the time of day, and where the machine's clock was set, set all timers likewise."""
        step = time() - self.seconds()
        self._ahead += step
        if -_STEP < step < _STEP:
            return
        for call in (*self._pendingTimedCalls, *self._newTimedCalls):
            call.time += step  # by the same for all of them, so that they stay in their order
        way = "forward" if step > 0 else "back"
        _log.warn("the clock was set {way} by {seconds:.0f} s; time limits are kept", way=way, seconds=abs(step))

    def _read(self, connection: Connection) -> None:
        """What most events come to: as in `_doReadOrWrite`, for a connection, which knows whether it is open."""
        why: BaseException | None
        try:
            why = connection.doRead()
        except BaseException as error:
            why = error
            log.err()
        if why:
            self._disconnectSelectable(connection, why, True)

    doIteration = doPoll


def when_idle(reactor: Any) -> Callable[[Call], object]:
    """What has something called in a reactor's next idle moment; in the next turn, where that knows no such thing."""
    if isinstance(reactor, Poller):
        return reactor.when_idle
    if IReactorFromThreads.providedBy(reactor):
        return reactor.callFromThread
    return partial(reactor.callLater, 0.0)


def _do(calls: list[Call]) -> None:
    for call in calls:
        try:
            call()
        except Exception:
            _log.failure("what was left for the end of a turn failed")


def the_reactor() -> Any:
    """The reactor of this process: the one that was chosen already, else a `Poller`."""
    if "twisted.internet.reactor" not in sys.modules:
        from twisted.internet.main import installReactor

        installReactor(Poller())
    from twisted.internet import reactor

    return reactor
