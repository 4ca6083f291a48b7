"""Notifier: from the notices that a settlement owes to new messages, ready to be stored in the same write.

A notice goes from the null reverse-path (RFC 5321 4.5.5) to the reverse-path of the message, and is routed and tried
like any mail. A notice that fails in its turn is told to the postmaster, once; a double bounce that fails is held
(`settlement` says so), so no loop can come of it.

A notice about a message that was to travel over TLS alone (REQUIRETLS) must be as well protected as the message, or
tell nothing of it (RFC 8689 5). So where its way back is one on which REQUIRETLS can be kept, it asks for that, and
has the header; elsewhere nobody would ever get it if it did, so it does not ask, and gives nothing of the message
back. The message as a whole never comes back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mta.delivery.rerouting import Route
from mta.interfaces import Claim, NewDelivery, NewMessage
from mta.message.envelope import Envelope, Recipient, format_queue_id
from mta.message.outcome import Onward
from mta.message.report import About, delay_report, failure_report, success_report
from mta.message.returned import Returned
from mta.message.statusfields import Action, Fate
from mta.message.timeline import Event
from mta.policy import expansion
from mta.policy.addressing import Addressed, Forwarding
from mta.policy.retry import RetryPolicy, deadline, end
from mta.policy.routing import destination_of
from mta.policy.settlement import Addressee, Settled
from mta.policy.sourceroute import mailbox_of

_REDACTED = Returned(b"", why="you had asked for an encrypted way only, and this notice may go another")
_ACTIONS = {Onward.FINAL: Action.DELIVERED, Onward.RELAYED: Action.RELAYED, Onward.PASSED: Action.RELAYED}
_TIME_EXPIRED = "4.4.7"  # the status of a delay beyond the time that the sender had set (RFC 2852 4)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Writes notices. hostname, postmaster: of this relay, whom they come from and whom they send for help.

    route: where mail from a reverse-path to a forward-path goes. new_id: a queue id for a message made now. resolve:
    who a forward-path stands for (`Addressing.resolve`), since a sender may be an alias, or a list, of ours.
    """

    hostname: str
    postmaster: str
    policy: RetryPolicy
    route: Route
    new_id: Callable[[float], int]
    resolve: Callable[[str, Recipient], Addressed] | None = None

    def failure(
        self, claim: Claim, failed: Sequence[Settled], addressee: Addressee, given: Returned, now: float
    ) -> NewMessage:
        """The notice that a message will not reach these recipients. given: what is given back of the message."""
        double = addressee is Addressee.POSTMASTER
        letter = self._begin(claim, self.postmaster if double else mailbox_of(claim.envelope.sender), given, now)
        fates = [Fate(one.recipient, one.outcome, now, Action.FAILED) for one in failed]
        return self._finish(letter, failure_report(letter.about, fates, letter.id, now), claim, now, double)

    def delay(self, claim: Claim, late: Sequence[Settled], given: Returned, now: float) -> NewMessage:
        """The notice that a message has not reached these recipients yet."""
        envelope = claim.envelope
        letter = self._begin(claim, mailbox_of(envelope.sender), given.header_only, now)
        status = _TIME_EXPIRED if envelope.by and envelope.by_mode.startswith("N") else ""
        fates = [Fate(one.recipient, one.outcome, now, Action.DELAYED, status) for one in late]
        until = end(self.policy, envelope.queued_since, envelope.by, envelope.by_mode)
        return self._finish(letter, delay_report(letter.about, fates, letter.id, now, until), claim, now)

    def success(self, claim: Claim, done: Sequence[Settled], given: Returned, now: float) -> NewMessage:
        """The notice that a message has reached these recipients, or was handed on to who will not tell."""
        letter = self._begin(claim, mailbox_of(claim.envelope.sender), given.header_only, now)
        is_alias = claim.destination == expansion.ALIAS
        fates = [
            Fate(one.recipient, one.outcome, now, Action.EXPANDED if is_alias else _ACTIONS[one.outcome.onward])
            for one in done
        ]
        return self._finish(letter, success_report(letter.about, fates, letter.id, now), claim, now)

    def _begin(self, claim: Claim, to: str, given: Returned, now: float) -> "_Letter":
        number = self.new_id(now)
        whom = self._whom(to)
        requiretls = claim.envelope.requiretls and all(
            one.decision.hop is not None and one.decision.hop.tls == "verify" for one in whom
        )
        if claim.envelope.requiretls:
            given = given.header_only if requiretls else _REDACTED
        name = format_queue_id(claim.message)
        about = About(self.hostname, self.postmaster, name, claim.envelope, given, to)
        return _Letter(number, format_queue_id(number), about, whom, requiretls)

    def _whom(self, to: str) -> Sequence[Forwarding]:
        """Who gets what goes to an address: somebody, even if it is refused then."""
        addressed = self.resolve("", Recipient(to)) if self.resolve is not None else None
        if addressed is not None and addressed.forwardings:
            return addressed.forwardings
        return (Forwarding("", Recipient(to), self.route("", to)),)

    def _finish(self, letter: "_Letter", content: bytes, claim: Claim, now: float, double: bool = False) -> NewMessage:
        to = letter.about.to
        groups: dict[str, list[Recipient]] = {}
        for _, recipient, decision in letter.whom:
            groups.setdefault(destination_of(decision, recipient.address), []).append(recipient)
        recipients = tuple(recipient for group in groups.values() for recipient in group)
        eight_bit = not content.isascii()
        envelope = Envelope(
            sender="",
            recipients=recipients,
            received=now,
            size=len(content),
            body="8BITMIME" if eight_bit else "",
            eight_bit=eight_bit,
            dotted=content.startswith(b".") or b"\n." in content,
            notice_for=claim.message,
            double_bounce=double,
            smtputf8=not to.isascii(),
            requiretls=letter.requiretls,
            priority=claim.envelope.priority,
        )
        until = deadline(self.policy, now, warned=False)
        deliveries = tuple(NewDelivery(name, tuple(group), now, until) for name, group in groups.items())
        about = letter.about.queue_id
        addresses = [one.address for one in recipients]
        events = [Event(now, "received", {"sender": "", "recipients": addresses, "size": len(content), "about": about})]
        if addresses != [to]:
            events.append(Event(now, "expanded", {"recipients": [to], "into": list(addresses)}))
        why = letter.whom[0].decision.why
        events += [
            Event(now, "routed", {"to": name, "recipients": [one.address for one in group], "why": why})
            for name, group in groups.items()
        ]
        return NewMessage(letter.number, envelope, content, deliveries, tuple(events))


class _Letter(NamedTuple):
    """A notice before it is written. number, id: its queue id, as a number and as people see it."""

    number: int
    id: str
    about: About
    whom: Sequence[Forwarding]
    requiretls: bool
