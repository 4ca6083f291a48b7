"""Published: what a domain has in the DNS and serves as its policy, which anybody may write as they like.

It is read in threads of their own, so a record may take its time; what it costs must still be in proportion.
"""

from collections.abc import Iterable
from typing import Any

from mta.dns.inquirer import LONGEST_TEXT
from mta.operating.doctor.dmarc import examine_dmarc
from mta.operating.doctor.finding import Finding, tell
from mta.operating.doctor.keys import judge_key
from mta.operating.doctor.spf import check_host, examine_spf
from mta.operating.doctor.spf_record import Subject
from mta.operating.doctor.transport import Fetched, judge_reports, judge_sts
from mta.policy.exchangers import Answer, Exchanger, Found
from targets.measures import Target, stretch

_ADDRESSES = ("11.1.2.3", "2a00:1::25")
_RESULTS = {"pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"}
_AT_ONCE, _PER_OCTET = 0.2, 100e-6


class _Everywhere:
    """`Names` that has the same records at each name."""

    def __init__(self, text: str) -> None:
        self.asked = 0
        self._text = text

    def texts(self, name: str) -> Answer[str]:
        return self._has(self._text)

    def addresses(self, host: str) -> Answer[str]:
        return self._has("11.9.9.9", "2a00:2::1")

    def exchangers(self, domain: str) -> Answer[Exchanger]:
        return self._has(Exchanger(10, "mx.good.net"), Exchanger(0, ""))

    def names(self, address: str) -> Answer[str]:
        return self._has("mx.good.net")

    def alias(self, name: str) -> Answer[str]:
        return self._has()

    def associations(self, name: str) -> Answer[Any]:
        return self._has()

    def _has(self, *records: Any) -> Answer[Any]:
        self.asked += 1
        return Answer(Found.RECORDS, records)


def spf(octets: bytes) -> None:
    """Any text as the SPF record of every domain comes to findings, and to a result, after few look-ups."""
    text = _text(b"v=spf1 " + octets)
    names = _Everywhere(text)
    with stretch(_AT_ONCE, len(octets), _PER_OCTET):
        _are_told(examine_spf("good.net", names, _ADDRESSES, "mail.good.net"))
        result = check_host("good.net", names, Subject(_ADDRESSES[1], "mail.good.net", "good.net"))
    assert result.result in _RESULTS
    assert names.asked < 500


def published(octets: bytes) -> None:
    """So does any text as a key, a policy, or an address for reports."""
    text = _text(octets)
    has: Answer[str] = Answer(Found.RECORDS, (text,))
    with stretch(_AT_ONCE, len(octets), _PER_OCTET):
        _are_told([judge_key("good.net", "s1", has), judge_reports("good.net", has)])
        _are_told(judge_sts("good.net", has, Fetched(octets), ["mx.good.net"]))
        good: Answer[str] = Answer(Found.RECORDS, ("v=STSv1; id=1",))
        _are_told(judge_sts("good.net", good, Fetched(octets), ["mx.good.net"]))
        _are_told(examine_dmarc("a.good.net", _Everywhere(text)))
        _are_told(examine_dmarc("a.good.net", _Everywhere(_text(b"v=DMARC1;" + octets))))


def _text(octets: bytes) -> str:
    """As the inquirer gives it."""
    return octets.decode("utf-8", "backslashreplace")[:LONGEST_TEXT]


def _are_told(findings: Iterable[Finding]) -> None:
    for finding in findings:
        line = tell(finding)
        assert all(one.isprintable() and len(one) < 800 for one in (line.text, *line.more)), finding


_SPF = (
    b" ", b"all", b"include:", b"a", b"mx", b"ptr", b"ip4:", b"ip6:", b"exists:", b"redirect=", b"exp=", b"-", b"~",
    b"?", b"+", b"/24", b"//64", b"/", b"//", b":", b"=", b"good.net", b"other.net", b"11.0.0.0", b"2a00::", b"%{i}",
    b"%{d2r}", b"%{l1r-}", b"%{999ir.+,/_=-}", b"%{h}.", b"%%", b"%_", b"%-", b"%{", b"}", b"%", b".", b"x" * 63,
    b"\x1b[2J", b"\xff", b"v=spf1",
)  # fmt: skip
_TAGS = (
    b"v=DKIM1", b"v=DMARC1", b"v=STSv1", b"v=TLSRPTv1", b";", b"; ", b"=", b" ", b"k=rsa", b"k=ed25519", b"p=",
    b"p=none", b"p=reject", b"sp=", b"rua=mailto:a@b.net", b"rua=https://b.net", b",", b"!10m", b"pct=50", b"pct=",
    b"9" * 30, b"h=", b"s=", b"t=y", b"id=1", b"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC", b"MCowBQYDK2VwAyEA",
    b"AAAA", b"version: STSv1\n", b"mode: enforce\n", b"mode: none\n", b"mx: ", b"*.good.net", b"max_age: 604800\n",
    b":", b"\r\n", b"\n", b"\x1b]0;x\x07", b"\xff", b"\xe2\x80\xae", b"a" * 100,
)  # fmt: skip
TARGETS = (Target("spf", spf, _SPF, 8192), Target("published", published, _TAGS, 8192))
