"""Secret: what a webhook's posts are signed with, from a file that is read again when it changes."""

from collections.abc import Callable
from pathlib import Path

from mta.maillog import Log
from mta.net.version import version_of
from mta.webhooks.hook import NotNow


class Secret:
    """The secret in a file. What was read stays in force while the file cannot be read."""

    def __init__(self, path: Path, read: Callable[[Path], str], log: Log) -> None:
        """read: what a file holds; raises `ValueError` with what is wrong with it, for people."""
        self._path = path
        self._read = read
        self._log = log
        self._version = version_of(path)
        self._value: str | None = None
        try:
            self._value = read(path)  # now: later there may be no right to
        except ValueError:
            self._version = None

    def __call__(self) -> str:
        """The secret as it is now. Raises `NotNow` where none has ever been read."""
        version = version_of(self._path)
        if self._value is None or version not in (self._version, None):
            try:
                self._value = self._read(self._path)
            except ValueError as error:
                if self._value is None:
                    raise NotNow(f"nothing to sign with: {self._path} {error}") from None
                self._log("alarm", why=f"{self._path} {error}; the secret that was in use stays in use")
            self._version = version
        return self._value
