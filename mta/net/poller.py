"""Poller: Twisted's epoll reactor, undisturbed by a clock that is set, without the logging context around every event,
and with an end to each turn, when all that was written in it is sent.

Twisted's timers ring at a time of day. Where the machine's clock is set back by a day, all of them would be a day late
and nothing would go on; where it is set forward, all time limits would be over. So they are set with it: what was
to be in ten seconds is in ten seconds. What has a time of day of its own, as the next try of a message has, keeps it.
Who compares times himself to know how much has passed takes those of `passing`.

That context says in Twisted's own log which connection a line is about. Our log has that in the line; and ten events
a message cost 4 % of a relay's CPU. What goes wrong in an event is logged, and its connection closed, one layer below.
tests/net/test_poller.py fails when Twisted does more in that place than it did.

The end of a turn is when all events have been handled that there were. Then every connection that wants to write is
told to, and epoll is asked to watch only those whose sockets are full. Twisted asks it to watch all: one turn more
and two system calls for each reply. To send within the event instead would wake the reader, who takes the core at once
for one reply, when there are more to come: on a relay that costs a twentieth of a message's CPU.

A reactor that was busy gives way before it looks for more to do: who is about to say something on the same core says it
first, and one turn serves more of them. Where somebody uses the core for longer than that, it does so seldom.

A turn is idle when there are no other events yet: the time to do together what many events have asked for one by one,
such as a commit. A busy relay then commits for more of its sessions at once, and an idle one waits for nobody. Twisted
has timers for that, and a pipe to itself.
"""

import errno
import sys
from collections.abc import Callable
from functools import partial
from os import sched_yield
from select import EPOLLIN
from time import monotonic, time
from typing import Any, cast

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python import log

Call = Callable[[], None]

_FOR_EVER = -1
_ABSENT = object()
_TRIFLE = 0.001  # seconds that our time of day may be wrong by
_STEP = 1.0  # seconds that no clock gains or loses by itself from one turn to the next
_SOON = 0.005  # seconds after which what waits for an idle moment is done in a busy one
_BRIEF = 0.0005  # seconds in which others have said what they had to say, when way is given to them
_SELDOM = 50  # times as long as others took, where they took longer, no way is given to them again
_log = Logger()


class Poller(EPollReactor):
    """The reactor that `twistd mta start` runs, where it has not been told to take another one."""

    def __init__(self) -> None:
        self._untried: dict[Any, None] = {}  # what wants to write; in its order
        self._idle: list[Call] = []
        self._latest = 0.0
        self._was_busy = False
        self._insists_until = 0.0
        self._ahead = time() - monotonic()  # from what measures time that passes, and cannot be set, to the time of day
        super().__init__()

    def addWriter(self, writer: Any) -> None:
        """As in the reactor's interface: it is told to at the end of this turn, and later if that is not enough."""
        if writer.fileno() not in self._writes:
            self._untried[writer] = None

    def removeWriter(self, writer: Any) -> None:
        """As in the reactor's interface."""
        if self._untried.pop(writer, _ABSENT) is _ABSENT:
            super().removeWriter(writer)

    def getWriters(self) -> list[Any]:
        """As in the reactor's interface."""
        return [*self._untried, *super().getWriters()]

    def removeAll(self) -> list[Any]:
        """As in the reactor's interface. What has been written is sent, as far as that can be done now."""
        self._have_written()
        return cast("list[Any]", super().removeAll())

    def when_idle(self, call: Call) -> None:
        """Have something called when no more events wait to be handled, or soon. Not to be called from a thread."""
        if not self._idle:
            self._latest = monotonic() + _SOON
        self._idle.append(call)

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, so many seconds at the longest (None for ever), and have them handled."""
        if self._untried:
            self._have_written()
            timeout = 0  # whose protocol has heard of it may have set a timer
        if self._was_busy:
            self._give_way()
        wait = 0 if self._idle else _FOR_EVER if timeout is None else timeout
        try:
            events = self._poller.poll(wait, len(self._selectables))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        if not -_TRIFLE < time() - monotonic() - self._ahead < _TRIFLE:
            self._follow_clock()  # now, when nobody is at work whose idea of the time could be another one
        self._was_busy = bool(events)
        for descriptor, event in events:
            selectable = self._selectables.get(descriptor)
            if selectable is None:
                continue  # an event before this one may have closed it
            if event == EPOLLIN and isinstance(selectable, Connection):
                self._read(selectable)
            else:
                self._doReadOrWrite(selectable, descriptor, event)
        if self._idle and (not events or monotonic() >= self._latest):
            calls, self._idle = self._idle, []
            _do(calls)
        if self._untried:
            self._have_written()

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

    def _give_way(self) -> None:
        """Let others have the core who wait for it, and who may be about to give us more to do."""
        begun = monotonic()
        if begun < self._insists_until:
            return
        sched_yield()
        took = monotonic() - begun
        if took > _BRIEF:
            self._insists_until = begun + _SELDOM * took

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

    def _have_written(self) -> None:
        """Have everything written that wants to be. What a socket does not take waits until epoll says that it can."""
        for writer in tuple(self._untried):
            if writer in self._untried:  # else the one before it has closed it
                try:
                    self._write(writer)
                except BaseException:  # of who was told that it is closed; the others are to be sent theirs
                    log.err()

    def _write(self, writer: Any) -> None:
        why: BaseException | int | None
        try:
            why = writer.doWrite()
        except BaseException as error:
            why = error
            log.err()
        if why and why is not CONNECTION_LOST:
            self._disconnectSelectable(writer, why, False)
        elif writer in self._untried:
            del self._untried[writer]
            # Even if the connection is lost: epoll says so at once, and what the peer said before is read first.
            super().addWriter(writer)

    doIteration = doPoll


def when_idle(reactor: Any) -> Callable[[Call], object]:
    """What has something called in a reactor's next idle moment; in the next turn, where that knows no such thing."""
    if isinstance(reactor, Poller):
        return reactor.when_idle
    if IReactorFromThreads.providedBy(reactor):
        return reactor.callFromThread
    return partial(reactor.callLater, 0.0)


def passing(reactor: Any) -> Callable[[], float]:
    """What tells seconds that pass, from no particular beginning: in a `Poller` no clock that is set changes them."""
    return monotonic if isinstance(reactor, Poller) else cast("Callable[[], float]", reactor.seconds)


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
