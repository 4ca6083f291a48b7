"""Transaction: one MAIL and what follows it, up to the answer to its content (RFC 5321 3.3).

Who may send where, and who gets it, is `policy/admission.py`; here the answers become a transaction, and what the
client asked for by its parameters becomes part of the envelope.
"""

from twisted.internet.defer import Deferred

from mta.inbound.asked import Asked, read_parameters
from mta.inbound.house import House
from mta.inbound.manners import Manners
from mta.inbound.reception import Expansion, Group, Reception, reply_to_trouble
from mta.inbound.visitor import Visitor
from mta.interfaces import SpoolBroken, SpoolFull
from mta.policy.addressing import Addressed
from mta.policy.routing import destination_of
from mta.smtp import replies
from mta.smtp.command import Mail, Rcpt
from mta.smtp.events import EndOfChunk, EndOfContent
from mta.smtp.reply import Reply

Answer = Reply | Deferred[Reply]

MOST_FORWARDINGS = 20_000  # addresses that the recipients of one transaction stand for, all together


class Transaction:
    """One mail transaction of a client. reception: what keeps its content; None before that may come."""

    __slots__ = (
        "_asked",
        "_began",
        "_expansions",
        "_failure",
        "_forward_path",
        "_forwardings",
        "_groups",
        "_house",
        "_manners",
        "_recipients",
        "_sender",
        "_sender_route",
        "_visitor",
        "reception",
    )

    def __init__(
        self, house: House, manners: Manners, visitor: Visitor, sender: str, route: tuple[str, ...], asked: Asked
    ) -> None:
        """sender, route: mailbox and source route of the reverse-path."""
        self._house = house
        self._manners = manners
        self._visitor = visitor
        self._sender = sender
        self._sender_route = route
        self._asked = asked
        self._began = house.keeping.now()
        self._recipients = 0
        self._forward_path = ""  # the last one that was taken
        self._forwardings = 0
        self._groups: dict[tuple[str, str], Group] = {}
        self._expansions: list[Expansion] = []
        self.reception: Reception | None = None
        self._failure: Reply | None = None  # why chunks that come are not kept

    @classmethod
    def begin(cls, house: House, manners: Manners, visitor: Visitor, command: Mail) -> "Transaction | Reply":
        """MAIL: a transaction without recipients, or why there is none."""
        path = command.reverse_path
        sender = house.admission.sender(path, manners.source_routes, visitor.account, visitor.senders)
        if isinstance(sender, Reply):
            visitor.refused(str(sender), sender=path.address)
            return sender
        asked = read_parameters(command, house.keeping.now(), trusted=visitor.may_relay)
        if isinstance(asked, Reply):
            return asked
        if command.size and not house.keeping.spool.has_room(command.size):
            return replies.DISK_FULL
        return cls(house, manners, visitor, sender, path.route, asked)

    def recipient(self, command: Rcpt) -> Answer:
        """RCPT: may it be sent there, and where is that?"""
        house, visitor = self._house, self._visitor
        if self._recipients >= self._manners.recipients:
            return replies.TOO_MANY_RECIPIENTS
        path, given = command.forward_path, command.parameters
        if not (self._asked.smtputf8 or _is_ascii(path.address, command)):
            return replies.NON_ASCII_ADDRESS
        addressed = house.admission.recipient(
            path,
            self._manners.source_routes,
            visitor.may_relay,
            self._sender,
            self._sender_route,
            given.get("NOTIFY", "") if given else "",
            given.get("ORCPT", "") if given else "",
        )
        if not addressed.forwardings:
            assert addressed.reply is not None, "either it goes somewhere, or there is a reply that says why not"
            self._log_refusal(addressed.recipient.address, addressed.why)
            return addressed.reply
        if self._forwardings and self._forwardings + len(addressed.forwardings) > MOST_FORWARDINGS:
            return replies.TOO_MANY_RECIPIENTS
        return self._ask_checks(addressed) if house.checks else self._take(addressed)

    def _take(self, addressed: Addressed) -> Reply:
        reply, forwardings, expanded, _, recipient = addressed
        self._recipients += 1
        self._forward_path = recipient.address
        self._forwardings += len(forwardings)
        for reverse_path, who, decision in forwardings:
            destination = destination_of(decision, who.address)
            group = self._groups.get((destination, reverse_path))
            if group is None:
                own = None if reverse_path == self._sender else reverse_path
                group = self._groups[destination, reverse_path] = Group(destination, own, {})
            group.recipients.setdefault(who.address, who)  # named twice, it gets one copy
        if expanded:
            into = tuple(one.recipient.address for one in forwardings)
            self._expansions.append(Expansion(recipient, expanded, into))
        return reply or replies.RECIPIENT_OK

    def _ask_checks(self, addressed: Addressed) -> Deferred[Reply]:
        async def ask() -> Reply:
            visitor, recipient = self._visitor, addressed.recipient
            for check in self._house.checks:
                objection = await check.recipient(visitor.address, visitor.helo, self._sender, recipient.address)
                if objection is not None:
                    self._log_refusal(recipient.address, str(objection))
                    return objection
            return self._take(addressed)

        return Deferred.fromCoroutine(ask())

    def data(self) -> Reply:
        """DATA: may the content come?"""
        if self._asked.body == "BINARYMIME":
            return replies.BDAT_FOR_BINARY
        return self._open() or replies.START_CONTENT

    def begin_chunk(self) -> None:
        """BDAT: content comes, whether it can be kept or not (RFC 3030 2)."""
        if self.reception is None and self._failure is None:
            self._failure = self._open()

    def _open(self) -> Reply | None:
        """Begin to keep the content; or why it cannot be kept."""
        house, visitor, asked = self._house, self._visitor, self._asked
        client = visitor.client(asked.smtputf8)
        forward_path = self._forward_path if self._recipients == 1 else ""
        groups = list(self._groups.values())
        expansions = self._expansions
        try:
            self.reception = Reception(
                house.keeping,
                client,
                self._sender,
                asked,
                groups,
                forward_path,
                expansions,
                visitor.may_relay,
                self._began,
            )
        except (SpoolFull, SpoolBroken) as error:
            visitor.refused(str(error), sender=self._sender)
            return reply_to_trouble(error)
        return None

    def end_chunk(self, end: EndOfChunk) -> Reply:
        """The answer to a chunk that is not the last one."""
        return end.fault or self._failure or replies.chunk_taken(end.size)

    def finish(self, end: EndOfContent) -> Answer:
        """The content is complete: keep the message, and answer for it."""
        reception, self.reception = self.reception, None
        if reception is None:
            assert self._failure is not None, "content comes only after a 354 or a BDAT"
            return end.fault or self._failure
        answer = reception.finish(end)
        if isinstance(answer, Reply):
            self._visitor.refused(str(answer), sender=self._sender)
        return answer

    def abandon(self) -> None:
        """It comes to nothing, or has ended."""
        if self.reception is not None:
            self.reception.abandon()
            self.reception = None

    def _log_refusal(self, recipient: str, why: str) -> None:
        self._visitor.refused(why, sender=self._sender, to=recipient)


def _is_ascii(address: str, command: Rcpt) -> bool:
    """Can it be without SMTPUTF8? That is agreed on at MAIL, so no line of RCPT can tell by itself (RFC 6531 3.4)."""
    route, given = command.forward_path.route, command.parameters
    if not (address.isascii() and (not route or "".join(route).isascii())):
        return False
    return not given or given.get("ORCPT", "").isascii()
