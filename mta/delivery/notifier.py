"""Notifier: from the notices that a settlement owes to new messages, ready to be stored in the same write.

A notice goes from the null reverse-path (RFC 5321 4.5.5) to the reverse-path of the message, and is routed and tried
like any mail. A notice that fails in its turn is told to the postmaster, once; a double bounce that fails is held
(`settlement` says so), so no loop can come of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mta.delivery.rerouting import Route
from mta.interfaces import Claim, NewDelivery, NewMessage
from mta.message.envelope import Envelope, Recipient, format_queue_id
from mta.message.report import About, Fate, delay_report, failure_report
from mta.message.timeline import Event
from mta.policy.retry import RetryPolicy, deadline
from mta.policy.routing import Hop, Via
from mta.policy.settlement import Addressee, Settled


@dataclass(frozen=True, slots=True)
class Notifier:
    """Writes notices. hostname, postmaster: of this relay, whom they come from and whom they send for help.

    route: where mail from a reverse-path to a forward-path goes. new_id: a queue id for a message made now.
    """

    hostname: str
    postmaster: str
    policy: RetryPolicy
    route: Route
    new_id: Callable[[float], int]

    def failure(
        self, claim: Claim, failed: Sequence[Settled], addressee: Addressee, header: bytes, now: float
    ) -> NewMessage:
        """The notice that a message will not reach these recipients. header: its header section."""
        number = self.new_id(now)
        double = addressee is Addressee.POSTMASTER
        to = self.postmaster if double else claim.envelope.sender
        fates = [Fate(one.recipient, one.outcome, now) for one in failed]
        content = failure_report(self._about(claim, header), fates, format_queue_id(number), now, to)
        return self._message(number, claim.message, to, content, now, double)

    def delay(self, claim: Claim, late: Sequence[Settled], header: bytes, now: float) -> NewMessage:
        """The notice that a message has not reached these recipients yet."""
        number = self.new_id(now)
        fates = [Fate(one.recipient, one.outcome, now) for one in late]
        until = claim.envelope.received + self.policy.give_up
        content = delay_report(self._about(claim, header), fates, format_queue_id(number), now, until)
        return self._message(number, claim.message, claim.envelope.sender, content, now, double=False)

    def _about(self, claim: Claim, header: bytes) -> About:
        return About(self.hostname, self.postmaster, format_queue_id(claim.message), claim.envelope, header)

    def _message(self, number: int, about: int, to: str, content: bytes, now: float, double: bool) -> NewMessage:
        recipients = (Recipient(to),)
        decision = self.route("", to)
        # Where a route refuses it, any destination will do: it is routed again, and refused, when it is tried.
        hop = decision.hop or Hop(Via.MX, to.rpartition("@")[2].lower())
        envelope = Envelope(
            sender="",
            recipients=recipients,
            received=now,
            size=len(content),
            eight_bit=not content.isascii(),
            dotted=content.startswith(b".") or b"\n." in content,
            notice_for=about,
            double_bounce=double,
        )
        delivery = NewDelivery(hop.destination, recipients, now, deadline(self.policy, now, warned=False))
        about_id = format_queue_id(about)
        events = (
            Event(now, "received", {"sender": "", "recipients": [to], "size": len(content), "about": about_id}),
            Event(now, "routed", {"to": hop.destination, "recipients": [to], "why": decision.why}),
        )
        return NewMessage(number, envelope, content, (delivery,), events)
