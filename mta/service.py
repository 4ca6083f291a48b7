"""The composition root: a configuration in, a relay out. A parts list, and the order in which the parts stop."""

import os
import resource
import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger

from mta.config.model import Config
from mta.delivery.manager import Manager
from mta.delivery.turns import Bounds
from mta.ground import Ground
from mta.inbound.door import Doorkeeper
from mta.inbound.dropping import Dropping
from mta.inbound.listener import Listener, ListenerFactory
from mta.inbound.proxy import Porch
from mta.interfaces import ICheck, IResolver, SpoolBroken, SpoolDamaged
from mta.maillog import MailLog, Observer
from mta.net.measures import UNKNOWN, Measures
from mta.net.tls import TlsProblem
from mta.spool.drop import DropFolder
from mta.spool.sqlite import SqliteSpool
from mta.spool.writer import exit_process
from mta.transports.pool import Pool
from mta.wiring.changes import kept_listeners
from mta.wiring.decisions import Decisions
from mta.wiring.heartbeat import Heartbeat
from mta.wiring.hooks import Webhooks
from mta.wiring.inward import Certificates, Inward, hosts_at, make_inward, unwanted_sockets, way_to_listen
from mta.wiring.lasting import Lasting
from mta.wiring.onward import Onward, make_onward
from mta.wiring.reloading import Reloading
from mta.wiring.retired import Retired
from mta.wiring.trouble import CannotStart, QueueDamaged, cannot_listen

__all__ = ["FAREWELL", "GRACE", "CannotStart", "Change", "QueueDamaged", "Relay"]

GRACE = 10.0  # seconds that transactions and deliveries in flight have when the relay is stopped
RENEWAL = 10.0  # seconds between two looks whether certificates have changed
ALIKE = 1.0  # seconds in which other processes and we come to go by the same configuration
TICKETS = 3600.0  # seconds for which TLS sessions of clients are resumed with the same key
FAREWELL = 2.0  # seconds that next hops have after that to answer QUIT, before connections are cut

_NONE: Mapping[int, Sequence[int]] = {}

_logger = Logger()


class Change(NamedTuple):
    """A configuration, made into parts that are not in force yet.

    listeners: all of them in its order, those among `new` not listening yet.
    """

    config: Config
    onward: Onward
    inward: Inward
    listeners: Sequence[Listener]
    new: Sequence[Listener]


class Relay(MultiService):
    """The whole relay, as one service of twistd's."""

    def __init__(self, config: Config, ground: Ground, checks: Sequence[ICheck] = ()) -> None:
        super().__init__()
        self.config = config
        self._ground = ground
        reactor, place = ground.reactor, ground.place
        self.measures = place.measures or Measures()
        self.log = MailLog(ground.sink or to_twisted, reactor, config.log.format, config.log.addresses)
        self.spool = SqliteSpool(
            config.spool,
            reactor,
            reactor.seconds,
            worker=place.number,
            workers=place.of,
            holder=place.holder,
            disk=ground.disk,
            vfs=ground.vfs,
            inline=ground.inline,
            on_fatal=self._end_at_once,
            measures=self.measures,
        )
        self.pool = Pool(reactor)
        self._lasting = lasting = Lasting(
            ground, self.log, self.spool, self.pool, checks, self.measures, self._given_hosts
        )
        decisions = Decisions.by(config)
        self._onward = onward = make_onward(config, decisions, lasting)
        whole = Bounds()
        bounds = Bounds(deliveries=place.share(whole.deliveries), strangers=place.share(whole.strangers))
        self.manager = Manager(onward.means, onward.windows, config.history, bounds, poll=ground.poll)
        self._inward = inward = make_inward(config, decisions, lasting, self.manager)
        self.door = Doorkeeper(reactor, config.hostname, inward.door, self.log, place.tally, self.measures)
        self._porch = Porch(reactor, self.log)
        self._listeners: Sequence[Listener] = [
            self._listener(inward, number, place.sockets.get(number, ())) for number in range(len(config.listen))
        ]
        house, (as_users, as_ourselves) = inward.house, inward.within
        drop = DropFolder(config.spool)
        self._dropping = Dropping(drop, house, as_users, reactor, lasting.in_thread, ground.drop)
        self._within = ListenerFactory(self.door, self._porch, house, as_ourselves)
        self._renewal = LoopingCall(self._renew)
        self._tickets = LoopingCall(self._renew_tickets)
        self._renewal.clock = self._tickets.clock = reactor
        self._former_logins, self._former_resolvers = Retired(reactor), Retired(reactor)
        self._is_stopping = False
        self._webhooks = Webhooks(ground, self.log.event, self.measures)
        self._webhooks.prepare(config)
        self._heartbeat = Heartbeat(reactor, ground.systemd, self.spool.next_deadline, self._status)
        self.reloading = Reloading(
            lasting.in_thread, self.log.event, lambda: self.config, self._take, ground.systemd.tell_reload
        )

    def setServiceParent(self, parent: Any) -> None:
        """Join an application of twistd's, and have it write its log where ours goes."""
        if self._ground.sink is not None:
            parent.setComponent(ILogObserver, Observer(self._ground.sink).follow(self.log))
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """What may take root: ports below 1024, and as many open files as the system lets us have."""
        open_many_files()
        self.spool.prepare()
        _bind(self._listeners)
        super().privilegedStartService()

    def startService(self) -> None:
        """Take up the queue. Raises `CannotStart`."""
        _bind(self._listeners)
        try:
            recovered = self.spool.start(self.manager.most_pauses)
        except SpoolDamaged as error:
            raise QueueDamaged(str(error)) from error
        except SpoolBroken as error:
            raise CannotStart(str(error)) from error
        self.measures.cells[UNKNOWN] += recovered.unknown
        for destination, pause in recovered.pauses:
            self.manager.take_up(destination, pause)
        self._webhooks.start(self.spool.outbox, self.config)
        self.manager.start(recovered.newest)
        if not self._ground.place.number:  # of several, one says so
            for warning in recovered.unwise:
                self.log.event("alarm", why=warning)
        for why in unwanted_sockets(self._ground.systemd, self.config):
            self.log.event("alarm", why=why)
        self._look_after(self._inward.certificates)
        found = {"queued": recovered.messages, "unknown": recovered.unknown}
        if self._ground.drop and not self._ground.place.number:
            self._dropping.start()
        self.log.event("started", hostname=self.config.hostname, worker=self._ground.place.mark(), **found)
        super().startService()
        self._heartbeat.start()

    @property
    def resolver(self) -> IResolver:
        """Who asks the DNS now."""
        return self._onward.resolver

    def deaf(self) -> list[str]:
        """Listeners that nobody listens at."""
        return [listener.name for listener in self._listeners if not listener.is_bound]

    def hand_over(self) -> dict[str, list[int]]:
        """Descriptors of what is listened on, by the names of listeners, which stay open when the relay ends. Without
        those of systemd, which has its own way to hand them over."""
        return {one.name: one.hand_over() for one in self._listeners if not one.name.startswith("systemd:")}

    def admit(self, descriptor: int) -> None:
        """Serve a connected Unix socket whose other end is in this relay's own hands, and may send anywhere. The
        descriptor is ours from now on."""
        with socket.socket(fileno=descriptor) as one:
            self._ground.reactor.adoptStreamConnection(one.fileno(), one.family, self._within)

    def take(self, listener: str, descriptor: int, is_early: bool = True) -> None:
        """Serve a client whom another process has accepted at the same listener, of this name. The descriptor is ours
        from now on.

        is_early: where we have no such listener, we may have it in a moment: others may go by a configuration first.
        """
        for one in self._listeners:
            if one.name == listener:
                one.take(self._ground.reactor, socket.socket(fileno=descriptor))
                return
        if is_early:
            self._ground.reactor.callLater(ALIKE, self.take, listener, descriptor, False)
        else:
            os.close(descriptor)  # as those who wait to be accepted, when a listener closes

    def stopService(self) -> "Deferred[None]":
        """Let nobody in, let what is under way end, put the rest back, close."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._is_stopping = True
        self._heartbeat.stop()
        for call in (self._renewal, self._tickets):
            if call.running:
                call.stop()
        self._porch.close()
        await gatherResults([listener.close() for listener in self._listeners])
        # Those who check logins at once, since the door waits for clients who log in.
        ends: list[Deferred[Any]] = [self.door.close(GRACE), self.manager.stop(GRACE), self._former_logins.stop()]
        ends.append(Deferred.fromCoroutine(self._dropping.stop()))
        ends.append(Deferred.fromCoroutine(self._webhooks.stop(FAREWELL)))
        if self._inward.authentication is not None:
            ends.append(self._inward.authentication.stop())
        await gatherResults(ends)
        await self.pool.stop(FAREWELL)
        await self.spool.stop()
        resolvers: list[Deferred[Any]] = [self._onward.resolver.stop(), self._former_resolvers.stop()]
        await gatherResults(resolvers)
        self.log.event("stopped", hostname=self.config.hostname, worker=self._ground.place.mark())
        stopped = super().stopService()
        if stopped is not None:
            await stopped
        if self._ground.sink is not None:
            self._ground.sink.flush()

    def _status(self) -> str:
        return f"sessions: {self.door.sessions}, deliveries under way: {self.manager.in_flight}"

    # A configuration in the place of another

    def reload(self) -> "Deferred[None]":
        """Read the configuration again, and all that it names. Fires when that has come to something."""
        return self.reloading.reload()

    def prepare(self, config: Config, sockets: Mapping[int, Sequence[int]] = _NONE) -> Change:
        """Make the parts of a configuration, beside those in force. sockets: as in `Place`, for listeners that are new.

        Raises `CannotStart`.
        """
        decisions = Decisions.by(config)
        onward = make_onward(config, decisions, self._lasting, self._onward)
        inward = make_inward(config, decisions, self._lasting, self.manager, self._inward)
        self._webhooks.prepare(config)
        listeners, new = [], []
        kept = kept_listeners([one.name for one in self._listeners], [str(one.address) for one in config.listen])
        for number, old in enumerate(kept):
            if old is not None:
                listeners.append(self._listeners[old])
            else:
                new.append(self._listener(inward, number, sockets.get(number, ())))
                listeners.append(new[-1])
        return Change(config, onward, inward, listeners, new)

    def adopt(self, change: Change) -> None:
        """Go by another configuration from now on. What is under way ends with what it began with.

        Raises `CannotStart`, with everything as it was.
        """
        if self._is_stopping:
            raise CannotStart("the relay is stopping")
        _bind(change.new)
        onward, inward, listeners = self._onward, self._inward, self._listeners
        self.config, self._onward, self._inward, self._listeners = change[:4]
        self.log.write_as(self.config.log.format, self.config.log.addresses)
        self.manager.adopt(change.onward.means, change.onward.windows, self.config.history)
        self.pool.renew()
        self.door.adopt(self.config.hostname, change.inward.door)
        for listener, treatment in zip(change.listeners, change.inward.treatments, strict=True):
            listener.adopt(change.inward.house, *treatment)
        self._dropping.adopt(change.inward.house, change.inward.within[0])
        self._within.adopt(change.inward.house, change.inward.within[1])
        self._webhooks.adopt(self.config)
        for listener in listeners:
            if listener not in change.listeners:
                listener.close()
        if onward.resolver is not change.onward.resolver:
            self._former_resolvers.add(onward.resolver.stop)
        if inward.authentication is not None and inward.authentication is not change.inward.authentication:
            self._former_logins.add(inward.authentication.stop)
        elif inward.authentication is not None:
            inward.authentication.refresh()
        known = set(inward.certificates.values())
        self._renew()
        self._look_after({name: one for name, one in change.inward.certificates.items() if one not in known})

    async def _take(self, config: Config) -> None:
        self.adopt(self.prepare(config))

    # Listening

    def _listener(self, inward: Inward, number: int, sockets: Sequence[int]) -> Listener:
        address, (manners, tls) = inward.config.listen[number].address, inward.treatments[number]
        factory = ListenerFactory(self.door, self._porch, inward.house, manners, tls)
        return Listener(str(address), way_to_listen(self._ground, address, sockets), factory)

    # Certificates

    def _look_after(self, certificates: Certificates) -> None:
        """Certificates that are new: say what is wrong with them, and look from time to time whether they change."""
        for one in certificates.values():
            for warning in one.warnings:
                self.log.event("alarm", why=warning)
        if certificates and not self._renewal.running:
            self._renewal.start(RENEWAL, now=False)
            self._tickets.start(TICKETS, now=False)

    def _renew(self) -> None:
        """Look whether certificates have changed, for who connects from now on."""
        for one in self._inward.certificates.values():
            try:
                if one.refresh():
                    self.log.event("certificate", file=str(self.config.tls.certificate), why="read again")
            except TlsProblem as problem:
                self.log.event("alarm", why=f"{problem}; the certificate that was in use stays in use")

    def _renew_tickets(self) -> None:
        """Have no key outlive its sessions by much."""
        for one in self._inward.certificates.values():
            one.renew_tickets()

    def _end_at_once(self) -> None:
        """The spool cannot be written any more, whatever is done: say why, and end the process."""
        if self._ground.sink is not None:
            self._ground.sink.flush()
        exit_process()

    def _given_hosts(self, port: int) -> set[str]:
        """The addresses that systemd listens on for us, at a port."""
        given = [listener for listener in self._listeners if listener.name.startswith("systemd:")]
        return {host for listener in given for host in hosts_at(port, listener)}


def _bind(listeners: Sequence[Listener]) -> None:
    """Listen with all of them. Raises `CannotStart`, with none of them left listening."""
    for listener in listeners:
        try:
            listener.bind()
        except (CannotListenError, OSError) as error:  # the latter from the lock beside a Unix socket
            for other in listeners:
                other.close()
            raise cannot_listen(listener.name, error) from error


def to_twisted(line: str) -> None:
    """Where lines go that Twisted's own log takes."""
    _logger.info("{line}", line=line)


def open_many_files() -> None:
    """Have as many open files as the system lets us have."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
