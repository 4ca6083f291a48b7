"""Accounts text: an entry of the file of accounts written, replaced or removed; the rest stays as it was written."""

import json
import re

from mta.config.accounts import parse_accounts
from mta.config.document import read_document
from mta.config.problems import ConfigError
from mta.policy.account import Account, account_key
from mta.policy.pattern import Kind, Pattern

_PLAIN_NAME = re.compile(r"[A-Za-z][\w.+-]*(@[\w.-]+)?", re.ASCII)


class NotEditable(ValueError):
    """The file is laid out in a way that cannot be edited by lines."""


def with_account(text: str, account: Account) -> str:
    """The text of a file that parses, with this account in the place of the one of its name, or at the end.

    Raises `NotEditable`.
    """
    return _edited(text, account.name, account)


def without_account(text: str, name: str) -> str:
    """The text without an account that is in it. Raises `NotEditable`."""
    return _edited(text, name, None)


def entry(account: Account) -> str:
    """An account as a line of the file."""
    values: dict[str, object] = {key: str(form) for key, form in account.forms.items()}
    if account.senders:
        values["senders"] = [written(sender) for sender in account.senders]
    inside = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    name = account.name if _PLAIN_NAME.fullmatch(account.name) else json.dumps(account.name, ensure_ascii=False)
    return f"{name}: {{{inside}}}\n"


def written(sender: Pattern) -> str:
    """A pattern as it is written in the file; its domain alone would do, but less plainly."""
    return f"*@{sender.name}" if sender.kind is Kind.DOMAIN else sender.name


def _edited(text: str, name: str, account: Account | None) -> str:
    before = parse_accounts(text, "")
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    begin, end = _place(text, lines, name)
    lines[begin:end] = [entry(account)] if account is not None else []
    made = "".join(lines)
    wanted = {key: one for key, one in before.items() if key != account_key(name)}
    if account is not None:
        wanted[account_key(name)] = account
    try:
        is_right = parse_accounts(made, "") == wanted
    except ConfigError:
        is_right = False
    if not is_right:
        raise NotEditable("is not laid out with each account on lines of its own, so it cannot be edited by a program")
    return made


def _place(text: str, lines: list[str], name: str) -> tuple[int, int]:
    """Where the entry of a name begins and ends; the end of the file where there is none.

    Comments above the next entry are that one's.
    """
    document = read_document(text)
    keys = list(document.mapping)
    starts = [document.lines[(key,)] - 1 for key in keys]
    for number, key in enumerate(keys):
        if account_key(key) == account_key(name):
            begin, end = starts[number], [*starts, len(lines)][number + 1]
            while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
                end -= 1
            return begin, end
    return len(lines), len(lines)
