"""Client: our side of the mechanisms that next hops know, each a `ClientMechanism`."""

from collections.abc import Callable
from hmac import digest
from typing import Final

from scramp import ScramClient, ScramException  # type: ignore[import-untyped]

from mta.auth.prepared import prepared
from mta.policy.account import SCRAM_SHA_1, SCRAM_SHA_256
from mta.smtp.login import ClientMechanism

# Deriving the key is done between two reads: so many take less than 50 ms here.
MOST_ITERATIONS: Final = 100_000

Make = Callable[[str, str], ClientMechanism]


class Plain:
    """PLAIN (RFC 4616)."""

    name = "PLAIN"

    def __init__(self, user: str, password: str) -> None:
        self._response = f"\0{user}\0{password}".encode()

    def initial(self) -> bytes | None:
        """All of it."""
        return self._response

    def respond(self, challenge: bytes) -> bytes:
        """Some servers ask, though all has been said."""
        if challenge:
            raise ValueError("the server goes on after PLAIN, which has one response")
        return self._response

    def succeeded(self) -> None:
        """The server need not prove anything."""


class Login:
    """LOGIN: user and password in the order in which they are asked for, whatever the questions are."""

    name = "LOGIN"

    def __init__(self, user: str, password: str) -> None:
        self._answers = [password.encode(), user.encode()]

    def initial(self) -> bytes | None:
        """The server speaks first."""
        return None

    def respond(self, challenge: bytes) -> bytes:
        """The next one."""
        if not self._answers:
            raise ValueError("the server asks for more than user and password")
        return self._answers.pop()

    def succeeded(self) -> None:
        """The server need not prove anything."""


class CramMd5:
    """CRAM-MD5 (RFC 2195)."""

    name = "CRAM-MD5"

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._is_done = False

    def initial(self) -> bytes | None:
        """The server speaks first."""
        return None

    def respond(self, challenge: bytes) -> bytes:
        """The user, and the keyed digest of the challenge."""
        if self._is_done or not challenge:
            raise ValueError("the server asks for more than one digest" if self._is_done else "the challenge is empty")
        self._is_done = True
        return f"{self._user} {digest(self._password.encode(), challenge, 'md5').hex()}".encode()

    def succeeded(self) -> None:
        """The server need not prove anything."""


class Scram:
    """SCRAM-SHA-1 or SCRAM-SHA-256 (RFC 5802, 7677), without channel binding. The server has to prove itself, too."""

    def __init__(self, name: str, user: str, password: str, nonce: str | None = None) -> None:
        """nonce: for tests; else by chance. Raises `ValueError` for a user or a password that cannot be prepared."""
        prepared(user), prepared(password)
        self.name = name
        self._client = ScramClient([name], user, password, c_nonce=nonce)
        self._steps = [self._final, self._first]
        self._is_proved = False

    def initial(self) -> bytes | None:
        """The user, and our nonce."""
        first: str = self._client.get_client_first()
        return first.encode()

    def respond(self, challenge: bytes) -> bytes:
        """Our proof; then nothing, if the server's is right."""
        if not self._steps:
            raise ValueError("the server goes on after its proof")
        try:
            return self._steps.pop()(challenge.decode())
        except UnicodeDecodeError:
            raise ValueError("the server's message is not UTF-8") from None
        except ScramException as error:
            raise ValueError(f"{error.args[0]}") from None

    def succeeded(self) -> None:
        """The server says so; has it proved it?"""
        if not self._is_proved:
            raise ValueError("the server has not proved that it knows the password")

    def _first(self, message: str) -> bytes:
        self._client.set_server_first(message)
        if int(self._client.iterations) > MOST_ITERATIONS:
            raise ValueError(f"the server asks for {self._client.iterations} iterations, more than {MOST_ITERATIONS}")
        final: str = self._client.get_client_final()
        return final.encode()

    def _final(self, message: str) -> bytes:
        self._client.set_server_final(message)
        self._is_proved = True
        return b""


def _scram(name: str) -> Make:
    return lambda user, password: Scram(name, user, password)


# The strongest first; the second part shows the password to whoever listens in.
HIDING: Final[dict[str, Make]] = {
    SCRAM_SHA_256: _scram(SCRAM_SHA_256),
    SCRAM_SHA_1: _scram(SCRAM_SHA_1),
    "CRAM-MD5": CramMd5,
}
SHOWING: Final[dict[str, Make]] = {"PLAIN": Plain, "LOGIN": Login}
