"""The words of `to` and `from`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_internationalized_domains_are_told_in_ascii() -> None:
    with pytest.raises(ValueError, match=r"^must be written in ASCII: xn--mnchen-3ya\.example$"):
        parse_domain("münchen.example")


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
