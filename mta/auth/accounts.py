"""Accounts: those of the file, as they are now: it is read again when it has changed."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IReactorTime

from mta.maillog import Log
from mta.net.version import version_of
from mta.policy.account import Account, account_key

Read = Callable[[Path], Mapping[str, Account]]

_LOOKS: Final = 1.0  # seconds between two looks at the file


class AccountsFile:
    """The accounts in a file. read: parses it, with an error whose text names the line for a file that is broken.

    Made, it has been read once; what `read` raises then is for whoever starts the relay. A file that is broken later
    keeps what was known, and the log says why.
    """

    def __init__(self, path: Path, read: Read, clock: IReactorTime, log: Log) -> None:
        self._path = path
        self._read = read
        self._clock = clock
        self._event = log
        self._version = version_of(path)
        self._looked = clock.seconds()
        self._accounts = read(path)
        self._usable = _usable(self._accounts.values())

    def find(self, name: str) -> Account | None:
        """The account of this name; None where there is none."""
        self._look()
        return self._accounts.get(account_key(name))

    def all(self) -> Collection[Account]:
        """All accounts."""
        self._look()
        return self._accounts.values()

    def usable(self) -> frozenset[str]:
        """The mechanisms that at least one account can use."""
        self._look()
        return self._usable

    def refresh(self) -> None:
        """Look at the file now."""
        self._looked = float("-inf")
        self._look()

    def _look(self) -> None:
        now = self._clock.seconds()
        if 0 <= now - self._looked < _LOOKS:
            return
        self._looked = now
        version = version_of(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._accounts = self._read(self._path)  # a thousand of them take 25 ms
        except Exception as error:  # whatever it is, those who are known can still log in
            self._event("accounts-not-read", file=str(self._path), why=str(error))
            return
        self._usable = _usable(self._accounts.values())
        self._event("accounts-read", file=str(self._path), accounts=len(self._accounts))


def _usable(accounts: Collection[Account]) -> frozenset[str]:
    forms = {key for account in accounts for key in account.forms}
    with_password = ("PLAIN", "LOGIN") if forms else ()
    by_certificate = ("EXTERNAL",) if accounts else ()
    return frozenset((*by_certificate, *with_password, *(key.upper() for key in forms - {"argon2"})))
