"""What VRFY and EXPN are answered with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.policy import inquiry
from mta.policy.directory import Alias, Directory, Domain, MailingList, Moved, User
from mta.policy.inquiry import MOST_TOLD, expand, verify
from mta.smtp.limits import REPLY_LINE
from mta.smtp.name_replies import MOST_CANDIDATES
from mta.smtp.reply import render

POSTMASTER = "root@relay.example"
DIRECTORY = Directory(
    [
        Domain(
            "example.org",
            (
                User("jean.dupont@example.org", "Jean Dupont"),
                User("anne.dupont@example.org", "Anne Dupont"),
                User("zoe@example.org", "Zoë Müller"),
                User("jürgen@example.org", "Jürgen"),
                User("plain@example.org"),
                Alias("sales@example.org", ("anne.dupont@example.org", "partner@else.example")),
                MailingList(
                    "team@example.org",
                    ("jean.dupont@example.org", "inner@example.org", "guest@else.example", "moved@example.org"),
                    "jean.dupont@example.org",
                    "The team",
                ),
                MailingList(
                    "inner@example.org",
                    ("team@example.org", "zoe@example.org", "Jean.Dupont@example.org", "sales@example.org"),
                    "jean.dupont@example.org",
                ),
                MailingList("wide@example.org", ("jürgen@example.org",), "jean.dupont@example.org"),
                Alias("loop@example.org", ("loop@example.org",)),
                Moved("moved@example.org", "new@else.example", True),
                Moved("gone@example.org", "there@else.example", False),
            ),
            complete=True,
        )
    ]
)
OPEN = Directory([Domain("open.example", (User("known@open.example"),), complete=False)])


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("jean.dupont@example.org", "250 2.1.5 Jean Dupont <jean.dupont@example.org>"),
        ("<Jean.Dupont@EXAMPLE.org>", "250 2.1.5 Jean Dupont <jean.dupont@example.org>"),
        ("jean.dupont", "250 2.1.5 Jean Dupont <jean.dupont@example.org>"),
        ("<jean.dupont>", "250 2.1.5 Jean Dupont <jean.dupont@example.org>"),
        ("Jean Dupont", "250 2.1.5 Jean Dupont <jean.dupont@example.org>"),
        ('"Jean Dupont"', "250 2.1.5 Jean Dupont <jean.dupont@example.org>"),
        ("plain", "250 2.1.5 <plain@example.org>"),
        ("zoe", "250 2.1.5 <zoe@example.org>"),
        ("sales", "250 2.1.5 <sales@example.org>"),
        ("team", "550 5.1.0 That is a mailing list, not a user"),
        ("team@example.org", "550 5.1.0 That is a mailing list, not a user"),
        ("moved", "251 2.1.5 User not local; will forward to <new@else.example>"),
        ("gone@example.org", "551 5.1.6 User not local; please try <there@else.example>"),
        ("postmaster", "250 2.1.5 <root@relay.example>"),
        ("postmaster@example.org", "250 2.1.5 <postmaster@example.org>"),
        ("jürgen", "252 2.6.8 the answer needs letters beyond ASCII; ask again with SMTPUTF8 behind the name"
         " (RFC 6531)"),
        ("a..b@example.org", "501 5.1.3 not an address: the part before the @ has a dot at its end or two in a row,"
         " and is not quoted"),
    ],
)  # fmt: skip
def test_verified(text: str, reply: str) -> None:
    assert str(verify(DIRECTORY, text, POSTMASTER)) == reply


@pytest.mark.parametrize("text", ["nobody", "nobody@example.org", "<nobody@example.org>", "x" * 2000])
def test_unknown_is_unknown_where_all_names_are_known(text: str) -> None:
    reply = verify(DIRECTORY, text, POSTMASTER)
    assert (reply.code, reply.enhanced) == (550, "5.1.1")


@pytest.mark.parametrize(
    ("directory", "text"),
    [
        (DIRECTORY, "jean.dupont@else.example"),
        (OPEN, "nobody@open.example"),
        (OPEN, "nobody"),
        (Directory(), "nobody"),
        (Directory(), "nobody@example.org"),
    ],
)
def test_what_cannot_be_told(directory: Directory, text: str) -> None:
    assert verify(directory, text, POSTMASTER).code == 252
    assert expand(directory, text, POSTMASTER).code == 252


def test_ambiguous_name_lists_the_candidates() -> None:
    reply = verify(DIRECTORY, "dupont", POSTMASTER)
    assert render(reply) == (
        b"553-5.1.4 Ambiguous; possibilities are\r\n"
        b"553-5.1.4 Jean Dupont <jean.dupont@example.org>\r\n"
        b"553 5.1.4 Anne Dupont <anne.dupont@example.org>\r\n"
    )


def test_candidates_are_bounded() -> None:
    directory = Directory([Domain("a.example", tuple(User(f"u{n}.x@a.example") for n in range(99)), True)])
    reply = verify(directory, "x", POSTMASTER)
    assert reply.lines[0] == "Ambiguous; possibilities, among 99, are"
    assert len(reply.lines) == 1 + MOST_CANDIDATES


def test_candidates_that_are_not_in_ascii_are_not_told() -> None:
    users = (User("ü.x@a.example", "Ü"), User("é.x@a.example"), User("e.x@a.example", "É"))
    directory = Directory([Domain("a.example", users, True)])
    assert verify(directory, "x", POSTMASTER).lines == ("Ambiguous; possibilities, among 3, are", "<e.x@a.example>")
    assert verify(directory, "x", POSTMASTER, utf8=True).lines[1:] == (
        "Ü <ü.x@a.example>", "<é.x@a.example>", "É <e.x@a.example>"
    )  # fmt: skip
    none = verify(Directory([Domain("a.example", users[:2], True)]), "x", POSTMASTER)
    assert (none.code, none.enhanced, len(none.lines)) == (553, "5.6.8", 1)


def test_letters_beyond_ascii_are_told_to_who_understands_them() -> None:
    assert str(verify(DIRECTORY, "zoe", POSTMASTER, utf8=True)) == "250 2.1.5 Zoë Müller <zoe@example.org>"
    assert (
        str(verify(DIRECTORY, "Jürgen@example.org", POSTMASTER, utf8=True)) == "250 2.1.5 Jürgen <jürgen@example.org>"
    )
    assert str(expand(DIRECTORY, "wide", POSTMASTER, utf8=True)) == "250 2.1.5 Jürgen <jürgen@example.org>"
    assert (expand(DIRECTORY, "wide", POSTMASTER).code, expand(DIRECTORY, "wide", POSTMASTER).enhanced) == (
        550,
        "5.6.8",
    )


@pytest.mark.parametrize("text", ["team", "TEAM@example.org", "<team@example.org>", "the team"])
def test_members_are_told_one_a_line(text: str) -> None:
    reply = expand(DIRECTORY, text, POSTMASTER)
    assert (reply.code, reply.enhanced) == (250, "2.1.5")
    assert reply.lines == (
        "Jean Dupont <jean.dupont@example.org>",
        "<zoe@example.org>",
        "Anne Dupont <anne.dupont@example.org>",
        "<partner@else.example>",
        "<guest@else.example>",
        "<new@else.example>",
    )


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("jean.dupont", "550 5.1.0 That is a user, not a mailing list"),
        ("dupont", "550 5.1.0 That is a user, not a mailing list"),
        ("moved@example.org", "550 5.1.0 That is a user, not a mailing list"),
        ("nobody", "550 5.1.1 no mailing list of this name here; check the spelling"),
        ("nobody@example.org", "550 5.1.1 no mailing list of this name here; check the spelling"),
        ("sales", "250 2.1.5 Anne Dupont <anne.dupont@example.org> <partner@else.example>"),
        ("postmaster@example.org", "250 2.1.5 <root@relay.example>"),
        ("@example.org", "501 5.1.3 not an address: the part before the @ is missing or begins with something that"
         " must be quoted"),
    ],
)  # fmt: skip
def test_expanded(text: str, reply: str) -> None:
    assert str(expand(DIRECTORY, text, POSTMASTER)) == reply


def test_list_that_leads_nowhere_has_no_empty_answer() -> None:
    reply = expand(DIRECTORY, "loop", POSTMASTER)
    assert (reply.code, reply.enhanced) == (550, "5.4.6")


def test_lists_of_one_name() -> None:
    lists = [
        Domain(name, (MailingList(f"team@{name}", (f"u@{name}",), f"u@{name}"),), True)
        for name in ("a.example", "b.example")
    ]
    reply = expand(Directory(lists), "team", POSTMASTER)
    assert (reply.code, reply.enhanced, reply.lines[1:]) == (550, "5.1.4", ("<team@a.example>", "<team@b.example>"))


@pytest.mark.parametrize(("size", "code"), [(MOST_TOLD, 250), (MOST_TOLD + 1, 550)])
def test_size_of_an_answer_is_bounded(size: int, code: int) -> None:
    members = tuple(f"u{n}@else.example" for n in range(size))
    halves = (
        MailingList("all@a.example", ("one@a.example", "two@a.example"), "o@a.example"),
        MailingList("one@a.example", members[: size // 2], "o@a.example"),
        MailingList("two@a.example", members[size // 2 :], "o@a.example"),
        MailingList("flat@a.example", members, "o@a.example"),
    )
    directory = Directory([Domain("a.example", halves, True)])
    for name in ("all", "flat"):
        reply = expand(directory, name, POSTMASTER)
        assert reply.code == code
        assert len(reply.lines) == (size if code == 250 else 1)


def test_longest_name_and_address_fit_into_a_line() -> None:
    address = "a" * 64 + "@" + ".".join(["b" * 47] * 3 + ["c" * 45])
    assert len(address) == 254
    directory = Directory([Domain(address.partition("@")[2], (User(address, "n" * 200),), True)])
    assert len(render(verify(directory, address, POSTMASTER))) <= REPLY_LINE


@given(st.text(max_size=60), st.booleans())
def test_every_text_has_an_answer_that_the_session_can_read(text: str, utf8: bool) -> None:
    for ask in (inquiry.verify, inquiry.expand):
        reply = ask(DIRECTORY, text, POSTMASTER, utf8)
        assert 250 <= reply.code <= 553
        assert utf8 or all(line.isascii() for line in reply.lines)
