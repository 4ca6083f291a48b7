"""Errand: the account of one message that is carried from host to host: who is done, who is left, what was tried."""

from mta.interfaces import IContent
from mta.message.envelope import Envelope
from mta.message.outcome import Carried, Outcome, Result, Try
from mta.smtp.client import Ending, How, Mail, Peer, Stage
from mta.smtp.reply import Reply
from mta.smtp.steps import OwnReply
from mta.transports.session import Session

CARRY_SECONDS = 3600.0  # for all hosts together
SLOWEST = 10_000  # octets of a message that add a second to that

_NO_TIME = OwnReply(451, "4.4.1", ("no host could be tried in time",))


class Errand:
    """One message for one hop.

    pending: indices of the recipients who may still be tried elsewhere. tried: the hosts that had their chance.
    until: when it must have ended, in seconds since 1970.
    """

    def __init__(self, envelope: Envelope, content: IContent, now: float) -> None:
        self._envelope = envelope
        self._content = content
        self._outcomes: list[Outcome | None] = [None] * len(envelope.recipients)
        self._tries: list[Try] = []
        self._reached = False
        self._turned_away = True  # by every host that was tried, and for good
        self.pending = list(range(len(envelope.recipients)))
        self.tried: set[str] = set()
        self.until = now + CARRY_SECONDS + content.size / SLOWEST

    def mail(self, peer: Peer) -> Mail:
        """What is to be carried to this peer.

        Here is the place where 8-bit content is converted for a peer without 8BITMIME; so far it is sent as it is.
        """
        envelope, content = self._envelope, self._content
        paths = [envelope.recipients[index].address for index in self.pending]
        eight_bit = envelope.eight_bit or envelope.body == "8BITMIME"
        return Mail(envelope.sender, paths, content.size, eight_bit, envelope.dotted, content.blocks)

    def note(self, host: str, why: str) -> None:
        """A host that was not tried."""
        self._tries.append(Try(host, 0.0, why))

    def turned_away(self, session: Session, ending: Ending, seconds: float) -> None:
        """There was no connection, or the server did not want to speak with us."""
        self._turned_away &= ending.how is How.REFUSED and ending.reply.is_permanent
        self._tried(session, str(ending.reply), seconds, session.transcript())
        for index in self.pending:
            self._put_off(index, ending.reply, session.host)

    def settle(self, session: Session, endings: list[Ending], seconds: float) -> None:
        """The message was tried over a session: an ending for each of the pending."""
        host = session.host
        self._turned_away = False
        left: list[int] = []
        worst: Ending | None = None
        for index, ending in zip(self.pending, endings, strict=True):
            how, reply, stage = ending
            if how is How.TAKEN:
                self._outcomes[index] = Outcome(Result.DELIVERED, reply, host)
                continue
            worst = worst or ending
            if how is How.LOST:
                self._reached |= not isinstance(reply, OwnReply) or stage not in (Stage.RSET, Stage.MAIL)
                self._put_off(index, reply, host)
                left.append(index)
                continue
            self._reached = True
            result = Result.FAILED if reply.is_permanent and how is not How.UNKNOWN else Result.DEFERRED
            remote = not isinstance(reply, OwnReply)
            self._outcomes[index] = Outcome(result, reply, host, remote, how is How.UNKNOWN)
        if worst is None:
            self._reached = True
            self._tried(session, str(endings[0].reply), seconds, ())
        else:
            self._tried(session, str(worst.reply), seconds, session.transcript())
        self.pending = left

    def carried(self, failure: Reply | None = None, incomplete: bool = False) -> Carried:
        """The end. failure: why no host was found. incomplete: there are hosts of which nobody knows anything."""
        for index in self.pending:
            outcome = self._outcomes[index]
            if outcome is None:
                reply = failure or _NO_TIME
                result = Result.FAILED if reply.is_permanent else Result.DEFERRED
                outcome = Outcome(result, reply, remote=False)
            elif self._turned_away and not incomplete:
                outcome = outcome._replace(result=Result.FAILED)
            self._outcomes[index] = outcome
        outcomes = tuple(outcome for outcome in self._outcomes if outcome is not None)
        return Carried(outcomes, tuple(self._tries), self._reached)

    def _put_off(self, index: int, reply: Reply, host: str) -> None:
        """Deferred, unless another host takes it. What a server said tells more than that another said nothing."""
        before = self._outcomes[index]
        remote = not isinstance(reply, OwnReply)
        if before is None or remote or not before.remote:
            self._outcomes[index] = Outcome(Result.DEFERRED, reply, host, remote)

    def _tried(self, session: Session, text: str, seconds: float, dialogue: tuple[str, ...]) -> None:
        self.tried.add(session.host)
        self._tries.append(Try(session.host, seconds, text, "", dialogue))
