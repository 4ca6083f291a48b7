"""The resolver's twin in memory: zones are a dictionary, failures a set. For tests and the simulation."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from mta.dns.answers import HALF_LASTS, merge, normal, not_a_name, until, without_asking
from mta.interfaces import IResolver
from mta.policy.exchangers import Answer, Exchanger, Found

Record = TypeVar("Record")

_MOST_ALIASES = 8
_STOPPING: Answer[Any] = Answer(Found.FAILED, why="the relay is stopping")


@dataclass
class Name:
    """What the DNS has of one name. alias: the target of its CNAME record, then the rest stays empty."""

    mx: list[Exchanger] = field(default_factory=list)
    a: list[str] = field(default_factory=list)
    aaaa: list[str] = field(default_factory=list)
    alias: str = ""


@implementer(IResolver)
class MemoryResolver:
    """Answers from `zones`, which may be changed at any time, as may all attributes.

    zones: by name, lower case, without the final dot. A name above one that exists exists too, without records.
    failures: names nobody can answer for, or (name, "MX"), (name, "A"), (name, "AAAA") for one type.
    hosts: what /etc/hosts would say. ttl: seconds, for all answers that are no failures.
    delay: seconds until an answer comes; 0 for at once. asked: how often, by (type, name).
    """

    def __init__(
        self, clock: IReactorTime, zones: Mapping[str, Name] | None = None, ttl: float = 300.0, delay: float = 0.0
    ) -> None:
        self._clock = clock
        self.zones: dict[str, Name] = dict(zones or {})
        self.failures: set[str | tuple[str, str]] = set()
        self.hosts: dict[str, tuple[str, ...]] = {}
        self.ttl = ttl
        self.delay = delay
        self.asked: Counter[tuple[str, str]] = Counter()
        self._waiting: dict[Deferred[Any], IDelayedCall] = {}
        self._stopped = False

    def exchangers(self, domain: str) -> Deferred[Answer[Exchanger]]:
        """The MX records of a domain."""
        name, now = normal(domain), self._clock.seconds()
        refused = not_a_name(name, now)
        if refused is not None:
            return succeed(Answer(refused.found, (), refused.until, refused.why))
        self.asked["MX", name] += 1
        found, entry = self._find(name, "MX")
        records = tuple(sorted(entry.mx))
        return self._later(self._answer(found, records))

    def addresses(self, host: str) -> Deferred[Answer[str]]:
        """The addresses of a host."""
        name, now = normal(host), self._clock.seconds()
        known = without_asking(name, now)
        if known is not None:
            return succeed(known)
        families: list[Answer[str]] = []
        for kind in "A", "AAAA":
            self.asked[kind, name] += 1
            found, entry = self._find(name, kind)
            families.append(self._answer(found, tuple(entry.a if kind == "A" else entry.aaaa)))
        answer = merge(families, now)
        if answer.found is not Found.RECORDS and name in self.hosts:
            answer = Answer(Found.RECORDS, self.hosts[name], now + HALF_LASTS)
        return self._later(answer)

    def stop(self) -> Deferred[None]:
        """Answer whoever waits with a failure, and ask no more."""
        self._stopped = True
        for waiter, call in list(self._waiting.items()):
            call.cancel()
            self._tell(waiter, _STOPPING)
        return succeed(None)

    def _find(self, name: str, kind: str) -> tuple[Found, Name]:
        for _ in range(_MOST_ALIASES):
            if name in self.failures or (name, kind) in self.failures:
                return Found.FAILED, Name()
            entry = self.zones.get(name)
            if entry is None:
                above = any(other.endswith(f".{name}") for other in self.zones)
                return (Found.NO_DATA if above else Found.NO_NAME), Name()
            if not entry.alias:
                return Found.RECORDS, entry
            name = normal(entry.alias)
        return Found.FAILED, Name()

    def _answer(self, found: Found, records: tuple[Record, ...]) -> Answer[Record]:
        if found is Found.RECORDS and not records:
            found = Found.NO_DATA
        why = "SERVFAIL" if found is Found.FAILED else ""
        return Answer(found, records, until(found, self._clock.seconds(), self.ttl), why)

    def _later(self, answer: Answer[Record]) -> Deferred[Answer[Record]]:
        if self._stopped:
            return succeed(_STOPPING)
        if not self.delay:
            return succeed(answer)
        waiter: Deferred[Answer[Record]] = Deferred()
        self._waiting[waiter] = self._clock.callLater(self.delay, self._tell, waiter, answer)
        return waiter

    def _tell(self, waiter: Deferred[Answer[Record]], answer: Answer[Record]) -> None:
        del self._waiting[waiter]
        waiter.callback(answer)
