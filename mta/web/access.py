"""Access: the token, sessions of browsers that have shown it, and what slows those who guess."""

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final, NamedTuple

from mta.net.version import version_of

LASTS: Final = 12 * 3600.0  # seconds from login on
MOST_SESSIONS: Final = 1000
MOST_REMEMBERED: Final = 10_000  # addresses that have guessed
FORGOTTEN: Final = 600.0  # seconds after which a wrong guess is forgotten
FIRST_WAIT, LAST_WAIT = 0.1, 3.0  # seconds that the answer to a wrong guess takes; each next one twice as long
MOST_WAITING: Final = 10  # answers that one address may be waiting for

COOKIE: Final = "mta_session"
_CREDENTIALS: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]{1,4096}) *")


class Token:
    """The token, read again when its file has changed. No file: there is none, and nobody has it."""

    def __init__(self, file: Path | None, read: Callable[[Path], str], warn: Callable[[str], object]) -> None:
        """read: the token in a file; raises `ValueError`, as this does, with what is wrong. warn: is told when what has
        changed cannot be used.
        """
        self._file = file
        self._read = read
        self._warn = warn
        self._version = None if file is None else version_of(file)
        self._digest = None if file is None else _digest(read(file))

    @property
    def exists(self) -> bool:
        """Is there one?"""
        return self._digest is not None

    def is_right(self, shown: str) -> bool:
        """Takes the same time whatever is shown."""
        self._refresh()
        return self._digest is not None and hmac.compare_digest(_digest(shown), self._digest)

    def generation(self) -> bytes | None:
        """Another one for every token; sessions end with theirs."""
        self._refresh()
        return self._digest

    def _refresh(self) -> None:
        if self._file is None or (version := version_of(self._file)) == self._version:
            return
        self._version = version
        try:
            self._digest = _digest(self._read(self._file))
        except ValueError as error:
            self._warn(f"{self._file} {error}; the token that was in use stays in use")


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()


def bearer(header: str) -> str | None:
    """The token of an Authorization field (RFC 6750 2.1); None where it has none."""
    found = _CREDENTIALS.fullmatch(header)
    return None if found is None else found[1]


@dataclass(frozen=True)
class Session:
    """A browser that has shown the token. csrf: what its forms have to bring, which no other site can know. until: when
    it is over, as `Sessions` has the time."""

    csrf: str
    until: float
    generation: bytes | None

    def brings(self, csrf: str) -> bool:
        """Is this what a form of this session brings?"""
        return hmac.compare_digest(csrf.encode(errors="surrogatepass"), self.csrf.encode())


class Sessions:
    """Sessions in memory, found by a random number that only the browser has. They end with the process."""

    def __init__(self, now: Callable[[], float]) -> None:
        """now: seconds that pass, from any beginning; so for all here."""
        self._now = now
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, generation: bytes | None) -> str:
        """A new one; the value of its cookie."""
        value = secrets.token_urlsafe(32)
        self._sessions[_digest(value)] = Session(secrets.token_urlsafe(32), self._now() + LASTS, generation)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return value

    def find(self, cookies: str, generation: bytes | None) -> Session | None:
        """The session of a Cookie field (RFC 6265 4.2)."""
        for pair in cookies.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == COOKIE:
                key = _digest(value)
                session = self._sessions.get(key)
                if session is not None and session.until > self._now() and session.generation == generation:
                    return session
                self._sessions.pop(key, None)
        return None

    def end(self, cookies: str) -> None:
        """Log out."""
        for pair in cookies.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == COOKIE:
                self._sessions.pop(_digest(value), None)


def cookie(value: str, secure: bool) -> str:
    """A Set-Cookie field (RFC 6265 4.1), that no script and no other site can use. A value of "": forget it."""
    age = int(LASTS) if value else 0
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"


class _Guesses(NamedTuple):
    number: int
    last: float
    waiting: int


class Guessing:
    """Has wrong guesses wait for their answer, by where they come from: an address, or a network of IPv6 (/64).

    Who has the token never waits, so a program with an old one does not keep others from the same address out.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._by: OrderedDict[str, _Guesses] = OrderedDict()

    def begin(self, client: str) -> float | None:
        """A wrong guess: for how many seconds its answer waits; `end` follows. None: too many wait already."""
        where = _network(client)
        before = self._by.get(where, _Guesses(0, 0.0, 0))
        if before.waiting >= MOST_WAITING:
            return None
        now = self._now()
        number = before.number if now - before.last < FORGOTTEN else 0
        self._by[where] = _Guesses(number + 1, now, before.waiting + 1)
        self._by.move_to_end(where)
        while len(self._by) > MOST_REMEMBERED:
            self._by.popitem(last=False)
        wait: float = FIRST_WAIT * 2.0 ** min(number, 10)
        return min(LAST_WAIT, wait)

    def end(self, client: str) -> None:
        """It has been answered."""
        where = _network(client)
        if (before := self._by.get(where)) is not None:
            self._by[where] = before._replace(waiting=max(0, before.waiting - 1))

    def is_busy(self, client: str) -> bool:
        """Do so many guesses from there wait that no more are looked at?"""
        return self._by.get(_network(client), _Guesses(0, 0.0, 0)).waiting >= MOST_WAITING


class Friends:
    """Addresses that have shown the right token lately. They end with it, as sessions do."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until: OrderedDict[tuple[str, bytes | None], float] = OrderedDict()

    def add(self, client: str, generation: bytes | None) -> None:
        """It has."""
        self._until[client, generation] = self._now() + LASTS
        self._until.move_to_end((client, generation))
        while len(self._until) > MOST_SESSIONS:
            self._until.popitem(last=False)

    def has(self, client: str, generation: bytes | None) -> bool:
        """Has it?"""
        return self._until.get((client, generation), 0.0) > self._now()


def _network(client: str) -> str:
    try:
        address = ip_address(client)
    except ValueError:
        return client  # a Unix socket
    return client if address.version == 4 else str(ip_network((address, 64), strict=False))
