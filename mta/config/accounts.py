"""Accounts: the file of those who may log in here, as `mta account` writes it and as people may."""

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from mta.config.document import Key
from mta.config.problems import MOST, Problem, key_path, listed, refuse, second_keys
from mta.config.reading import mapping_in, read_text
from mta.config.units import MIB
from mta.policy.account import SCRAM_SHA_1, SCRAM_SHA_256, Account, ScramForm, account_key
from mta.policy.pattern import Pattern

LONGEST_NAME: Final = 255  # characters
_LARGEST: Final = 4 * MIB
_MOST_MEMORY: Final = 1024 * 1024  # KiB that checking one password may take
_ARGON2 = re.compile(r"\$argon2(?:id|i|d)\$v=19\$m=([0-9]{1,10}),t=[0-9]{1,4},p=[0-9]{1,3}\$[\w+/]+\$[\w+/]+", re.ASCII)


def read_accounts(path: Path) -> dict[str, Account]:
    """The accounts in a file, by `account_key`. Raises `ConfigError` with all that is wrong with it, with its lines."""
    return parse_accounts(read_text(path, "file of accounts", _LARGEST), str(path))


def parse_accounts(text: str, file: str) -> dict[str, Account]:
    """As `read_accounts`; file: its name, for what is wrong."""
    document = mapping_in(text, file, "`name: {…}` for each account")
    reader = _Reader()
    accounts: dict[str, Account] = {}
    for name, entry in document.mapping.items():
        account = reader.account(name, entry)
        if accounts.setdefault(account_key(name), account) is not account:
            reader.wrong((name,), "is another's name but for upper and lower case")
    problems = [Problem(file, document.line(key), key_path(key), said) for key, said in reader.found]
    refuse([*problems, *second_keys(file, document)], file)
    return accounts


def wrong_name(name: str) -> str | None:
    """What is wrong with the name of an account, for people; None where it can be one."""
    if not name:
        return "must not be empty"
    if len(name) > LONGEST_NAME:
        return f"must not be longer than {LONGEST_NAME} characters"
    if not name.isprintable() or " " in name:
        return "must not have spaces or control characters"
    return None


class _Reader:
    """Reads entries, and gathers what is wrong with them. What is secret in them is never quoted."""

    def __init__(self) -> None:
        self.found: list[tuple[Key, str]] = []

    def wrong(self, key: Key, text: str) -> None:
        """Something is wrong at a key."""
        self.found.append((key, text))

    def account(self, name: str, entry: Any) -> Account:
        """One entry; without what is wrong with it."""
        reason = wrong_name(name)
        if reason:
            self.wrong((name,), reason)
        if entry is not None and not isinstance(entry, dict):
            self.wrong((name,), "must be a mapping: {argon2: …, scram-sha-256: …}")
            entry = None
        found: dict[str, Any] = {}
        for word, value in (entry or {}).items():
            parse = _KEYS.get(word)
            if parse is None:
                self.wrong((name, word), _unknown(word) if len(self.found) < MOST else "is not a key here")
                continue
            try:
                found[word.replace("-", "_")] = parse(value)
            except ValueError as error:
                self.wrong((name, word), str(error))
        return Account(name, **found)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text, in quotes")
    return value


def _argon2(value: object) -> str:
    match = _ARGON2.fullmatch(_text(value))
    if match is None:
        raise ValueError("is not an argon2 hash ($argon2id$v=19$…); `mta account add` makes one")
    if int(match[1]) > _MOST_MEMORY:
        raise ValueError(f"takes more than {_MOST_MEMORY} KiB of memory to check")
    return match[0]


def _scram(mechanism: str) -> Callable[[object], ScramForm]:
    def parse(value: object) -> ScramForm:
        form = ScramForm.parse(_text(value))
        if form.mechanism != mechanism:
            raise ValueError(f"is a form for {form.mechanism}")
        return form

    return parse


def _senders(value: object) -> tuple[Pattern, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError('must be a list: [alice@example.org, "*@shop.example.org"]')
    return tuple(_each_sender(value))


def _each_sender(values: list[object]) -> Iterator[Pattern]:
    for value in values:
        try:
            yield Pattern.parse(_text(value))
        except ValueError as error:
            raise ValueError(f"entry {value!r} {error}") from None


_KEYS: Final[dict[str, Callable[[object], object]]] = {
    "argon2": _argon2,
    "scram-sha-256": _scram(SCRAM_SHA_256),
    "scram-sha-1": _scram(SCRAM_SHA_1),
    "cram-md5": _text,
    "senders": _senders,
}


def _unknown(word: str) -> str:
    near = get_close_matches(word, _KEYS, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"there are {listed(list(_KEYS)).replace(' or ', ' and ')}"
    return f"is not a key here; {hint}"
