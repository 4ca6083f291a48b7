"""Errand: the account of one message that is carried from host to host: who is done, who is left, what was tried."""

from twisted.internet.defer import Deferred

from mta.interfaces import IContent
from mta.message.envelope import Envelope
from mta.message.outcome import DEFERRED, DELIVERED, FAILED, FINAL, HELD, PASSED, RELAYED, Carried, Outcome, Try
from mta.policy.routing import Hop
from mta.smtp.asking import Mail, Peer
from mta.smtp.client import ELSEWHERE, LATER, LOST, REFUSED, TAKEN, UNKNOWN, Ending, Stage
from mta.smtp.reply import Reply
from mta.smtp.steps import OwnReply
from mta.transports.fitting import Fitter
from mta.transports.parcel import Parcel
from mta.transports.session import Session

CARRY_SECONDS = 3600.0  # for all hosts together
SLOWEST = 10_000  # octets of a message that add a second to that

_NO_TIME = OwnReply(451, "4.4.1", ("no host could be tried in time",))
_LEFT = frozenset({LOST, ELSEWHERE, LATER})


class Errand:
    """One message for one hop.

    pending: indices of the recipients who may still be tried elsewhere. tried: the hosts that had their chance.
    until: when it must have ended, as `passing` has the time.
    """

    def __init__(self, hop: Hop, envelope: Envelope, content: IContent, fitter: Fitter, now: float) -> None:
        self._recipients = envelope.recipients
        self._parcel = Parcel(hop, envelope, content, fitter)
        self._outcomes: list[Outcome | None] = [None] * len(envelope.recipients)
        self._tries: list[Try] = []
        self._reached = False
        self._turned_away = True  # by every host that was tried, and for good
        self.pending = list(range(len(envelope.recipients)))
        self.tried: set[str] = set()
        self.until = now + CARRY_SECONDS + content.size / SLOWEST

    def mail(self, peer: Peer, now: float) -> Mail | Deferred[Mail]:
        """What is to be carried to this peer; a Deferred where its content must be converted first."""
        left = self._recipients
        if len(self.pending) < len(left):
            left = tuple(left[index] for index in self.pending)
        return self._parcel.make_up(peer, left, now)

    def note(self, host: str, why: str) -> None:
        """A host that was not tried."""
        self._tries.append(Try(host, 0.0, why))

    def turned_away(self, session: Session, ending: Ending, seconds: float) -> None:
        """There was no connection, or the server did not want to speak with us."""
        self._turned_away &= ending.how is REFUSED and ending.reply.is_permanent
        self._tried(session, str(ending.reply), seconds, session.transcript())
        for index in self.pending:
            self._put_off(index, ending.reply, session.host)

    def hold(self, session: Session, reply: OwnReply, seconds: float) -> None:
        """It cannot go on with any host of this hop before somebody has mended something here."""
        self._turned_away = False
        self._tried(session, str(reply), seconds, session.transcript())
        for index in self.pending:
            self._outcomes[index] = Outcome(HELD, reply, session.host, remote=False)
        self.pending = []

    def settle(self, session: Session, endings: list[Ending], seconds: float) -> None:
        """The message was tried over a session: an ending for each of the pending.

        Where the session has done as much as it may, its host has not had its chance for those who are left.
        """
        host, peer = session.host, session.peer
        onward = PASSED if "DSN" in peer.extensions else FINAL if peer.lmtp else RELAYED
        taken: Reply | None = None
        worst: Reply | None = None
        left: list[int] = []
        later = False
        for index, (how, reply, stage) in zip(self.pending, endings, strict=True):
            if how is TAKEN:
                self._outcomes[index] = Outcome(DELIVERED, reply, host, onward=onward)
                self._turned_away, self._reached = False, True
                taken = taken or reply
                continue
            remote = not isinstance(reply, OwnReply)
            self._turned_away &= how is ELSEWHERE
            self._reached |= how is not LOST or remote or stage not in (Stage.RSET, Stage.MAIL)
            if how is LATER:
                later = True
            else:
                worst = worst or reply
            if how in _LEFT:
                self._put_off(index, reply, host)
                left.append(index)
            else:
                result = FAILED if reply.is_permanent and how is not UNKNOWN else DEFERRED
                self._outcomes[index] = Outcome(result, reply, host, remote, how is UNKNOWN)
        self.pending = left
        if worst is not None:
            self._tried(session, str(worst), seconds, session.transcript())
        elif taken is not None:
            self._tried(session, str(taken), seconds, ())
        if later:
            self.tried.discard(host)

    def carried(self, failure: Reply | None = None, incomplete: bool = False) -> Carried:
        """The end. failure: why no host was found. incomplete: there are hosts of which nobody knows anything."""
        for index in self.pending:
            outcome = self._outcomes[index]
            if outcome is None:
                reply = failure or _NO_TIME
                result = FAILED if reply.is_permanent else DEFERRED
                outcome = Outcome(result, reply, remote=False)
            elif self._turned_away and not incomplete:
                outcome = outcome._replace(result=FAILED)
            self._outcomes[index] = outcome
        outcomes = tuple(outcome for outcome in self._outcomes if outcome is not None)
        return Carried(outcomes, tuple(self._tries), self._reached)

    def _put_off(self, index: int, reply: Reply, host: str) -> None:
        """Deferred, unless another host takes it. What a server said tells more than that another said nothing."""
        before = self._outcomes[index]
        remote = not isinstance(reply, OwnReply)
        if before is None or remote or not before.remote:
            self._outcomes[index] = Outcome(DEFERRED, reply, host, remote)

    def _tried(self, session: Session, text: str, seconds: float, dialogue: tuple[str, ...]) -> None:
        self.tried.add(session.host)
        notes = session.notes + (self._parcel.notes if session.messages else ())
        self._tries.append(Try(session.host, seconds, text, session.tls, dialogue, notes))
