"""The file of local names: what it comes to, and exactly what its operator is told of mistakes and dangers."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.config.dangers import dangers
from mta.config.directory import read_directory
from mta.config.load import load
from mta.config.model import Config
from mta.config.problems import ConfigError
from mta.policy.directory import Alias, Domain, MailingList, Moved, User

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "etc" / "directory.yml"
MAIN = """\
hostname: mail.example.org
postmaster: root@example.net
spool: spool
relay: {domains: [example.org, .example.org]}
directory: directory.yml
"""


def load_with(folder: Path, names: str, main: str = MAIN) -> Config:
    (folder / "mta.yml").write_text(main, encoding="utf-8")
    (folder / "directory.yml").write_text(names, encoding="utf-8")
    return load(folder / "mta.yml", own_name="mail.example.org")


def test_example_as_it_stands() -> None:
    [domain] = read_directory(EXAMPLE).domains
    assert domain == Domain(
        "example.org",
        (
            User("jean.dupont@example.org", "Jean Dupont"),
            User("anne.dupont@example.org", "Anne Dupont"),
            Alias("postmaster@example.org", ("jean.dupont@example.org",)),
            Alias("sales@example.org", ("anne.dupont@example.org", "partner@else.example")),
            MailingList(
                "team@example.org",
                ("jean.dupont@example.org", "guest@else.example"),
                "jean.dupont@example.org",
                "The team",
            ),
            Moved("old.name@example.org", "new.name@else.example", True),
            Moved("gone.name@example.org", "other.name@else.example", False),
        ),
        complete=True,
    )


def test_example_has_no_dangers(tmp_path: Path) -> None:
    assert dangers(load_with(tmp_path, EXAMPLE.read_text(encoding="utf-8"))) == []


def test_no_directory_is_an_empty_one(tmp_path: Path) -> None:
    for main in ("spool: s\n", "spool: s\ndirectory: null\n"):
        assert not load_with(tmp_path, "example.org: {}\n", main).directory()
    for empty in ("", "# nothing\n", "{}\n"):
        assert not load_with(tmp_path, empty).directory()


def test_directory_of_a_configuration(tmp_path: Path) -> None:
    config = load_with(tmp_path, "Example.ORG.:\n  mailboxes: {Jean: }\n  aliases:\nother.example:\n  mailboxes:\n")
    assert config.directory_path == tmp_path / "directory.yml"
    directory = config.directory()
    assert directory.find("jean@example.org", config.postmaster) == User("Jean@example.org")
    assert directory.lacks("anne@example.org", config.postmaster)
    assert "other.example" in directory
    # A section that has nothing in it, not even {}, is as if it were not there.
    assert not directory.lacks("anne@other.example", config.postmaster)
    assert load_with(tmp_path, "a.example: {mailboxes: {}}\n").directory().lacks("anne@a.example", config.postmaster)


def test_short_forms(tmp_path: Path) -> None:
    text = """\
a.example:
  aliases: {one: Jean, two: x@B.example, 007: ["jean", '"a b"']}
  lists: {team: {members: jean}}
  moved: {'"q@q"': {to: jean}}
  mailboxes: {'"jean"': {name: "  Jean   Dupont "}}
"""
    [domain] = load_with(tmp_path, text).directory_file.domains
    assert set(domain.entries) == {
        User("jean@a.example", "Jean Dupont"),
        Alias("one@a.example", ("Jean@a.example",)),
        Alias("two@a.example", ("x@B.example",)),
        Alias("007@a.example", ("jean@a.example", '"a b"@a.example')),
        MailingList("team@a.example", ("jean@a.example",), "postmaster@a.example"),
        Moved('"q@q"@a.example', "jean@a.example", True),
    }


# A directory, and what is said of it; all of it begins with its path and a colon.
MISTAKES = {
    "section that is not one": (
        "a.example:\n  alias: {x: y}",
        ['2: "a.example".alias: is not a key here; did you mean "aliases"? (got "alias")'],
    ),
    "section in the wrong place": (
        "mailboxes:\n  jean: {name: Jean}",
        ["1: mailboxes: stands within a domain; write the domain and a colon above it, and indent what belongs to it"],
    ),
    "key of an entry": (
        "a.example:\n  lists:\n    team: {members: [x], ownr: x}",
        ['3: "a.example".lists.team.ownr: is not a key here; did you mean "owner"? (got "ownr")'],
    ),
    "domains": (
        '-a-: {}\n"": {}\nmüller.example: {}',
        [
            '1: -a-: is not a domain (got "-a-")',
            '2: "": has no domain (got "")',
            '3: "müller.example": must be written in ASCII: xn--mller-kva.example (got "müller.example")',
        ],
    ),
    "domain twice": (
        "a.example: {}\nb.example: {}\nA.Example.: {}",
        ['3: "A.Example.": stands twice; "a.example" is on line 1 (got "A.Example.")'],
    ),
    "key twice": (
        "a.example:\n  mailboxes:\n    x: {}\n    x: {}",
        ['4: "a.example".mailboxes.x: stands here again; it is on line 3 (got "x")'],
    ),
    "name in two sections": (
        "a.example:\n  mailboxes:\n    Jean: {}\n  aliases:\n    jean: x\n  moved:\n    JEAN: {to: x}",
        [
            '5: "a.example".aliases.jean: stands twice; "a.example".mailboxes.Jean is on line 3 (got "jean")',
            '7: "a.example".moved.JEAN: stands twice; "a.example".mailboxes.Jean is on line 3 (got "JEAN")',
        ],
    ),
    "names": (
        "a.example:\n  mailboxes:\n    a..b: {}\n    jean@a.example: {}\n    c d:",
        [
            '3: "a.example".mailboxes."a..b": is not an address: the part before the @ has a dot at its end or two in a'
            ' row, and is not quoted (got "a..b")',
            '4: "a.example".mailboxes."jean@a.example": is written without its @ and domain (got "jean@a.example")',
            '5: "a.example".mailboxes."c d": is not an address: a blank cuts the address off before its @ (got "c d")',
        ],
    ),
    "addresses": (
        'a.example:\n  aliases:\n    a: []\n    b: [x, 5, "y z", u@-b-]\n    c: {x: y}\n    d: ""\n    e: null',
        [
            '3: "a.example".aliases.a: must have 1 to 10000 addresses, not 0 (got [])',
            '4: "a.example".aliases.b[1]: must be an address; in quotes it is: "5" (got 5)',
            '4: "a.example".aliases.b[2]: is not an address: a blank cuts the address off before its @ (got "y z")',
            '4: "a.example".aliases.b[3]: is not an address: a part of the domain begins or ends with a hyphen'
            ' (got "u@-b-")',
            '5: "a.example".aliases.c: must be an address or a list of addresses (got {"x": "y"})',
            '6: "a.example".aliases.d: must be an address (got "")',
            '7: "a.example".aliases.e: must be an address or a list of addresses (got null)',
        ],
    ),
    "entries": (
        "a.example:\n  mailboxes: {jean: Jean Dupont}\n  lists: {team: {name: T}, all: [x]}\n"
        "  moved: {x: y, z: {forward: yes}}",
        [
            '2: "a.example".mailboxes.jean: must be a mapping, a `key: value` on each line (got "Jean Dupont")',
            '3: "a.example".lists.team.members: is missing (got nothing)',
            '3: "a.example".lists.all: must be a mapping, a `key: value` on each line (got ["x"])',
            '4: "a.example".moved.x: must be a mapping, a `key: value` on each line (got "y")',
            '4: "a.example".moved.z.to: is missing (got nothing)',
            '4: "a.example".moved.z.forward: must be true or false (got "yes")',
        ],
    ),
    "full names": (
        'a.example:\n  mailboxes:\n    a: {name: 5}\n    b: {name: "Jean <j@a.example>"}\n    c: {name: "\\x07"}\n'
        f"    d: {{name: {'é' * 101}}}",
        [
            '3: "a.example".mailboxes.a.name: must be text; in quotes it is: "5" (got 5)',
            '4: "a.example".mailboxes.b.name: must be a name, without < and > and control characters'
            ' (got "Jean <j@a.example>")',
            '5: "a.example".mailboxes.c.name: must be a name, without < and > and control characters (got "\\u0007")',
            f'6: "a.example".mailboxes.d.name: must be at most 200 octets long (got "{"é" * 78}…)',
        ],
    ),
    "all at once, in the order of the file": (
        "a.example:\n  lists: {t: {}}\n  moved: {t: {to: x}, u..v: {to: 1}}\n  other: 1\n-b: 5",
        [
            '2: "a.example".lists.t.members: is missing (got nothing)',
            '3: "a.example".moved.t: stands twice; "a.example".lists.t is on line 2 (got "t")',
            '3: "a.example".moved."u..v": is not an address: the part before the @ has a dot at its end or two in a'
            ' row, and is not quoted (got "u..v")',
            '3: "a.example".moved."u..v".to: must be an address; in quotes it is: "1" (got 1)',
            '4: "a.example".other: is not a key here; there are mailboxes, aliases, lists, moved (got "other")',
            '5: -b: is not a domain (got "-b")',
            "5: -b: must be a mapping, a `key: value` on each line (got 5)",
        ],
    ),
    "list": ("- a.example", ["1: must hold a mapping, a `domain: {…}` for each domain"]),
    "not YAML": ("a.example: {", ["2: is not YAML: did not find expected node content, while parsing a flow node"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_told(tmp_path: Path, name: str) -> None:
    text, expected = MISTAKES[name]
    with pytest.raises(ConfigError) as error:
        load_with(tmp_path, f"{text}\n")
    path = tmp_path / "directory.yml"
    assert [line.removeprefix(f"{path}:") for line in str(error.value).splitlines()] == expected


def test_mistakes_of_both_files_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_with(tmp_path, "\na.example: 1\n", f"{MAIN}histroy: 7d\n")
    assert [(Path(one.file).name, one.line, one.key) for one in error.value.problems] == [
        ("mta.yml", 6, "histroy"),
        ("directory.yml", 2, '"a.example"'),
    ]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("none.yml", "{folder}/none.yml cannot be read: No such file or directory"),
        (".", "{folder} cannot be read: Is a directory"),
        ("pipe", "{folder}/pipe cannot be read: it is a named pipe, and must be a file"),
        ("big.yml", "{folder}/big.yml is larger than 8MiB, as no directory is"),
        ("5", "must be the path of a file (got 5)"),
        ('"\\0"', 'must be a path without control characters (got "\\u0000")'),
        ("[a.yml]", 'must be the path of a file (got ["a.yml"])'),
    ],
)
def test_file_that_cannot_be_read_is_told_where_it_is_named(tmp_path: Path, named: str, said: str) -> None:
    with (tmp_path / "big.yml").open("wb") as big:
        big.truncate(8 * 1024 * 1024 + 1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError) as error:
        load_with(tmp_path, "", MAIN.replace("directory.yml", named))
    assert str(error.value) == f"{tmp_path / 'mta.yml'}:5: directory: {said.format(folder=tmp_path)}"


DANGERS = {
    "nothing": (
        "example.org:\n  mailboxes: {a: }\n  aliases: {b: [a, postmaster, x@else.example]}\n"
        "sub.example.org:\n  lists: {t: {members: [unknown, a@example.org]}}",
        [],
    ),
    "domain of nobody": (
        "Else.example: {}",
        [
            '1: "Else.example": Else.example is not in relay.domains, so mail for its names is taken from the clients'
            " of relay.networks alone; add it there"
        ],
    ),
    "unknown members": (
        "example.org:\n  mailboxes: {a: }\n  aliases:\n    b: [a, c]\n  lists:\n    t:\n      members: [a, d]\n"
        "      owner: e\n  moved:\n    f: {to: g}",
        [
            f'{line}: "example.org".{key}: {local}@example.org is not a name of its domain, so mail for it bounces;'
            " correct it, or add a mailbox"
            for line, key, local in (
                (4, "aliases.b[1]", "c"),
                (7, "lists.t.members[1]", "d"),
                (8, "lists.t.owner", "e"),
                (10, "moved.f.to", "g"),
            )
        ],
    ),
    "member that has moved": (
        "example.org:\n  moved: {a: {to: b@else.example, forward: false}, c: {to: d@else.example}}\n"
        "  aliases: {e: [a, c]}",
        [
            '3: "example.org".aliases.e[0]: a@example.org has moved, and its mail is not forwarded; name b@else.example'
            " instead"
        ],
    ),
    "loops": (
        "example.org:\n  aliases:\n    a: a\n    b: [c, d@else.example]\n    c: b\n  lists:\n    t: {members: t}",
        [
            f'{line}: "example.org".{key}: {local}@example.org leads only to itself, so nobody gets its mail;'
            " name somebody"
            for line, key, local in ((3, "aliases.a", "a"), (7, "lists.t", "t"))
        ],
    ),
    "depth": (
        "example.org:\n  aliases:\n" + "".join(f"    a{n}: a{n + 1}\n" for n in range(22)),
        [
            '3: "example.org".aliases.a0: a0@example.org leads to more names than can be served; divide it',
            '4: "example.org".aliases.a1: a1@example.org leads to more names than can be served; divide it',
        ],
    ),
}


@pytest.mark.parametrize("name", DANGERS)
def test_danger_is_told(tmp_path: Path, name: str) -> None:
    text, expected = DANGERS[name]
    found = dangers(load_with(tmp_path, f"{text}\n"))
    assert [str(danger).removeprefix(f"{tmp_path / 'directory.yml'}:") for danger in found] == expected


def test_dangers_of_the_configuration_come_first(tmp_path: Path) -> None:
    found = dangers(load_with(tmp_path, "else.example: {}\n", f"{MAIN}listen: []\n"))
    assert [Path(one.file).name for one in found] == ["mta.yml", "directory.yml"]


names = st.sampled_from(
    ["a.example", "mailboxes", "aliases", "lists", "moved", "name", "members", "owner", "to", "x@y"]
)
scalars = st.sampled_from(["null", "true", "5", "jean", "jean@a.example", '"<>"', '"\\0"', "é", "[]", "{}"])
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda one: f"[{', '.join(one)}]"),
        st.dictionaries(names, inner, max_size=4).map(
            lambda one: "{" + ", ".join(f"{key}: {value}" for key, value in one.items()) + "}"
        ),
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=300)
@given(trees)
def test_nothing_but_a_config_error_comes_out(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "names.yml"
    path.write_text(text, encoding="utf-8")
    try:
        read_directory(path)
    except ConfigError as error:
        assert error.problems
        assert all(line.startswith(str(path)) and line.isprintable() for line in str(error).split("\n"))
