"""Inward: how mail comes in, by one configuration."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from errno import ENOENT
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from mta import parts
from mta.auth.accounts import AccountsFile
from mta.auth.authentication import Authentication
from mta.auth.dovecot import Dovecot
from mta.auth.passwords import AT_ONCE, LONGEST_LINE
from mta.config.accounts import read_accounts
from mta.config.load import problem_of_tls
from mta.config.model import Config
from mta.config.model import Listener as Entry
from mta.config.problems import ConfigError
from mta.config.units import SocketAddress
from mta.ground import Ground
from mta.inbound.door import DoorLimits
from mta.inbound.house import House
from mta.inbound.listener import Listener
from mta.inbound.manners import Manners
from mta.inbound.reception import Keeping
from mta.interfaces import IDispatcher
from mta.net import sockets
from mta.net.systemd import Systemd
from mta.net.threads import NoThreads, PooledThreads
from mta.net.tls import ServerTls, TlsProblem
from mta.policy.retry import deadline
from mta.wiring.decisions import Decisions
from mta.wiring.lasting import Lasting
from mta.wiring.trouble import CannotStart

Certificates = Mapping[Path | None, ServerTls]  # by the authority of clients' certificates


@dataclass(frozen=True)
class Inward:
    """house: what sessions that begin now share. authentication: None where nobody can log in."""

    config: Config
    house: House
    authentication: Authentication | None
    certificates: Certificates
    door: DoorLimits
    treatments: Sequence[tuple[Manners, ServerTls | None]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "treatments", [self._treatment(entry) for entry in self.config.listen])

    @property
    def within(self) -> tuple[Manners, Manners]:
        """How users of this machine are treated, who leave mail in the drop folder, and what comes from ourselves."""
        size, recipients = self.config.limits.message_size, self.config.limits.recipients
        return Manners(message_size=size, recipients=recipients), Manners(
            message_size=size, recipients=recipients, vrfy="off", trusted=True
        )

    def _treatment(self, entry: Entry) -> tuple[Manners, ServerTls | None]:
        """How a listener treats its clients, and the certificate that it shows them."""
        tls = self.certificates.get(entry.client_ca) if entry.tls != "none" else None
        return parts.manners(self.config, entry, tls is not None), tls


def make_inward(
    config: Config, decisions: Decisions, lasting: Lasting, dispatcher: IDispatcher, before: Inward | None = None
) -> Inward:
    """before: what is in force, of which certificates and accounts stay that are named as they were; so what is in
    memory of a file that is out of reach by now stays in use, and so do the keys of tickets. Raises `CannotStart`.
    """
    hostname, limits, retry = config.hostname, config.limits, decisions.retry
    authentication = _who_may_log_in(config, lasting, before)
    house = House(
        hostname,
        config.postmaster,
        keeping=Keeping(
            hostname,
            lasting.spool,
            dispatcher,
            lasting.log,
            lasting.ground.reactor.seconds,
            deadline=lambda since, by, by_mode: deadline(retry, since, False, by, by_mode),
            max_received=limits.received,
            measures=lasting.measures,
        ),
        access=decisions.access,
        routing=decisions.routing,
        directory=decisions.directory,
        addressing=decisions.addressing,
        authentication=authentication,
        checks=lasting.checks,
    )
    door = DoorLimits(limits.connections, limits.connections_per_client)
    try:
        certificates = _certificates(config, before)
    except ConfigError as error:
        raise CannotStart(str(error)) from error
    return Inward(config, house, authentication, certificates, door)


def check_certificates(config: Config) -> None:
    """Raises `ConfigError` where what listeners are to show cannot be used."""
    _certificates(config, None)


def _certificates(config: Config, before: Inward | None) -> Certificates:
    """What listeners show; empty where the configuration names no certificate. Raises `ConfigError`."""
    tls = config.tls
    if tls.certificate is None or tls.key is None:
        return {}
    certificates = dict(before.certificates) if before is not None and before.config.tls == tls else {}
    others = {name: (one.certificate, one.key) for name, one in tls.names.items()}
    wanted = {entry.client_ca for entry in config.listen if entry.tls != "none"}
    for client_ca in sorted(wanted - certificates.keys(), key=str):
        try:
            certificates[client_ca] = ServerTls(tls.certificate, tls.key, others, client_ca)
        except TlsProblem as error:
            raise ConfigError([problem_of_tls(config, error.file, error.why)]) from error
    return {client_ca: one for client_ca, one in certificates.items() if client_ca in wanted}


def _who_may_log_in(config: Config, lasting: Lasting, before: Inward | None) -> Authentication | None:
    """The accounts that there are, in a file, behind Dovecot's socket, or both; None where there are none."""
    sources, ground = config.accounts, lasting.ground
    if sources is None:
        return None
    if before is not None and (before.config.accounts, before.config.hostname) == (sources, config.hostname):
        return before.authentication
    reactor, place = ground.reactor, ground.place
    file = dovecot = None
    if sources.file is not None:
        try:
            file = AccountsFile(sources.file, read_accounts, reactor, lasting.log.event)
        except ConfigError as error:
            raise CannotStart(str(error)) from error
    if sources.dovecot is not None:
        dovecot = Dovecot(UNIXClientEndpoint(reactor, str(sources.dovecot)).connect, reactor)
    at_once, line = place.share(AT_ONCE), place.share(LONGEST_LINE)
    return Authentication(
        reactor,
        lasting.log.event,
        NoThreads() if ground.inline else PooledThreads(reactor, "passwords", at_once, line),
        config.hostname,
        file,
        dovecot,
        key=place.key,
        several=place.of > 1,
        before=before.authentication if before is not None else None,
    )


def way_to_listen(
    ground: Ground, address: SocketAddress, handed: Sequence[int]
) -> Callable[[Factory], Sequence[IListeningPort]]:
    """How a listener begins to listen. handed: descriptors that are its own from then on; () to make a socket."""
    reactor: Any = ground.reactor
    pass_on = partial(ground.place.pass_on, str(address)) if ground.place.pass_on is not None else None

    def listen(factory: Factory) -> Sequence[IListeningPort]:
        if handed:
            return [sockets.adopt(reactor, one, factory, pass_on) for one in handed]
        if address.systemd:
            given = ground.systemd.sockets(address.systemd)
            if not given:
                raise not_given(ground.systemd)
            return [sockets.adopt(reactor, os.dup(one), factory) for one in given]
        if inherited := ground.handed.take(str(address)):
            return [sockets.inherit(reactor, one, factory) for one in inherited]
        if address.path:
            return [sockets.listen_unix(reactor, address.path, factory)]
        return [sockets.listen(reactor, address.host, address.port, factory)]

    return listen


def not_given(systemd: Systemd) -> OSError:
    """What to raise where systemd has handed over no socket of a name."""
    there = f"it has handed over {', '.join(systemd.names)}" if systemd.names else "it has handed over none"
    why = f"systemd has handed over no socket of that name ({there}); see FileDescriptorName= in the socket unit"
    return OSError(ENOENT, why)


def unwanted_sockets(systemd: Systemd, config: Config) -> list[str]:
    """What to say of sockets that systemd has handed over, and nobody accepts from: their clients wait in vain."""
    wanted = {entry.address.systemd for entry in config.listen}
    return [
        f"systemd listens for a socket {name} that no listener has; add systemd:{name} to listen, or disable its unit"
        for name in systemd.names
        if name not in wanted
    ]


def hosts_at(port: int, listener: Listener) -> Iterator[str]:
    """The IP addresses that a listener has a port of this number on."""
    for one in listener.ports:
        host = one.getHost()
        if isinstance(host, IPv4Address | IPv6Address) and host.port == port:
            yield host.host
