"""What the DNS says, as dictionaries: what the checks of `mta doctor` look at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mta.dns.inquirer import Tlsa
from mta.operating.doctor.finding import Finding, Level
from mta.policy.exchangers import Answer, Exchanger, Found

NOTHING: Answer[Any] = Answer(Found.NO_DATA)
NO_NAME: Answer[Any] = Answer(Found.NO_NAME)
FAILED: Answer[Any] = Answer(Found.FAILED, why="SERVFAIL")


def has(*records: Any) -> Answer[Any]:
    """An answer with records."""
    return Answer(Found.RECORDS, records)


class Zone:
    """`Names` by dictionaries. What is in none of them has no records; `failures` are names nobody can answer for."""

    def __init__(
        self,
        txt: Mapping[str, str | Sequence[str]] | None = None,
        a: Mapping[str, Sequence[str]] | None = None,
        mx: Mapping[str, Sequence[str]] | None = None,
        ptr: Mapping[str, Sequence[str]] | None = None,
        failures: Sequence[str] = (),
    ) -> None:
        self._txt = {name: (value,) if isinstance(value, str) else value for name, value in (txt or {}).items()}
        self._a, self._mx, self._ptr = a or {}, mx or {}, ptr or {}
        self._failures = failures
        self.asked: Counter[str] = Counter()

    def texts(self, name: str) -> Answer[str]:
        return self._answer(name, self._txt)

    def addresses(self, host: str) -> Answer[str]:
        return self._answer(host, self._a)

    def exchangers(self, domain: str) -> Answer[Exchanger]:
        answer = self._answer(domain, self._mx)
        return answer._replace(records=tuple(Exchanger(10, host) for host in answer.records))

    def names(self, address: str) -> Answer[str]:
        return self._answer(address, self._ptr)

    def alias(self, name: str) -> Answer[str]:
        return NOTHING

    def associations(self, name: str) -> Answer[Tlsa]:
        return NOTHING

    def _answer(self, name: str, table: Mapping[str, Sequence[Any]]) -> Answer[Any]:
        self.asked[name] += 1
        if name in self._failures:
            return FAILED
        return has(*table[name]) if name in table else NO_NAME


def brief(findings: Sequence[Finding] | Finding) -> list[tuple[Level, str]]:
    """Levels, and what was seen."""
    several = [findings] if isinstance(findings, Finding) else findings
    return [(one.level, one.seen) for one in several]
