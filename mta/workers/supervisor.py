"""Supervisor: holds the listening sockets, and sees to it that every worker runs until all of them are stopped."""

import atexit
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver

from mta.config.model import Config
from mta.maillog import LineWriter, MailLog, Observer
from mta.net.handover import HandedOver
from mta.net.measures import make_rows, rows
from mta.net.systemd import Systemd
from mta.net.tally import Tally, make_tally
from mta.service import FAREWELL, GRACE, open_many_files, to_twisted
from mta.spool.sqlite import SqliteSpool
from mta.wiring.heartbeat import Heartbeat
from mta.wiring.inward import unwanted_sockets
from mta.wiring.reloading import Reloading
from mta.wiring.trouble import CannotStart
from mta.workers.agreement import agree, put_in_force
from mta.workers.family import Family
from mta.workers.hatch import Hatches
from mta.workers.holding import Holding
from mta.workers.orders import Orders
from mta.workers.pulse import Pulse
from mta.workers.worker import Worker

PATIENCE: Final = GRACE + FAREWELL + 8.0  # seconds that workers have to stop before they are killed
STEADY: Final = 60.0  # seconds that a worker has to have run for its end not to count as one of several in a row
PAUSES: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds until it is started again; the last one repeats
SETTLING: Final = 0.1  # seconds until it is looked again whether no worker is being started, or no reload is under way
AWAY: Final = 2.0  # seconds of such a pause from which on its clients do not wait for it, but go to the others


class Supervisor(MultiService):
    """The relay, as one service of twistd's, that several processes do the work of."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        sink: LineWriter | None,
        workers: int,
        systemd: Systemd,
        handed: HandedOver | None = None,
    ) -> None:
        """sink: where the lines of the log go; None for Twisted's own log. systemd: who has started it, perhaps.
        handed: what this process had before it was begun anew."""
        super().__init__()
        self._config = config
        self._reactor = reactor
        self._sink = sink
        self._take_line: Callable[[str], None] = sink or to_twisted
        self._log = MailLog(self._take_line, reactor, config.log.format, config.log.addresses)
        self._number = workers
        self._counts = make_tally(workers)
        self._tally = Tally(self._counts, 0, workers)
        self._measured = make_rows(workers)
        self.measures = rows(self._measured, workers)
        self.hatches = Hatches(reactor, workers)
        self._systemd = systemd
        self._holding = Holding(reactor, workers, systemd, handed)
        self._key = secrets.token_bytes(32)
        self._orders = -1
        self._family: Family | None = None
        self._workers: dict[int, Worker] = {}
        self._begun: dict[int, float] = {}  # when each was started, in seconds since 1970
        self._ends = [0] * workers  # how often each has ended soon after it was started, in a row
        self._restarts: dict[int, IDelayedCall] = {}
        self._is_ending = False
        self._is_changing = False
        self.call_off: Callable[[], None] = lambda: None  # a start anew, where one is on its way; see `Restarting`
        self._stopped: Deferred[None] | None = None
        self._heartbeat = Heartbeat(reactor, systemd, self._ask_all, self._status)
        self._pulse = Pulse(reactor, self._answering, self._hung)
        self.reloading = Reloading(
            partial(deferToThreadPool, reactor, reactor.getThreadPool()),
            self._log.event,
            lambda: self._config,
            self._take,
            systemd.tell_reload,
        )

    def setServiceParent(self, parent: Any) -> None:
        """Join an application of twistd's, and have it write its log where ours goes."""
        if self._sink is not None:
            parent.setComponent(ILogObserver, Observer(self._sink).follow(self._log))
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """What may take root: ports below 1024, and as many open files as the system lets us have."""
        open_many_files()
        SqliteSpool.prepare()
        self._hold()
        self._beget()
        super().privilegedStartService()

    def startService(self) -> None:
        """Start the workers, and wait until each of them is ready. Raises `CannotStart`, with nothing left running."""
        self._hold()
        self._orders = Orders(self._config, self._number, self._key, self._holding.counts).write()
        family = self._beget()
        family.inherit()
        for number in range(self._number):
            self._start(number)
        for worker in self._workers.values():
            worker.wait_until_ready()
        if not all(worker.is_ready for worker in self._workers.values()):
            self._give_up(family)
        for worker in list(self._workers.values()):
            self._watch(worker)
            self._reactor.callWhenRunning(worker.let_in)
        family.watch(self._reactor, self._parent_lost)
        self._log.event("started", hostname=self._config.hostname, workers=self._number)
        for why in unwanted_sockets(self._systemd, self._config):
            self._log.event("alarm", why=why)
        super().startService()
        self._heartbeat.start()
        self._pulse.start()

    @property
    def config(self) -> Config:
        """What is in force."""
        return self._config

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        return self._number

    def ready_workers(self) -> int:
        """How many there are, and can let clients in."""
        return sum(worker.is_ready for worker in self._workers.values())

    def admit(self, descriptor: int) -> bool:
        """Have a worker serve a connected Unix socket whose other end is in our own hands, and may send anywhere. False
        where there is none. The descriptor stays the caller's."""
        ready = [number for number, worker in self._workers.items() if worker.is_ready]
        return self.hatches.hand_in(descriptor, ready)

    @property
    def log(self) -> MailLog:
        """Where it writes what happens."""
        return self._log

    def _give_up(self, family: Family) -> None:
        """Raises `CannotStart`, with the reason of the first worker that is not ready."""
        for worker in self._workers.values():
            worker.stop()
        family.wait(lambda: all(worker.is_gone for worker in self._workers.values()))
        for worker in self._workers.values():
            worker.hand_on(self._take_line)
        family.close()
        self._let_go()
        one = next(worker for worker in self._workers.values() if not worker.is_ready)
        raise CannotStart(one.why or f"{one} {one.fate or 'has ended'}")

    def stopService(self) -> "Deferred[None]":
        """Have all workers stop; fires when they have."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._is_ending = True
        self._heartbeat.stop()
        self._pulse.stop()
        self._let_go()  # first, or clients would be let in to where nobody accepts them any more
        for call in self._restarts.values():
            call.cancel()
        self._restarts = {}
        self._stopped = Deferred() if self._workers else succeed(None)
        for worker in self._workers.values():
            worker.stop()
        impatient = self._reactor.callLater(PATIENCE, self._out_of_patience)
        await self._stopped
        if impatient.active():
            impatient.cancel()
        if self._family is not None:
            self._family.close()
        self._log.event("stopped", hostname=self._config.hostname, workers=self._number)
        stopped = super().stopService()
        if stopped is not None:
            await stopped
        if self._sink is not None:
            self._sink.flush()

    def _out_of_patience(self) -> None:
        for worker in self._workers.values():
            self._log.event("alarm", why=f"{worker} does not stop, and is killed")
            if self._family is not None:
                self._family.kill(worker)

    # A configuration in the place of another

    def reload(self) -> "Deferred[None]":
        """Read the configuration again, and all that it names. Fires when that has come to something."""
        return self.reloading.reload()

    async def _take(self, config: Config) -> None:
        """Have all workers go by it, or none. Raises `CannotStart`."""
        while not (self._is_ending or all(worker.is_ready for worker in self._workers.values())):
            await deferLater(self._reactor, SETTLING, lambda: None)
        if self._is_ending:
            raise CannotStart("the relay is stopping")
        holding, before = self._holding.of(config), self._holding
        orders = Orders(config, self._number, self._key, holding.counts).write()
        self._is_changing = True
        try:
            workers = list(self._workers.values())
            await agree(self._reactor, workers, orders, lambda number: holding.added_to(before, number))
        except BaseException:
            holding.let_go_of_all_but(before)
            os.close(orders)
            raise
        else:
            os.close(self._orders)
            self._config, self._orders, self._holding = config, orders, holding
            self._log.write_as(config.log.format, config.log.addresses)
            await put_in_force(self._reactor, workers)
            before.let_go_of_all_but(holding)
        finally:
            self._is_changing = False

    # Sockets

    def hand_over(self) -> dict[str, list[int]]:
        """As in `Relay`."""
        return self._holding.hand_over()

    def _hold(self) -> None:
        """Listen on everything. Raises `CannotStart`, with nothing left listening."""
        if not self._holding.counts:
            self._holding = self._holding.of(self._config)

    def _let_go(self) -> None:
        self._holding.let_go_of_all_but()
        self._holding = Holding(self._reactor, self._number, self._systemd)

    def _pause(self, number: int) -> None:
        """Have nobody wait for a worker that is not there: the kernel gives it nobody, as its neighbours do."""
        self._holding.pause(number)
        self.hatches.empty(number)

    def _resume(self, worker: Worker) -> None:
        """It is there."""
        try:
            self._holding.resume(worker.number)
        except OSError as error:
            self._pause(worker.number)
            self._log.event("alarm", why=f"{worker} cannot listen: {error.strerror}")
            worker.stop()
        else:
            worker.let_in()

    # Workers

    def _ask_all(self) -> "Deferred[Any]":
        """Whether all who are at work can store."""
        return gatherResults([one.ask({"do": "beat"}) for one in self._workers.values() if one.is_ready])

    def _answering(self) -> list[Worker]:
        """Those who should answer at once; to make another configuration ready may take a while."""
        return [] if self._is_changing else [one for one in self._workers.values() if one.is_ready]

    def _hung(self, worker: Worker, seconds: float) -> None:
        self._log.event("alarm", why=f"{worker} has not answered for {seconds:g} s, and is killed")
        if self._family is not None:
            self._family.kill(worker)

    def _status(self) -> str:
        return f"{sum(one.is_ready for one in self._workers.values())} of {self._number} workers are at work"

    def _beget(self) -> Family:
        """The parent of the workers, who has to be there before rights are given away that the program may need."""
        if self._family is None:
            try:
                self._family = Family(bool(self._config.webhooks))
            except OSError as error:
                self._let_go()
                raise CannotStart(f"workers cannot be started: {error}") from error
        return self._family

    def _start(self, number: int) -> Worker:
        sockets = self._holding.descriptors(number)
        log = self._sink.shareable() if self._sink is not None else None
        worker = self._workers[number] = self._beget().start(
            number,
            [self._orders, self._counts, self._measured, self.hatches.of(number), *self.hatches.ways(), *sockets],
            log,
        )
        self._begun[number] = self._reactor.seconds()
        return worker

    def _start_again(self, number: int) -> None:
        if self._is_changing:  # what it is to be started with
            self._restarts[number] = self._reactor.callLater(SETTLING, self._start_again, number)
            return
        del self._restarts[number]
        if self._is_ending:
            return
        try:
            worker = self._start(number)
        except OSError as error:
            pause = self._later(number)
            self._log.event(
                "alarm", why=f"worker {number} cannot be started: {error}; it is tried again in {pause:g} s"
            )
        else:
            self._watch(worker)

    def _watch(self, worker: Worker) -> None:
        worker.watch(self._reactor, self._take_line, self._heard, self._ended)

    def _heard(self, worker: Worker) -> None:
        if worker.is_ready:
            self._resume(worker)
            self.hatches.remind(worker.number)
        elif worker.is_damaged:
            self._log.event("alarm", why=worker.why)
            atexit.register(self._exit)
            self.call_off()
            self._end()
        else:
            self._log.event("alarm", why=f"{worker} cannot start: {worker.why}")

    def _parent_lost(self) -> None:
        """Nobody could be started again, and nobody tells how they end. That they have they tell by their lines."""
        for worker in list(self._workers.values()):
            worker.gone(None, "")
        if not self._is_ending:
            self._log.event("alarm", why="the process that starts workers is no more, so this relay stops")
        self._end()

    def _end(self) -> None:
        """Stop the relay, if it is not stopping already."""
        if not self._is_ending:
            self._is_ending = True
            with suppress(ReactorNotRunning):  # somebody has stopped it just now
                self._reactor.stop()

    def _exit(self) -> None:
        """The very last: end with the status that one process ends with. twistd itself knows of 0 alone by now."""
        if self._sink is not None:
            self._sink.flush()
        os._exit(1)

    def _ended(self, worker: Worker) -> None:
        del self._workers[worker.number]
        self._tally.forget(worker.number)
        self.measures[worker.number].forget_gauges()
        if self._is_ending:
            if self._stopped is not None and not self._workers:
                self._stopped.callback(None)
            return
        if self._reactor.seconds() - self._begun[worker.number] >= STEADY:
            self._ends[worker.number] = 0
        pause = self._later(worker.number)
        when = f"in {pause:g} s" if pause else "at once"
        self._log.event("alarm", why=f"{worker} {worker.fate}; it is started again {when}")

    def _later(self, number: int) -> float:
        """Start one again, the later the more often it has ended; in how many seconds."""
        pause = PAUSES[min(self._ends[number], len(PAUSES) - 1)]
        self._ends[number] += 1
        if pause >= AWAY:
            self._pause(number)
        self._restarts[number] = self._reactor.callLater(pause, self._start_again, number)
        return pause


def workers_of(config: Config) -> int:
    """How many processes are to do the work: as configured, or one for each core that we may use."""
    return config.workers if isinstance(config.workers, int) else max(1, len(os.sched_getaffinity(0)))
