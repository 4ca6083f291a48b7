"""What the tests of logins stand on: a clock, a file of accounts, a log that is kept, threads that are none."""

from base64 import b64decode
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mta.auth.accounts import AccountsFile
from mta.auth.authentication import Authentication
from mta.auth.dovecot import Dovecot
from mta.auth.passwords import kept
from mta.config.accounts import read_accounts
from mta.config.accounts_text import entry
from mta.logins import Challenge, IExchange, LoggedIn, LoginFrom
from mta.net.threads import Busy
from mta.policy.account import Account, ScramForm
from mta.policy.pattern import Pattern
from mta.smtp.reply import Reply

Result = TypeVar("Result")

INSIDE_TLS = LoginFrom("192.0.2.7", tls=True, plaintext=True)
IN_THE_CLEAR = LoginFrom("192.0.2.7")
PASSWORD = "pencil"
# Hashes that take no time, so that the tests take none: real ones are made by `mta account` in its own tests.
QUICK = "$argon2id$v=19$m=8,t=1,p=1$"


@lru_cache
def alice() -> Account:
    """Has every form, and may send as two things."""
    whole = kept("Alice@example.org", PASSWORD, recoverable=True)
    return whole._replace(argon2=quick_hash(PASSWORD), senders=(Pattern.parse("alice@example.org"),))


@lru_cache
def quick_hash(password: str) -> str:
    import argon2

    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


def rfc_form(mechanism: str, salt: str) -> ScramForm:
    """The form of the user "user" in the examples of RFC 5802 5 and RFC 7677 3, whose password is "pencil"."""
    from scramp import ScramMechanism

    octets = b64decode(salt)
    _, stored, server, iterations = ScramMechanism(mechanism).make_auth_info(PASSWORD, 4096, octets)
    return ScramForm(mechanism, iterations, octets, stored, server)


class Inline:
    """Threads that are none. hold: keep what is to be done until `go`."""

    def __init__(self) -> None:
        self.done = 0
        self.busy = False

    def run(self, work: Callable[[], Result]) -> "Deferred[Result]":
        if self.busy:
            return fail(Busy())
        self.done += 1
        return succeed(work())

    def stop(self) -> "Deferred[None]":
        return succeed(None)


class Ground:
    """An `Authentication` over a file."""

    def __init__(
        self, folder: Path, *accounts: Account, dovecot: Dovecot | None = None, nonce: str = "3rfcNHYJ"
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.path = folder / "accounts.yml"
        self.threads = Inline()
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.write(*accounts)
        self.accounts = AccountsFile(self.path, read_accounts, self.clock, self.log)
        self.auth = Authentication(
            self.clock, self.log, self.threads, "mail.test", self.accounts, dovecot, lambda: nonce, b"secret"
        )

    def write(self, *accounts: Account) -> None:
        """The file anew, as a new file."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(map(entry, accounts)))
        new.rename(self.path)

    def log(self, kind: str, **fields: Any) -> None:
        self.logged.append((kind, fields))

    def begin(self, mechanism: str, client: LoginFrom = INSIDE_TLS) -> IExchange:
        exchange = self.auth.begin(mechanism, client)
        assert exchange is not None, f"{mechanism} is not offered"
        return exchange

    def login(
        self, mechanism: str, *responses: bytes | None, client: LoginFrom = INSIDE_TLS
    ) -> Challenge | LoggedIn | Reply:
        """The last word after these responses, with all the time that it takes."""
        exchange = self.begin(mechanism, client)
        for response in responses:
            word = self.word(exchange, response)
        return word

    def plain(self, name: str, password: str, client: LoginFrom = INSIDE_TLS) -> Challenge | LoggedIn | Reply:
        return self.login("PLAIN", f"\0{name}\0{password}".encode(), client=client)

    def word(self, exchange: IExchange, response: bytes | None) -> Challenge | LoggedIn | Reply:
        """What is said to a response."""
        words: list[Any] = []
        exchange.respond(response).addBoth(words.append)
        for _ in range(60):
            if words:
                break
            self.clock.advance(1)
        [word] = words
        assert isinstance(word, Challenge | LoggedIn | Reply), word
        return word


def refusal(word: object) -> str:
    """The reply to a login that was refused."""
    assert isinstance(word, Reply), word
    return str(word)
