"""What is known of local names, and what is not."""

import pytest

from mta.policy.directory import Alias, Directory, Domain, Entry, MailingList, Moved, User

POSTMASTER = "root@relay.example"
JEAN = User("Jean.Dupont@example.org", "Jean Dupont")
ANNE = User("anne.dupont@example.org", "Anne Dupont")
MARIE = User("marie@example.org", "Marie-Claire  O'Brien")
SALES = Alias("sales@example.org", ("anne.dupont@example.org",))
TEAM = MailingList("team@example.org", ("jean.dupont@example.org",), "anne.dupont@example.org", "The Team")
OLD = Moved("old@open.example", "new@else.example", True)
DIRECTORY = Directory(
    [
        Domain("example.org", (JEAN, ANNE, MARIE, SALES, TEAM), complete=True),
        Domain("open.example", (OLD,), complete=False),
    ]
)


def test_empty_directory_is_false_and_knows_nobody() -> None:
    empty = Directory()
    assert not empty
    assert not empty.is_complete
    assert empty.find("postmaster@example.org", POSTMASTER) is None
    assert not empty.lacks("nobody@example.org", POSTMASTER)
    assert empty.named("jean") == ()


def test_domains() -> None:
    assert DIRECTORY
    assert "example.org" in DIRECTORY
    assert "a.example.org" not in DIRECTORY
    assert not DIRECTORY.is_complete
    assert Directory([Domain("example.org", (), complete=True)]).is_complete


@pytest.mark.parametrize(
    ("address", "entry", "lacking"),
    [
        ("jean.dupont@example.org", JEAN, False),
        ("JEAN.DUPONT@Example.ORG", JEAN, False),
        ("sales@example.org", SALES, False),
        ("nobody@example.org", None, True),
        ("jean.dupont@a.example.org", None, False),
        ("old@open.example", OLD, False),
        ("nobody@open.example", None, False),
        ("Postmaster@example.org", Alias("Postmaster@example.org", (POSTMASTER,)), False),
        ("postmaster@open.example", Alias("postmaster@open.example", (POSTMASTER,)), False),
        ("postmaster@else.example", None, False),
        ("postmasters@example.org", None, True),
        ("postmaster", None, False),
    ],
)
def test_addresses(address: str, entry: Entry | None, lacking: bool) -> None:
    assert DIRECTORY.find(address, POSTMASTER) == entry
    assert DIRECTORY.lacks(address, POSTMASTER) is lacking


def test_postmaster_of_a_domain_can_be_named() -> None:
    own = Alias("postmaster@example.org", ("anne@example.org",))
    assert Directory([Domain("example.org", (own,), True)]).find("POSTMASTER@example.org", POSTMASTER) is own


@pytest.mark.parametrize("postmaster", ["postmaster@example.org", "Root@Example.org"])
def test_postmaster_of_the_relay_is_taken_to_be_there(postmaster: str) -> None:
    assert DIRECTORY.find(postmaster, postmaster) is None
    assert not DIRECTORY.lacks(postmaster.swapcase(), postmaster)
    assert DIRECTORY.lacks("nobody@example.org", postmaster)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("jean.dupont", [JEAN]),
        ("JEAN.DUPONT", [JEAN]),
        ("Jean Dupont", [JEAN]),
        (" jean   dupont ", [JEAN]),
        ("Dupont, Jean", [JEAN]),
        ("dupont", [JEAN, ANNE]),
        ("claire", [MARIE]),
        ("marie", [MARIE]),
        ("marie-claire o'brien", [MARIE]),
        ("team", [TEAM]),
        ("the team", [TEAM]),
        ("the", []),  # words are for users
        ("sales", [SALES]),
        ("old", [OLD]),
        ("dupon", []),
        ("jean marie", []),
        ("", []),
        ("...", []),
    ],
)
def test_names(text: str, found: list[Entry]) -> None:
    assert list(DIRECTORY.named(text)) == found


def test_mailbox_of_just_that_name_comes_before_words() -> None:
    dupont = User("dupont@else.example")
    directory = Directory([Domain("example.org", (JEAN, ANNE), True), Domain("else.example", (dupont,), True)])
    assert directory.named("dupont") == (dupont,)


def test_user_whose_mailbox_is_called_as_he_is_stands_once() -> None:
    jean = User("jean@example.org", "Jean")
    assert Directory([Domain("example.org", (jean,), True)]).named("jean") == (jean,)
