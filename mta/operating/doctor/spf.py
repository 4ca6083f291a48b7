"""SPF: may mail in the name of a domain come from the addresses of this relay, as receivers will find (RFC 7208)?

Two walks: one over all that the record leads to, for its mistakes and the number of its look-ups at worst; and one for
each address, as a receiver takes it. Both end after a few dozen look-ups, whatever a record says.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple, TypeVar

from mta.operating.doctor.asking import Names
from mta.operating.doctor.finding import Finding, Teller, listed
from mta.operating.doctor.spf_record import BadRecord, SpfRecord, Subject, Term, expand, is_spf, parse_spf
from mta.policy.exchangers import Answer, Found

Record = TypeVar("Record")

_MOST_LOOKUPS: Final = 10  # RFC 7208 4.6.4
_MOST_VOID: Final = 2  # look-ups that find nothing (4.6.4)
_MOST_WALKED: Final = 40  # look-ups after which we count no further
_MOST_HOSTS: Final = 10  # of mx and ptr (4.6.4)
_RESULTS: Final = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


class _Unanswered(Exception):
    """A look-up failed: nobody knows. The text says which, and why."""


class Verdict(NamedTuple):
    """What a receiver finds: pass, fail, softfail, neutral, none, permerror or temperror; and by what."""

    result: str
    why: str


def examine_spf(domain: str, names: Names, addresses: Sequence[str], helo: str) -> list[Finding]:
    """The SPF record of a domain, and what it says of mail from these addresses of ours."""
    teller = Teller("spf", domain)
    answer = names.texts(domain)
    if answer.found is Found.FAILED:
        return [teller.unknown(f"the SPF record could not be asked for: {answer.why}")]
    records = [text for text in answer.records if is_spf(text)]
    if not records:
        return [
            teller.problem(
                "there is no SPF record; large receivers refuse mail without one",
                "publish:",
                _advised(domain, addresses),
            )
        ]
    if len(records) > 1:
        return [
            teller.problem(
                f"there are {len(records)} SPF records, which is a permanent error for receivers",
                "join them into one, which begins with v=spf1 and has all their terms",
            )
        ]
    findings = list(_judge_record(teller, domain, names))
    if any(finding.level in ("problem", "unknown") for finding in findings):
        return findings
    subjects = [Subject(address, helo, domain) for address in addresses]
    return findings + [
        judge_verdict(domain, records[0], one.address, check_host(domain, names, one)) for one in subjects
    ]


def judge_verdict(domain: str, record: str, address: str, verdict: Verdict) -> Finding:
    """What receivers find for an address of ours."""
    teller = Teller("spf", domain)
    if verdict.result == "pass":
        return teller.ok(f"mail from {address} passes, by {verdict.why}")
    if verdict.result == "temperror":
        return teller.unknown(f"what SPF says of {address} could not be asked for: {verdict.why}")
    return teller.problem(
        f"mail from {address} does not pass ({verdict.result}, by {verdict.why})",
        "if this relay sends for the domain, let the record name its address:",
        f'{domain}. TXT "{_with(record, address)}"',
    )


def check_host(domain: str, names: Names, subject: Subject) -> Verdict:
    """What a receiver finds (RFC 7208 4)."""
    try:
        return _Check(names, subject).verdict(domain)
    except BadRecord as error:
        return Verdict("permerror", str(error))
    except _Unanswered as error:
        return Verdict("temperror", str(error))


def _judge_record(teller: Teller, domain: str, names: Names) -> Iterator[Finding]:
    survey = _Survey(names)
    try:
        record = survey.walk(domain, ())
    except BadRecord as error:
        yield teller.problem(f"receivers find a permanent error: {error}", "correct the record, or take that term out")
        return
    except _Unanswered as error:
        yield teller.unknown(f"not all of the record could be looked up: {error}")
        return
    if survey.lookups > _MOST_LOOKUPS:
        more = " or more" if survey.lookups >= _MOST_WALKED else ""
        yield teller.problem(
            f"the record takes {survey.lookups}{more} look-ups, and receivers stop with an error at {_MOST_LOOKUPS}",
            "take out includes that are not needed, or name networks (ip4:, ip6:) in their place",
        )
    elif survey.void > _MOST_VOID:
        yield teller.problem(
            f"{survey.void} of its look-ups find nothing, and receivers stop with an error after {_MOST_VOID}",
            f"take out what does not exist: {listed(survey.nothing)}",
        )
    elif survey.nothing:
        yield teller.note(f"{listed(survey.nothing)} has no records", "take out the term")
    yield _judge_ending(teller, record, survey.lookups)


def _judge_ending(teller: Teller, record: SpfRecord, lookups: int) -> Finding:
    ending = record.ending
    if ending == "+":
        return teller.problem("the record lets all the world send in its name (+all)", "end it with -all or ~all")
    if ending == "?" or not (ending or record.redirect):
        how = "ends with ?all" if ending else "has no all at its end"
        return teller.warning(f"the record {how}, so it keeps nobody out", "end it with -all or ~all")
    end = f"ends with {ending}all" if ending else f"goes on with {record.redirect}"
    return teller.ok(f"one record, which takes {lookups} of {_MOST_LOOKUPS} look-ups and {end}")


def _record_of(domain: str, names: Names) -> SpfRecord | None:
    """The one record of a domain; None without one. Raises `BadRecord` and `_Unanswered`."""
    answer = names.texts(domain)
    if answer.found is Found.FAILED:
        raise _Unanswered(f"{domain}: {answer.why}")
    records = [text for text in answer.records if is_spf(text)]
    if len(records) > 1:
        raise BadRecord(f"{listed([domain])} has {len(records)} SPF records")
    if not records:
        return None
    try:
        return parse_spf(records[0])
    except BadRecord as error:
        raise BadRecord(f"in the record of {listed([domain])}, {error}") from None


class _Survey:
    """All that a record leads to. lookups: how many there are. nothing: what was looked up and has no records."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.lookups = 0
        self.void = 0
        self.nothing: list[str] = []

    def walk(self, domain: str, above: tuple[str, ...]) -> SpfRecord:
        """Raises `BadRecord` and `_Unanswered`."""
        if domain in above:
            raise BadRecord(f"{listed([domain])} includes itself, by way of {listed([*above[1:], domain])}")
        record = _record_of(domain, self._names)
        if record is None:
            what = "has no SPF record, though it is included" if above else "has no SPF record"
            raise BadRecord(f"{listed([domain])} {what}")
        for term in record.terms:
            if term.name == "all":
                return record  # nothing behind it counts, redirect among it
            if term.asks and self.lookups < _MOST_WALKED:
                self._look_up(term, domain, above)
        if record.redirect and self.lookups < _MOST_WALKED:
            self.lookups += 1
            if "%" not in record.redirect:
                self.walk(_plain(record.redirect), (*above, domain))
        return record

    def _look_up(self, term: Term, domain: str, above: tuple[str, ...]) -> None:
        self.lookups += 1
        if "%" in term.domain:
            return  # what a macro leads to depends on the mail
        target = _plain(term.domain) or domain
        if term.name == "include":
            self.walk(target, (*above, domain))
        elif term.name in ("a", "mx"):
            ask = self._names.addresses if term.name == "a" else self._names.exchangers
            if ask(target).found in (Found.NO_NAME, Found.NO_DATA):
                self.void += 1
                self.nothing.append(f"{term.name}:{target}")


class _Check:
    """One receiver's check of one address."""

    def __init__(self, names: Names, subject: Subject) -> None:
        self._names = names
        self._subject = subject
        self._address = ip_address(subject.address)
        self._lookups = 0

    def verdict(self, domain: str) -> Verdict:
        """Raises `BadRecord` and `_Unanswered`."""
        record = _record_of(domain, self._names)
        if record is None:
            return Verdict("none", f"{domain} without an SPF record")
        for term in record.terms:
            if self._matches(term, domain):
                return Verdict(_RESULTS[term.qualifier], f"{_written(term)} of {domain}")
        if not record.redirect:
            return Verdict("neutral", f"the end of the record of {domain}")
        self._count()
        verdict = self.verdict(expand(record.redirect, domain, self._subject))
        if verdict.result == "none":
            raise BadRecord(f"{record.redirect}, where the record goes on, has none")
        return verdict

    def _matches(self, term: Term, domain: str) -> bool:
        if term.name == "all":
            return True
        if term.network is not None:
            return self._address in term.network
        self._count()
        target = expand(term.domain, domain, self._subject) if term.domain else domain
        match term.name:
            case "include":
                result = self.verdict(target).result
                if result == "none":
                    raise BadRecord(f"{listed([target])} has no SPF record, though it is included")
                return result == "pass"
            case "a":
                return self._is_among(_known(self._names.addresses(target), target), term)
            case "mx":
                exchangers = _known(self._names.exchangers(target), target)
                if len(exchangers) > _MOST_HOSTS:
                    raise BadRecord(f"{listed([target])} has more than {_MOST_HOSTS} MX records")
                hosts = [one.host for one in exchangers if one.host]
                return any(self._is_among(_known(self._names.addresses(host), host), term) for host in hosts)
            case "exists":
                addresses = _known(self._names.addresses(target), target)
                return any(ip_address(one).version == 4 for one in addresses)
            case _:
                return self._is_called(target)

    def _is_among(self, addresses: Sequence[str], term: Term) -> bool:
        bits = term.bits4 if self._address.version == 4 else term.bits6
        return any(
            ip_address(one).version == self._address.version
            and self._address in ip_network(f"{one}/{bits}", strict=False)
            for one in addresses
        )

    def _is_called(self, target: str) -> bool:
        """ptr: a name of the address, which leads back to it, is the target or one below it (RFC 7208 5.5)."""
        for name in self._names.names(str(self._address)).records[:_MOST_HOSTS]:
            if f".{name}".endswith(f".{target}") and str(self._address) in self._names.addresses(name).records:
                return True
        return False

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > _MOST_LOOKUPS:
            raise BadRecord(f"more than {_MOST_LOOKUPS} look-ups")


def _known(answer: Answer[Record], name: str) -> tuple[Record, ...]:
    if answer.found is Found.FAILED:
        raise _Unanswered(f"{name}: {answer.why}")
    return answer.records


def _written(term: Term) -> str:
    value = f":{term.network}" if term.network is not None else f":{term.domain}" if term.domain else ""
    return f"{'' if term.qualifier == '+' else term.qualifier}{term.name}{value}"


def _plain(domain: str) -> str:
    return domain.lower().removesuffix(".")


def _mechanism_for(address: str) -> str:
    return f"ip{ip_address(address).version}:{address}"


def _with(record: str, address: str) -> str:
    """A record that names an address as well: before "all" or what it goes on with."""
    words = record.split()
    last = next(
        (
            number
            for number, word in enumerate(words)
            if word.lower().lstrip("+-~?") == "all" or word.lower().startswith("redirect=")
        ),
        len(words),
    )
    return " ".join([*words[:last], _mechanism_for(address), *words[last:]])


def _advised(domain: str, addresses: Sequence[str]) -> str:
    return f'{domain}. TXT "{" ".join(["v=spf1", "mx", *map(_mechanism_for, addresses), "-all"])}"'
