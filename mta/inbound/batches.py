"""Batches: a mail transaction that a user of this machine has written down, taken as if it were being said.

It goes the way of any submission: a server session reads it, a `Transaction` answers. The user is a client that may
relay, known by the owner of the file; the reverse-path is whatever the batch says, the trace field tells whose it was.
"""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred

from mta.inbound.house import House
from mta.inbound.manners import Manners
from mta.inbound.transaction import Answer, Transaction
from mta.inbound.visitor import Visitor
from mta.interfaces import NotMail
from mta.logins import LoggedIn
from mta.message.envelope import DROP, Client, Recipient
from mta.message.submission import complete
from mta.smtp import replies
from mta.smtp.command import Data, Helo, Mail, Rcpt
from mta.smtp.events import NEED_OCTETS, Content, EndOfContent, Event, Rejected
from mta.smtp.reply import Reply
from mta.smtp.server import ServerSession

Read = Callable[[], Awaitable[bytes]]


class NotNow(Exception):
    """The batch cannot be taken at present, and nothing of it has been; `reply` says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class LocalUser(Visitor):
    """A user of this machine: may relay, and is logged in by owning the file."""

    __slots__ = ("_uid",)

    def __init__(self, house: House, manners: Manners, uid: int, name: str) -> None:
        super().__init__(house, manners, "")
        self._uid = uid
        self.logged_in(LoggedIn(name))

    def client(self, smtputf8: bool = False) -> Client:
        """As an envelope remembers it."""
        return Client(DROP, f"uid {self._uid}", "local", self.account)

    def refused(self, why: str, **more: str) -> None:
        """Tell the log that something of it was refused."""
        self._house.log.event("refused", client=DROP, login=self.account, why=why, **more)


class Batch:
    """One batch on its way in.

    What is known of it, also when it turns out to be none. sender: its reverse-path, "" for the null one; None before
    it has said so. taken: the recipients that were not refused. refused: the others, each with the reply.
    """

    def __init__(self, house: House, manners: Manners, visitor: LocalUser, patient: bool = True) -> None:
        """patient: a recipient who is refused for now has the whole batch wait, and is not refused for good."""
        self.sender: str | None = None
        self.taken: list[Recipient] = []
        self.refused: list[tuple[Recipient, Reply]] = []
        self._house = house
        self._manners = manners
        self._visitor = visitor
        self._patient = patient
        self._transaction: Transaction | None = None

    async def take(self, read: Read) -> None:
        """Keep the message, for those recipients that there are: on stable storage when this returns.

        read: gives the next octets, b"" at the end. Raises `NotNow`, and `NotMail` for what is not one transaction.
        """
        session = ServerSession(self._house.hostname, self._visitor.settings)
        session.greet()
        try:
            while True:
                event = session.next_event()
                session.octets_to_send()  # nobody reads the replies
                if event is NEED_OCTETS:
                    octets = await read()
                    if not octets:
                        raise NotMail("it ends before its content does")
                    session.receive(octets)
                elif isinstance(event, EndOfContent):
                    if session.backlog or await read():
                        raise NotMail("something stands behind its content")
                    await self._finish(event)
                    return
                elif isinstance(event, Rejected) and event.reply == replies.NO_VALID_RECIPIENTS:
                    return  # all have been refused
                else:
                    await self._go_on(session, event)
        finally:
            if self._transaction is not None:
                self._transaction.abandon()

    async def _go_on(self, session: ServerSession, event: Event) -> None:
        transaction = self._transaction
        if isinstance(event, Content):
            reception = transaction.reception if transaction is not None else None
            behind = reception.write(event.octets) if reception is not None else None
            if behind is not None:
                await behind
        elif isinstance(event, Helo):
            session.reply(replies.OK)
        elif isinstance(event, Mail) and transaction is None:
            session.reply(self._begin(event))
        elif isinstance(event, Rcpt) and transaction is not None:
            session.reply(await self._recipient(transaction, event))
        elif isinstance(event, Data) and transaction is not None:
            reply = transaction.data()
            if reply.is_transient:
                raise NotNow(reply)
            session.reply(reply)
        elif isinstance(event, Rejected):
            raise NotMail(f"a line of it is refused: {event.reply}")
        else:
            raise NotMail(f"{type(event).__name__.upper()} has no place in it")

    def _begin(self, command: Mail) -> Reply:
        address = command.reverse_path.address
        self.sender = complete(address, self._house.hostname) if address and "@" not in address else address
        begun = Transaction.begin(self._house, self._manners, self._visitor, command)
        if isinstance(begun, Transaction):
            self._transaction = begun
            return replies.SENDER_OK
        if begun.is_transient:
            raise NotNow(begun)
        raise NotMail(f"its sender is refused: {begun}")

    async def _recipient(self, transaction: Transaction, command: Rcpt) -> Reply:
        given = command.parameters
        address = command.forward_path.address
        recipient = Recipient(
            complete(address, self._house.hostname) if "@" not in address else address,
            given.get("NOTIFY", ""),
            given.get("ORCPT", ""),
        )
        reply = await _known(transaction.recipient(command))
        if reply.is_positive:
            self.taken.append(recipient)
        elif reply.is_transient and self._patient:
            raise NotNow(reply)
        else:
            self._refuse(recipient, reply)
        return reply

    async def _finish(self, end: EndOfContent) -> None:
        transaction, self._transaction = self._transaction, None
        assert transaction is not None, "the language lets no content through without a MAIL"
        reply = await _known(transaction.finish(end))
        if reply.is_transient:
            raise NotNow(reply)
        if not reply.is_positive:
            for recipient in self.taken:
                self._refuse(recipient, reply)
            self.taken = []

    def _refuse(self, recipient: Recipient, reply: Reply) -> None:
        self._house.keeping.measures.refused(reply.code, reply.enhanced)
        self.refused.append((recipient, reply))


async def _known(answer: Answer) -> Reply:
    return await answer if isinstance(answer, Deferred) else answer
