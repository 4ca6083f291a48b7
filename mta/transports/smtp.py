"""SMTP transport: carries mail to hosts that speak SMTP, found by MX or named by a route."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.interfaces import IContent, ITransport
from mta.message.envelope import Envelope
from mta.message.outcome import Carried
from mta.policy.routing import Hop
from mta.smtp.asking import Mail, Peer
from mta.smtp.client import Ending, How, Stage, deliver
from mta.transports.errand import Errand
from mta.transports.fitting import Fitter
from mta.transports.opener import HeldBack, Opener
from mta.transports.pool import Pool
from mta.transports.search import Finder, Place
from mta.transports.session import Session


@implementer(ITransport)
class SmtpTransport:
    """Tries an open session first, then one place after the other, as long as recipients are left whom no server has
    answered for: after no connection, a refused greeting, a 421, nonsense, or a connection lost before the final dot.

    fitter: converts what a host does not take.
    """

    lmtp = False

    def __init__(self, clock: IReactorTime, finder: Finder, opener: Opener, pool: Pool, fitter: Fitter) -> None:
        self._clock = clock
        self._finder = finder
        self._opener = opener
        self._pool = pool
        self._fitter = fitter

    def carry(self, hop: Hop, envelope: Envelope, content: IContent) -> Deferred[Carried]:
        """Carry it; see `ITransport`. Takes an hour at the longest, and more only for very large content."""
        errand = Errand(hop, envelope, content, self._fitter, self._clock.seconds())
        return Deferred.fromCoroutine(self._carry(hop, errand))

    def stop(self) -> Deferred[None]:
        """Close idle sessions, let others end."""
        return self._pool.stop()

    async def _carry(self, hop: Hop, errand: Errand) -> Carried:
        session = self._pool.take(hop.destination)
        if session is not None:
            await self._use(session, hop, errand, self._clock.seconds(), reused=True)
            if not errand.pending:
                return errand.carried()
        search = self._finder.search(hop, errand.note)
        while self._goes_on(errand):
            place = await search.next()
            if place is None:
                break
            # As many sessions as it takes, where a server limits what one may do.
            while self._goes_on(errand) and str(place) not in errand.tried:
                await self._try(place, hop, errand)
        return errand.carried(search.failure, search.incomplete)

    def _goes_on(self, errand: Errand) -> bool:
        return bool(errand.pending) and not self._pool.is_cut and self._clock.seconds() < errand.until

    async def _try(self, place: Place, hop: Hop, errand: Errand) -> None:
        """One place, over a new session."""
        began = self._clock.seconds()
        session, answer = await self._opener.open(place, hop, self.lmtp, errand.until)
        if isinstance(answer, Peer):
            session.peer = answer
            await self._use(session, hop, errand, began)
            return
        seconds = self._clock.seconds() - began
        if isinstance(answer, HeldBack):
            errand.hold(session, answer.reply, seconds)
        else:
            errand.turned_away(session, answer, seconds)
        session.leave()

    async def _use(self, session: Session, hop: Hop, errand: Errand, began: float, reused: bool = False) -> None:
        """The message, over an open session."""
        peer = session.peer
        mail = errand.mail(peer, self._clock.seconds())
        if not isinstance(mail, Mail):
            try:
                mail = await mail
            except Exception:
                session.cut()
                raise
            if reused and not session.is_idle:
                # It took leave while the content was being converted.
                session.cut()
                return
        endings, session.next = await session.hold(deliver(peer, mail, session.next), errand.until)
        session.messages += 1
        if reused and _never_began(endings):
            # The server had closed it meanwhile, as it may: that says nothing about it or the message.
            session.cut()
            return
        errand.settle(session, endings, self._clock.seconds() - began)
        self._pool.keep(hop.destination, session)


def _never_began(endings: list[Ending]) -> bool:
    """Was the session over before the server answered a single MAIL?"""
    asked = [ending for ending in endings if ending.how is not How.OURS]
    return bool(asked) and all(how is How.LOST and stage in (Stage.RSET, Stage.MAIL) for how, _, stage in asked)
