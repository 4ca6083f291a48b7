"""The machine that the relay runs on: it starts workers, crashes them where it is told to, and starts them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from twisted.internet import defer
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogPublisher
from twisted.python.failure import Failure

from mta.config.model import Config
from mta.dns.memory import MemoryResolver, Name
from mta.ground import Ground, Place
from mta.service import Relay
from simulated.disk import VirtualDisk, Volume
from simulated.network import LATENCY, Process, World

DOWN = 10.0  # seconds from its end until the relay is started again
NO_POLL = 86_400.0  # seconds; no operator sits beside this relay
FROZEN = 3600.0  # seconds


class CrashPoint(NamedTuple):
    """Where something is to happen: just before or after the n-th sync, or the n-th answer of a server, takes effect.

    how: "kill" where the worker that has come there ends at once, "power" where all do and what had not been synced is
    at stake as well, "stop" where an operator stops the relay, "freeze" where the worker does nothing for an hour.
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

    counts: how many syncs and answers there were. starts, crashes: when. hit: how many points have been reached.
    frozen: how many of those were for a worker to stand still. lines: the relay's log. failures: what it logged that
    should never happen. left: what it had still open after it had been stopped.
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
        self.zones = zones
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.starts: list[float] = []
        self.crashes: list[float] = []
        self.left: list[str] = []
        self.stopped = self._stopping = False
        self.lines: list[str] = []
        self.failures: list[str] = []
        self.hit = self.frozen = 0
        self.may_crash = bool(points)
        self._points = {(point.event, point.number, point.moment): point.how for point in points}
        self._running: list[_Worker] = []
        self._has_power = True
        self._generation = 0  # how often all were started

    def start(self, workers: int = 0) -> None:
        """Start the relay, with another number of workers from now on if one is given."""
        self.stopped = self._stopping = False
        self.workers = workers or self.workers
        self.starts.append(self.world.seconds())
        self._has_power = True
        self._generation += 1
        for number in range(self.workers):
            if self._has_power:
                self._start(number)

    def _start(self, number: int) -> None:
        self.world.note("relay", "starts" if self.workers == 1 else f"starts worker {number}")
        self._running.append(_Worker(self, number))
        self._running[-1].start()

    def _start_again(self, number: int, generation: int) -> None:
        if generation == self._generation and not self._stopping:
            self.starts.append(self.world.seconds())
            self._start(number)

    def _all_again(self, generation: int) -> None:
        if generation == self._generation:
            self.start()

    def stop(self, start_again: bool = False) -> None:
        """Stop the relay as an operator would (SIGTERM). `stopped` is true when it has ended."""
        if self._running and not self._stopping:
            self._stopping = True
            self.world.note("relay", "is stopped")
            defer.Deferred.fromCoroutine(self._stop(list(self._running), start_again)).addErrback(self._not_stopped)

    async def _stop(self, running: list[_Worker], start_again: bool) -> None:
        await defer.gatherResults([one.relay.stopService() for one in running])
        await deferLater(self.world, 1.0)  # for what it may have forgotten
        if any(one.process.alive for one in running):
            for one in running:
                self.left += [f"a timer: {timer}" for timer in one.process.getDelayedCalls()]
                self.left += [f"a connection to {each.getPeer()}" for each in one.process.connections]
                one.process.kill()
                self.left += one.close()
            self._running = []
            self.stopped = True
            if start_again:
                self.world.callLater(DOWN, self.start)

    def _not_stopped(self, failure: Failure) -> None:
        self.failures.append(failure.getTraceback())

    def abandon(self) -> None:
        """Something has gone wrong with the simulation: leave nothing behind."""
        for one in self._running:
            one.process.kill()
            one.close()
        self._running = []

    def happens(self, worker: _Worker, event: str, moment: str) -> None:
        """A sync or an answer is there. Is this where something happens?"""
        if not worker.process.alive:
            return
        if moment == "before":
            self.counts[event] += 1
        how = self._points.pop((event, self.counts[event], moment), None)
        if how is None:
            return
        self.hit += 1
        self.world.note("relay", f"is hit: {how} {moment} {event} {self.counts[event]}")
        if how == "stop":
            self.world.callLater(0, self.stop, True)
        elif how == "freeze":
            self.frozen += 1
            worker.process.freeze()
            self.world.callLater(FROZEN, worker.process.thaw)
        else:
            self.crashes.append(self.world.seconds())
            self._has_power = how != "power"
            hit = [worker] if how == "kill" else list(self._running)
            for one in hit:
                one.process.kill()
                one.disk.alive = False
            self.world.callLater(0, self._clean_up, hit, how)

    def _clean_up(self, hit: list[_Worker], how: str) -> None:
        """The code that was running when it happened has come to its end now."""
        for one in hit:
            one.close()
            self._running.remove(one)
        if how == "power":
            self.volume.cut_power(Random(f"{self.seed}/{len(self.crashes)}/{sorted(self.counts.items())}"))
        if self.workers == 1 or how == "power":
            self.world.callLater(DOWN, self._all_again, self._generation)
        else:
            self.world.callLater(DOWN, self._start_again, hit[0].number, self._generation)


class _Worker:
    """One process of the relay."""

    def __init__(self, machine: Machine, number: int) -> None:
        self.number = number
        self._machine = machine
        world, address = machine.world, machine.config.listen[0].address.host
        self.process = Process(world, address, partial(machine.happens, self, "answer"))
        self.process.shares = machine.workers > 1
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
            place=Place(number, machine.workers),
        )
        self.relay = Relay(machine.config, ground)

    def start(self) -> None:
        globalLogPublisher.addObserver(self._observe)
        self.process.perform(self.relay.startService)

    def close(self) -> list[str]:
        """What is closed only because the process has ended."""
        globalLogPublisher.removeObserver(self._observe)
        return self.disk.end()

    def _resolver(self, reactor: Process, config: Config) -> MemoryResolver:
        return MemoryResolver(reactor, self._machine.zones, delay=LATENCY)

    def _observe(self, event: LogEvent) -> None:
        if not self.process.alive or event.get("log_level", LogLevel.info) < LogLevel.warn:
            return
        if self._machine.may_crash and event.get("log_namespace") == defer.__name__:
            return  # what the dead have left undone, and may be found out whenever garbage is collected
        self._machine.failures.append(eventAsText(event))


class _Lines:
    """Takes the lines of one relay's log."""

    def __init__(self, machine: Machine, process: Process) -> None:
        self._machine = machine
        self._process = process

    def __call__(self, line: str) -> None:
        if self._process.alive:
            self._machine.lines.append(line)

    def flush(self) -> None:
        """They are there already."""
