"""SPF: what the records say, and what receivers find for our addresses."""

import pytest
from doctor_ground import Zone, brief

from mta.operating.doctor.finding import Level
from mta.operating.doctor.spf import check_host, examine_spf
from mta.operating.doctor.spf_record import BadRecord, Subject, expand, parse_spf

OURS, SIX = "11.1.2.3", "2a00:1::25"
US = Subject(OURS, "mail.good.net", "good.net")

# RFC 7208 appendix A, without what has to do with names of hosts alone.
EXAMPLE = {
    "a": {"example.com": ["192.0.2.10", "192.0.2.11"], "mail-a.example.com": ["192.0.2.129"],
          "mail-b.example.com": ["192.0.2.130"], "amy.example.com": ["192.0.2.65"], "bob.example.com": ["192.0.2.66"],
          "mail-c.example.org": ["192.0.2.140"]},
    "mx": {"example.com": ["mail-a.example.com", "mail-b.example.com"], "example.org": ["mail-c.example.org"]},
    "ptr": {"192.0.2.10": ["example.com"], "192.0.2.65": ["amy.example.com"], "10.0.0.4": ["bob.example.com"],
            "192.0.2.140": ["mail-c.example.org"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("record", "address", "result"),
    [
        ("v=spf1 +all", "11.1.1.1", "pass"),
        ("v=spf1 a -all", "192.0.2.10", "pass"),
        ("v=spf1 a -all", "192.0.2.12", "fail"),
        ("v=spf1 a:example.org -all", "192.0.2.10", "fail"),
        ("v=spf1 mx -all", "192.0.2.129", "pass"),
        ("v=spf1 mx -all", "192.0.2.10", "fail"),
        ("v=spf1 mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx mx:example.org -all", "192.0.2.130", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.143", "pass"),
        ("v=spf1 mx/30 -all", "192.0.2.132", "fail"),
        ("v=spf1 ptr -all", "192.0.2.65", "pass"),
        ("v=spf1 ptr -all", "192.0.2.140", "fail"),
        ("v=spf1 ptr -all", "10.0.0.4", "fail"),  # its name leads to another address
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass"),
        ("v=spf1 ip6:2a00:1::/32 ~all", SIX, "pass"),
        ("v=spf1 ip6:2a00:2::/32 ~all", SIX, "softfail"),
        ("v=spf1 ip4:11.0.0.0/8", "192.0.2.1", "neutral"),
        ("v=spf1 ?a -all", "192.0.2.10", "neutral"),
        ("v=spf1 redirect=other.example", "192.0.2.129", "pass"),
        ("v=spf1 include:other.example -all", "192.0.2.130", "pass"),
        ("v=spf1 include:other.example ~all", "192.0.2.1", "softfail"),  # the fail of an include counts for nothing
        ("v=spf1 include:nothing.example -all", "192.0.2.1", "permerror"),
        ("v=spf1 redirect=nothing.example", "192.0.2.1", "permerror"),
        ("v=spf1 include:broken.example -all", "192.0.2.1", "permerror"),
        ("v=spf1 include:failing.example -all", "192.0.2.1", "temperror"),
        ("v=spf1 ip4:192.0.2.1 include:failing.example", "192.0.2.1", "pass"),
        ("v=spf1 exists:%{i}.list.example -all", "192.0.2.10", "pass"),
        ("v=spf1 exists:%{ir}.list.example -all", "192.0.2.10", "fail"),
        ("v=spf1 include:example.com -all", "192.0.2.1", "permerror"),  # itself
        ("spf2.0/mfrom +all", "192.0.2.1", "none"),
    ],
)  # fmt: skip
def test_what_a_receiver_finds(record: str, address: str, result: str) -> None:
    zone = Zone(
        {"example.com": record, "other.example": "v=spf1 mx:example.com -all", "broken.example": "v=spf1 ip4:x"},
        {**EXAMPLE["a"], "192.0.2.10.list.example": ["127.0.0.2"]},
        EXAMPLE["mx"],
        EXAMPLE["ptr"],
        failures=["failing.example"],
    )
    assert check_host("example.com", zone, Subject(address, "x.example", "example.com")).result == result


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("v=spf1 foo", "is a mechanism that nobody knows"),
        ("v=spf1 ip4:300.1.1.1 -all", "has no IPv4 address"),
        ("v=spf1 ip4:2a00::1 -all", "has no IPv4 address"),
        ("v=spf1 ip6:11.1.1.1 -all", "has no IPv6 address"),
        ("v=spf1 ip4 -all", "has no IPv4 address"),
        ("v=spf1 include -all", "needs domain"),
        ("v=spf1 include:a.net/24", "takes no length of a prefix"),
        ("v=spf1 a/33", "a prefix that is too long"),
        ("v=spf1 mx//129", "a prefix that is too long"),
        ("v=spf1 all:a.net", "takes no domain"),
        ("v=spf1 redirect=a.net redirect=b.net", "redirect= twice"),
        ("v=spf1 include:%{x}.net", "does not name a domain"),
        ("v=spf1 a:", "does not name a domain"),
        ("v=spf1 -", "is not a term"),
        ("v=spf1 a;b", "is not a term"),
        ("v=spf1 ip4:1.2.3.4\x1b[2J", "not printable ASCII"),
        ("v=spf1 " + "a " * 4000, "too long"),
    ],
)
def test_records_that_are_wrong(record: str, why: str) -> None:
    with pytest.raises(BadRecord, match=why):
        parse_spf(record)


def test_a_modifier_that_nobody_knows_is_passed_over() -> None:
    assert parse_spf("v=spf1 moo=%{x} -all").ending == "-"


@pytest.mark.parametrize(
    ("written", "expanded"),
    [  # RFC 7208 7.4
        ("%{s}", "postmaster@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%%.%-.a", "%.%20.a"),
    ],
)
def test_macros(written: str, expanded: str) -> None:
    subject = Subject("192.0.2.3", "mx.example.org", "email.example.com")
    assert expand(written, "email.example.com", subject) == expanded


def test_a_macro_with_an_ipv6_address() -> None:
    subject = Subject("2001:db8::cb01", "mx.example.org", "a.net")
    digits = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    assert expand("%{ir}.%{v}._spf.%{d2}", "a.net", subject) == f"{digits}.ip6._spf.a.net"


@pytest.mark.parametrize(
    ("txt", "levels", "words"),
    [
        ({"good.net": f"v=spf1 ip4:{OURS} ip6:{SIX} -all"}, [Level.OK, Level.OK, Level.OK],
         "0 of 10 look-ups and ends with -all"),
        ({"good.net": ["v=spf1 -all", "v=spf1 mx -all"]}, [Level.PROBLEM], "2 SPF records"),
        ({"good.net": ["unrelated", "v=spf10 -all"]}, [Level.PROBLEM], "no SPF record"),
        ({}, [Level.PROBLEM], "no SPF record"),
        ({"good.net": "v=spf1 ip4:1.1 -all"}, [Level.PROBLEM], "permanent error: in the record of good.net"),
        ({"good.net": "v=spf1 +all"}, [Level.PROBLEM], "all the world"),
        ({"good.net": f"v=spf1 ip4:{OURS} ip6:{SIX} ?all"}, [Level.WARNING, Level.OK, Level.OK], "keeps nobody out"),
        ({"good.net": f"v=spf1 ip4:{OURS} ip6:{SIX}"}, [Level.WARNING, Level.OK, Level.OK], "has no all"),
        ({"good.net": f"v=spf1 ip4:{OURS} ~all"}, [Level.OK, Level.OK, Level.PROBLEM], "ends with ~all"),
        ({"good.net": "v=spf1 include:good.net -all"}, [Level.PROBLEM], "good.net includes itself"),
        ({"good.net": "v=spf1 include:a.net -all", "a.net": "v=spf1 include:good.net"}, [Level.PROBLEM],
         "by way of a.net, good.net"),
        ({"good.net": "v=spf1 a:x.net a:y.net a:z.net -all"}, [Level.PROBLEM, Level.OK],
         "3 of its look-ups find nothing"),
        ({"good.net": "v=spf1 include:down.net -all"}, [Level.UNKNOWN], "down.net: SERVFAIL"),
        ({"down.net": ""}, [Level.PROBLEM], "no SPF record"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_record(txt: dict[str, str], levels: list[Level], words: str) -> None:
    found = examine_spf("good.net", Zone(txt, failures=["down.net"]), [OURS, SIX], "mail.good.net")
    assert [one.level for one in found] == levels
    assert words in found[0].seen


def test_too_many_look_ups() -> None:
    txt = {f"d{n}.net": f"v=spf1 include:d{n + 1}.net -all" for n in range(11)} | {"d11.net": "v=spf1 -all"}
    (finding, _) = examine_spf("d0.net", Zone(txt), [OURS], "mail.good.net")
    assert brief(finding) == [(Level.PROBLEM, "the record takes 11 look-ups, and receivers stop with an error at 10")]


def test_a_tree_of_includes_ends_soon() -> None:
    """Each of 20 levels includes the next one twenty times: 20 ** 20 look-ups."""
    txt = {f"d{n}.net": "v=spf1 " + f"include:d{n + 1}.net " * 20 for n in range(20)} | {"d20.net": "v=spf1 -all"}
    zone = Zone(txt)
    (finding, _) = examine_spf("d0.net", zone, [OURS], "mail.good.net")
    assert finding.seen.startswith("the record takes 40 or more look-ups")
    assert zone.asked.total() < 200
    assert check_host("d0.net", zone, US).result == "permerror"


def test_the_record_to_publish_names_the_address() -> None:
    zone = Zone({"good.net": "v=spf1 include:a.net -all", "a.net": "v=spf1 ?all"})
    *_, finding = examine_spf("good.net", zone, [OURS], "mail.good.net")
    assert finding.record == f'good.net. TXT "v=spf1 include:a.net ip4:{OURS} -all"'
    (none,) = examine_spf("else.net", zone, [OURS, SIX], "mail.good.net")
    assert none.record == f'else.net. TXT "v=spf1 mx ip4:{OURS} ip6:{SIX} -all"'
