"""`mta account`: what it writes, what it leaves as it was, and what it says."""

import json
import os
import pty
import stat
import subprocess
from pathlib import Path

import pytest
from cli_ground import MTA, Ground, run
from click.testing import Result

from mta.auth.passwords import is_right
from mta.config.accounts import parse_accounts, read_accounts
from mta.config.accounts_text import NotEditable, entry, with_account, without_account
from mta.policy.account import Account
from mta.policy.pattern import Pattern


@pytest.fixture
def accounts(ground: Ground) -> Path:
    with ground.file.open("a") as file:
        file.write("accounts: accounts.yml\n")
    return ground.file.with_name("accounts.yml")


def account(ground: Ground, verb: str, *words: str, status: int = 0, typed: str | None = None) -> Result:
    """`mta account verb …` with the configuration of the ground."""
    return run("account", verb, "--config", str(ground.file), *words, status=status, typed=typed)


def test_an_account_from_nothing(ground: Ground, accounts: Path) -> None:
    added = account(ground, "add", "alice@example.org", "--password-stdin", typed="päss word\n")
    assert (added.stdout, added.stderr) == ("added alice@example.org\n", "")
    [alice] = read_accounts(accounts).values()
    assert alice.name == "alice@example.org"
    assert is_right(alice, "päss word")
    assert alice.argon2.startswith("$argon2id$")
    for form in (alice.scram_sha_1, alice.scram_sha_256):
        assert form is not None
        assert is_right(Account("", scram_sha_256=form), "päss word")
    assert alice.cram_md5 == ""
    assert alice.senders == ()
    assert stat.S_IMODE(accounts.stat().st_mode) == 0o600
    assert "päss word" not in accounts.read_text()
    assert [path.name for path in accounts.parent.glob(".accounts*")] == []


def test_the_secret_for_cram_md5_is_kept_with_a_warning(ground: Ground, accounts: Path) -> None:
    added = account(ground, "add", "printer", "--password-stdin", "--cram-md5", typed="pencil")
    assert added.stdout == "added printer\n"
    assert added.stderr == (
        f"mta: warning: who can read {accounts} knows this password now; CRAM-MD5 needs it as it is\n"
    )
    assert read_accounts(accounts)["printer"].cram_md5 == "pencil"
    changed = account(ground, "add", "PRINTER", "--password-stdin", typed="new")
    assert changed.stdout == "changed printer\n"
    assert "can no longer log in with CRAM-MD5" in changed.stderr
    assert read_accounts(accounts)["printer"].cram_md5 == ""


def test_senders(ground: Ground, accounts: Path) -> None:
    both = ("--senders", "a@example.org", "--senders", "*@shop.example.org")
    account(ground, "add", "a", "--password-stdin", *both, typed="1")
    wanted = (Pattern.parse("a@example.org"), Pattern.parse("*@shop.example.org"))
    assert read_accounts(accounts)["a"].senders == wanted
    account(ground, "add", "a", "--password-stdin", typed="2")
    assert read_accounts(accounts)["a"].senders == wanted
    account(ground, "add", "a", "--password-stdin", "--senders", "*", typed="2")
    assert read_accounts(accounts)["a"].senders == (Pattern.parse("*"),)


WRITTEN = """\
# Our people.

# Alice is on leave.
alice: {cram-md5: one}   # till May
# Bob
bob:
  cram-md5: two

  senders: [bob@example.org]

# The printer
printer: {cram-md5: three}
# The end.
"""


def test_what_people_wrote_stays(ground: Ground, accounts: Path) -> None:
    accounts.write_text(WRITTEN)
    accounts.chmod(0o640)
    account(ground, "add", "bob", "--password-stdin", typed="new")
    lines = accounts.read_text().splitlines()
    assert lines[:5] == WRITTEN.splitlines()[:5]
    assert lines[5].startswith('bob: {argon2: "$argon2id$')
    assert lines[5].endswith(', senders: ["bob@example.org"]}')
    assert lines[6:] == WRITTEN.splitlines()[9:]
    assert stat.S_IMODE(accounts.stat().st_mode) == 0o640
    assert account(ground, "remove", "bob").stdout == "removed bob\n"
    assert accounts.read_text().splitlines() == WRITTEN.splitlines()[:5] + WRITTEN.splitlines()[9:]
    account(ground, "add", "carol", "--password-stdin", typed="new")
    assert accounts.read_text().splitlines()[-2] == "# The end."
    assert list(read_accounts(accounts)) == ["alice", "printer", "carol"]


@pytest.mark.parametrize(
    "name", ["alice", "alice@example.org", "123", "null", "a:b", "{x}", "#a", "é@example.org", '"', "-"]
)
def test_any_name_can_be_written(name: str) -> None:
    account = Account(name, cram_md5='s"e: c#r\\et', senders=(Pattern.parse("<>"), Pattern.parse(".example.org")))
    text = with_account("other: {cram-md5: x}", account)
    assert parse_accounts(text, "")[name] == account
    assert without_account(text, name) == "other: {cram-md5: x}\n"
    assert text.splitlines()[1] + "\n" == entry(account)


@pytest.mark.parametrize(
    "text", ["{a: {cram-md5: x}, b: {cram-md5: y}}\n", "  a: {cram-md5: x}\n  b: {cram-md5: y}\n", "{}\n"]
)
def test_a_layout_that_cannot_be_edited_is_left_alone(ground: Ground, accounts: Path, text: str) -> None:
    with pytest.raises(NotEditable):
        with_account(text, Account("a", cram_md5="new"))
    accounts.write_text(text)
    refused = account(ground, "add", "a", "--password-stdin", status=1, typed="new")
    assert "is not laid out with each account on lines of its own" in refused.stderr
    assert accounts.read_text() == text


def test_a_link_stays_a_link(ground: Ground, accounts: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere.yml"
    real.write_text("a: {cram-md5: x}\n")
    accounts.symlink_to(real)
    account(ground, "remove", "a")
    assert accounts.is_symlink()
    assert real.read_text() == ""


def test_listing(ground: Ground, accounts: Path) -> None:
    assert account(ground, "list").stdout == f"there are no accounts in {accounts}\n"
    assert json.loads(account(ground, "list", "--json").stdout) == []
    accounts.write_text('alice: {cram-md5: one, senders: ["*@example.org", a@b.example]}\ncert: {}\n')
    assert account(ground, "list").stdout.splitlines() == [
        "NAME   FORMS        SENDERS",
        "alice  cram-md5     *@example.org,a@b.example",
        "cert   certificate  anything",
    ]
    alice = {"name": "alice", "forms": ["cram-md5"], "senders": ["*@example.org", "a@b.example"]}
    assert json.loads(account(ground, "list", "--json").stdout) == [
        alice,
        {"name": "cert", "forms": [], "senders": []},
    ]
    assert json.loads(account(ground, "list", "ALICE", "--json").stdout) == [alice]
    assert "there is no account nobody" in account(ground, "list", "nobody", status=1).stderr


def test_what_is_not_there_is_not_removed(ground: Ground, accounts: Path) -> None:
    assert "there is no account a in" in account(ground, "remove", "a", status=1).stderr
    assert not accounts.exists()


@pytest.mark.parametrize(("typed", "said"), [
    ("", "the password must not be empty"),
    ("\n", "the password must not be empty"),
    ("a\nb\n", "the password has characters that cannot stand"),
    ("a\x07b", "the password has characters that cannot stand"),
    ("x" * 1025, "the password must not be longer than 1024 octets"),
])  # fmt: skip
def test_a_password_that_is_none(ground: Ground, accounts: Path, typed: str, said: str) -> None:
    assert said in account(ground, "add", "a", "--password-stdin", status=1, typed=typed).stderr
    assert not accounts.exists()


@pytest.mark.parametrize("name", ["", "a b", "a\x1b[31m", "x" * 256, "\u200e"])
def test_a_name_that_is_none(ground: Ground, accounts: Path, name: str) -> None:
    refused = account(ground, "add", name, "--password-stdin", status=2, typed="x")
    assert "\x1b" not in refused.stderr
    assert not accounts.exists()


def test_wrong_use(ground: Ground, accounts: Path) -> None:
    assert "nobody is there to type it" in account(ground, "add", "a", status=2, typed="x\nx\n").stderr
    account(ground, "add", "a", "--password-stdin", "--senders", "a*@b", status=2, typed="x")
    assert not accounts.exists()


def test_nowhere_to_write(ground: Ground) -> None:
    said = account(ground, "list", status=1).stderr
    assert said == "mta: the configuration names no file of accounts; write accounts: accounts.yml into it\n"


def test_a_broken_file_is_told_by_line_and_not_touched(ground: Ground, accounts: Path) -> None:
    accounts.write_text("a: {cram-md5: x}\nb: {argon: y}\n")
    for words in (("add", "c", "--password-stdin"), ("remove", "a"), ("list",)):
        said = account(ground, *words, status=1, typed="x").stderr
        assert said == f'{accounts}:2: b.argon: is not a key here; did you mean "argon2"?\n'


def test_asked_twice_on_a_terminal(ground: Ground, accounts: Path) -> None:
    """The password is not shown."""
    here, there = pty.openpty()
    command = [str(MTA), "account", "add", "--config", str(ground.file), "alice"]
    with subprocess.Popen(command, stdin=there, stdout=there, stderr=there, start_new_session=True) as process:
        os.close(there)
        shown = b""
        for prompt in (b"Password: ", b"Again: "):
            while not shown.endswith(prompt):
                shown += os.read(here, 1000)
            os.write(here, b"pencil\n")
        assert process.wait(30) == 0
        shown += os.read(here, 1000)
    os.close(here)
    assert b"added alice" in shown
    assert b"pencil" not in shown
    assert is_right(read_accounts(accounts)["alice"], "pencil")


def test_the_configuration_may_be_named_before_the_verb(ground: Ground, accounts: Path) -> None:
    accounts.write_text("a: {cram-md5: x}\n")
    assert ground.mta("account", "list").stdout == account(ground, "list").stdout
    assert ground.mta("account", "remove", "a").stdout == "removed a\n"
