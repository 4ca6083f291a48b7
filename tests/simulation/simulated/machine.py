"""The machine that the relay runs on: it starts workers, crashes them where it is told to, and starts them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from twisted.internet import defer
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogPublisher
from twisted.python.failure import Failure

from mta.config.model import Config
from mta.delivery import clockwatch
from mta.dns.memory import MemoryResolver, Name
from mta.ground import Ground, Place
from mta.service import CannotStart, QueueDamaged, Relay
from simulated.disk import VirtualDisk, Volume
from simulated.network import TICK, Process, World
from simulated.wire import LATENCY, unread

DOWN = 10.0  # seconds from its end until the relay is started again
NO_POLL = 86_400.0  # seconds; no operator sits beside this relay
FROZEN = 3600.0  # seconds
LINGERS = 400.0  # seconds that a worker goes on whose place another one has taken
THAWED = (1.004, 1.008, 1.015, 1.03, 20.0, 250.0, 3600.0)  # seconds after which it does so


class CrashPoint(NamedTuple):
    """Where something is to happen: just before or after the n-th sync, or the n-th answer of a server, takes effect.

    how: "kill" where the worker that has come there ends at once, "power" where all do and what had not been synced is
    at stake as well, "stop" where an operator stops the relay, "freeze" where the worker does nothing for an hour,
    "seize" where it stands still for some time, and meanwhile another one takes its place.
    """

    event: str  # "sync" or "answer"
    number: int
    moment: str  # "before" or "after"
    how: str

    def __str__(self) -> str:
        return "-".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> CrashPoint:
        """The inverse of `str`."""
        event, number, moment, how = text.split("-")
        return cls(event, int(number), moment, how)


class Machine:
    """A machine at one address, on which nothing but the relay runs, in one process or in several.

    zones, unanswered: the DNS, and the names for which nobody answers; both may be changed at any time. ahead: seconds
    that its clock is ahead of the world's. counts: how many syncs and answers there were. starts, crashes, stops: when.
    hit: how often anything has happened to it. frozen: how many times a worker stood still. tainted: when another one
    took the place of one. lines: the relay's log. failures: what it logged that should never happen. left: what it had
    still open after it had been stopped. at_write: reads what the relay sends. may_fail: is there a reason, now, for it
    to complain or not to start? was_set_back: its clock was.
    """

    def __init__(
        self,
        world: World,
        volume: Volume,
        config: Config,
        zones: Mapping[str, Name],
        points: Sequence[CrashPoint] = (),
        seed: int = 0,
        workers: int = 1,
        poll: float = NO_POLL,
    ) -> None:
        self.world = world
        self.volume = volume
        self.config = config
        self.workers = workers
        self.poll = poll
        self.zones = dict(zones)
        self.unanswered: set[str | tuple[str, str]] = set()
        self.ahead = self._furthest = 0.0
        self.at_write: Callable[[bytes], None] = unread
        self.may_fail: Callable[[], bool] = bool
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.starts: list[float] = []
        self.crashes: list[float] = []
        self.stops: list[float] = []
        self.left: list[str] = []
        self.stopped = self._stopping = False
        self.lines: list[str] = []
        self.failures: list[str] = []
        self.was_set_back = False
        self.hit = self.frozen = 0
        self.may_crash = bool(points)
        self._points = {(point.event, point.number, point.moment): point.how for point in points}
        self.tainted: list[float] = []
        self._running: list[Worker] = []
        self._stale: list[Worker] = []  # whose place another one has taken
        self._has_power = True
        self._generation = 0  # how often all were started

    def start(self, workers: int = 0) -> None:
        """Start the relay, with another number of workers from now on if one is given."""
        self.stopped = self._stopping = False
        self.workers = workers or self.workers
        self.starts.append(self.world.seconds())
        self._has_power = True
        self._generation += 1
        there = {one.number for one in self._running}
        for number in range(self.workers):
            if self._has_power and number not in there:
                self._start(number)

    @property
    def running(self) -> Sequence[Worker]:
        """Its processes."""
        return self._running

    @property
    def is_stopping(self) -> bool:
        """Has it been told to stop, and not been started since?"""
        return self._stopping

    def set_clock(self, ahead: float) -> None:
        """Set the clock, while the relay runs or not."""
        self.world.note("relay", f"has its clock set by {ahead - self.ahead:+.0f} s")
        self.was_set_back |= ahead < self.ahead
        self.ahead = ahead
        self._furthest = max(self._furthest, ahead)
        for one in (*self._running, *self._stale):
            one.process.ahead = ahead

    def clock(self) -> float:
        """What time it is by its clock."""
        return self.world.seconds() + self.ahead

    def _seize(self, worker: Worker) -> None:
        """A worker stands still, somebody takes it for dead, removes its lock and starts another one in its place.

        After some time it goes on, with all that it had in its hands, and later both are killed.
        """
        if self._stale or self._stopping or not worker.is_started or worker.process.has_clients:
            return  # not while it receives: the other one would take its content files for forgotten ones
        if self.ahead < self._furthest:
            return  # behind what has been, queue ids are counted on by each, and two of them would count alike
        chance = Random(f"{self.seed}/seize/{len(self.tainted)}")
        seconds = chance.choice(THAWED) + 0.001 * chance.random()  # as no two processes do things in the same moment
        self.frozen += 1
        self.tainted.append(self.world.seconds())
        worker.process.freeze()
        worker.process.is_replaced = True
        worker.process.phase = TICK / 2
        worker.process.close_ports()
        self._running.remove(worker)
        self._stale.append(worker)
        for name in [name for name, lock in self.volume.locks.items() if lock.disk is worker.disk]:
            del self.volume.locks[name]
        for one in self._running:
            one.process.shares = True
        self.world.callLater(1.0, self._start_again, worker.number, self._generation)
        self.world.callLater(seconds, worker.process.thaw)
        self.world.callLater(seconds + LINGERS, self._end_stale, worker)

    def _end_stale(self, worker: Worker) -> None:
        """What it had claimed is found by the next start, so whoever has its place is killed as well."""
        if worker in self._stale and worker.process.alive:
            self.world.note("relay", f"has both its workers {worker.number} killed")
            self.strike(worker, "kill")

    def _start(self, number: int) -> None:
        self.world.note("relay", "starts" if self.workers == 1 else f"starts worker {number}")
        one = Worker(self, number)
        if any(stale.number == number for stale in self._stale):
            # Both make queue ids of the time. That two processes read the same microsecond takes more than bad luck.
            one.process.phase = 0.0
        self._running.append(one)
        try:
            one.start()
        except QueueDamaged:
            raise
        except CannotStart as error:
            if not self.may_fail():
                raise
            self.world.note("relay", f"cannot start: {error}")
            one.process.kill()
            one.close()
            self._running.remove(one)
            self.world.callLater(DOWN, self._start_again, number, self._generation)

    def _start_again(self, number: int, generation: int) -> None:
        is_there = any(one.number == number for one in self._running)
        if generation == self._generation and not self._stopping and not is_there:
            self.starts.append(self.world.seconds())
            self._start(number)

    def _all_again(self, generation: int) -> None:
        if generation == self._generation:
            self.start()

    def stop(self, start_again: bool = False) -> None:
        """Stop the relay as an operator would (SIGTERM). `stopped` is true when it has ended."""
        running = [one for one in self._running if one.process.alive]
        if running and not self._stopping and not self._stale:
            self._stopping = True
            self.stops.append(self.world.seconds())
            self.world.note("relay", "is stopped")
            defer.Deferred.fromCoroutine(self._stop(running, start_again)).addErrback(self._not_stopped)

    async def _stop(self, running: list[Worker], start_again: bool) -> None:
        await defer.gatherResults([one.stop() for one in running])
        await deferLater(self.world, 1.0)  # for what it may have forgotten
        alive = [one for one in running if one.process.alive]
        for one in alive:
            self.left += [f"a timer: {timer}" for timer in one.process.getDelayedCalls()]
            self.left += [f"a connection to {each.getPeer()}" for each in one.process.connections]
            one.process.kill()
            self.left += one.close()
            self._running.remove(one)
        if alive:
            self.stopped = True
        if (start_again and alive) or (self.workers > 1 and not alive and self._has_power):
            self.world.callLater(DOWN, self._all_again, self._generation)

    def _not_stopped(self, failure: Failure) -> None:
        self.failures.append(failure.getTraceback())

    def abandon(self) -> None:
        """Something has gone wrong with the simulation: leave nothing behind."""
        for one in (*self._running, *self._stale):
            one.process.kill()
            one.close()
        self._running, self._stale = [], []

    def happens(self, worker: Worker, event: str, moment: str) -> None:
        """A sync or an answer is there. Is this where something happens?"""
        if not worker.process.alive:
            return
        if moment == "before":
            self.counts[event] += 1
        how = self._points.pop((event, self.counts[event], moment), None)
        if how is None:
            return
        self.world.note("relay", f"is hit: {how} {moment} {event} {self.counts[event]}")
        self.strike(worker, how)

    def strike(self, worker: Worker, how: str, seconds: float = FROZEN) -> None:
        """Something happens to a worker, or to all. seconds: how long it stands still, if that is what happens."""
        self.hit += 1
        if how == "stop":
            self.world.callLater(0, self.stop, True)
        elif how == "freeze":
            self.frozen += 1
            worker.process.freeze()
            self.world.callLater(seconds, worker.process.thaw)
        elif how == "seize":
            self._seize(worker)
        else:
            self.crashes.append(self.world.seconds())
            self._has_power = how != "power"
            hit = [*self._running, *self._stale]
            if how == "power":
                self._generation += 1  # who was to be started again is not, as long as there is no power
            else:
                # What the dead still do to the memory that SQLite shares would be seen by who has the same file open.
                hit = [one for one in hit if one is worker or (self._stale and one.number == worker.number)]
            for one in hit:
                one.process.kill()
                one.disk.alive = False
            self.world.callLater(0, self._clean_up, hit, how)

    def _clean_up(self, hit: list[Worker], how: str) -> None:
        """The code that was running when it happened has come to its end now."""
        was_running = False
        for one in hit:
            one.close()
            one.end()
            if one in self._running:
                was_running = True
                self._running.remove(one)
            elif one in self._stale:
                self._stale.remove(one)
        if how == "kill" and not was_running:
            return  # whose place has been taken before
        if how == "power":
            self.volume.cut_power(Random(f"{self.seed}/{len(self.crashes)}/{sorted(self.counts.items())}"))
        if self.workers == 1 or how == "power":
            self.world.callLater(DOWN, self._all_again, self._generation)
        else:
            self.world.callLater(DOWN, self._start_again, hit[0].number, self._generation)


class Worker:
    """One process of the relay."""

    def __init__(self, machine: Machine, number: int) -> None:
        self.number = number
        self.is_started = False
        self._machine = machine
        self._gone: defer.Deferred[None] = defer.Deferred()
        world, address = machine.world, machine.config.listen[0].address.host
        self.process = Process(world, address, partial(machine.happens, self, "answer"), machine.ahead)
        self.process.at_write = machine.at_write
        self.process.shares = machine.workers > 1 or bool(machine.tainted)
        self.disk = VirtualDisk(machine.volume, partial(machine.happens, self, "sync"))
        chance = f"{machine.seed}/{len(machine.starts)}" + (f"/{number}" if number else "")
        ground = Ground(
            self.process,
            _Lines(machine, self.process),
            Random(chance),
            self.disk,
            self.disk.vfs,
            inline=True,
            resolver=self._resolver,
            poll=machine.poll,
            drop=0.0,
            place=Place(number, machine.workers),
        )
        self.relay = Relay(machine.config, ground)

    def start(self) -> None:
        globalLogPublisher.addObserver(self._observe)
        self.process.perform(self.relay.startService)
        self.is_started = True

    def stop(self) -> defer.Deferred[None]:
        """SIGTERM. Fires when it has ended, in whatever way."""
        self.relay.stopService().addCallbacks(lambda _: self.end(), self._gone.errback)
        return self._gone

    def end(self) -> None:
        """It has ended."""
        if not self._gone.called:
            self._gone.callback(None)

    def close(self) -> list[str]:
        """What is closed only because the process has ended."""
        globalLogPublisher.removeObserver(self._observe)
        return self.disk.end()

    def _resolver(self, reactor: Process, config: Config) -> MemoryResolver:
        resolver = MemoryResolver(reactor, delay=LATENCY)
        resolver.zones, resolver.failures = self._machine.zones, self._machine.unanswered
        return resolver

    def _observe(self, event: LogEvent) -> None:
        if not self.process.alive or event.get("log_level", LogLevel.info) < LogLevel.warn:
            return
        if self._machine.world.acting not in (None, self.process) or self.process.is_replaced:
            return  # it is another one's, or of one that finds its files changed by another one
        if self._machine.may_crash and event.get("log_namespace") == defer.__name__:
            return  # what the dead have left undone, and may be found out whenever garbage is collected
        if self._machine.was_set_back and event.get("log_namespace") == clockwatch.__name__:
            return  # what the clock that ran ahead had put off has been put right
        if self._machine.may_fail() and "log_failure" not in event:
            return
        self._machine.failures.append(eventAsText(event))


class _Lines:
    """Takes the lines of one relay's log."""

    def __init__(self, machine: Machine, process: Process) -> None:
        self._machine = machine
        self._process = process

    def __call__(self, line: str) -> None:
        if self._process.alive:
            self._machine.lines.append(line)
            if (" stale " in line or " alarm " in line) and not (self._process.is_replaced or self._machine.may_fail()):
                self._machine.failures.append(line)

    def flush(self) -> None:
        """They are there already."""
