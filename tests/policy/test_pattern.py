"""The words of `to` and `from`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.policy.idn import in_a_labels
from mta.policy.pattern import EVERYBODY, Pattern, parse_domain
from mta.smtp.address import domain_of

WRITTEN = [
    "*",
    "<>",
    "a.example",
    "*@a.example",
    ".a.example",
    "*@.a.example",
    "u@a.example",
    "u@b.a.example",
    "[192.0.2.1]",
]
ADDRESSES = [
    "",
    "u@a.example",
    "v@a.example",
    "u@b.a.example",
    "u@c.b.a.example",
    "u@ba.example",
    "u@[192.0.2.1]",
    "root",
]


@pytest.mark.parametrize(
    ("written", "matching"),
    [
        ("*", ADDRESSES),
        ("<>", [""]),
        ("A.Example.", ["u@a.example", "v@a.example"]),
        ("*@a.example", ["u@a.example", "v@a.example"]),
        (".a.example", ["u@b.a.example", "u@c.b.a.example"]),
        ("*@.a.example", ["u@b.a.example", "u@c.b.a.example"]),
        ("U@A.example", ["u@a.example"]),
        ('"u"@a.example', ["u@a.example"]),
        ("[192.0.2.1]", ["u@[192.0.2.1]"]),
        ("b.example", []),
    ],
)
def test_matches(written: str, matching: list[str]) -> None:
    pattern = Pattern.parse(written)
    assert [address for address in ADDRESSES if pattern.matches(address, domain_of(address))] == matching


@pytest.mark.parametrize(
    "written",
    ["", " ", "@", "@a.example", "a@", "*.a.example", "a*@a.example", "a..b", "a b", "-a.example", ".", "..a", "a@b@c",
     "a b@a.example", "*@", "**", "[300.0.0.1]", "a" * 64, "ü@a.example", "ü.example"],
)  # fmt: skip
def test_what_is_no_pattern(written: str) -> None:
    with pytest.raises(ValueError):
        Pattern.parse(written)


@pytest.mark.parametrize("domain", ["münchen.example", "MÜNCHEN.example", "straße.example", "例え.テスト"])
def test_internationalized_domains_are_told_in_ascii(domain: str) -> None:
    """As the domains of recipients are compared with them."""
    with pytest.raises(ValueError) as told:
        parse_domain(domain)
    assert str(told.value) == f"must be written in ASCII: {in_a_labels(domain)}"
    assert parse_domain(in_a_labels(domain)) == in_a_labels(domain)


def test_what_has_no_form_in_ascii_is_no_domain() -> None:
    with pytest.raises(ValueError, match=r"^is not a domain$"):
        parse_domain("ö..example")


patterns = st.sampled_from([Pattern.parse(written) for written in WRITTEN])


@settings(deadline=None)
@given(patterns, patterns, st.sampled_from(ADDRESSES))
def test_what_covers_a_pattern_matches_what_it_matches(one: Pattern, other: Pattern, address: str) -> None:
    if one.covers(other) and other.matches(address, domain_of(address)):
        assert one.matches(address, domain_of(address))


def test_covers() -> None:
    covered = {
        written: [other for other in WRITTEN if Pattern.parse(written).covers(Pattern.parse(other))]
        for written in WRITTEN
    }
    assert covered == {
        "*": WRITTEN,
        "<>": ["<>"],
        "a.example": ["a.example", "*@a.example", "u@a.example"],
        "*@a.example": ["a.example", "*@a.example", "u@a.example"],
        ".a.example": [".a.example", "*@.a.example", "u@b.a.example"],
        "*@.a.example": [".a.example", "*@.a.example", "u@b.a.example"],
        "u@a.example": ["u@a.example"],
        "u@b.a.example": ["u@b.a.example"],
        "[192.0.2.1]": ["[192.0.2.1]"],
    }
    assert Pattern.parse("*") is EVERYBODY
