"""Client: our side of the mechanisms that next hops know, each a `ClientMechanism`."""

from collections.abc import Callable, Collection
from functools import partial
from hmac import digest
from typing import Final

from scramp import ScramClient, ScramException  # type: ignore[import-untyped]

from mta.auth.prepared import prepared
from mta.logins import IChannel
from mta.policy.account import PLUS, SCRAM_SHA_1, SCRAM_SHA_256
from mta.smtp.login import Binding, ClientMechanism

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
    """SCRAM-SHA-1 or SCRAM-SHA-256 (RFC 5802, 7677), or the -PLUS form of either. The server has to prove itself, too.

    binding: what a -PLUS form binds the login to. The others say by it that we could bind it, and have been told that
    the server cannot: if that is not so, the server will know that somebody stands in between.
    """

    def __init__(
        self, name: str, user: str, password: str, nonce: str | None = None, binding: Binding | None = None
    ) -> None:
        """nonce: for tests; else by chance. Raises `ValueError` for a user or a password that cannot be prepared."""
        prepared(user), prepared(password)
        self.name = name
        self._client = ScramClient([name.removesuffix(PLUS)], user, password, c_nonce=nonce)
        self._client.gs2_header = _Header(name.endswith(PLUS), binding)  # of scramp's own, some types are missing
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


class _Header:
    """The GS2 header of a login (RFC 5801 4), and what it binds to, as scramp asks for them."""

    def __init__(self, binds: bool, binding: Binding | None) -> None:
        assert binding is not None or not binds, "a -PLUS form has something to bind to"
        self._flag = "n" if binding is None else f"p={binding.kind}" if binds else "y"
        self._octets = binding.octets if binding is not None and binds else b""

    def __str__(self) -> str:
        return f"{self._flag},,"

    def make_cbind_input(self, _binding: object) -> bytes:
        return str(self).encode() + self._octets


# The strongest first; the second part shows the password to whoever listens in.
_SCRAM: Final = (SCRAM_SHA_256, SCRAM_SHA_1)
HIDING: Final[dict[str, Make]] = {**{name: partial(Scram, name) for name in _SCRAM}, "CRAM-MD5": CramMd5}
SHOWING: Final[dict[str, Make]] = {"PLAIN": Plain, "LOGIN": Login}


def strongest(offered: Collection[str], tls: bool, channel: IChannel | None) -> Make | None:
    """What makes the strongest mechanism that both sides know; None where there is none that is safe.

    offered: what the server announced, in upper case. channel: what the login can be bound to.
    """
    binding = channel.usual() if channel is not None and any(name.startswith("SCRAM-") for name in offered) else None
    if binding is not None:
        bound = next((name for name in (one + PLUS for one in _SCRAM) if name in offered), None)
        if bound is not None:
            return partial(Scram, bound, binding=binding)
    known = HIDING | SHOWING if tls else HIDING
    name = next((name for name in known if name in offered), None)
    if name in _SCRAM and not any(other.endswith(PLUS) for other in offered):
        return partial(Scram, name, binding=binding)
    return known[name] if name is not None else None
