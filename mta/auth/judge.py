"""Judge: whether evidence is right, by the accounts here and by Dovecot, no faster than guessing may go."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mta.auth.accounts import AccountsFile
from mta.auth.dovecot import Dovecot, DovecotExchange
from mta.auth.dovecot_connection import Down
from mta.auth.dovecot_lines import Answer, Offer
from mta.auth.guessing import Guess, Guessing
from mta.auth.mechanisms import OTHER_IDENTITY, UNKNOWN, WRONG
from mta.auth.passwords import decoy, is_right, usual_iterations
from mta.auth.remembered import Remembered
from mta.auth.scram import decoy_form
from mta.auth.steps import Password, Proof, Unbound
from mta.logins import LoggedIn, LoginFrom
from mta.net.poller import passing
from mta.net.threads import Busy, Threads
from mta.policy.account import Account, ScramForm, account_key
from mta.smtp import replies
from mta.smtp.reply import Reply


class Refused(Exception):
    """The login ends here, with this reply. why: for the log, without secrets."""

    def __init__(self, reply: Reply, account: str, why: str) -> None:
        super().__init__(why)
        self.reply = reply
        self.account = account
        self.why = why


class Judge:
    """What all exchanges share. Either source can be missing; names that are not in the file are Dovecot's.

    key: a secret of the relay's own. guessing: counts who has been wrong.
    """

    def __init__(
        self,
        clock: IReactorTime,
        threads: Threads,
        accounts: AccountsFile | None,
        dovecot: Dovecot | None,
        key: bytes,
        guessing: Guessing,
    ) -> None:
        self._clock = clock
        self._now = passing(clock)
        self._threads = threads
        self._accounts = accounts
        self._dovecot = dovecot
        self._key = key
        self.guessing = guessing
        self._remembered = Remembered(key)
        self._delays: set[Deferred[None]] = set()
        self._stopped = False

    def find(self, name: str) -> Account | None:
        """An account of the file."""
        return self._accounts.find(name) if self._accounts is not None else None

    def usable(self) -> frozenset[str]:
        """The mechanisms that some account of the file can use."""
        return self._accounts.usable() if self._accounts is not None else frozenset()

    def offers(self) -> Sequence[Offer]:
        """What Dovecot offers."""
        return self._dovecot.offers() if self._dovecot is not None else ()

    def is_offered_elsewhere(self, mechanism: str) -> bool:
        """Does Dovecot offer it?"""
        return any(offer.name == mechanism for offer in self.offers())

    def decoy_form(self, mechanism: str, name: str) -> ScramForm:
        """The SCRAM form of somebody whom there is none of."""
        return decoy_form(self._key, mechanism, name, usual_iterations(self._all(), mechanism))

    async def password(self, shown: Password, client: LoginFrom) -> LoggedIn:
        """Check a password. Raises `Refused`."""
        account = self.find(shown.name)
        guess = await self.admit(client, shown.name)
        if account is None and self.is_offered_elsewhere("PLAIN"):
            response = "\0".join((shown.authorization, shown.name, shown.password)).encode()
            said = await self.ask(self.elsewhere("PLAIN", client), response, guess, shown.name)
            if said.kind == "CONT":
                self.guessing.unknown(guess)
                raise Refused(replies.LOGIN_UNAVAILABLE, shown.name, "Dovecot asks for more than PLAIN has")
            return LoggedIn(said.user)
        why = await self._wrong(account, shown, guess)
        if account is None or why:
            raise Refused(replies.WRONG_CREDENTIALS, shown.name, why or UNKNOWN)
        self.guessing.succeeded(guess, self._now())
        return LoggedIn(account.name, account.senders)

    async def proof(self, shown: Proof, client: LoginFrom) -> LoggedIn:
        """Believe a proof, or not. Raises `Refused`."""
        guess = await self.admit(client, shown.name)
        if shown.account is None:
            raise Refused(replies.WRONG_CREDENTIALS, shown.name, shown.why)
        self.guessing.succeeded(guess, self._now())
        return LoggedIn(shown.account.name, shown.account.senders)

    async def admit(self, client: LoginFrom, name: str) -> Guess:
        """Count a guess, and wait as long as it has to. Raises `Refused` where nothing is checked any more."""
        guess = self.guessing.begin(client.address, account_key(name), self._now())
        if guess is None:
            raise Refused(replies.LOGIN_SLOWED, name, "too many failures")
        if guess.delay and not self._stopped:
            delay = deferLater(self._clock, guess.delay, lambda: None)
            self._delays.add(delay)
            with suppress(CancelledError):  # by `stop`
                await delay
            self._delays.discard(delay)
        if self._stopped:
            raise Refused(replies.LOGIN_UNAVAILABLE, name, "the relay is stopping")
        return guess

    def elsewhere(self, mechanism: str, client: LoginFrom) -> DovecotExchange:
        """A login that Dovecot judges."""
        assert self._dovecot is not None, "only what Dovecot offers gets here"
        return self._dovecot.begin(mechanism, client)

    async def ask(self, exchange: DovecotExchange, response: bytes | None, guess: Guess, name: str) -> Answer:
        """What Dovecot says: "OK" or "CONT". Raises `Refused` and `Unbound`."""
        try:
            said = await exchange.respond(response)
        except Down as error:
            self.guessing.unknown(guess)
            raise Refused(replies.LOGIN_UNAVAILABLE, name, str(error)) from None
        except Unbound:
            self.guessing.unknown(guess)
            raise
        if said.kind == "FAIL":
            if said.is_temporary:
                self.guessing.unknown(guess)
                raise Refused(replies.LOGIN_UNAVAILABLE, said.user or name, said.why)
            raise Refused(replies.WRONG_CREDENTIALS, said.user or name, said.why)
        if said.kind == "OK":
            if not said.user:
                self.guessing.unknown(guess)
                raise Refused(replies.LOGIN_UNAVAILABLE, name, "Dovecot does not say who it is")
            self.guessing.succeeded(guess._replace(account=account_key(said.user)), self._now())
        return said

    def stop(self) -> Deferred[None]:
        """Let nobody wait any more."""
        self._stopped = True
        for delay in tuple(self._delays):
            delay.cancel()
        if self._dovecot is not None:
            self._dovecot.stop()
        return self._threads.stop()

    async def _wrong(self, account: Account | None, shown: Password, guess: Guess) -> str:
        """What is wrong with a password for an account of the file; "" for nothing."""
        now = self._now()
        if account is None or not self._remembered.knows(account, shown.password, now):
            checked = account if account is not None and account.forms else decoy(self._all())
            try:
                right = await self._threads.run(partial(is_right, checked, shown.password))
            except Busy:
                self.guessing.unknown(guess)
                raise Refused(replies.LOGIN_UNAVAILABLE, shown.name, "too many logins at once") from None
            if account is None:
                return UNKNOWN
            if not right:
                return WRONG
            self._remembered.add(account, shown.password, now)
        if shown.authorization and account_key(shown.authorization) != account_key(shown.name):
            return OTHER_IDENTITY
        return ""

    def _all(self) -> Sequence[Account]:
        return tuple(self._accounts.all()) if self._accounts is not None else ()
