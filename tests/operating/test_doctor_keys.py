"""DKIM keys and DMARC."""

from base64 import b64encode
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from doctor_ground import FAILED, NO_NAME, Zone, has

from mta.operating.doctor.dmarc import examine_dmarc
from mta.operating.doctor.finding import Level
from mta.operating.doctor.keys import judge_key

DER = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@cache
def key(kind: str) -> str:
    """A public key as p= has it."""
    if kind == "ed25519":
        raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    elif kind == "ec":
        raw = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*DER)
    else:
        raw = rsa.generate_private_key(65537, int(kind)).public_key().public_bytes(*DER)
    return b64encode(raw).decode()


@pytest.mark.parametrize(
    ("record", "kind", "level", "words"),
    [
        ("v=DKIM1; k=rsa; p=KEY", "2048", Level.OK, "an RSA key of 2048 bits"),
        ("p=KEY", "2048", Level.OK, "2048"),
        ("v=DKIM1; h=sha1:sha256; s=email; p=KEY;", "2048", Level.OK, "2048"),
        ("v=DKIM1; t=y:s; p=KEY", "2048", Level.NOTE, "a test (t=y)"),
        ("v=DKIM1; p=KEY", "1024", Level.WARNING, "1024 bits"),
        ("v=DKIM1; k=ed25519; p=KEY", "ed25519", Level.NOTE, "many receivers cannot check"),
        ("v=DKIM1; k=ed25519; p=KEY", "ec", Level.PROBLEM, "32 octets"),
        ("v=DKIM1; p=KEY", "ec", Level.PROBLEM, "not one of RSA"),
        ("v=DKIM1; k=x25519; p=KEY", "ec", Level.PROBLEM, "is not known"),
        ("v=DKIM1; p=KE", "2048", Level.PROBLEM, "not base64"),
        ("v=DKIM1; p=AAAA", "2048", Level.PROBLEM, "cannot be read"),
        ("v=DKIM1; p=", "2048", Level.PROBLEM, "revoked"),
        ("v=DKIM1; k=rsa", "2048", Level.PROBLEM, "has no key"),
        ("v=DKIM2; p=KEY", "2048", Level.PROBLEM, 'v="DKIM2"'),
        ("p=KEY; v=DKIM1", "2048", Level.PROBLEM, "not as its first tag"),
        ("v=DKIM1; h=sha1; p=KEY", "2048", Level.PROBLEM, "sha256"),
        ("v=DKIM1; s=tlsrpt; p=KEY", "2048", Level.PROBLEM, "not for mail"),
        ("v=DKIM1; p=KEY; p=KEY", "2048", Level.PROBLEM, "p= twice"),
        ("v=DKIM1 p=KEY", "2048", Level.PROBLEM, "has v="),
        ("v=DKIM1; \x1b[2J; p=KEY", "2048", Level.PROBLEM, r"\x1b[2J"),
    ],
)
def test_a_key(record: str, kind: str, level: Level, words: str) -> None:
    finding = judge_key("good.net", "s1", has(record.replace("KEY", key(kind)).replace("=KE", "=KE!")))
    assert (finding.check, finding.about, finding.level) == ("dkim", "s1._domainkey.good.net", level)
    assert words in finding.seen


def test_a_key_that_is_cut_off() -> None:
    assert judge_key("good.net", "s1", has(f"v=DKIM1; p={key('2048')[:252]}")).level is Level.PROBLEM


def test_a_key_that_is_not_there() -> None:
    assert judge_key("good.net", "s1", NO_NAME).level is Level.PROBLEM
    assert judge_key("good.net", "s1", FAILED).level is Level.UNKNOWN
    assert "2 records" in judge_key("good.net", "s1", has("p=", "p=")).seen


@pytest.mark.parametrize(
    ("domain", "txt", "level", "words"),
    [
        ("good.net", {"_dmarc.good.net": "v=DMARC1; p=reject; rua=mailto:a@good.net"}, Level.OK, "is reject"),
        ("good.net", {"_dmarc.good.net": ["other", "v = DMARC1;p=quarantine; pct=50"]}, Level.OK, "for 50 %"),
        ("good.net", {"_dmarc.good.net": "v=DMARC1; p=none"}, Level.NOTE, "nobody gets reports"),
        ("a.b.good.net", {"_dmarc.good.net": "v=DMARC1; p=reject; sp=quarantine"}, Level.OK,
         "the policy is quarantine, from _dmarc.good.net above it"),
        ("a.good.net", {"_dmarc.good.net": "v=DMARC1; p=reject"}, Level.OK, "reject, from"),
        ("good.net", {}, Level.PROBLEM, "no DMARC record"),
        ("good.net", {"_dmarc.net": "v=DMARC1; p=reject"}, Level.PROBLEM, "no DMARC record"),
        ("good.net", {"_dmarc.good.net": ["v=DMARC1; p=none", "v=DMARC1; p=none"]}, Level.PROBLEM, "2 DMARC records"),
        ("good.net", {"_dmarc.good.net": "p=none; v=DMARC1"}, Level.PROBLEM, "is no DMARC record"),
        ("good.net", {"_dmarc.good.net": "v=DMARC1; p=rejekt"}, Level.PROBLEM, 'p="rejekt"'),
        ("good.net", {"_dmarc.good.net": "v=DMARC1; rua=mailto:a@good.net"}, Level.PROBLEM, 'p=""'),
        ("good.net", {"_dmarc.good.net": "v=DMARC1; p=none p=none"}, Level.PROBLEM, "no policy"),
        ("good.net", {"_dmarc.good.net": "v=DMARC1; p=none; \x1b]0;x"}, Level.PROBLEM, r"\x1b]0"),
        ("good.net", {"_dmarc.good.net": "v=DMARC1; p=none; pct=101"}, Level.WARNING, 'pct="101"'),
        ("good.net", {"_dmarc.good.net": "v=DMARC1; p=none; adkim=x"}, Level.WARNING, 'adkim="x"'),
        ("good.net", {"_dmarc.good.net": "v=DMARC1; p=none; rua=a@good.net"}, Level.WARNING, "not mailto:ADDRESS"),
        ("good.net", {"_dmarc.good.net": "v=DMARC1; p=none; rua=mailto:a@good.net!10m,mailto:b@good.net"},
         Level.NOTE, "is none"),
        ("down.net", {}, Level.UNKNOWN, "SERVFAIL"),
    ],
)  # fmt: skip
def test_dmarc(domain: str, txt: dict[str, str], level: Level, words: str) -> None:
    (finding,) = examine_dmarc(domain, Zone(txt, failures=["_dmarc.down.net"]))
    assert (finding.level, words in finding.seen) == (level, True), finding


def test_reports_go_to_those_who_want_them() -> None:
    record = {"_dmarc.good.net": "v=DMARC1; p=reject; rua=mailto:a@reports.org,mailto:b@sub.good.net"}
    _, finding = examine_dmarc("good.net", Zone(record))
    assert finding.level is Level.WARNING
    assert finding.record == 'good.net._report._dmarc.reports.org. TXT "v=DMARC1"'
    consent = {"good.net._report._dmarc.reports.org": "v=DMARC1;"}
    assert [one.level for one in examine_dmarc("good.net", Zone(record | consent))] == [Level.OK]


def test_a_name_with_many_labels_is_not_asked_for_at_each() -> None:
    zone = Zone()
    examine_dmarc(".".join(["a"] * 120), zone)
    assert zone.asked.total() == 8
