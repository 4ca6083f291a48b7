"""The composition root: a configuration in, a relay out. A parts list, and the order in which the parts stop."""

import random
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import ILogObserver, Logger

from mta.config.model import Config
from mta.config.model import Listener as ListenerEntry
from mta.delivery.attempt import Means
from mta.delivery.manager import Manager
from mta.delivery.notifier import Notifier
from mta.dns.resolver import ThreadedResolver
from mta.inbound.conversation import House
from mta.inbound.door import Doorkeeper, DoorLimits
from mta.inbound.listener import Listener, ListenerFactory
from mta.inbound.reception import Keeping
from mta.interfaces import ICheck, IResolver, SpoolBroken
from mta.maillog import LineWriter, MailLog, Observer
from mta.net import eager
from mta.net.local import is_local
from mta.policy.retry import deadline
from mta.policy.routing import Via
from mta.policy.window import WindowLimits, pauses_within
from mta.smtp.server import ServerSettings
from mta.spool.disk import Disk
from mta.spool.sqlite import SqliteSpool
from mta.transports.connector import Connector
from mta.transports.lmtp import LmtpTransport
from mta.transports.pool import Pool
from mta.transports.search import Finder
from mta.transports.smtp import SmtpTransport

GRACE = 10.0  # seconds that transactions and deliveries in flight have when the relay is stopped
FAREWELL = 2.0  # seconds that next hops have after that to answer QUIT, before connections are cut

_logger = Logger()


class CannotStart(Exception):
    """The relay cannot run here; the text says why, and what to do."""


def threaded_resolver(reactor: Any, config: Config) -> ThreadedResolver:
    """Asks the servers of the configuration, or the system's."""
    servers = [str(server) for server in config.dns.nameservers]
    return ThreadedResolver(reactor, reactor, servers, config.dns.timeout)


@dataclass(frozen=True)
class Ground:
    """What a relay stands on. The real thing by default; the simulation brings its own of each.

    sink: where the lines of the log go; None for Twisted's own log. vfs: the name of the SQLite VFS under the queue
    file. inline: no threads. resolver: makes whoever asks the DNS. poll: seconds between two looks whether an operator
    has changed something in the queue.
    """

    reactor: Any
    sink: LineWriter | None = None
    chance: random.Random = field(default_factory=random.Random)
    disk: Disk = field(default_factory=Disk)
    vfs: str | None = None
    inline: bool = False
    resolver: Callable[[Any, Config], IResolver] = threaded_resolver
    poll: float = 1.0


class Relay(MultiService):
    """The whole relay, as one service of twistd's."""

    def __init__(self, config: Config, ground: Ground, checks: Sequence[ICheck] = ()) -> None:
        super().__init__()
        self.config = config
        self._ground = ground
        reactor, chance = ground.reactor, ground.chance
        hostname, postmaster = config.hostname, config.postmaster
        routing, retry = config.routing(), config.retry_policy()

        self.log = MailLog(ground.sink or _to_twisted, reactor, config.log.format, config.log.addresses)
        self.spool = SqliteSpool(
            config.spool, reactor, reactor.seconds, disk=ground.disk, vfs=ground.vfs, inline=ground.inline
        )
        self.resolver = ground.resolver(reactor, config)
        self.pool = Pool(reactor)
        finder = Finder(
            self.resolver,
            own_names=frozenset({hostname}),
            chance=chance,
            is_ourselves=self._is_ourselves,
            refuse_private=config.dns.private_exchangers == "refuse",
        )
        parts = (reactor, hostname, finder, Connector(reactor, self.pool), self.pool)
        smtp, lmtp = SmtpTransport(*parts), LmtpTransport(*parts)
        means = Means(
            clock=reactor,
            spool=self.spool,
            transports={Via.MX: smtp, Via.SMTP: smtp, Via.LMTP: lmtp, Via.LMTP_UNIX: lmtp},
            route=routing.decide,
            notifier=Notifier(hostname, postmaster, retry, routing.decide, self.spool.new_id),
            policy=retry,
            chance=chance,
            log=self.log.event,
        )
        windows = WindowLimits(pauses=pauses_within(config.retry.after))
        self.manager = Manager(means, windows, config.history, poll=ground.poll)
        limits = config.limits
        self.door = Doorkeeper(
            reactor, hostname, DoorLimits(limits.connections, limits.connections_per_client), self.log
        )
        self._house = House(
            hostname,
            postmaster,
            keeping=Keeping(
                hostname,
                self.spool,
                self.manager,
                self.log,
                reactor.seconds,
                deadline=lambda received: deadline(retry, received, warned=False),
                max_received=limits.received,
            ),
            access=config.access(),
            routing=routing,
            checks=checks,
            max_recipients=limits.recipients,
        )
        self._listeners = [self._listener(entry) for entry in config.listen]

    def setServiceParent(self, parent: Any) -> None:
        """Join an application of twistd's, and have it write its log where ours goes."""
        if self._ground.sink is not None:
            parent.setComponent(ILogObserver, Observer(self._ground.sink))
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """What may take root: ports below 1024, and as many open files as the system lets us have."""
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.spool.prepare()
        self._bind()
        super().privilegedStartService()

    def startService(self) -> None:
        """Take up the queue. Raises `CannotStart`."""
        self._bind()
        try:
            recovered = self.spool.start()
        except SpoolBroken as error:
            raise CannotStart(str(error)) from error
        self.manager.start()
        self.log.event("started", hostname=self.config.hostname, queued=recovered.messages, unknown=recovered.unknown)
        super().startService()

    def stopService(self) -> "Deferred[None]":
        """Let nobody in, let what is under way end, put the rest back, close."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await gatherResults([listener.close() for listener in self._listeners])
        await gatherResults([self.door.close(GRACE), self.manager.stop(GRACE)])
        await self.pool.stop(FAREWELL)
        await self.spool.stop()
        await self.resolver.stop()
        self.log.event("stopped", hostname=self.config.hostname)
        stopped = super().stopService()
        if stopped is not None:
            await stopped
        if self._ground.sink is not None:
            self._ground.sink.flush()

    def _bind(self) -> None:
        """Listen. Raises `CannotStart`, with nothing left listening."""
        for listener in self._listeners:
            try:
                listener.bind()
            except (CannotListenError, OSError) as error:  # the latter from the lock beside a Unix socket
                for other in self._listeners:
                    other.close()
                raise CannotStart(f"cannot listen on {listener.name}: {_reason(error)}") from error

    def _listener(self, entry: ListenerEntry) -> Listener:
        address, reactor = entry.address, self._ground.reactor

        def settings(may_relay: bool) -> ServerSettings:
            return ServerSettings(self.config.limits.message_size, entry.bare_lf, lenient=may_relay)

        def listen(factory: Factory) -> IListeningPort:
            if address.path:
                return eager.listen_unix(reactor, address.path, factory)
            return eager.listen(reactor, address.host, address.port, factory)

        return Listener(str(address), listen, ListenerFactory(self.door, self._house, settings))

    def _is_ourselves(self, address: str, port: int) -> bool:
        """Do we listen there?"""
        ours = {entry.address.host for entry in self.config.listen if entry.address.port == port}
        return address in ours or (bool(ours & _ANY) and is_local(address))


_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104  not bound to, compared with


def _to_twisted(line: str) -> None:
    _logger.info("{line}", line=line)


def _reason(error: CannotListenError | OSError) -> str:
    cause = error.socketError if isinstance(error, CannotListenError) else error
    return getattr(cause, "strerror", None) or str(cause)
