"""Resolver: `IResolver` over dnspython, which blocks and therefore works in threads of its own, behind a cache."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.dns.answers import HALF_LASTS, merge, normal, not_a_name, without_asking
from mta.dns.cache import Cache
from mta.dns.hosts import HostsFile
from mta.dns.servers import Servers
from mta.interfaces import IResolver
from mta.net.poller import passing
from mta.net.threads import Busy, PooledThreads, Threads
from mta.policy.exchangers import Answer, Exchanger, Found

Record = TypeVar("Record")

AT_ONCE = 40  # questions


@implementer(IResolver)
class ThreadedResolver:
    """Asks the name servers given, or the system's, in up to `AT_ONCE` threads that start with the first question.

    nameservers, timeout: as for `Servers`, whose `ValueError` it raises. reactor and clock are usually the same.
    threads: others to ask in, for which no reactor is needed; with `NoThreads` every answer is there at once.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads | None,
        clock: IReactorTime,
        nameservers: Sequence[str] = (),
        timeout: float = 5.0,
        hosts: HostsFile | None = None,
        resolv_conf: Path = Path("/etc/resolv.conf"),
        threads: Threads | None = None,
    ) -> None:
        self._now = passing(clock)
        self._servers = Servers(nameservers, timeout, self._now, resolv_conf)
        self._hosts = hosts or HostsFile()
        if threads is None:
            assert reactor is not None, "threads of its own answer to a reactor"
            threads = PooledThreads(reactor, "dns", AT_ONCE)
        self._threads = threads
        self._exchangers: Cache[Exchanger] = Cache(clock, self._ask_exchangers)
        self._addresses: Cache[str] = Cache(clock, self._ask_addresses)

    def exchangers(self, domain: str) -> Deferred[Answer[Exchanger]]:
        """The MX records of a domain, a null MX and useless ones included. NO_NAME for what is not a domain name."""
        name = normal(domain)
        refused = not_a_name(name, self._now())
        if refused is not None:
            return succeed(Answer(refused.found, (), refused.until, refused.why))
        return self._exchangers.look_up(name)

    def addresses(self, host: str) -> Deferred[Answer[str]]:
        """The addresses of a host, from the DNS or else /etc/hosts. An address is its own."""
        name = normal(host)
        known = without_asking(name, self._now())
        if known is not None:
            return succeed(known)
        return self._addresses.look_up(name).addCallback(self._or_hosts, name)

    def cached(self) -> tuple[int, int, int]:
        """For the measures: answers that are kept, look-ups so far, and how many of those a kept answer was for."""
        caches = (self._exchangers, self._addresses)
        return sum(len(one) for one in caches), sum(one.asked for one in caches), sum(one.known for one in caches)

    def stop(self) -> Deferred[None]:
        """Answer whoever waits with a failure. Fires when no thread is left, within the timeout of a question."""
        self._exchangers.stop()
        self._addresses.stop()
        return self._threads.stop()

    def _ask_exchangers(self, domain: str) -> Deferred[Answer[Exchanger]]:
        return self._in_thread(lambda: self._servers.exchangers(domain))

    def _ask_addresses(self, host: str) -> Deferred[Answer[str]]:
        families = [
            self._in_thread(lambda: self._servers.addresses(host, 4)),
            self._in_thread(lambda: self._servers.addresses(host, 6)),
        ]
        return gatherResults(families).addCallback(lambda answers: merge(answers, self._now()))

    def _or_hosts(self, answer: Answer[str], host: str) -> Answer[str]:
        # Outside the cache, so that an edited file counts at once.
        if answer.found is Found.RECORDS:
            return answer
        addresses = self._hosts.addresses(host)
        if not addresses:
            return answer
        return Answer(Found.RECORDS, addresses, self._now() + HALF_LASTS)

    def _in_thread(self, question: Callable[[], Answer[Record]]) -> Deferred[Answer[Record]]:
        return self._threads.run(question).addErrback(self._no_answer)

    def _no_answer(self, failure: Failure) -> Answer[Record]:
        if failure.check(Busy):
            return Answer(Found.FAILED, why="the relay is stopping")
        self._log.failure("look-up failed", failure)  # a bug
        return Answer(Found.FAILED, until=self._now(), why="look-up failed")
