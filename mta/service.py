"""The composition root: a configuration in, a relay out. A parts list, and the order in which the parts stop."""

import resource
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger

from mta import parts
from mta.auth.accounts import AccountsFile
from mta.auth.authentication import Authentication
from mta.auth.dovecot import Dovecot
from mta.auth.logins import Logins, Upstream
from mta.auth.passwords import AT_ONCE, LONGEST_LINE
from mta.config.accounts import read_accounts
from mta.config.model import Config
from mta.config.model import Listener as ListenerEntry
from mta.config.problems import ConfigError
from mta.config.reading import read_password
from mta.delivery.attempt import Means
from mta.delivery.manager import Manager
from mta.delivery.notifier import Notifier
from mta.delivery.turns import Bounds
from mta.ground import Ground
from mta.inbound.door import Doorkeeper, DoorLimits
from mta.inbound.dropping import Dropping
from mta.inbound.house import House
from mta.inbound.listener import Listener, ListenerFactory
from mta.inbound.manners import Manners
from mta.inbound.proxy import Porch
from mta.inbound.reception import Keeping
from mta.interfaces import IAuthentication, ICheck, SpoolBroken, SpoolDamaged
from mta.maillog import MailLog, Observer
from mta.net import eager
from mta.net.measures import UNKNOWN, Measures
from mta.net.threads import NoThreads, PooledThreads
from mta.net.tls import ServerTls, TlsProblem
from mta.policy.addressing import Addressing
from mta.policy.retry import deadline
from mta.policy.routing import Via
from mta.policy.window import WindowLimits, pauses_within
from mta.spool.drop import DropFolder
from mta.spool.sqlite import SqliteSpool
from mta.spool.writer import exit_process
from mta.transports.connector import Connector
from mta.transports.fitting import Fitter
from mta.transports.lmtp import LmtpTransport
from mta.transports.opener import Opener
from mta.transports.pool import Pool
from mta.transports.smtp import SmtpTransport

GRACE = 10.0  # seconds that transactions and deliveries in flight have when the relay is stopped
RENEWAL = 10.0  # seconds between two looks whether certificates have changed
TICKETS = 3600.0  # seconds for which TLS sessions of clients are resumed with the same key
FAREWELL = 2.0  # seconds that next hops have after that to answer QUIT, before connections are cut

_logger = Logger()


class CannotStart(Exception):
    """The relay cannot run here; the text says why, and what to do."""


class QueueDamaged(CannotStart):
    """It would find an empty queue if it were started once more, so it is for somebody who knows that to do so."""


class Relay(MultiService):
    """The whole relay, as one service of twistd's."""

    def __init__(self, config: Config, ground: Ground, checks: Sequence[ICheck] = ()) -> None:
        super().__init__()
        self.config = config
        self._ground = ground
        reactor, chance, place = ground.reactor, ground.chance, ground.place
        hostname, postmaster = config.hostname, config.postmaster
        routing, retry, directory = config.routing(), config.retry_policy(), config.directory()
        addressing = Addressing(directory, routing, postmaster)

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
        self.resolver = ground.resolver(reactor, config)
        self.pool = Pool(reactor)
        finder = parts.finder(config, self.resolver, chance)
        opener = Opener(reactor, hostname, Connector(reactor, self.pool), logins=_logins(config))
        made = (reactor, finder, opener, self.pool, Fitter(self._in_thread))
        smtp, lmtp = SmtpTransport(*made), LmtpTransport(*made)
        means = Means(
            clock=reactor,
            spool=self.spool,
            transports={Via.MX: smtp, Via.SMTP: smtp, Via.SMTPS: smtp, Via.LMTP: lmtp, Via.LMTP_UNIX: lmtp},
            route=addressing.decide,
            notifier=Notifier(hostname, postmaster, retry, addressing.decide, self.spool.new_id, addressing.resolve),
            policy=retry,
            chance=chance,
            log=self.log.event,
            measures=self.measures,
        )
        windows = WindowLimits(
            place.share(WindowLimits.initial), place.share(WindowLimits.maximum), pauses_within(config.retry.after)
        )
        bounds = Bounds(deliveries=place.share(Bounds.deliveries), strangers=place.share(Bounds.strangers))
        self.manager = Manager(means, windows, config.history, bounds, poll=ground.poll)
        limits = config.limits
        door_limits = DoorLimits(limits.connections, limits.connections_per_client)
        self.door = Doorkeeper(reactor, hostname, door_limits, self.log, place.tally, self.measures)
        self._authentication = self._who_may_log_in()
        self._porch = Porch(reactor, self.log)
        self._certificates: dict[Path | None, ServerTls] = {}  # by the authority of clients' certificates
        self._house = House(
            hostname,
            postmaster,
            keeping=Keeping(
                hostname,
                self.spool,
                self.manager,
                self.log,
                reactor.seconds,
                deadline=lambda since, by, by_mode: deadline(retry, since, False, by, by_mode),
                max_received=limits.received,
                measures=self.measures,
            ),
            access=config.access(),
            routing=routing,
            directory=directory,
            addressing=addressing,
            authentication=self._authentication,
            checks=checks,
        )
        self._listeners = [self._listener(number, entry) for number, entry in enumerate(config.listen)]
        as_of_users = Manners(message_size=limits.message_size, recipients=limits.recipients)
        drop = DropFolder(config.spool)
        self._dropping = Dropping(drop, self._house, as_of_users, reactor, self._in_thread, ground.drop)
        limited = Manners(message_size=limits.message_size, recipients=limits.recipients, vrfy="off", trusted=True)
        self._within = ListenerFactory(self.door, self._porch, self._house, limited)
        self._renewal = LoopingCall(self._renew)
        self._tickets = LoopingCall(self._renew_tickets)
        self._renewal.clock = self._tickets.clock = reactor

    def setServiceParent(self, parent: Any) -> None:
        """Join an application of twistd's, and have it write its log where ours goes."""
        if self._ground.sink is not None:
            parent.setComponent(ILogObserver, Observer(self._ground.sink, self.config.log.addresses))
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """What may take root: ports below 1024, and as many open files as the system lets us have."""
        open_many_files()
        self.spool.prepare()
        self._bind()
        super().privilegedStartService()

    def startService(self) -> None:
        """Take up the queue. Raises `CannotStart`."""
        self._bind()
        try:
            recovered = self.spool.start()
        except SpoolDamaged as error:
            raise QueueDamaged(str(error)) from error
        except SpoolBroken as error:
            raise CannotStart(str(error)) from error
        self.measures.cells[UNKNOWN] += recovered.unknown
        self.manager.start()
        if not self._ground.place.number:  # of several, one says so
            for warning in recovered.unwise:
                self.log.event("alarm", why=warning)
        if self._certificates:
            for one in self._certificates.values():
                for warning in one.warnings:
                    self.log.event("alarm", why=warning)
            self._renewal.start(RENEWAL, now=False)
            self._tickets.start(TICKETS, now=False)
        found = {"queued": recovered.messages, "unknown": recovered.unknown}
        if self._ground.drop and not self._ground.place.number:
            self._dropping.start()
        self.log.event("started", hostname=self.config.hostname, worker=self._ground.place.mark(), **found)
        super().startService()

    def deaf(self) -> list[str]:
        """Listeners that nobody listens at."""
        return [listener.name for listener in self._listeners if not listener.is_bound]

    def admit(self, descriptor: int) -> None:
        """Serve a connected Unix socket whose other end is in this relay's own hands, and may send anywhere. The
        descriptor is ours from now on."""
        with socket.socket(fileno=descriptor) as one:
            self._ground.reactor.adoptStreamConnection(one.fileno(), one.family, self._within)

    def stopService(self) -> "Deferred[None]":
        """Let nobody in, let what is under way end, put the rest back, close."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for call in (self._renewal, self._tickets):
            if call.running:
                call.stop()
        self._porch.close()
        await gatherResults([listener.close() for listener in self._listeners])
        ends = [self.door.close(GRACE), self.manager.stop(GRACE), Deferred.fromCoroutine(self._dropping.stop())]
        if self._authentication is not None:
            ends.append(self._authentication.stop())  # at once, since the door waits for those who log in
        await gatherResults(ends)
        await self.pool.stop(FAREWELL)
        await self.spool.stop()
        await self.resolver.stop()
        self.log.event("stopped", hostname=self.config.hostname, worker=self._ground.place.mark())
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
                raise cannot_listen(listener.name, error) from error

    def _listener(self, number: int, entry: ListenerEntry) -> Listener:
        address, reactor, sockets = entry.address, self._ground.reactor, self._ground.place.sockets
        tls = self._certificate(entry.client_ca) if entry.tls != "none" else None
        manners = parts.manners(self.config, entry, tls is not None)

        def listen(factory: Factory) -> IListeningPort:
            if sockets:
                return eager.adopt(reactor, sockets[number], factory)
            if address.path:
                return eager.listen_unix(reactor, address.path, factory)
            return eager.listen(reactor, address.host, address.port, factory)

        factory = ListenerFactory(self.door, self._porch, self._house, manners, tls)
        return Listener(str(address), listen, factory)

    def _who_may_log_in(self) -> IAuthentication | None:
        """The accounts that there are, in a file, behind Dovecot's socket, or both; None where there are none."""
        sources, reactor = self.config.accounts, self._ground.reactor
        if sources is None:
            return None
        file = dovecot = None
        if sources.file is not None:
            try:
                file = AccountsFile(sources.file, read_accounts, reactor, self.log.event)
            except ConfigError as error:
                raise CannotStart(str(error)) from error
        if sources.dovecot is not None:
            socket = UNIXClientEndpoint(reactor, str(sources.dovecot))
            dovecot = Dovecot(socket.connect, reactor)
        place = self._ground.place
        at_once, line = place.share(AT_ONCE), place.share(LONGEST_LINE)
        threads = NoThreads() if self._ground.inline else PooledThreads(reactor, "passwords", at_once, line)
        return Authentication(
            reactor,
            self.log.event,
            threads,
            self.config.hostname,
            file,
            dovecot,
            key=place.key,
            several=place.of > 1,
        )

    def _certificate(self, client_ca: Path | None) -> ServerTls | None:
        """What listeners show; None where the configuration names no certificate. Raises `CannotStart`."""
        tls = self.config.tls
        if tls.certificate is None or tls.key is None:
            return None
        if client_ca not in self._certificates:
            others = {name: (one.certificate, one.key) for name, one in tls.names.items()}
            try:
                self._certificates[client_ca] = ServerTls(tls.certificate, tls.key, others, client_ca)
            except TlsProblem as problem:
                raise CannotStart(str(problem)) from problem
        return self._certificates[client_ca]

    def _renew(self) -> None:
        """Look whether certificates have changed, for who connects from now on."""
        for one in self._certificates.values():
            try:
                if one.refresh():
                    self.log.event("certificate", file=str(self.config.tls.certificate), why="read again")
            except TlsProblem as problem:
                self.log.event("alarm", why=f"{problem}; the certificate that was in use stays in use")

    def _renew_tickets(self) -> None:
        """Have no key outlive its sessions by much."""
        for one in self._certificates.values():
            one.renew_tickets()

    def _end_at_once(self) -> None:
        """The spool cannot be written any more, whatever is done: say why, and end the process."""
        if self._ground.sink is not None:
            self._ground.sink.flush()
        exit_process()

    def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        """Call a function where the reactor need not wait for it."""
        reactor = self._ground.reactor
        if self._ground.inline:
            return maybeDeferred(work, *arguments)
        return deferToThreadPool(reactor, reactor.getThreadPool(), work, *arguments)


def _logins(config: Config) -> Logins:
    """How we log in upstream."""
    files = {name: one.password_file for name, one in config.logins.items()}
    entries = {name: Upstream(config.logins[name].user, file) for name, file in files.items() if file is not None}
    return Logins(entries, read_password)


def to_twisted(line: str) -> None:
    """Where lines go that Twisted's own log takes."""
    _logger.info("{line}", line=line)


def open_many_files() -> None:
    """Have as many open files as the system lets us have."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cannot_listen(name: str, error: CannotListenError | OSError) -> CannotStart:
    """What to say where an address cannot be listened on."""
    return CannotStart(f"cannot listen on {name}: {_reason(error)}")


def _reason(error: CannotListenError | OSError) -> str:
    cause = error.socketError if isinstance(error, CannotListenError) else error
    return getattr(cause, "strerror", None) or str(cause)
