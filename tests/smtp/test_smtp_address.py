"""Addresses by tables, and by properties where tables end (RFC 5321 4.1.2, 4.1.3, 4.5.3.1)."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mta.smtp import address
from mta.smtp.address import (
    NULL_PATH,
    AddressError,
    Mailbox,
    Path,
    domain_of,
    is_address_literal,
    is_domain,
    parse_mailbox,
    parse_path,
)

LONGEST_DOMAIN = ".".join(["d" * 63] * 3)

GOOD = [
    ("<jones@example.org>", "jones", "example.org", ()),
    ("<Jones@Example.ORG>", "Jones", "Example.ORG", ()),
    ("<a.b-c+d=e!f#g$h%i&j'k*l/m?n^o_p`q{r|s}t~u@x>", "a.b-c+d=e!f#g$h%i&j'k*l/m?n^o_p`q{r|s}t~u", "x", ()),
    ("<-@localhost>", "-", "localhost", ()),
    ("<jones@under_score.example>", "jones", "under_score.example", ()),
    ("<jones@_dmarc.example>", "jones", "_dmarc.example", ()),
    ("<jones@192.0.2.1>", "jones", "192.0.2.1", ()),
    ("<jones@[192.0.2.1]>", "jones", "[192.0.2.1]", ()),
    ("<jones@[192.000.002.001]>", "jones", "[192.000.002.001]", ()),
    ("<jones@[IPv6:2001:db8::1]>", "jones", "[IPv6:2001:db8::1]", ()),
    ("<jones@[ipv6:::ffff:192.0.2.1]>", "jones", "[ipv6:::ffff:192.0.2.1]", ()),
    ('<"jones"@example.org>', "jones", "example.org", ()),
    ('<"j\\ones"@example.org>', "jones", "example.org", ()),
    ('<"a b"@example.org>', '"a b"', "example.org", ()),
    ('<"a\\ b"@example.org>', '"a b"', "example.org", ()),
    ('<"a.b"@example.org>', "a.b", "example.org", ()),
    ('<"a..b"@example.org>', '"a..b"', "example.org", ()),
    ('<".a"@example.org>', '".a"', "example.org", ()),
    ('<""@example.org>', '""', "example.org", ()),
    ('<"a@b>c"@example.org>', '"a@b>c"', "example.org", ()),
    ('<"\\"\\\\"@example.org>', '"\\"\\\\"', "example.org", ()),
    ("<@one:jones@example.org>", "jones", "example.org", ("one",)),
    ("<@one.example,@two.example:jones@example.org>", "jones", "example.org", ("one.example", "two.example")),
    ("<postmaster>", "postmaster", "", ()),
    ("<POSTmaster>", "postmaster", "", ()),
    ("<Postmaster@example.org>", "Postmaster", "example.org", ()),
    (f"<{'l' * 64}@example.org>", "l" * 64, "example.org", ()),
    (f"<{'l' * 62}@{LONGEST_DOMAIN}>", "l" * 62, LONGEST_DOMAIN, ()),
]

BAD = [
    ("", 0, "begins"),
    ("jones@example.org", 0, "begins"),
    ("<", 1, "missing"),
    ("< jones@example.org>", 1, "missing"),
    ("<jones>", 6, "domain are missing"),
    ("<jones", 6, "domain are missing"),
    ("<postmaster", 11, "domain are missing"),
    ("<jones@>", 7, "domain is missing"),
    ("<@example.org>", 13, "source route"),
    ("<@>", 2, "domain is missing"),
    ("<@one,two:jones@example.org>", 6, 'begins with "@"'),
    ("<@one:>", 6, "missing"),
    ("<@[192.0.2.1]:jones@example.org>", 2, "domain is missing"),
    ("<jones@example.org", 18, '">" is missing'),
    ("<jones@example.org>>", 19, "nothing may follow"),
    ("<jones@example.org@example.net>", 18, "cannot stand"),
    ("<jones@exam ple.org>", 11, "cannot stand"),
    ("<jo nes@example.org>", 3, "a blank cuts"),
    ("<jo(nes@example.org>", 3, "unless it is quoted"),
    ("<jo\x00nes@example.org>", 3, "unless it is quoted"),
    ("<jön@example.org>", 2, "beyond ASCII"),
    ("<jones@exämple.org>", 9, "beyond ASCII"),
    (".<jones@example.org>", 0, "begins"),
    ("<.jones@example.org>", 1, "missing or begins"),
    ("<jones.@example.org>", 6, "dot at its end"),
    ("<jon..es@example.org>", 4, "two in a row"),
    ('<"jones@example.org>', 1, "no end"),
    ('<"jo\x07nes"@example.org>', 1, "no end"),
    ('<"jones\\"@example.org>', 1, "no end"),
    ('<"jo"nes@example.org>', 5, "unless it is quoted"),
    ("<jones@.example.org>", 7, "dot too many"),
    ("<jones@example..org>", 15, "dot too many"),
    ("<jones@example.org.>", 19, "dot too many"),
    ("<jones@-example.org>", 7, "hyphen"),
    ("<jones@example-.org>", 7, "hyphen"),
    (f"<jones@{'d' * 64}.org>", 7, "63 octets"),
    (f"<{'l' * 65}@example.org>", 1, "64 octets"),
    (f'<"{" " * 63}"@example.org>', 1, "64 octets"),
    (f"<jones@{'.'.join(['d' * 50] * 6)}>", 7, "255 octets"),
    (f"<{'l' * 63}@{LONGEST_DOMAIN}>", 1, "254 octets"),
    ("<jones@[192.0.2.256]>", 7, "IPv4"),
    ("<jones@[192.0.2]>", 7, "IPv4"),
    ("<jones@[192.0.2.0001]>", 7, "IPv4"),
    ("<jones@[2001:db8::1]>", 7, "IPv6"),
    ("<jones@[IPv6:2001:db8::1%eth0]>", 7, "zone"),
    ("<jones@[IPv6:2001:db8:::1]>", 7, "IPv6"),
    ("<jones@[x400:c=gb]>", 7, "IPv4"),
    ("<jones@[]>", 7, "IPv4"),
    ("<jones@[192.0.2.1>", 7, "looks like"),
    ("<jones@[192.0.2.1]x>", 18, "cannot stand"),
]


@pytest.mark.parametrize(("text", "local", "domain", "route"), GOOD)
def test_good(text: str, local: str, domain: str, route: tuple[str, ...]) -> None:
    path = parse_path(text)
    assert path == Path(Mailbox(local, domain), route)
    assert parse_path(str(path)) == Path(path.mailbox)
    assert str(path) == f"<{local}@{domain}>" if domain else f"<{local}>"
    assert domain_of(path.address) == domain.lower()


@pytest.mark.parametrize(("text", "position", "reason"), BAD)
def test_bad(text: str, position: int, reason: str) -> None:
    with pytest.raises(AddressError, match=re.escape(reason)) as error:
        parse_path(text)
    assert error.value.position == position


def test_null_path() -> None:
    assert parse_path("<>") == NULL_PATH
    assert (NULL_PATH.address, str(NULL_PATH)) == ("", "<>")


def test_domains_are_compared_in_lower_case_and_local_parts_as_they_are() -> None:
    assert Mailbox("Jones", "Example.ORG").canonical == Mailbox("Jones", "example.org")


def test_a_mailbox_without_brackets() -> None:
    assert parse_mailbox("jones@example.org") == Mailbox("jones", "example.org")
    with pytest.raises(AddressError):
        parse_mailbox("jones@example.org>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ""), ("postmaster", ""), ('"a@b"@Example.org', "example.org"), ("a@[192.0.2.1]", "[192.0.2.1]")],
)
def test_domain_of(text: str, expected: str) -> None:
    assert domain_of(text) == expected


@pytest.mark.parametrize(
    ("text", "domain", "literal"),
    [
        ("example.org", True, False),
        ("localhost", True, False),
        ("my_pc", True, False),
        ("", False, False),
        ("example.org.", False, False),
        ("exa mple", False, False),
        ("example.org\n", False, False),
        ("d" * 64, False, False),
        (".".join(["d" * 50] * 6), False, False),
        ("[192.0.2.1]", False, True),
        ("[IPv6:::1]", False, True),
        ("[192.0.2.1]x", False, False),
        ("[192.0.2.1]\n", False, False),
        ("[]", False, False),
    ],
)
def test_what_helo_may_name(text: str, domain: bool, literal: bool) -> None:
    assert (is_domain(text), is_address_literal(text)) == (domain, literal)


PATHS = st.text(st.sampled_from('<>@.,:;-_"\\[]aB1 é\x00'), max_size=12)
LABELS = st.text(st.sampled_from("aB1-_"), max_size=65)
ALMOST_ORDINARY = st.builds(
    lambda locals_, labels: f"<{'.'.join(locals_)}@{'.'.join(labels)}>",
    st.lists(st.text(st.sampled_from("aB1-_+"), max_size=33), max_size=3),
    st.lists(LABELS, max_size=6),
)


@given(PATHS | ALMOST_ORDINARY)
@example(f"<{'l' * 64}@{LONGEST_DOMAIN}>")
@settings(max_examples=1000, deadline=None)
def test_the_short_cut_for_ordinary_paths_agrees_with_the_grammar(text: str) -> None:
    def outcome() -> Path | tuple[int, str]:
        try:
            return parse_path(text)
        except AddressError as error:
            return error.position, error.reason

    quickly = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(address, "_ORDINARY_PATH", re.compile("(?!)"))
        assert outcome() == quickly


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
@settings(max_examples=500, deadline=None)
def test_any_printable_local_part_has_one_shortest_form(meant: str) -> None:
    escaped = "".join("\\" + letter for letter in meant)
    mailbox = parse_mailbox(f'"{escaped}"@example.org')
    assert parse_mailbox(str(mailbox)) == mailbox
    quoted = meant.replace("\\", "\\\\").replace('"', '\\"')
    assert mailbox.local in (meant, f'"{quoted}"')
    assert parse_mailbox(f'"{quoted}"@example.org') == mailbox
    assert domain_of(str(mailbox)) == "example.org"
