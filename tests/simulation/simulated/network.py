"""The network and the clock: hosts with addresses, connections that take time, and programs that can be killed.

`World` is the clock and the wire. `Process` is what a program takes for its reactor: it can listen, connect and set
timers. `kill` ends all of that at once, as SIGKILL does: the other ends of its connections see them break, and what its
code still does up to the end of its turn has no effect on anybody.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionRefusedError,  # noqa: A004  Twisted's own
    TimeoutError,  # noqa: A004
)
from twisted.internet.interfaces import IConnector, IListeningPort, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from simulated.wire import LATENCY, Fate, Transport, Watch, unread, untroubled, unwatched

START = 1_800_000_000.0  # when every world begins, in seconds since 1970
TICK = 1 / 1024  # seconds; times are sums of whole ones, to the last bit


class World:
    """The clock of all, and who listens where.

    silent: addresses that answer nobody, so that connecting to them times out. asked: the addresses that somebody
    wanted to connect to, and when. transcript: what was said and done, a line each. fate: what becomes of octets.
    acting: whose code is running.
    """

    def __init__(self) -> None:
        self.now = START
        self.ports: dict[tuple[str, int], list[Port]] = {}
        self.silent: set[str] = set()
        self.asked: list[tuple[float, str]] = []
        self.transcript: list[str] = []
        self.fate: Fate = untroubled
        self.acting: Process | None = None
        self._timers: list[tuple[float, int, DelayedCall]] = []  # a heap
        self._numbers = itertools.count()

    def note(self, who: str, what: str) -> None:
        """Add to the transcript."""
        self.transcript.append(f"{self.now - START:12.6f} {who:17} {what}")

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, call: Callable[..., object], *args: Any) -> DelayedCall:
        timer = DelayedCall(self.now + delay, call, args, {}, _nothing, self.arrange, self.seconds)
        self.arrange(timer)
        return timer

    def arrange(self, timer: DelayedCall) -> None:
        """See to it that a timer rings at its time."""
        heappush(self._timers, (timer.getTime(), next(self._numbers), timer))

    def _next(self) -> DelayedCall | None:
        """What happens next. Timers that were cancelled or moved are found out here."""
        while self._timers:
            at, _, timer = self._timers[0]
            if timer.active() and timer.getTime() == at:
                return timer
            heappop(self._timers)
            if timer.active() and timer.getTime() > at:
                self.arrange(timer)
        return None

    def run(self, seconds: float) -> None:
        """Let that much time pass, event by event."""
        self.run_until(lambda: False, seconds)

    def run_until(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Let time pass until the condition holds, at most that long. Did it?"""
        end = self.now + seconds
        while not condition():
            timer = self._next()
            if timer is None or timer.getTime() > end:
                self.now = end
                return False
            heappop(self._timers)
            self.now = max(self.now, timer.getTime())
            timer.called = 1
            timer.func(*timer.args)
        return True


def _nothing(_: object) -> None:
    """A timer that was cancelled, or whose process is dead, is left where it is."""


@implementer(IReactorTime)
class Process:
    """A program's view of the world: its reactor. `address` is where its connections come from.

    at_answer: watches what arrives over the connections that this program has made. at_write: reads what it writes.
    shares: others may listen where it does, and each gets some of the connections (SO_REUSEPORT). ahead: seconds that
    its clock is ahead of the world's, changed by whoever sets it; timers ring when they would have, as those of
    `mta.net.poller` do. phase: its clock goes in ticks, each so long after a whole one; None for a clock without ticks.
    is_replaced: another process has taken its place.
    """

    def __init__(self, world: World, address: str, at_answer: Watch = unwatched, ahead: float = 0.0) -> None:
        self.world = world
        self.address = address
        self.ahead = ahead
        self.phase: float | None = None
        self.is_replaced = False
        self.at_write: Callable[[bytes], None] = unread
        self.alive = True
        self.shares = False
        self.at_answer = at_answer
        self._frozen: list[Callable[[], object]] | None = None
        self._timers: set[DelayedCall] = set()
        self._transports: list[Transport] = []
        self._ports: list[Port] = []

    def perform(self, code: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Run some of the program's code, unless it is dead. What it raises after its death nobody hears."""
        if not self.alive:
            return
        if self._frozen is not None:
            self._frozen.append(partial(self.perform, code, *args, **kwargs))
            return
        before, self.world.acting = self.world.acting, self
        try:
            code(*args, **kwargs)
        except Exception:
            if self.alive:
                raise
        finally:
            self.world.acting = before

    def freeze(self) -> None:
        """SIGSTOP: from the next turn on it does nothing. What would have been done waits, in its order."""
        if self._frozen is None:
            self._frozen = []

    def thaw(self) -> None:
        """SIGCONT."""
        waiting, self._frozen = self._frozen or [], None
        for perform in waiting:
            perform()

    @property
    def has_clients(self) -> bool:
        """Is anybody connected to it?"""
        return any(one.is_accepted for one in self.connections)

    @property
    def is_frozen(self) -> bool:
        return self._frozen is not None

    def seconds(self) -> float:
        now = self.world.seconds() + self.ahead
        return now if self.phase is None else (now - self.phase) // TICK * TICK + self.phase

    def callLater(self, delay: float, call: Callable[..., object], *args: Any, **kwargs: Any) -> DelayedCall:
        def fire() -> None:
            if self._frozen is not None:
                timer.called = 0  # not before it can be: until then it may be cancelled, or set to another time
                self._frozen.append(late)
                return
            self._timers.discard(timer)
            self.perform(call, *args, **kwargs)

        fire.__qualname__ = getattr(call, "__qualname__", repr(call))  # for who prints a timer that is left

        def late() -> None:
            if timer.active() and timer.getTime() <= self.world.seconds():
                timer.called = 1
                fire()

        if not self.alive:
            now = self.world.seconds
            return DelayedCall(now() + delay, fire, (), {}, _nothing, _nothing, now)
        timer = self.world.callLater(delay, fire)
        self._timers.add(timer)
        return timer

    def getDelayedCalls(self) -> list[DelayedCall]:
        return sorted((timer for timer in self._timers if timer.active()), key=DelayedCall.getTime)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        key = (interface, port)
        there = self.world.ports.setdefault(key, [])
        if there and not (self.shares and all(one.process.shares for one in there)):
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, "Address already in use"))
        listening = Port(self, key, factory)
        if self.alive:
            factory.doStart()
            there.append(listening)
            self._ports.append(listening)
        return listening

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Connector:
        connector = Connector(self, host, port, factory, timeout)
        if self.alive:
            connector.connect()
        return connector

    def joined(self, transport: Transport) -> None:
        """A connection of this process has begun."""
        self._transports = [*self.connections, transport]

    @property
    def connections(self) -> list[Transport]:
        """The connections that are open."""
        return [one for one in self._transports if one.connected]

    def close_ports(self) -> None:
        """Nobody can connect here any more."""
        for port in self._ports:
            port.vanish()

    def kill(self) -> None:
        """SIGKILL: no code of this process has any effect from now on; the kernel closes what it had open."""
        self.alive = False
        self.close_ports()
        for transport in self.connections:
            transport.vanish()


@implementer(IListeningPort)
class Port:
    """A listening port."""

    def __init__(self, process: Process, key: tuple[str, int], factory: Any) -> None:
        self.process = process
        self.factory = factory
        self._key = key

    def startListening(self) -> None:
        """It has begun already."""

    def stopListening(self) -> Deferred[None]:
        if self.vanish():
            self.factory.doStop()
        return succeed(None)

    def vanish(self) -> bool:
        """Nobody can connect here any more. False: nobody could before."""
        there = self.process.world.ports.get(self._key, [])
        if self not in there:
            return False
        there.remove(self)
        return True

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self._key)


@implementer(IConnector)
class Connector:
    """An outgoing connection, as its factory is told of it."""

    def __init__(self, process: Process, host: str, port: int, factory: Any, timeout: float) -> None:
        self.process = process
        self.host = host
        self.port = port
        self.factory = factory
        self.timeout = timeout
        self.transport: Transport | None = None
        self._timer: DelayedCall | None = None

    def connect(self) -> None:
        world = self.process.world
        world.asked.append((world.seconds(), self.host))
        self.factory.doStart()
        self.factory.startedConnecting(self)
        # The kernel's timers: who ends while it is connecting has left nothing open.
        if self.host in world.silent:
            self._timer = world.callLater(self.timeout, self.process.perform, self._failed, TimeoutError())
        else:
            self._timer = world.callLater(LATENCY, self.process.perform, self._arrive)

    def _failed(self, error: Exception) -> None:
        self.factory.clientConnectionFailed(self, Failure(error))
        self.factory.doStop()

    def _arrive(self) -> None:
        """Their protocol begins first: a server's greeting is on its way when the client hears that it is there."""
        world = self.process.world
        here = IPv4Address("TCP", self.process.address, 32768 + len(world.asked) % 28232)
        there = IPv4Address("TCP", self.host, self.port)
        ports = world.ports.get((self.host, self.port), [])
        listening = ports[len(world.asked) % len(ports)] if ports else None
        if listening is not None and listening.process.is_frozen:
            listening.process.perform(self.process.perform, self._arrive)  # the kernel keeps it until it is accepted
            return
        theirs = None if listening is None else listening.factory.buildProtocol(here)
        ours = None if theirs is None else self.factory.buildProtocol(there)
        if listening is None or ours is None:
            self._failed(ConnectionRefusedError(errno.ECONNREFUSED))
            return
        client = self.transport = Transport(self.process, here, there, ours, self)
        server = Transport(listening.process, there, here, theirs)
        client.other, server.other = server, client
        server.begin()
        client.begin()

    def stopConnecting(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def disconnect(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
        else:
            self.stopConnecting()

    def getDestination(self) -> IPv4Address:
        return IPv4Address("TCP", self.host, self.port)
