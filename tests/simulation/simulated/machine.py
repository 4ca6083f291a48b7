"""The machine that the relay runs on: it starts the relay, crashes it where it is told to, and starts it again."""

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
from mta.service import Ground, Relay
from simulated.disk import VirtualDisk, Volume
from simulated.network import LATENCY, Process, World

DOWN = 10.0  # seconds from its end until the relay is started again
NO_POLL = 86_400.0  # seconds; no operator sits beside this relay


class CrashPoint(NamedTuple):
    """Where the relay is to end: just before or after the n-th sync, or the n-th answer of a server, takes effect.

    how: "kill" where the relay alone ends at once, "power" where what had not been synced is at stake as well, "stop"
    where an operator stops it.
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
    """A machine at one address, on which nothing but the relay runs.

    counts: how many syncs and answers there were. starts, crashes: when. lines: the relay's log. failures: what it
    logged that should never happen. left: what it had still open after it had been stopped.
    """

    def __init__(
        self,
        world: World,
        volume: Volume,
        config: Config,
        zones: Mapping[str, Name],
        points: Sequence[CrashPoint] = (),
        seed: int = 0,
    ) -> None:
        self.world = world
        self.volume = volume
        self.config = config
        self.counts: Counter[str] = Counter()
        self.starts: list[float] = []
        self.crashes: list[float] = []
        self.left: list[str] = []
        self.stopped = self._stopping = False
        self.lines: list[str] = []
        self.failures: list[str] = []
        self._zones = zones
        self._points = {(point.event, point.number, point.moment): point.how for point in points}
        self._may_crash = bool(points)
        self._seed = seed
        self.relay: Relay
        self.process: Process
        self.disk: VirtualDisk

    def start(self) -> None:
        """Start the relay."""
        self.stopped = self._stopping = False
        self.starts.append(self.world.seconds())
        self.world.note("relay", "starts")
        process = self.process = Process(
            self.world, self.config.listen[0].address.host, partial(self._happens, "answer")
        )
        self.disk = VirtualDisk(self.volume, partial(self._happens, "sync"))
        ground = Ground(
            process,
            _Lines(self, process),
            Random(f"{self._seed}/{len(self.starts)}"),
            self.disk,
            self.disk.vfs,
            inline=True,
            resolver=self._resolver,
            poll=NO_POLL,
        )
        self.relay = Relay(self.config, ground)
        globalLogPublisher.addObserver(self._observe)
        process.perform(self.relay.startService)

    def stop(self, start_again: bool = False) -> None:
        """Stop the relay as an operator would (SIGTERM). `stopped` is true when it has ended."""
        if self.process.alive and not self._stopping:
            self._stopping = True
            defer.Deferred.fromCoroutine(self._stop(self.process, start_again)).addErrback(self._not_stopped)

    async def _stop(self, process: Process, start_again: bool) -> None:
        self.world.note("relay", "is stopped")
        await self.relay.stopService()
        await deferLater(self.world, 1.0)  # for what it may have forgotten
        if process.alive:
            self.left += [f"a timer: {timer}" for timer in process.getDelayedCalls()]
            self.left += [f"a connection to {one.getPeer()}" for one in process.connections]
            process.kill()
            self.left += self._close()
            self.stopped = True
            if start_again:
                self.world.callLater(DOWN, self.start)

    def _not_stopped(self, failure: Failure) -> None:
        self.failures.append(failure.getTraceback())

    def abandon(self) -> None:
        """Something has gone wrong with the simulation: leave nothing behind."""
        self.process.kill()
        self._close()

    def _happens(self, event: str, moment: str) -> None:
        """A sync or an answer is there. Is this where to end?"""
        if not self.process.alive:
            return
        if moment == "before":
            self.counts[event] += 1
        how = self._points.pop((event, self.counts[event], moment), None)
        if how == "stop":
            self.world.callLater(0, self.stop, True)
        elif how is not None:
            self._crash(how, f"{moment} {event} {self.counts[event]}")

    def _crash(self, how: str, when: str) -> None:
        self.world.note("relay", f"is hit: {how} {when}")
        self.crashes.append(self.world.seconds())
        self.process.kill()
        self.disk.alive = False
        self.world.callLater(0, self._clean_up, how)

    def _clean_up(self, how: str) -> None:
        """The code that was running when it happened has come to its end now."""
        self._close()
        if how == "power":
            self.volume.cut_power(Random(f"{self._seed}/{len(self.crashes)}/{sorted(self.counts.items())}"))
        self.world.callLater(DOWN, self.start)

    def _close(self) -> list[str]:
        """What is closed only because the process has ended."""
        globalLogPublisher.removeObserver(self._observe)
        return self.disk.end()

    def _resolver(self, reactor: Process, config: Config) -> MemoryResolver:
        return MemoryResolver(reactor, self._zones, delay=LATENCY)

    def _observe(self, event: LogEvent) -> None:
        if not self.process.alive or event.get("log_level", LogLevel.info) < LogLevel.warn:
            return
        if self._may_crash and event.get("log_namespace") == defer.__name__:
            return  # what the dead have left undone, and may be found out whenever garbage is collected
        self.failures.append(eventAsText(event))


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
