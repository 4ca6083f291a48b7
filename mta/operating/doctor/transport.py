"""Transport: what a domain says of TLS for its mail: MTA-STS (RFC 8461), TLSRPT (RFC 8460), TLSA (RFC 6698, 7672)."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate

from mta.dns.inquirer import Tlsa
from mta.operating.doctor.finding import Finding, Teller, listed, quoted
from mta.operating.doctor.tags import BadTags, begins_with, parse_tags
from mta.policy.exchangers import Answer, Found, is_host_name

LONGEST_POLICY: Final = 64 * 1024  # octets
_LONGEST_AGE: Final = 31_557_600  # seconds (RFC 8461 3.2)
_SHORT_AGE: Final = 86_400  # seconds; RFC 8461 3.2 speaks of weeks
_MODES: Final = ("enforce", "testing", "none")
_ID = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_DIGESTS: Final[dict[int, Callable[[bytes], bytes]]] = {
    0: bytes,
    1: lambda octets: hashlib.sha256(octets).digest(),
    2: lambda octets: hashlib.sha512(octets).digest(),
}  # by matching type (RFC 6698 2.1.3)
_DANE_TA: Final = 2
_DANE_EE: Final = 3


class Fetched(NamedTuple):
    """What came of fetching a policy: its octets, or why there is none."""

    octets: bytes = b""
    why: str = ""


class Policy(NamedTuple):
    """A policy file of MTA-STS. mx: patterns, in lower case. age: seconds."""

    mode: str
    mx: tuple[str, ...]
    age: int


def judge_sts(domain: str, texts: Answer[str], fetched: Fetched, hosts: Sequence[str]) -> list[Finding]:
    """MTA-STS of a domain. fetched: the policy; it counts where there is a record. hosts: of its MX records."""
    teller = Teller("mta-sts", domain)
    if texts.found is Found.FAILED:
        return [teller.unknown(f"_mta-sts.{domain} could not be asked for: {texts.why}")]
    records = [text for text in texts.records if begins_with(text, "v=STSv1")]
    if not records:
        return [
            teller.note(
                "there is no MTA-STS, by which senders would insist on TLS with a valid certificate",
                f"serve a policy at {policy_url(domain)}, then publish:",
                f'_mta-sts.{domain}. TXT "v=STSv1; id=1"',
            )
        ]
    if len(records) > 1:
        return [teller.problem(f"there are {len(records)} MTA-STS records, so none counts", "leave one of them")]
    try:
        identity = parse_tags(records[0]).get("id", "")
    except BadTags as error:
        return [teller.problem(f"the record cannot be read: {error}", 'write it as "v=STSv1; id=1"')]
    if not _ID.fullmatch(identity):
        return [teller.problem("the record has no id of up to 32 letters and digits", 'write it as "v=STSv1; id=1"')]
    if fetched.why:
        return [
            teller.problem(
                f"there is a record, but the policy {policy_url(domain)} cannot be had: {fetched.why}",
                "serve it by HTTPS, with a valid certificate and without redirecting, or take the record out",
            )
        ]
    try:
        policy = parse_policy(fetched.octets)
    except ValueError as error:
        return [teller.problem(f"the policy {policy_url(domain)} cannot be read: {error}", "correct it")]
    return _judge_policy(teller, domain, policy, hosts)


def _judge_policy(teller: Teller, domain: str, policy: Policy, hosts: Sequence[str]) -> list[Finding]:
    if policy.mode == "none":
        return [teller.note("the policy is none: it asks nothing of senders", "make it testing, then enforce")]
    missing = [host for host in hosts if not _matches(host, policy.mx)]
    if missing:
        tell = teller.problem if policy.mode == "enforce" else teller.warning
        return [
            tell(
                f"the policy ({policy.mode}) does not have {listed(missing)}, to which the MX records lead; senders "
                "that heed it do not deliver there",
                f"add a line to the policy, and change the id: mx: {missing[0]}",
            )
        ]
    if policy.age < _SHORT_AGE:
        return [
            teller.warning(
                f"the policy is kept for {policy.age} s alone, which protects hardly any mail", "set max_age: 604800"
            )
        ]
    if policy.mode == "testing":
        advice = "when the reports (TLSRPT) are clean, make it enforce, and change the id"
        return [teller.note("the policy is testing: senders report, and deliver anyway", advice)]
    return [teller.ok(f"the policy is enforced and has the MX hosts: {listed(policy.mx)}")]


def parse_policy(octets: bytes) -> Policy:
    """The policy in a file. Raises `ValueError` with what is wrong, for people."""
    if len(octets) > LONGEST_POLICY:
        raise ValueError(f"it is longer than {LONGEST_POLICY} octets")
    first: dict[str, str] = {}
    mx: list[str] = []
    for line in octets.decode("utf-8", "replace").splitlines():
        if not line.strip():
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon:
            raise ValueError(f"{quoted(line)} is not of the form name: value")
        if name == "mx":
            mx.append(_pattern(value))
        first.setdefault(name, value)
    if first.get("version") != "STSv1":
        raise ValueError("it does not say version: STSv1")
    mode, age = first.get("mode", ""), first.get("max_age", "")
    if mode not in _MODES:
        raise ValueError(f"its mode is {quoted(mode)}, not enforce, testing or none")
    if not (age.isascii() and age.isdigit() and len(age) <= 10 and int(age) <= _LONGEST_AGE):
        raise ValueError(f"its max_age is {quoted(age)}, not a number of seconds up to {_LONGEST_AGE}")
    if not mx and mode != "none":
        raise ValueError("it has no mx")
    return Policy(mode, tuple(mx), int(age))


def _pattern(value: str) -> str:
    pattern = value.lower().removesuffix(".")
    if not is_host_name(pattern.removeprefix("*.")):
        raise ValueError(f"{quoted(value)} is no host, nor *. before a domain")
    return pattern


def _matches(host: str, patterns: Iterable[str]) -> bool:
    """A * stands for one label, the leftmost (RFC 8461 4.1)."""
    wild = f"*.{host.partition('.')[2]}"
    return any(pattern in (host, wild) for pattern in patterns)


def policy_url(domain: str) -> str:
    """Where the policy of a domain is (RFC 8461 3.3)."""
    return f"https://mta-sts.{domain}/.well-known/mta-sts.txt"


def judge_reports(domain: str, texts: Answer[str]) -> Finding:
    """TLSRPT: where senders are to report failures of TLS to."""
    teller = Teller("tlsrpt", domain)
    advised = f'_smtp._tls.{domain}. TXT "v=TLSRPTv1; rua=mailto:postmaster@{domain}"'
    if texts.found is Found.FAILED:
        return teller.unknown(f"_smtp._tls.{domain} could not be asked for: {texts.why}")
    records = [text for text in texts.records if begins_with(text, "v=TLSRPTv1")]
    if not records:
        text = "there is no TLSRPT record, so nobody reports to you where TLS with you fails"
        return teller.note(text, "publish:", advised)
    if len(records) > 1:
        return teller.problem(f"there are {len(records)} TLSRPT records, so none counts", "leave one of them")
    try:
        targets = [one.strip() for one in parse_tags(records[0]).get("rua", "").split(",")]
    except BadTags as error:
        return teller.problem(f"the record cannot be read: {error}", "write it like this:", advised)
    bad = [one for one in targets if not one.lower().startswith(("mailto:", "https://"))]
    if bad:
        return teller.problem(
            f"its rua= has {quoted(bad[0])}, which is neither mailto: nor https://", "write it like this:", advised
        )
    return teller.ok(f"reports go to {listed(targets)}")


def judge_tlsa(host: str, answer: Answer[Tlsa], chain: Sequence[Certificate]) -> list[Finding]:
    """The TLSA records of a host of ours, against the certificates that listeners show; () where they are not known."""
    name = f"_25._tcp.{host}"
    teller = Teller("tlsa", name)
    if answer.found is Found.FAILED:
        return [teller.unknown(f"TLSA records could not be asked for: {answer.why}")]
    if not answer.records:
        text = "there is no TLSA record, by which senders with DANE would insist on TLS with this key"
        if not chain:
            return [teller.note(text)]
        record = f"{name}. TLSA 3 1 1 {hashlib.sha256(_compared(chain[0], 1)).hexdigest()}"
        return [teller.note(text, "where the zone is signed (DNSSEC), publish:", record)]
    if not chain:
        return [teller.unknown("there are TLSA records, but no certificate here to compare them with")]
    usable = [one for one in answer.records if one.usage in (_DANE_TA, _DANE_EE)]
    if not usable:
        return [
            teller.problem(
                "no TLSA record has usage 2 or 3, which mail needs (RFC 7672 3.1)", "publish:", _wanted(name, chain)
            )
        ]
    matching = [one for one in usable if _fits(one, chain)]
    if not matching:
        return [
            teller.problem(
                "no TLSA record matches the certificate of this relay; senders with DANE do not deliver here",
                "publish this beside the others; take those out when it is known everywhere:",
                _wanted(name, chain),
            )
        ]
    shown = listed([f"{one.usage} {one.selector} {one.matching}" for one in matching])
    if not answer.authentic:
        return [
            teller.unknown(
                f"the certificate matches TLSA {shown}; whether the zone is signed, without which that counts for "
                "nothing, is not known, since the name servers asked here do not validate",
                "sign the zone (DNSSEC), and ask a resolver that validates",
            )
        ]
    return [teller.ok(f"the certificate matches TLSA {shown}, and the zone is signed")]


def _wanted(name: str, chain: Sequence[Certificate]) -> str:
    return f"{name}. TLSA 3 1 1 {hashlib.sha256(_compared(chain[0], 1)).hexdigest()}"


def _fits(record: Tlsa, chain: Sequence[Certificate]) -> bool:
    """Usage 3 is about the certificate itself, 2 about an authority in its chain (RFC 7672 3.1)."""
    if record.selector not in (0, 1) or record.matching not in _DIGESTS:
        return False
    candidates = chain[:1] if record.usage == _DANE_EE else chain[1:]
    return any(_DIGESTS[record.matching](_compared(one, record.selector)) == record.data for one in candidates)


def _compared(certificate: Certificate, selector: int) -> bytes:
    if selector == 0:
        return certificate.public_bytes(Encoding.DER)
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
