"""Login: one AUTH exchange (RFC 4954), between the client and whoever knows the accounts."""

from base64 import b64encode

from twisted.internet.defer import Deferred

from mta.inbound.house import House
from mta.inbound.visitor import Visitor
from mta.logins import Challenge, IExchange, LoggedIn
from mta.policy.account import PLUS
from mta.smtp import replies
from mta.smtp.reply import Reply


class Login:
    """One exchange."""

    __slots__ = ("_exchange", "_house", "_mechanism", "_visitor")

    def __init__(self, house: House, visitor: Visitor, mechanism: str, exchange: IExchange) -> None:
        self._house = house
        self._visitor = visitor
        self._mechanism = mechanism
        self._exchange = exchange

    @classmethod
    def begin(cls, house: House, visitor: Visitor, mechanism: str) -> "Login | Reply":
        """Begin with a mechanism, or say why not."""
        authentication, known = house.authentication, visitor.login_from
        assert authentication is not None, "AUTH is off where nobody can log in"
        exchange = authentication.begin(mechanism, known)
        if exchange is not None:
            return cls(house, visitor, mechanism, exchange)
        inside_tls = authentication.mechanisms(known._replace(tls=True, plaintext=True))
        if mechanism.removesuffix(PLUS) in inside_tls and b"STARTTLS" not in visitor.settings.off:
            return replies.LOGIN_NEEDS_TLS
        return replies.UNKNOWN_MECHANISM

    def respond(self, response: bytes | None) -> Deferred[Reply]:
        """What to say to the client's next word; None where its AUTH brought no initial response."""
        return self._exchange.respond(response).addCallback(self._judged)

    def _judged(self, word: Challenge | LoggedIn | Reply) -> Reply:
        if isinstance(word, Challenge):
            return replies.challenge(b64encode(word.octets).decode())
        if isinstance(word, LoggedIn):
            self._visitor.logged_in(word)
            client = self._visitor.address
            self._house.log.event("login", client=client, account=word.account, mechanism=self._mechanism)
            return replies.LOGGED_IN
        return word
