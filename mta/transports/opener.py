"""Opener: sessions with as much TLS as the hop has to have, and logged in where it says so."""

from collections import OrderedDict
from typing import NamedTuple

from twisted.internet.interfaces import IReactorTime

from mta.logins import ILogins
from mta.net.channel import channel_of
from mta.net.client_tls import ClientTls
from mta.net.poller import passing
from mta.net.resumption import SessionCache
from mta.policy.account import PLUS
from mta.policy.routing import Hop
from mta.policy.security import may_fall_back, security
from mta.smtp.asking import Peer
from mta.smtp.client import Ending, How, Stage
from mta.smtp.opening import IN_THE_CLEAR, Security, Unprotected, log_in, open_up
from mta.smtp.reply import Reply
from mta.smtp.steps import OwnReply
from mta.transports.connector import Connector
from mta.transports.search import Place
from mta.transports.session import Session

REMEMBERED_SECONDS = 600.0  # for which a host whose TLS is broken is not asked for it again
REMEMBERED_HOSTS = 1000


class HeldBack(NamedTuple):
    """Nobody is to be asked before somebody has mended something here. reply: what, in the form of a reply."""

    reply: OwnReply


class Opened(NamedTuple):
    """A session, and how far it got: a server that mail can be given to, or why there is none."""

    session: Session
    answer: Peer | Ending | HeldBack


class Opener:
    """Opens sessions. hostname: what we call ourselves. logins: how we log in where a hop names an entry of them."""

    def __init__(
        self,
        clock: IReactorTime,
        hostname: str,
        connector: Connector,
        tls: ClientTls | None = None,
        logins: ILogins | None = None,
    ) -> None:
        self._clock = clock
        self._hostname = hostname
        self._connector = connector
        self._tls = tls or ClientTls()
        self._logins = logins
        self._broken = BrokenTls(clock)
        self._resumable = SessionCache(clock)

    async def open(self, place: Place, hop: Hop, lmtp: bool, until: float) -> Opened:
        """A session with the server at a place. until: the latest end, as `passing` has the time.

        Where TLS is offered, is not needed and cannot be had, a second session goes in the clear.
        """
        wanted = security(hop)
        falls_back = wanted.wanted and may_fall_back(hop)
        why = self._broken.why(str(place)) if falls_back else ""
        session, answer = await self._open(place, IN_THE_CLEAR if why else wanted, lmtp, until)
        if isinstance(answer, Unprotected) and falls_back and not self._connector.is_closed:
            session.leave()
            why = answer.reply.text
            self._broken.remember(str(place), why)
            session, answer = await self._open(place, IN_THE_CLEAR, lmtp, until)
        if why:
            session.notes = (f"in the clear, though the server offers TLS: {why}",)
        if isinstance(answer, Unprotected):
            answer = Ending(How.LOST, answer.reply, Stage.GREETING)
        elif hop.login and isinstance(answer, Peer):
            return Opened(session, await self._log_in(session, answer, hop.login, until))
        return Opened(session, answer)

    async def _open(
        self, place: Place, wanted: Security, lmtp: bool, until: float, resume: bool = True
    ) -> tuple[Session, Peer | Unprotected | Ending]:
        """One connection. resume: go on with an earlier TLS session if there is one; if that may be what failed, a
        second connection has a full handshake, so that nothing is worse than it would have been without."""
        handshake = None
        if wanted.implicit or wanted.wanted:
            shelf = self._resumable.shelf((place, wanted)) if resume else None
            handshake = self._tls.handshake(place.host or place.address, wanted.verified, shelf)
        session = self._connector.open(place, handshake)
        answer = await session.hold(open_up(self._hostname, lmtp, wanted), until)
        if handshake is None:
            return session, answer
        if isinstance(answer, Unprotected) and handshake.offered and not self._connector.is_closed:
            handshake.forget_sessions()
            session.leave()
            return await self._open(place, wanted, lmtp, until, resume=False)
        if isinstance(answer, Peer) and session.tls:
            handshake.keep_session(session.transport)
            answer = answer._replace(tls=session.tls, verified=wanted.verified)
        return session, answer

    async def _log_in(self, session: Session, peer: Peer, login: str, until: float) -> Peer | Ending | HeldBack:
        """The server, which knows us now, or why it does not."""
        if self._logins is None:
            return _held_back(f'login "{login}" is not there; add it to logins, then mta release')
        offered = peer.extensions.get("AUTH", "").upper().split()
        channel = channel_of(session.transport, False)
        mechanism = await self._logins.mechanism(login, offered, bool(session.tls), channel)
        if isinstance(mechanism, Reply):
            why = f'login "{login}" cannot be used at {session.host}: {mechanism.text}'
            return _held_back(f"{why}; mend that, then mta release")
        failed = await session.hold(log_in(mechanism), until)
        if failed is None:
            return peer._replace(authenticated=True)
        if failed.refused:
            why = f'login "{login}" refused by {session.host}: {failed.reply}'
            mend = "correct its password file"
            if mechanism.name.endswith(PLUS):
                mend += f", or see who stands in between ({mechanism.name} is bound to this TLS connection)"
            return _held_back(f"{why}; {mend}, then mta release")
        return Ending(How.LOST if isinstance(failed.reply, OwnReply) else How.REFUSED, failed.reply, Stage.GREETING)


class BrokenTls:
    """Hosts at which TLS failed, and why: a bounded number of them, for a while."""

    def __init__(self, clock: IReactorTime) -> None:
        self._now = passing(clock)
        self._hosts: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def remember(self, host: str, why: str) -> None:
        """TLS has failed there just now."""
        self._hosts[host] = self._now() + REMEMBERED_SECONDS, why
        self._hosts.move_to_end(host)
        if len(self._hosts) > REMEMBERED_HOSTS:
            self._hosts.popitem(last=False)

    def why(self, host: str) -> str:
        """Why it failed there; "" where nothing is known against it, or not any more."""
        until, why = self._hosts.get(host, (0.0, ""))
        if why and until <= self._now():
            del self._hosts[host]
            return ""
        return why


def _held_back(why: str) -> HeldBack:
    return HeldBack(OwnReply(451, "4.7.8", (why,)))
