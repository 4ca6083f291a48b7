"""Onward: how mail goes on, by one configuration."""

from dataclasses import dataclass

from mta import parts
from mta.auth.logins import Logins, Upstream
from mta.config.model import Config
from mta.config.reading import read_password
from mta.delivery.attempt import Means
from mta.delivery.notifier import Notifier
from mta.interfaces import IResolver
from mta.policy.routing import Via
from mta.policy.window import WindowLimits, pauses_within
from mta.transports.connector import Connector
from mta.transports.fitting import Fitter
from mta.transports.lmtp import LmtpTransport
from mta.transports.opener import Opener
from mta.transports.smtp import SmtpTransport
from mta.wiring.decisions import Decisions
from mta.wiring.lasting import Lasting


@dataclass(frozen=True)
class Onward:
    """means: what deliveries that begin now are made with. windows: how many at once, and how long a pause lasts."""

    config: Config
    resolver: IResolver
    logins: Logins
    means: Means
    windows: WindowLimits


def make_onward(config: Config, decisions: Decisions, lasting: Lasting, before: Onward | None = None) -> Onward:
    """before: what is in force. Where it asks the DNS as this configuration does, it is asked on, with its answers."""
    ground, spool = lasting.ground, lasting.spool
    reactor, chance, place = ground.reactor, ground.chance, ground.place
    hostname, postmaster, retry, addressing = config.hostname, config.postmaster, decisions.retry, decisions.addressing
    same = before is not None and before.config.dns == config.dns
    resolver = before.resolver if before is not None and same else ground.resolver(reactor, config)
    logins = _logins(config, before.logins if before is not None else None)
    finder = parts.finder(config, resolver, chance, lasting.given)
    opener = Opener(reactor, hostname, Connector(reactor, lasting.pool), logins=logins)
    made = (reactor, finder, opener, lasting.pool, Fitter(lasting.in_thread))
    smtp, lmtp = SmtpTransport(*made), LmtpTransport(*made)
    means = Means(
        clock=reactor,
        spool=spool,
        transports={Via.MX: smtp, Via.SMTP: smtp, Via.SMTPS: smtp, Via.LMTP: lmtp, Via.LMTP_UNIX: lmtp},
        route=addressing.decide,
        notifier=Notifier(hostname, postmaster, retry, addressing.decide, spool.new_id, addressing.resolve),
        policy=retry,
        chance=chance,
        log=lasting.log.event,
        measures=lasting.measures,
    )
    whole = WindowLimits()
    windows = WindowLimits(place.share(whole.initial), place.share(whole.maximum), pauses_within(config.retry.after))
    return Onward(config, resolver, logins, means, windows)


def _logins(config: Config, before: Logins | None) -> Logins:
    """How we log in upstream."""
    files = {name: one.password_file for name, one in config.logins.items()}
    entries = {name: Upstream(config.logins[name].user, file) for name, file in files.items() if file is not None}
    return Logins(entries, read_password, before)
