"""DMARC: what receivers are asked to do with mail that neither SPF nor DKIM shows to be the domain's (RFC 7489 6)."""

from typing import Final

from mta.operating.doctor.asking import Names
from mta.operating.doctor.finding import Finding, Teller, listed, quoted
from mta.operating.doctor.tags import BadTags, begins_with, parse_tags
from mta.policy.exchangers import Answer, Found

_POLICIES: Final = ("none", "quarantine", "reject")
_MOST_STEPS: Final = 8  # names that are asked on the way up from a domain
_MOST_REPORTS: Final = 5  # addresses for reports whose consent is looked up
_VERSION: Final = "v=DMARC1"


def examine_dmarc(domain: str, names: Names) -> list[Finding]:
    """The record that counts for a domain: its own, or else that of the nearest domain above it."""
    teller = Teller("dmarc", domain)
    for place in _upwards(domain):
        answer = names.texts(f"_dmarc.{place}")
        if answer.found is Found.FAILED:
            return [teller.unknown(f"_dmarc.{place} could not be asked for: {answer.why}")]
        records = [text for text in answer.records if begins_with(text, _VERSION)]
        if records:
            findings = [judge_dmarc(domain, place, records)]
            return findings + _judge_consent(teller, place, records[0], names)
        if place == domain and answer.records:
            return [_no_record(teller, domain, answer)]
    return [
        teller.problem(
            "there is no DMARC record; large receivers want one",
            "publish this, read the reports for some weeks, then make it p=quarantine or p=reject:",
            _advised(domain),
        )
    ]


def judge_dmarc(domain: str, place: str, records: list[str]) -> Finding:
    """The records at a place, the domain or one above it, that are DMARC's by their first tag."""
    teller = Teller("dmarc", domain)
    if len(records) > 1:
        return teller.problem(f"_dmarc.{place} has {len(records)} DMARC records, so none counts", "leave one of them")
    try:
        tags = parse_tags(records[0])
    except BadTags as error:
        return teller.problem(
            f"the record at _dmarc.{place} cannot be read: {error}", "write it like this:", _advised(place)
        )
    policy = tags.get("p", "").lower()
    if policy not in _POLICIES:
        return teller.problem(
            f"the record at _dmarc.{place} has no policy that there is (p={quoted(tags.get('p', ''))})",
            "write none, quarantine or reject; for example:",
            _advised(place),
        )
    wrong = _wrong(tags)
    if wrong:
        return teller.warning(f"the record at _dmarc.{place} has {wrong}", "correct it; receivers pass over such a tag")
    if place != domain:
        policy = tags.get("sp", policy).lower()
    above = "" if place == domain else f", from _dmarc.{place} above it"
    percent = tags.get("pct", "100")
    some = "" if percent == "100" else f" for {percent} % of the mail"
    if policy == "none":
        reports = "" if "rua" in tags else ", and nobody gets reports (rua=)"
        return teller.note(
            f"the policy is none{above}: mail in its name by others is not kept out{reports}",
            "once the reports show that all mail of yours passes, make it p=quarantine or p=reject",
        )
    return teller.ok(f"the policy is {policy}{some}{above}")


def _upwards(domain: str) -> list[str]:
    """The domain and those above it, the top-level one left out. Of a name with many labels, those in the middle."""
    labels = domain.split(".")
    above = [".".join(labels[number:]) for number in range(1, len(labels) - 1)]
    return [domain, *above[-(_MOST_STEPS - 1) :]]


def _no_record(teller: Teller, domain: str, answer: Answer[str]) -> Finding:
    return teller.problem(
        f"what is at _dmarc.{domain} is no DMARC record: {quoted(answer.records[0])}",
        "begin it with v=DMARC1:",
        _advised(domain),
    )


def _wrong(tags: dict[str, str]) -> str:
    """The first tag whose value is not one, in words; "" for none."""
    allowed = {"sp": _POLICIES, "np": _POLICIES, "adkim": ("r", "s"), "aspf": ("r", "s"), "t": ("y", "n")}
    for name, values in allowed.items():
        if name in tags and tags[name].lower() not in values:
            return f"{name}={quoted(tags[name])}"
    percent = tags.get("pct", "100")
    if not (percent.isascii() and percent.isdigit() and len(percent) <= 3 and int(percent) <= 100):
        return f"pct={quoted(percent)}"
    for name in "rua", "ruf":
        bad = [uri for uri in _uris(tags.get(name, "")) if not _mailbox(uri)]
        if name in tags and (bad or not tags[name]):
            return f"{name}= with {listed(bad) or 'nothing'}, not mailto:ADDRESS"
    return ""


def _judge_consent(teller: Teller, place: str, record: str, names: Names) -> list[Finding]:
    """Reports go to another domain only where that one says that it wants them (RFC 7489 7.1)."""
    try:
        tags = parse_tags(record)
    except BadTags:
        return []
    found = []
    for uri in _uris(tags.get("rua", ""))[:_MOST_REPORTS]:
        whose = _mailbox(uri).rpartition("@")[2].lower()
        if not whose or f".{whose}".endswith(f".{place}") or f".{place}".endswith(f".{whose}"):
            continue
        consent = f"{place}._report._dmarc.{whose}"
        answer = names.texts(consent)
        if answer.found is not Found.FAILED and not any(begins_with(text, _VERSION) for text in answer.records):
            found.append(
                teller.warning(
                    f"reports are to go to {listed([whose])}, which does not say that it wants them",
                    "name an address of your own in rua=, or have that domain publish:",
                    f'{consent}. TXT "v=DMARC1"',
                )
            )
    return found


def _uris(value: str) -> list[str]:
    return [uri.strip() for uri in value.split(",") if uri.strip()]


def _mailbox(uri: str) -> str:
    """The address in a mailto: URI, without the size behind "!"; "" for what is none."""
    scheme, _, rest = uri.partition(":")
    address = rest.partition("!")[0]
    local, _, domain = address.rpartition("@")
    return address if scheme.lower() == "mailto" and local and domain else ""


def _advised(domain: str) -> str:
    return f'_dmarc.{domain}. TXT "v=DMARC1; p=none; rua=mailto:postmaster@{domain}"'
