"""Exchange: one AUTH under way (RFC 4954 4): the steps of a mechanism, the judge, and the log of how it failed."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from mta.auth.dovecot import DovecotExchange
from mta.auth.guessing import Guess
from mta.auth.judge import Judge, Refused
from mta.auth.steps import Elsewhere, Malformed, Password, Steps, Unbound
from mta.logins import Challenge, IExchange, LoggedIn, LoginFrom
from mta.maillog import Log
from mta.smtp import replies
from mta.smtp.reply import Reply

_LONGEST_NAME = 255  # characters in the log
_MOST_ROUNDS = 20

Word = Challenge | LoggedIn | Reply


@implementer(IExchange)
class Exchange:
    """One login. begin: the steps of the mechanism, for the initial response; None where Dovecot has them."""

    _logger = Logger()

    def __init__(
        self, judge: Judge, log: Log, mechanism: str, client: LoginFrom, begin: Callable[[bytes | None], Steps] | None
    ) -> None:
        self._judge = judge
        self._log = log
        self._mechanism = mechanism
        self._client = client
        self._begin = begin
        self._steps: Steps | None = None
        self._elsewhere: tuple[DovecotExchange, Guess, str] | None = None
        self._rounds = 0
        self._name = ""
        self._who: LoggedIn | None = None

    def respond(self, response: bytes | None) -> Deferred[Word]:
        """As `IExchange`. One at a time; none after what is no challenge."""
        return Deferred.fromCoroutine(self._respond(response))

    async def _respond(self, response: bytes | None) -> Word:
        self._rounds += 1
        try:
            if self._rounds > _MOST_ROUNDS:
                raise Malformed("no end of it")
            return await self._next(response)
        except Malformed as error:
            return self._refuse(replies.WRONG_RESPONSE, self._name, f"malformed: {error}")
        except Unbound as error:
            return self._refuse(error.reply, self._name, str(error))
        except Refused as refused:
            return self._refuse(refused.reply, refused.account, refused.why)
        except Exception:  # a bug of ours costs one login, not the session, and is told in full
            self._logger.failure("a login failed")
            return self._refuse(replies.LOGIN_UNAVAILABLE, self._name, "an error here, told in the log")

    async def _next(self, response: bytes | None) -> Word:
        if self._elsewhere is not None:
            return await self._ask_elsewhere(response)
        if self._begin is None:
            return await self._go_elsewhere("", response)
        try:
            if self._steps is None:
                self._steps = self._begin(response)
                step = next(self._steps)
            else:
                step = self._steps.send(response)
            while not isinstance(step, bytes):
                if isinstance(step, Elsewhere):
                    return await self._go_elsewhere(step.name, step.response)
                self._name = step.name
                if isinstance(step, Password):
                    self._who = await self._judge.password(step, self._client)
                else:
                    self._who = await self._judge.proof(step, self._client)
                step = self._steps.send(None)
        except StopIteration:
            assert self._who is not None, "a mechanism ends after evidence"
            return self._who
        return Challenge(step)

    async def _go_elsewhere(self, name: str, response: bytes | None) -> Word:
        guess = await self._judge.admit(self._client, name)
        self._elsewhere = self._judge.elsewhere(self._mechanism, self._client), guess, name
        return await self._ask_elsewhere(response)

    async def _ask_elsewhere(self, response: bytes | None) -> Word:
        assert self._elsewhere is not None
        exchange, guess, name = self._elsewhere
        said = await self._judge.ask(exchange, response, guess, name)
        return LoggedIn(said.user) if said.kind == "OK" else Challenge(said.data)

    def _refuse(self, reply: Reply, account: str, why: str) -> Reply:
        # What the operator has to see to is no failure of the client's, and nothing to lock it out for.
        kind = "login-not-checked" if reply is replies.LOGIN_UNAVAILABLE else "login-failed"
        name = account[:_LONGEST_NAME]
        self._log(kind, client=self._client.address, mechanism=self._mechanism, account=name, why=why)
        return reply
