"""Logging in: what has to fit together, in the configuration and in the files that it names, so that logins work."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from mta.config.accounts import read_accounts
from mta.config.document import Key
from mta.config.problems import ConfigError, Problem
from mta.config.reading import read_password
from mta.policy.access import public_addresses

if TYPE_CHECKING:
    from mta.config.model import Config


def unfit(config: "Config") -> Iterator[tuple[Key, str]]:
    """What does not fit together in the configuration itself."""
    for number, listener in enumerate(config.listen):
        if listener.auth != "none" and config.accounts is None:
            yield ("listen", number, "auth"), "needs accounts, a file of those who may log in (`mta account` writes it)"
    for number, route in enumerate(config.routes):
        if route.login is not None and route.login not in config.logins:
            there = f"there are {', '.join(config.logins)}" if config.logins else "there is none"
            yield ("routes", number, "login"), f"is not an entry of logins; {there}"


def check_files(config: "Config") -> None:
    """Read what logins need: passwords, and the file of accounts. Raises `ConfigError` with all that is wrong."""
    problems = list(_unreadable_passwords(config))
    if config.accounts is not None and config.accounts.file is not None:
        try:
            read_accounts(config.accounts.file)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def login_dangers(config: "Config") -> Iterator[Problem]:
    """What the configuration allows around logins, and its operator may not want."""
    secrets = chain(
        (
            (("logins", name, "password_file"), entry.password_file, "the password")
            for name, entry in config.logins.items()
        ),
        ((("accounts",), config.accounts.file if config.accounts else None, "the forms of all passwords"),),
    )
    for key, path, what in secrets:
        if path is not None and _is_open_to_others(path):
            yield config.problem(key, f"everybody on this machine can read {what} in {path}; say chmod o-rwx {path}")
    for number, listener in enumerate(config.listen):
        if public_addresses(listener.plaintext_auth):
            yield config.problem(
                ("listen", number, "plaintext_auth"),
                "lets clients at public addresses log in over plain text, which can be read on the way; name only "
                "networks of your own",
            )
        if listener.auth != "none" and config.tls.certificate is None and not listener.plaintext_auth:
            yield config.problem(
                ("listen", number, "auth"),
                "is not encrypted, so PLAIN and LOGIN are not offered, and many mail programs know nothing else; name "
                "a certificate in tls, or the clients' networks in plaintext_auth",
            )


def _unreadable_passwords(config: "Config") -> Iterator[Problem]:
    for name, entry in config.logins.items():
        if entry.password_file is not None:
            try:
                read_password(entry.password_file)
            except ValueError as error:
                yield config.problem(("logins", name, "password_file"), f"{entry.password_file} {error}")


def _is_open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o007)
    except OSError:
        return False  # who cannot be read is a mistake, and told elsewhere
