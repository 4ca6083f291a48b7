"""Authentication: who may log in here, and how. What `IAuthentication` is to the rest of the house."""

from collections.abc import Callable
from functools import partial
from secrets import token_bytes, token_hex
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.auth.accounts import AccountsFile
from mta.auth.dovecot import Dovecot
from mta.auth.exchange import Exchange
from mta.auth.guessing import Guessing
from mta.auth.judge import Judge
from mta.auth.mechanisms import cram_md5, external, login, plain
from mta.auth.scram import scram
from mta.auth.steps import Steps
from mta.logins import IAuthentication, IExchange, LoginFrom
from mta.maillog import Log
from mta.net.threads import Threads
from mta.policy.account import PLUS, SCRAM_SHA_1, SCRAM_SHA_256
from mta.policy.pattern import Pattern

# The strongest first, as they are announced; what only Dovecot knows stands before those that show the password.
_SCRAM: Final = (SCRAM_SHA_256, SCRAM_SHA_1)
_HIDING: Final = ("EXTERNAL", *(name + PLUS for name in _SCRAM), *_SCRAM, "CRAM-MD5")
_SHOWING: Final = ("PLAIN", "LOGIN")


def _nonce() -> str:
    return token_hex(18)


@implementer(IAuthentication)
class Authentication:
    """Both sources of accounts, either of which can be missing, behind the mechanisms that they allow.

    log: `MailLog.event`; each login that fails is a line "login-failed", or "login-not-checked" where that is not the
    client's doing. nonce: makes what must never come twice; key: a secret of this process, or of all that answer the
    same clients; several: there are others that do. before: the one in whose place this comes: who has guessed wrong
    there is slow here.
    """

    def __init__(
        self,
        clock: IReactorTime,
        log: Log,
        threads: Threads,
        hostname: str,
        accounts: AccountsFile | None = None,
        dovecot: Dovecot | None = None,
        nonce: Callable[[], str] = _nonce,
        key: bytes | None = None,
        several: bool = False,
        before: "Authentication | None" = None,
    ) -> None:
        self._clock = clock
        self._log = log
        self._hostname = hostname
        self._nonce = nonce
        guessing = before._judge.guessing if before is not None else Guessing(several)
        self._accounts = accounts
        self._judge: Judge = Judge(clock, threads, accounts, dovecot, key or token_bytes(32), guessing)

    def mechanisms(self, client: LoginFrom) -> tuple[str, ...]:
        """The mechanisms that some account can use, the strongest first. PLAIN and LOGIN only where the client may."""
        usable = self._judge.usable() | self._bound(client)
        elsewhere = [
            offer.name
            for offer in self._judge.offers()
            if (client.plaintext or not offer.plain_text) and (client.channel is not None or not offer.bound)
        ]
        hiding = [one for one in _HIDING if one in usable and (one != "EXTERNAL" or client.certificate)]
        others = [one for one in elsewhere if one not in hiding and one not in _SHOWING]
        others.sort(key=lambda name: not name.endswith(PLUS))
        showing = [one for one in _SHOWING if client.plaintext and (one in usable or "PLAIN" in elsewhere)]
        return (*hiding, *others, *showing)

    def begin(self, mechanism: str, client: LoginFrom) -> IExchange | None:
        """Begin with a mechanism, in upper case; None for one that is not offered to this client."""
        if mechanism not in self.mechanisms(client):
            return None
        return Exchange(self._judge, self._log, mechanism, client, self._steps(mechanism, client))

    def senders(self, account: str) -> tuple[Pattern, ...]:
        """What an account of the file may send as; () for anything, which Dovecot's may, and those known elsewhere."""
        found = self._judge.find(account)
        return found.senders if found is not None else ()

    def refresh(self) -> None:
        """Read the file of accounts again now, if it has changed."""
        if self._accounts is not None:
            self._accounts.refresh()

    def stop(self) -> "Deferred[None]":
        """Ask nobody any more. Fires when the passwords that are being checked are, within a second."""
        return self._judge.stop()

    def _bound(self, client: LoginFrom) -> frozenset[str]:
        """The -PLUS forms of what is usable, for a client whose TLS ends here.

        Not where Dovecot has the mechanism without -PLUS alone for names of its own: a client takes the form with it
        before it is known whose name that is.
        """
        if client.channel is None:
            return frozenset()
        elsewhere = self._judge.is_offered_elsewhere
        names = self._judge.usable() & set(_SCRAM)
        return frozenset(name + PLUS for name in names if elsewhere(name + PLUS) or not elsewhere(name))

    def _steps(self, mechanism: str, client: LoginFrom) -> Callable[[bytes | None], Steps] | None:
        """How it goes here; None where only Dovecot knows."""
        judge = self._judge
        form_name = mechanism.removesuffix(PLUS)
        match form_name:
            case "PLAIN":
                return plain
            case "LOGIN":
                return login
            case "EXTERNAL":
                return partial(external, find=judge.find, names=client.certificate)
            case "CRAM-MD5" if form_name in judge.usable():
                challenge = f"<{self._nonce()}.{int(self._clock.seconds())}@{self._hostname}>"
                return partial(cram_md5, find=judge.find, challenge=challenge.encode())
            case "SCRAM-SHA-1" | "SCRAM-SHA-256" if form_name in judge.usable():
                elsewhere = judge.is_offered_elsewhere(mechanism)
                decoy = partial(judge.decoy_form, form_name)
                binds = any(name.endswith(PLUS) for name in self.mechanisms(client))
                channel = client.channel if binds else None
                nonce = self._nonce()
                return lambda first: scram(mechanism, first, judge.find, decoy, nonce, elsewhere, channel)
            case _:
                return None
