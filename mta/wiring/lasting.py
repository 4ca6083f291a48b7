"""Lasting: what a relay has for as long as it runs, whatever its configuration says."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool

from mta.ground import Ground
from mta.interfaces import ICheck, ISpool
from mta.maillog import MailLog
from mta.net.measures import Measures
from mta.transports.pool import Pool


@dataclass(frozen=True)
class Lasting:
    """What stays. given: the addresses that systemd listens on for us, at a port."""

    ground: Ground
    log: MailLog
    spool: ISpool
    pool: Pool
    checks: Sequence[ICheck]
    measures: Measures
    given: Callable[[int], Iterable[str]]

    def in_thread(self, work: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        """Call a function where the reactor need not wait for it."""
        reactor = self.ground.reactor
        if self.ground.inline:
            return maybeDeferred(work, *arguments)
        return deferToThreadPool(reactor, reactor.getThreadPool(), work, *arguments)
