"""Conversation: what each command of a session is answered with, and what a transaction has gathered so far.

The language decides what is well formed and in order before anything arrives here; who may send where is
`policy/access.py`, where it goes `policy/routing.py`. An answer is a `Reply`, or a Deferred of one where somebody has
to be asked first: the session waits, so that pipelined commands keep their order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from mta.inbound.reception import Keeping, Reception
from mta.interfaces import ICheck, SpoolBroken, SpoolFull
from mta.message.envelope import Client, Recipient
from mta.policy.access import Access
from mta.policy.routing import Routing
from mta.smtp import replies
from mta.smtp.command import Command, Data, Helo, Help, Mail, Noop, Quit, Rcpt, Rset, Vrfy
from mta.smtp.reply import Reply
from mta.smtp.server import Content, EndOfContent

Answer = Reply | Deferred[Reply]


@dataclass(frozen=True, slots=True)
class House:
    """What all conversations share."""

    hostname: str
    postmaster: str
    keeping: Keeping
    access: Access
    routing: Routing
    checks: Sequence[ICheck]
    max_recipients: int


class Conversation:
    """One session's answers. `address` is the client's, "" on a Unix socket."""

    __slots__ = ("_body", "_destinations", "_extended", "_house",
        "_keywords", "_recipients", "_sender", "address", "helo",
                 "may_relay", "reception")  # fmt: skip

    def __init__(self, house: House, address: str, keywords: tuple[str, ...]) -> None:
        """keywords: the extensions, as the answer to EHLO lists them."""
        self._house = house
        self._keywords = keywords
        self.address = address
        self.may_relay = house.access.may_relay(address)
        self.helo = ""
        self.reception: Reception | None = None
        self._extended = False
        self._forget_transaction()

    def _forget_transaction(self) -> None:
        if self.reception is not None:
            self.reception.abandon()
        self.reception = None
        self._sender = ""
        self._body = ""
        self._recipients = 0
        # Forward-paths by the name of their next hop; made at the first RCPT, so that idle sessions have none.
        self._destinations: dict[str, list[Recipient]] | None = None

    def lost(self) -> None:
        """The client has gone; what it had not finished is forgotten."""
        self._forget_transaction()

    def answer(self, command: Command) -> Answer:
        """The answer to a command that is well formed and in order."""
        return _ANSWERS[type(command)](self, command)

    def _helo(self, command: Helo) -> Answer:
        self._forget_transaction()
        self.helo = command.domain
        self._extended = command.extended
        hostname = self._house.hostname
        return replies.ehlo(hostname, self._keywords) if command.extended else replies.helo(hostname)

    def _mail(self, command: Mail) -> Answer:
        self._forget_transaction()
        self._sender = command.reverse_path.address
        self._body = command.body
        return replies.SENDER_OK

    def _rcpt(self, command: Rcpt) -> Answer:
        house = self._house
        if self._recipients >= house.max_recipients:
            return replies.TOO_MANY_RECIPIENTS
        address = command.forward_path.address
        if "@" not in address:
            # The one mailbox that needs no domain is <postmaster> (RFC 5321 4.5.1).
            address = house.postmaster
        else:
            permission = house.access.judge(self.may_relay, address)
            if not permission.allowed:
                self._log_refusal(address, permission.why)
                return replies.RELAYING_DENIED
        decision = house.routing.decide(self._sender, address)
        if decision.refusal is not None:
            self._log_refusal(address, decision.why)
            return decision.refusal
        hop = decision.hop
        assert hop is not None
        if house.checks:
            return self._ask_checks(address, hop.destination)
        return self._take(address, hop.destination)

    def _take(self, address: str, destination: str) -> Reply:
        if self._destinations is None:
            self._destinations = {}
        self._destinations.setdefault(destination, []).append(Recipient(address))
        self._recipients += 1
        return replies.RECIPIENT_OK

    def _ask_checks(self, address: str, destination: str) -> Deferred[Reply]:
        async def ask() -> Reply:
            for check in self._house.checks:
                objection = await check.recipient(self.address, self.helo, self._sender, address)
                if objection is not None:
                    self._log_refusal(address, str(objection))
                    return objection
            return self._take(address, destination)

        return Deferred.fromCoroutine(ask())

    def _data(self, command: Data) -> Answer:
        destinations = self._destinations
        assert destinations, "the language lets DATA through only after a RCPT that was taken"
        client = Client(self.address, self.helo, "ESMTP" if self._extended else "SMTP")
        try:
            self.reception = Reception(self._house.keeping, client, self._sender, destinations)
        except (SpoolFull, SpoolBroken) as error:
            self._house.keeping.log.event("refused", client=self.address, why=str(error))
            return replies.DISK_FULL if isinstance(error, SpoolFull) else replies.LOCAL_ERROR
        return replies.START_CONTENT

    def content(self, piece: Content) -> "Deferred[None] | None":
        """Some content. A Deferred means: read no more until it fires."""
        return self.reception.write(piece.octets) if self.reception is not None else None

    def finish(self, end: EndOfContent) -> Answer:
        """The content is complete: keep the message, and answer for it."""
        reception, self.reception = self.reception, None
        assert reception is not None, "content comes only after a 354"
        answer = reception.finish(end, self._body)
        if isinstance(answer, Reply):
            self._house.keeping.log.event("refused", client=self.address, sender=self._sender, why=str(answer))
        self._forget_transaction()
        return answer

    def _rset(self, command: Rset) -> Answer:
        self._forget_transaction()
        return replies.OK

    def _noop(self, command: Noop) -> Answer:
        return replies.OK

    def _help(self, command: Help) -> Answer:
        return replies.help_on(command.topic)

    def _vrfy(self, command: Vrfy) -> Answer:
        return replies.CANNOT_VERIFY

    def _quit(self, command: Quit) -> Answer:
        self._forget_transaction()
        return replies.bye(self._house.hostname)

    def _log_refusal(self, recipient: str, why: str) -> None:
        self._house.keeping.log.event(
            "refused", client=self.address, helo=self.helo, sender=self._sender, to=recipient, why=why
        )


_ANSWERS: dict[type[Command], Callable[[Conversation, Any], Answer]] = {
    Helo: Conversation._helo,
    Mail: Conversation._mail,
    Rcpt: Conversation._rcpt,
    Data: Conversation._data,
    Rset: Conversation._rset,
    Noop: Conversation._noop,
    Help: Conversation._help,
    Vrfy: Conversation._vrfy,
    Quit: Conversation._quit,
}
