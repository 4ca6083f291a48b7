"""The file of accounts, and what has to fit together so that logins work."""

import os
from pathlib import Path

import pytest

from mta.config.accounts import parse_accounts, read_accounts
from mta.config.dangers import dangers
from mta.config.load import check_files, load
from mta.config.problems import ConfigError
from mta.config.rules import AccountSources
from mta.policy.account import Account, ScramForm
from mta.policy.pattern import Pattern

SALT, KEY, SHORT = "W22ZaJ0SNY7soEsUEjb6gQ==", "A" * 43 + "=", "A" * 27 + "="
SHA_256 = f"SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}"
SHA_1 = f"SCRAM-SHA-1$4096:{SALT}${SHORT}:{SHORT}"
ARGON = "$argon2id$v=19$m=65536,t=3,p=4$if6yKi7WG2nSByKINLtBRg$CSKDEHk0IOh3q0Y9hyKK19r+jZyJ6x+hRocjiFHwAt0"


def test_every_key() -> None:
    text = f"""\
# people
Alice@Example.org: {{argon2: "{ARGON}", scram-sha-256: "{SHA_256}", scram-sha-1: {SHA_1}, cram-md5: secret,
  senders: [alice@example.org, "*@shop.example.org"]}}
printer:
  cram-md5: "123"
certificate: {{}}
other:
"""
    found = parse_accounts(text, "accounts.yml")
    senders = (Pattern.parse("alice@example.org"), Pattern.parse("shop.example.org"))
    forms = ScramForm.parse(SHA_1), ScramForm.parse(SHA_256)
    assert list(found) == ["alice@example.org", "printer", "certificate", "other"]
    assert found["alice@example.org"] == Account("Alice@Example.org", ARGON, *forms, "secret", senders)
    assert found["printer"] == Account("printer", cram_md5="123")
    assert found["other"] == Account("other")
    assert str(forms[0]) == SHA_1
    assert str(forms[1]) == SHA_256


def test_nothing_in_it() -> None:
    assert parse_accounts("", "x") == parse_accounts("# nobody\n", "x") == {}


WRONG = {
    "[a]": ["1: must hold a mapping, a `name: {…}` for each account"],
    "a: {argon: x}": ['1: a.argon: is not a key here; did you mean "argon2"?'],
    "a: {zzz: x}": ["1: a.zzz: is not a key here; there are argon2, scram-sha-256, scram-sha-1, cram-md5 and senders"],
    "a: {cram-md5: x}\nA: {}": ["2: A: is another's name but for upper and lower case"],
    "a: {cram-md5: x}\na: {}": ['2: a: stands here again; it is on line 1 (got "a")'],
    "a b: {}\na: text": [
        '1: "a b": must not have spaces or control characters',
        "2: a: must be a mapping: {argon2: …, scram-sha-256: …}",
    ],
    "a: {cram-md5: 123}": ["1: a.cram-md5: must be text, in quotes"],
    "a:\n  argon2: hunter2": ["2: a.argon2: is not an argon2 hash ($argon2id$v=19$…); `mta account add` makes one"],
    f"a: {{argon2: '{ARGON.replace('65536', '99999999')}'}}": [
        "1: a.argon2: takes more than 1048576 KiB of memory to check"
    ],
    f"a: {{scram-sha-1: {SHA_256}}}": ["1: a.scram-sha-1: is a form for SCRAM-SHA-256"],
    "a: {scram-sha-256: hunter2}": [
        "1: a.scram-sha-256: is not a SCRAM form (SCRAM-SHA-256$iterations:salt$stored-key:server-key)"
    ],
    f"a: {{scram-sha-256: {SHA_256.replace('4096', '4095')}}}": [
        "1: a.scram-sha-256: must have from 4096 to 10000000 iterations"
    ],
    f"a: {{scram-sha-256: {SHA_256.replace(SALT, 'AAAA')}}}": [
        "1: a.scram-sha-256: has a salt of fewer than 12 octets"
    ],
    f"a: {{scram-sha-256: {SHA_256.replace(KEY, SHORT)}}}": [
        "1: a.scram-sha-256: has a key that is not one of SCRAM-SHA-256"
    ],
    f"a: {{scram-sha-256: {SHA_256.replace(KEY, '*')}}}": ["1: a.scram-sha-256: has a part that is not base64"],
    "a: {senders: a@b.example}": ['1: a.senders: must be a list: [alice@example.org, "*@shop.example.org"]'],
    "a: {senders: [a*@b.example]}": [
        "1: a.senders: entry 'a*@b.example' has a * for part of a name; it can only stand for all of it"
    ],
    "a: [": ["2: is not YAML"],
}


@pytest.mark.parametrize("text", WRONG)
def test_mistakes_have_their_line_and_no_secret(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_accounts(text, "accounts.yml")
    said = [line.removeprefix("accounts.yml:") for line in str(error.value).splitlines()]
    assert len(said) == len(WRONG[text])
    assert all(one.startswith(expected) for one, expected in zip(said, WRONG[text], strict=True)), said
    assert "hunter2" not in str(error.value)


def configured(folder: Path, text: str) -> Path:
    path = folder / "mta.yml"
    path.write_text(f"hostname: mail.example.org\npostmaster: p@elsewhere.example\nspool: s\n{text}\n")
    return path


@pytest.mark.parametrize(
    ("value", "sources"),
    [
        ("null", None),
        ("[]", None),
        ("a.yml", ("a.yml", None)),
        ("dovecot:/run/auth", (None, "/run/auth")),
        ("[a.yml, 'dovecot:sock']", ("a.yml", "sock")),
    ],
)
def test_sources(tmp_path: Path, value: str, sources: tuple[str | None, str | None] | None) -> None:
    found = load(configured(tmp_path, f"accounts: {value}")).accounts
    if sources is None:
        assert found is None
    else:
        file, dovecot = sources
        assert found == AccountSources(file and tmp_path / file, dovecot and tmp_path / dovecot)


MISTAKES = {
    "accounts: ['dovecot:a', b.yml]": "4: accounts: must have Dovecot in the last place, once",
    "accounts: ['dovecot:a', 'dovecot:b']": "4: accounts: must have Dovecot in the last place, once",
    "accounts: [a.yml, b.yml]": "4: accounts: must name one file only",
    "accounts: 'dovecot:'": "4: accounts: must be the path of a file, dovecot:PATH, or a list of both",
    "accounts: 5": "4: accounts: must be the path of a file, dovecot:PATH, or a list of both",
    "listen:\n  - address: 127.0.0.1:25\n  - address: 127.0.0.1:587\n    auth: required": (
        '7: listen[1].auth: needs accounts, a file of those who may log in (`mta account` writes it) (got "required")'
    ),
    "listen: [{address: '127.0.0.1:25', auth: offered}]": "4: listen[0].auth: needs accounts",
    "routes: [{to: '*', via: mx, login: provider}]": (
        '4: routes[0].login: is not an entry of logins; there is none (got "provider")'
    ),
    "logins: {a: {user: u, password_file: p}}\nroutes:\n  - {to: '*', via: mx, login: b}": (
        '6: routes[0].login: is not an entry of logins; there are a (got "b")'
    ),
    "logins: {a: {user: u}}": "4: logins.a: needs password_file, a file that holds the password",
    "logins: {a: {user: u, oauth2: microsoft}}": "4: logins.a.oauth2: not available yet (OAuth2)",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_what_does_not_fit_together(tmp_path: Path, text: str) -> None:
    path = configured(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load(path)
    [said] = str(error.value).splitlines()
    assert said.startswith(f"{path}:{MISTAKES[text]}")


def test_files_are_read_when_the_relay_is_about_to_start(tmp_path: Path) -> None:
    text = "logins: {a: {user: u, password_file: pass}, b: {user: u, password_file: none}}\naccounts: accounts.yml"
    path = configured(tmp_path, text)
    (tmp_path / "pass").write_text("")
    (tmp_path / "accounts.yml").write_text("a: {b: c}\n")
    with pytest.raises(ConfigError) as error:
        check_files(load(path))
    assert [line.removeprefix(f"{tmp_path}/") for line in str(error.value).splitlines()] == [
        f"mta.yml:4: logins.a.password_file: {tmp_path}/pass is empty; it must hold the password on one line",
        f"mta.yml:4: logins.b.password_file: {tmp_path}/none cannot be read: No such file or directory",
        "accounts.yml:1: a.b: is not a key here; there are argon2, scram-sha-256, scram-sha-1, cram-md5 and senders",
    ]
    (tmp_path / "accounts.yml").unlink()
    (tmp_path / "pass").write_text("x")
    (tmp_path / "none").write_text("x")
    with pytest.raises(ConfigError) as error:
        check_files(load(path))
    file = tmp_path / "accounts.yml"
    assert str(error.value) == (
        f"{path}:5: accounts: {file} cannot be read: No such file or directory; `mta account add` makes it"
    )
    os.mkfifo(tmp_path / "accounts.yml")
    with pytest.raises(ConfigError, match="cannot be read: it is a named pipe"):
        check_files(load(path))
    (tmp_path / "accounts.yml").unlink()
    (tmp_path / "accounts.yml").write_text("a: {cram-md5: c}\n")
    check_files(load(path))
    assert list(read_accounts(tmp_path / "accounts.yml")) == ["a"]


def test_dangers(tmp_path: Path) -> None:
    text = (
        "logins: {a: {user: u, password_file: pass}}\naccounts: accounts.yml\nlisten:\n"
        "  - {address: '127.0.0.1:25', auth: offered}\n"
        "  - {address: '127.0.0.1:26', auth: offered, plaintext_auth: [10.0.0.0/8]}\n"
        "  - {address: '127.0.0.1:27', auth: offered, plaintext_auth: [11.0.0.0/8]}\n"
        "  - {address: '127.0.0.1:28', auth: offered, plaintext_auth: [127.0.0.0/8, '::1/128']}\n"
        "  - {address: '127.0.0.1:29', plaintext_auth: [10.0.0.0/8]}"
    )
    path = configured(tmp_path, text)
    secrets = [tmp_path / "pass", tmp_path / "accounts.yml"]
    for one in secrets:
        one.write_text("")
        one.chmod(0o640)
    about_listeners = [
        f"{path}:7: listen[0].auth: is not encrypted, so PLAIN and LOGIN are not offered",
        f"{path}:8: listen[1].plaintext_auth: lets clients log in over plain text, which others in their network can",
        f"{path}:9: listen[2].plaintext_auth: lets clients at public addresses log in over plain text",
    ]
    said = [str(problem) for problem in dangers(load(path))]
    assert [one[: len(expected)] for one, expected in zip(said, about_listeners, strict=True)] == about_listeners
    for one in secrets:
        one.chmod(0o644)
    said = [str(problem) for problem in dangers(load(path))]
    assert said[:2] == [
        f"{path}:4: logins.a.password_file: everybody on this machine can read the password in {secrets[0]};"
        f" say chmod o-rwx {secrets[0]}",
        f"{path}:5: accounts: everybody on this machine can read the forms of all passwords in {secrets[1]};"
        f" say chmod o-rwx {secrets[1]}",
    ]
