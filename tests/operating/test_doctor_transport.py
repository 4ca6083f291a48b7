"""MTA-STS, TLSRPT, TLSA, and the certificate."""

import time
from hashlib import sha256, sha512
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate, load_pem_x509_certificates
from doctor_ground import FAILED, NO_NAME, has

from mta.dns.inquirer import Tlsa
from mta.operating.doctor.certificate import distrust_of, judge_certificate
from mta.operating.doctor.finding import Level
from mta.operating.doctor.transport import Fetched, judge_reports, judge_sts, judge_tlsa
from mta.policy.exchangers import Answer

POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mail.good.net\r\nmx: *.backup.net\r\nmax_age: 604800\r\n"
RECORD = "v=STSv1; id=20260101T000000;"


@pytest.mark.parametrize(
    ("texts", "policy", "hosts", "level", "words"),
    [
        (has(RECORD), POLICY, ["mail.good.net", "b.backup.net"], Level.OK, "the policy is enforced"),
        (has("else", RECORD), POLICY.replace("\r\n", "\n"), ["mail.good.net"], Level.OK, "enforced"),
        (has(RECORD), POLICY, ["mail.good.net", "a.b.backup.net"], Level.PROBLEM, "does not have a.b.backup.net"),
        (has(RECORD), POLICY, ["backup.net"], Level.PROBLEM, "does not have backup.net"),
        (has(RECORD), POLICY.replace("enforce", "testing"), ["x.net"], Level.WARNING, "does not have x.net"),
        (has(RECORD), POLICY.replace("enforce", "testing"), ["mail.good.net"], Level.NOTE, "testing"),
        (
            has(RECORD),
            "version: STSv1\nmode: none\nmax_age: 86400\n",
            ["mail.good.net"],
            Level.NOTE,
            "the policy is none",
        ),
        (has(RECORD), POLICY.replace("604800", "60"), ["mail.good.net"], Level.WARNING, "60 s alone"),
        (has(RECORD), POLICY.replace("604800", "31557601"), [], Level.PROBLEM, 'its max_age is "31557601"'),
        (has(RECORD), POLICY.replace("enforce", "on"), [], Level.PROBLEM, 'its mode is "on"'),
        (has(RECORD), POLICY.replace("STSv1", "STSv2"), [], Level.PROBLEM, "version: STSv1"),
        (has(RECORD), "version: STSv1\nmode: enforce\nmax_age: 86400\n", [], Level.PROBLEM, "it has no mx"),
        (has(RECORD), POLICY.replace("*.backup.net", "*"), [], Level.PROBLEM, '"*" is no host'),
        (has(RECORD), "<html>\x1b[2J", [], Level.PROBLEM, r'"<html>\x1b[2J" is not of the form'),
        (has(RECORD), "x" * 65537, [], Level.PROBLEM, "longer than 65536 octets"),
        (has("v=STSv1; id=a-b"), POLICY, [], Level.PROBLEM, "no id"),
        (has("v=STSv1"), POLICY, [], Level.PROBLEM, "no id"),
        (has(RECORD, RECORD), POLICY, [], Level.PROBLEM, "2 MTA-STS records"),
        (NO_NAME, "", [], Level.NOTE, "there is no MTA-STS"),
        (FAILED, "", [], Level.UNKNOWN, "SERVFAIL"),
    ],
)
def test_mta_sts(texts: Answer[str], policy: str, hosts: list[str], level: Level, words: str) -> None:
    (finding,) = judge_sts("good.net", texts, Fetched(policy.encode()), hosts)
    assert (finding.level, words in finding.seen) == (level, True), finding


def test_a_policy_that_cannot_be_had() -> None:
    (finding,) = judge_sts("good.net", has(RECORD), Fetched(why="connection refused"), [])
    assert finding.level is Level.PROBLEM
    assert "https://mta-sts.good.net/.well-known/mta-sts.txt cannot be had: connection refused" in finding.seen


@pytest.mark.parametrize(
    ("texts", "level"),
    [
        (has("v=TLSRPTv1; rua=mailto:a@good.net,https://good.net/r"), Level.OK),
        (has("v=TLSRPTv1; rua=a@good.net"), Level.PROBLEM),
        (has("v=TLSRPTv1"), Level.PROBLEM),
        (has("v=TLSRPTv1; rua=mailto:a@good.net", "v=TLSRPTv1; rua=mailto:b@good.net"), Level.PROBLEM),
        (NO_NAME, Level.NOTE),
        (FAILED, Level.UNKNOWN),
    ],
)
def test_where_failures_are_reported_to(texts: Answer[str], level: Level) -> None:
    assert judge_reports("good.net", texts).level is level


class Authority:
    """A certificate for mail.good.net with one authority between it and the root."""

    def __init__(self, folder: Path) -> None:
        root = trustme.CA()
        between = root.create_child_ca()
        leaf = between.issue_cert("mail.good.net")
        self.chain = [load_pem_x509_certificates(blob.bytes())[0] for blob in leaf.cert_chain_pems]
        self.root = folder / "root.pem"
        root.cert_pem.write_to_path(self.root)

    @property
    def between(self) -> Certificate:
        return self.chain[1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def key_of(certificate: Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_tlsa_that_matches(authority: Authority) -> None:
    leaf, between = authority.chain[:2]
    der = leaf.public_bytes(Encoding.DER)
    for record in (
        Tlsa(3, 1, 1, sha256(key_of(leaf)).digest()),
        Tlsa(3, 1, 0, key_of(leaf)),
        Tlsa(3, 0, 2, sha512(der).digest()),
        Tlsa(2, 1, 1, sha256(key_of(between)).digest()),
    ):
        answer = has(Tlsa(3, 1, 1, bytes(32)), record)
        for authentic, level in (True, Level.OK), (False, Level.UNKNOWN):
            (finding,) = judge_tlsa("mail.good.net", answer._replace(authentic=authentic), authority.chain)
            assert finding.level is level


def test_tlsa_that_does_not(authority: Authority) -> None:
    leaf, between = authority.chain[:2]
    for record in (
        Tlsa(3, 1, 1, bytes(32)),
        Tlsa(3, 1, 1, sha256(key_of(between)).digest()),  # the authority's is no use 3
        Tlsa(2, 1, 1, sha256(key_of(leaf)).digest()),
        Tlsa(1, 1, 1, sha256(key_of(leaf)).digest()),
        Tlsa(3, 1, 9, sha256(key_of(leaf)).digest()),
        Tlsa(3, 9, 1, sha256(key_of(leaf)).digest()),
    ):
        (finding,) = judge_tlsa("mail.good.net", has(record)._replace(authentic=True), authority.chain)
        assert finding.level is Level.PROBLEM, record
        assert finding.record == f"_25._tcp.mail.good.net. TLSA 3 1 1 {sha256(key_of(leaf)).hexdigest()}"


def test_no_tlsa(authority: Authority) -> None:
    (none,) = judge_tlsa("mail.good.net", NO_NAME, authority.chain)
    assert none.level is Level.NOTE
    assert none.record == f"_25._tcp.mail.good.net. TLSA 3 1 1 {sha256(key_of(authority.chain[0])).hexdigest()}"
    assert [one.level for one in judge_tlsa("mail.good.net", FAILED, authority.chain)] == [Level.UNKNOWN]
    assert [one.level for one in judge_tlsa("a.net", has(Tlsa(3, 1, 1, b"")), [])] == [Level.UNKNOWN]


def test_a_chain_leads_to_an_authority_or_not(authority: Authority) -> None:
    now = time.time()
    assert distrust_of(authority.chain, authority.root, now) == ""
    assert "unable to get local issuer certificate" in distrust_of(authority.chain[:1], authority.root, now)
    assert distrust_of(authority.chain, None, now) != ""  # this machine does not know it
    assert distrust_of(authority.chain, authority.root, now + 1e10) == ""  # its age is told otherwise


@pytest.mark.parametrize(
    ("hosts", "distrust", "later", "level", "words"),
    [
        (["mail.good.net"], "", -30, Level.OK, "good until"),
        (["mail.good.net", "mx.good.net"], "", -30, Level.WARNING, "not for mx.good.net"),
        (["mail.good.net"], "self-signed", -30, Level.WARNING, "authority that this machine trusts: self-signed"),
        (["mail.good.net"], "", -15.5, Level.WARNING, "in 15 days"),
        (["mail.good.net"], "", -1.5, Level.PROBLEM, "in 1 day"),
        (["mail.good.net"], "", 1, Level.PROBLEM, "has expired"),
        (["mail.good.net"], "", -1e6, Level.PROBLEM, "is valid from"),
    ],
)
def test_the_certificate(
    authority: Authority, hosts: list[str], distrust: str, later: float, level: Level, words: str
) -> None:
    """later: days, counted from its end."""
    now = max(authority.chain[0].not_valid_after_utc.timestamp() + later * 86400, 0.0)
    (finding,) = judge_certificate("cert.pem", authority.chain, hosts, distrust, now)
    assert (finding.level, words in finding.seen) == (level, True), finding
