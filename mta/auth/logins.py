"""Logins: how this relay logs in upstream: by the strongest mechanism that both sides know, if there is a safe one."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.auth.client import HIDING, SHOWING, strongest
from mta.logins import IChannel, ILogins
from mta.net.version import Version, version_of
from mta.smtp.login import ClientMechanism
from mta.smtp.reply import Reply

Read = Callable[[Path], str]


class Upstream(NamedTuple):
    """One entry of `logins`."""

    user: str
    password_file: Path


@implementer(ILogins)
class Logins:
    """The entries of `logins`, by name.

    read: the password in a file, or a `ValueError` that says what is wrong. A file that has changed is read again when
    it is needed next; one that is out of reach by then, since privileges were dropped, keeps what was known.
    """

    def __init__(self, entries: Mapping[str, Upstream], read: Read, before: "Logins | None" = None) -> None:
        """before: in whose place these come: what it knows of a file that is out of reach by now is known here too."""
        self._entries = entries
        self._read = read
        files = {entry.password_file for entry in entries.values()}
        self._known: dict[Path, tuple[Version, str]] = (
            {} if before is None else {path: known for path, known in before._known.items() if path in files}
        )
        for entry in entries.values():
            with suppress(ValueError):  # told by `mechanism` when it matters
                self._password(entry.password_file)

    def mechanism(
        self, login: str, offered: Collection[str], tls: bool, channel: IChannel | None
    ) -> "Deferred[ClientMechanism | Reply]":
        """The strongest mechanism that both sides know; or why there is none, as a reply that defers."""
        return succeed(self._mechanism(login, offered, tls, channel))

    def _mechanism(
        self, login: str, offered: Collection[str], tls: bool, channel: IChannel | None
    ) -> ClientMechanism | Reply:
        entry = self._entries.get(login)
        if entry is None:
            return _not_now(f"there is no entry {login} in logins")
        make = strongest(offered, tls, channel)
        if make is None:
            return _not_now(_why_none(login, offered))
        try:
            return make(entry.user, self._password(entry.password_file))
        except ValueError as error:
            return _not_now(f"login {login}: {entry.password_file} {error}")

    def _password(self, path: Path) -> str:
        version = version_of(path)
        known = self._known.get(path)
        if known is not None and version in (known[0], None):
            return known[1]
        try:
            password = self._read(path)
        except ValueError:
            if known is None:
                raise
            return known[1]
        self._known[path] = version, password
        return password


def _why_none(login: str, offered: Collection[str]) -> str:
    if not offered:
        return f"cannot log in as {login}: the server offers no AUTH here; without TLS some do not (set tls: require)"
    names = ", ".join(sorted(offered))
    if any(name in SHOWING for name in offered):
        return f"cannot log in as {login}: the server offers {names}, which is safe only inside TLS (set tls: require)"
    return f"cannot log in as {login}: the server offers {names}; known here are {', '.join(HIDING | SHOWING)}"


def _not_now(text: str) -> Reply:
    return Reply(451, "4.7.0", (text,))
