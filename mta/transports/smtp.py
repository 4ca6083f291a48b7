"""SMTP transport: carries mail to hosts that speak SMTP, found by MX or named by a route."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.interfaces import IContent, ITransport
from mta.message.envelope import Envelope
from mta.message.outcome import Carried
from mta.policy.routing import Hop
from mta.smtp.client import Ending, How, Peer, Stage, deliver, hello
from mta.transports.connector import Connector
from mta.transports.errand import Errand
from mta.transports.pool import Pool
from mta.transports.search import Finder, Place
from mta.transports.session import Session


@implementer(ITransport)
class SmtpTransport:
    """Tries an open session first, then one place after the other, as long as recipients are left whom no server has
    answered for: after no connection, a refused greeting, a 421, nonsense, or a connection lost before the final dot.

    hostname: what we call ourselves.
    """

    lmtp = False

    def __init__(self, clock: IReactorTime, hostname: str, finder: Finder, connector: Connector, pool: Pool) -> None:
        self._clock = clock
        self._hostname = hostname
        self._finder = finder
        self._connector = connector
        self._pool = pool

    def carry(self, hop: Hop, envelope: Envelope, content: IContent) -> Deferred[Carried]:
        """Carry it; see `ITransport`. Takes an hour at the longest, and more only for very large content."""
        return Deferred.fromCoroutine(self._carry(hop, Errand(envelope, content, self._clock.seconds())))

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
        while errand.pending and not self._pool.is_cut and self._clock.seconds() < errand.until:
            place = await search.next()
            if place is None:
                break
            if str(place) not in errand.tried:
                await self._try(place, hop, errand)
        return errand.carried(search.failure, search.incomplete)

    async def _try(self, place: Place, hop: Hop, errand: Errand) -> None:
        """One place, over a new session."""
        began = self._clock.seconds()
        session = self._connector.open(place)
        answer = await session.hold(hello(self._hostname, self.lmtp), errand.until)
        if isinstance(answer, Peer):
            # STARTTLS comes here, and EHLO again: whatever follows knows the peer by what it says last.
            session.peer = answer
            await self._use(session, hop, errand, began)
        else:
            errand.turned_away(session, answer, self._clock.seconds() - began)
            session.leave()

    async def _use(self, session: Session, hop: Hop, errand: Errand, began: float, reused: bool = False) -> None:
        """The message, over an open session."""
        peer = session.peer
        endings, session.next = await session.hold(deliver(peer, errand.mail(peer), session.next), errand.until)
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
