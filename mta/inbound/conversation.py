"""Conversation: what each command of a session is answered with.

The language decides what is well formed and in order before anything arrives here. What belongs to a mail transaction
is `transaction`'s, logging in is `login`'s, VRFY, EXPN and ETRN are `inquiries`'. An answer is a `Reply`, or a
Deferred of one where somebody has to be asked first: the session waits, so that pipelined commands keep their order.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from mta.inbound.house import House
from mta.inbound.inquiries import expand, start_queue, verify
from mta.inbound.login import Login
from mta.inbound.manners import Manners
from mta.inbound.transaction import Answer, Transaction
from mta.inbound.visitor import Visitor
from mta.logins import IChannel
from mta.smtp import replies
from mta.smtp.command import (
    Auth,
    Bdat,
    Data,
    Etrn,
    Expn,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Starttls,
    Vrfy,
    Xclient,
)
from mta.smtp.events import AuthResponse, Content, EndOfChunk, EndOfContent, Question
from mta.smtp.reply import Reply
from mta.smtp.settings import ServerSettings


class Conversation:
    """One session's answers."""

    __slots__ = ("_house", "_login", "_manners", "_transaction", "visitor")

    def __init__(self, house: House, manners: Manners, address: str) -> None:
        """address: the client's, "" on a Unix socket."""
        self._house = house
        self._manners = manners
        self._transaction: Transaction | None = None
        self._login: Login | None = None
        self.visitor = Visitor(house, manners, address)

    @property
    def address(self) -> str:
        """The client's address."""
        return self.visitor.address

    @property
    def settings(self) -> ServerSettings:
        """What the client is offered now."""
        return self.visitor.settings

    def greet(self) -> Deferred[Reply] | None:
        """The greeting, where somebody has to be asked for it; None for the usual one."""
        return Deferred.fromCoroutine(self._ask_checks()) if self._house.checks else None

    async def _ask_checks(self) -> Reply:
        for check in self._house.checks:
            objection = await check.client(self.address)
            if objection is not None:
                self.visitor.refused(str(objection))
                return objection
        return replies.greeting(self._house.hostname)

    def secured(self, tls: str, certificate: tuple[str, ...], channel: IChannel | None) -> None:
        """The connection is encrypted now. tls: protocol and cipher. certificate: the client's own names, verified.
        channel: what logins can be bound to."""
        self._forget_transaction()
        self.visitor.secured(tls, certificate, channel)

    def lost(self) -> None:
        """The client has gone; what it had not finished is forgotten."""
        self._forget_transaction()

    def answer(self, question: Question) -> Answer | None:
        """The answer to what is well formed and in order: a command, a response, the end of a chunk or of content.

        None for BDAT, which is answered when its chunk has come.
        """
        return _ANSWERS[type(question)](self, question)

    # The transaction

    def _mail(self, command: Mail) -> Answer:
        self._forget_transaction()
        begun = Transaction.begin(self._house, self._manners, self.visitor, command)
        if isinstance(begun, Reply):
            return begun
        self._transaction = begun
        return replies.SENDER_OK

    def _rcpt(self, command: Rcpt) -> Answer:
        return self._current.recipient(command)

    def _data(self, command: Data) -> Answer:
        return self._current.data()

    def _bdat(self, command: Bdat) -> None:
        self._current.begin_chunk()

    def content(self, piece: Content) -> Deferred[None] | None:
        """Some content. A Deferred means: read no more until it fires."""
        reception = self._transaction.reception if self._transaction is not None else None
        return reception.write(piece.octets) if reception is not None else None

    def _end_of_chunk(self, end: EndOfChunk) -> Answer:
        answer = self._current.end_chunk(end)
        if not answer.is_positive:
            self._forget_transaction()
        return answer

    def _end_of_content(self, end: EndOfContent) -> Answer:
        transaction, self._transaction = self._current, None
        return transaction.finish(end)

    @property
    def _current(self) -> Transaction:
        assert self._transaction is not None, "the language lets nothing of a transaction through without a MAIL"
        return self._transaction

    def _forget_transaction(self) -> None:
        if self._transaction is not None:
            self._transaction.abandon()
            self._transaction = None

    # The session

    def _helo(self, command: Helo) -> Answer:
        self._forget_transaction()
        visitor = self.visitor
        visitor.helo, visitor.extended = command.domain, command.extended
        hostname = self._house.hostname
        return replies.ehlo(hostname, visitor.settings.keywords) if command.extended else replies.helo(hostname)

    def _starttls(self, command: Starttls) -> Answer:
        return replies.READY_FOR_TLS

    def _auth(self, command: Auth) -> Answer:
        begun = Login.begin(self._house, self.visitor, command.mechanism)
        if isinstance(begun, Reply):
            return begun
        self._login = begun
        return self._login.respond(command.initial)

    def _auth_response(self, response: AuthResponse) -> Answer:
        assert self._login is not None, "the language lets a response through only after a challenge"
        return self._login.respond(response.octets)

    def _xclient(self, command: Xclient) -> Answer:
        self._house.log.event("xclient", client=self.address, **command.attributes._asdict())
        self._forget_transaction()
        self.visitor.presented(command.attributes)
        return replies.greeting(self._house.hostname)

    def _rset(self, command: Rset) -> Answer:
        self._forget_transaction()
        return replies.OK

    def _noop(self, command: Noop) -> Answer:
        return replies.OK

    def _help(self, command: Help) -> Answer:
        return replies.help_on(command.topic)

    def _quit(self, command: Quit) -> Answer:
        self._forget_transaction()
        return replies.bye(self._house.hostname)

    # What it asks

    def _vrfy(self, command: Vrfy) -> Answer:
        return verify(self._house, self._manners, self.visitor, command)

    def _expn(self, command: Expn) -> Answer:
        return expand(self._house, self._manners, self.visitor, command)

    def _etrn(self, command: Etrn) -> Answer:
        return start_queue(self._house, self.visitor, command)


_ANSWERS: dict[type[Question], Callable[[Conversation, Any], Answer | None]] = {
    EndOfChunk: Conversation._end_of_chunk,
    EndOfContent: Conversation._end_of_content,
    AuthResponse: Conversation._auth_response,
    Helo: Conversation._helo,
    Mail: Conversation._mail,
    Rcpt: Conversation._rcpt,
    Data: Conversation._data,
    Bdat: Conversation._bdat,
    Rset: Conversation._rset,
    Noop: Conversation._noop,
    Help: Conversation._help,
    Vrfy: Conversation._vrfy,
    Expn: Conversation._expn,
    Etrn: Conversation._etrn,
    Starttls: Conversation._starttls,
    Auth: Conversation._auth,
    Xclient: Conversation._xclient,
    Quit: Conversation._quit,
}
