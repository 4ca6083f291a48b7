"""Addressing: from a forward-path to who gets the mail, and from whom it comes then.

Routing says where an address goes; the directory says which addresses a local name stands for. An alias, and a user
who has moved, leave the reverse-path as it is (RFC 5321 3.9.1); a list's members get theirs from its owner (3.9.2).
The null reverse-path stays null through a list: else notices that cannot be delivered would be answered by notices.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from mta.message.envelope import Recipient
from mta.policy.directory import Alias, Directory, Entry, MailingList, Moved, User
from mta.policy.routing import Decision, Routing
from mta.smtp import xtext
from mta.smtp.address import domain_of
from mta.smtp.name_replies import EXPANSION_TOO_LARGE, LEADS_NOWHERE, NO_SUCH_MAILBOX, not_local, will_forward
from mta.smtp.reply import Reply

Note = Callable[[str, str, str], None]
"""Is told of what was decided on the way: about what, in a word or two ("directory"), how, in a sentence, and, where it
is an entry of the directory that says so, of which address; else ""."""

# A recipient whose expansion looks at more names, or nests deeper, is refused until somebody has corrected that.
MOST_NAMES: Final = 20_000
DEEPEST: Final = 20


class Expanded(StrEnum):
    """What a recipient has been replaced by. Who is told of success, if that was asked for, depends on it."""

    NOT = ""
    FORWARD = "forward"  # one address for another, whose host answers for it (RFC 3461 5.2.7.1)
    ALIAS = "alias"  # several addresses: we answer, with "expanded" (5.2.7.2)
    LIST = "list"  # the members of a list: we answer, since it has been delivered to the list (5.2.7.3)


_NOT = Expanded.NOT


class Forwarding(NamedTuple):
    """One address that gets the mail. reverse_path: as "local@domain", "" for the null one.

    Where the decision is a refusal, that is how its delivery ends, and the reverse-path is who hears of it.
    """

    reverse_path: str
    recipient: Recipient
    decision: Decision


class Addressed(NamedTuple):
    """What becomes of a recipient at RCPT. reply: None for the ordinary 250, a 251, or why it is refused.

    forwardings: who gets the mail, () where it is refused. why: for people. recipient: as it was completed, or taken
    for the postmaster, before anything stood for it.
    """

    reply: Reply | None
    forwardings: tuple[Forwarding, ...]
    expanded: Expanded
    why: str
    recipient: Recipient

    @property
    def is_refused(self) -> bool:
        """The recipient is not taken."""
        return not self.forwardings


class Addressing:
    """The directory and the routes in force. postmaster: the relay's own, as "local@domain"."""

    def __init__(self, directory: Directory, routing: Routing, postmaster: str) -> None:
        self._directory = directory
        self._is_empty = not directory
        self._routing = routing
        self._postmaster = postmaster

    def concerns(self, address: str) -> bool:
        """Does the directory know anything of the domain? If not, routing alone decides. A source route, which begins
        with "@", is not for us to look into: its next host knows the mailbox."""
        return not self._is_empty and domain_of(address) in self._directory and not address.startswith("@")

    def find(self, address: str) -> Entry | None:
        """What the directory has for an address."""
        return self._directory.find(address, self._postmaster) if self.concerns(address) else None

    def decide(self, reverse_path: str, address: str) -> Decision:
        """Where one address goes without being expanded: how recipients in the queue are routed.

        A name that the directory does not have, or that has moved without being forwarded, is refused.
        """
        if not self._is_empty and self.concerns(address):
            if self._directory.lacks(address, self._postmaster):
                return Decision(None, NO_SUCH_MAILBOX, f"directory: {address} is not a name of its domain")
            entry = self.find(address)
            if isinstance(entry, Moved) and not entry.forward:
                return Decision(None, not_local(entry.to), _why(entry))
        return self._routing.decide(reverse_path, address)

    def resolve(self, reverse_path: str, recipient: Recipient, note: Note | None = None) -> Addressed:
        """Who gets the mail from a reverse-path ("" for the null one) to a recipient, each address once.

        note: is told of the entries of the directory that are followed.
        """
        address = recipient.address
        if self._is_empty or not self.concerns(address):  # nearly all mail
            decision = self._routing.decide(reverse_path, address)
            if decision.refusal is None:
                return Addressed(None, (Forwarding(reverse_path, recipient, decision),), _NOT, decision.why, recipient)
            return refused(recipient, decision.refusal, decision.why)
        entry = self.find(address)
        if entry is None or isinstance(entry, User) or (isinstance(entry, Moved) and not entry.forward):
            if entry is not None and note is not None:
                note("directory", _why(entry), entry.address)
            return _unchanged(reverse_path, recipient, self.decide(reverse_path, address), entry)
        expansion = _Expansion(self, note)
        try:
            expansion.follow(reverse_path, recipient)
        except _TooLarge as error:
            return refused(recipient, EXPANSION_TOO_LARGE, f"{_why(entry)}; {error}")
        return self._expanded(recipient, entry, expansion)

    def _expanded(self, recipient: Recipient, entry: Entry, expansion: "_Expansion") -> Addressed:
        why = _why(entry)
        forwardings = tuple(expansion.found.values())
        if not forwardings:
            return refused(recipient, LEADS_NOWHERE, f"{why}; nothing but loops")
        # What comes of a list is for its owner to hear; any other name that nobody is behind is refused at once.
        refusals = [(one.decision.refusal, one.decision.why) for one in forwardings if one.decision.refusal]
        if len(refusals) == len(forwardings) and expansion.kind is not Expanded.LIST:
            refusal, reason = next(((one, of) for one, of in refusals if one.is_transient), refusals[0])
            return refused(recipient, refusal, f"{why}; {reason}")
        reply = will_forward(entry.to) if isinstance(entry, Moved) else None
        return Addressed(reply, forwardings, expansion.kind, why, recipient)


def refused(recipient: Recipient, reply: Reply, why: str) -> Addressed:
    """A recipient that is not taken."""
    return Addressed(reply, (), _NOT, why, recipient)


class _TooLarge(Exception):
    """More than is reasonable; the text says of what."""


class _Expansion:
    """One recipient's expansion, depth first, so that members stay in the order in which they are written."""

    def __init__(self, addressing: Addressing, note: Note | None) -> None:
        self._addressing = addressing
        self._note = note
        self._names = 0
        self._seen: set[tuple[str, str]] = set()
        self.found: dict[tuple[str, str], Forwarding] = {}
        self.kind = Expanded.NOT

    def follow(self, reverse_path: str, recipient: Recipient, depth: int = 0) -> None:
        """Add whom a recipient stands for. Raises `_TooLarge`."""
        self._names += 1
        if self._names > MOST_NAMES:
            raise _TooLarge(f"leads to more than {MOST_NAMES} names")
        address = recipient.address
        place = (reverse_path, address.lower() if self._addressing.concerns(address) else _comparable(address))
        if place in self._seen:
            return  # a loop, or an address that is here already
        self._seen.add(place)
        if depth > DEEPEST:
            raise _TooLarge(f"leads to more than {DEEPEST} names behind one another")
        entry = self._addressing.find(address)
        if entry is not None and self._note is not None:
            self._note("directory", _why(entry), entry.address)
        match entry:
            case Alias(members=members):
                self._heed(Expanded.ALIAS if len(members) > 1 else Expanded.FORWARD)
                for member in members:
                    self.follow(reverse_path, _in_place_of(recipient, member, one_of_many=len(members) > 1), depth + 1)
            case MailingList(members=members, owner=owner):
                self._heed(Expanded.LIST)
                # The owner is the sender now, who has asked for nothing.
                for member in members:
                    self.follow(owner if reverse_path else "", Recipient(member), depth + 1)
            case Moved(to=to, forward=True):
                self._heed(Expanded.FORWARD)
                self.follow(reverse_path, _in_place_of(recipient, to, one_of_many=False), depth + 1)
            case _:
                decision = self._addressing.decide(reverse_path, address)
                self.found[place] = Forwarding(reverse_path, recipient, decision)

    def _heed(self, kind: Expanded) -> None:
        """As long as one address has stood for another, what follows decides; several of them have decided it."""
        if self.kind in (Expanded.NOT, Expanded.FORWARD):
            self.kind = kind


def _in_place_of(recipient: Recipient, address: str, one_of_many: bool) -> Recipient:
    """Another address that gets what a recipient was sent, with as much of its sender's wishes as passes on.

    RFC 3461 5.2.7: of several addresses none is asked to report success, which is reported as "expanded".
    """
    notify = recipient.notify
    if one_of_many and notify:
        notify = ",".join(word for word in notify.split(",") if word != "SUCCESS") or "NEVER"
    original = recipient.original
    if not original and recipient.address.isascii():
        original = f"rfc822;{xtext.encode(recipient.address)}"
    return Recipient(address, notify, original)


def _comparable(address: str) -> str:
    """Local parts that are not ours may differ by case alone (RFC 5321 2.4)."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"


def _unchanged(reverse_path: str, recipient: Recipient, decision: Decision, entry: Entry | None) -> Addressed:
    """The recipient as it was given, where nothing else stands for it."""
    why = f"{_why(entry)}; {decision.why}" if isinstance(entry, User) else decision.why
    if decision.refusal is not None:
        return refused(recipient, decision.refusal, why)
    return Addressed(None, (Forwarding(reverse_path, recipient, decision),), _NOT, why, recipient)


def _why(entry: Entry) -> str:
    match entry:
        case User():
            return f"directory: mailbox {entry.address}"
        case Alias(members=members):
            whom = members[0] if len(members) == 1 else f"{len(members)} addresses"
            return f"directory: alias {entry.address} of {whom}"
        case MailingList():
            return f"directory: list {entry.address} of {len(entry.members)}, with bounces to {entry.owner}"
        case Moved():
            how = "and is forwarded" if entry.forward else "and is not forwarded"
            return f"directory: {entry.address} has moved to {entry.to}, {how}"
