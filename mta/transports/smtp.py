"""SMTP transport: carries mail to hosts that speak SMTP, found by MX or named by a route."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.interfaces import IContent, ITransport
from mta.message.envelope import Envelope
from mta.message.outcome import Carried
from mta.net.poller import passing
from mta.policy.routing import Hop
from mta.smtp.asking import Mail, Peer
from mta.smtp.client import Delivery, Ending, How, Stage, deliver
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
        self._now = passing(clock)
        self._finder = finder
        self._opener = opener
        self._pool = pool
        self._fitter = fitter

    def carry(self, hop: Hop, envelope: Envelope, content: IContent) -> Deferred[Carried]:
        """Carry it; see `ITransport`. Takes an hour at the longest, and more only for very large content."""
        now = self._now()
        errand = Errand(hop, envelope, content, self._fitter, now)
        session = self._pool.take(hop.destination)
        if session is None:
            return Deferred.fromCoroutine(self._search(hop, errand))
        # Nearly all mail for a busy host: callbacks, which cost half of what a coroutine costs.
        return self._use(session, hop, errand, now, reused=True).addCallback(self._go_on, hop, errand)

    def cut(self) -> None:
        """Close the sessions that carry something; see `ITransport`."""
        self._pool.cut()

    def stop(self) -> Deferred[None]:
        """Close idle sessions, let others end."""
        return self._pool.stop()

    def _go_on(self, _: None, hop: Hop, errand: Errand) -> Carried | Deferred[Carried]:
        """The open session has done what it could."""
        return Deferred.fromCoroutine(self._search(hop, errand)) if errand.pending else errand.carried()

    async def _search(self, hop: Hop, errand: Errand) -> Carried:
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
        return bool(errand.pending) and not self._pool.is_cut and self._now() < errand.until

    async def _try(self, place: Place, hop: Hop, errand: Errand) -> None:
        """One place, over a new session."""
        began = self._now()
        session, answer = await self._opener.open(place, hop, self.lmtp, errand.until)
        if isinstance(answer, Peer):
            session.peer = answer
            await self._use(session, hop, errand, began)
            return
        seconds = self._now() - began
        if isinstance(answer, HeldBack):
            errand.hold(session, answer.reply, seconds)
        else:
            errand.turned_away(session, answer, seconds)
        session.leave()

    def _use(self, session: Session, hop: Hop, errand: Errand, began: float, reused: bool = False) -> Deferred[None]:
        """The message, over an open session."""
        mail = errand.mail(session.peer, self._clock.seconds())
        if isinstance(mail, Mail):
            return self._say(mail, session, hop, errand, began, reused)
        return Deferred.fromCoroutine(self._convert(mail, session, hop, errand, began, reused))

    async def _convert(
        self, converting: Deferred[Mail], session: Session, hop: Hop, errand: Errand, began: float, reused: bool
    ) -> None:
        """What has to be converted before it can be sent."""
        try:
            mail = await converting
        except Exception:
            session.cut()
            raise
        if reused and not session.is_idle:
            session.cut()  # it took leave meanwhile
            return
        await self._say(mail, session, hop, errand, began, reused)

    def _say(
        self, mail: Mail, session: Session, hop: Hop, errand: Errand, began: float, reused: bool
    ) -> Deferred[None]:
        dialogue = deliver(session.peer, mail, session.next)
        return session.hold(dialogue, errand.until).addCallback(self._said, session, hop, errand, began, reused)

    def _said(self, delivery: Delivery, session: Session, hop: Hop, errand: Errand, began: float, reused: bool) -> None:
        endings, session.next = delivery
        session.messages += 1
        if reused and _never_began(endings):
            # The server had closed it meanwhile, as it may: that says nothing about it or the message.
            session.cut()
            return
        errand.settle(session, endings, self._now() - began)
        self._pool.keep(hop.destination, session)


def _never_began(endings: list[Ending]) -> bool:
    """Was the session over before the server answered a single MAIL?"""
    asked = [ending for ending in endings if ending.how is not How.OURS]
    return bool(asked) and all(how is How.LOST and stage in (Stage.RSET, Stage.MAIL) for how, _, stage in asked)
