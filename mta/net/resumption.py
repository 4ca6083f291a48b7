"""TLS sessions that servers have given us, kept so that the next handshake with the same server is a short one.

In a resumed session the server shows no certificate: what was found out about it in the full handshake stands. So a
session is kept with all that this depended on, the server that was asked for and what had to be found out, and is used
for nothing else; and it lasts no longer than the certificates of that handshake, nor than an hour, after which they are
looked at anew.
"""

from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

from OpenSSL import SSL

from mta.net.poller import passing

LASTS = 3600.0  # seconds after the full handshake; what it led to by resuming included
MOST_OF_ONE = 20  # sessions of one server: one for each of the connections that may be opened at once
MOST = 500  # sessions in all, of 6 KiB and more, with the server's certificates


class Resumable(NamedTuple):
    """A session. until: when its hour is over, as `passing` has the time. expires: when a certificate of its handshake
    is, in seconds since 1970."""

    session: SSL.Session
    until: float
    expires: float


class SessionCache:
    """The sessions of a process, bounded, in memory alone.

    Each is given out once (RFC 8446 appendix C.4): who resumes it gets another one from the server, or the same again
    from TLS 1.2, and keeps that.
    """

    def __init__(self, clock: Any, most: int = MOST) -> None:
        """clock: the reactor."""
        self.now = passing(clock)
        self._seconds: Callable[[], float] = clock.seconds
        self._most = most
        self._kept: OrderedDict[object, list[Resumable]] = OrderedDict()  # by server, the one used last at the end
        self._count = 0

    def shelf(self, server: object) -> "Shelf":
        """The sessions of one server. server: equal for what may share them, and for nothing else."""
        return Shelf(self, server)

    def __len__(self) -> int:
        """How many are kept."""
        return self._count

    def take(self, server: object) -> Resumable | None:
        """The newest session of a server that is not over."""
        kept = self._kept.get(server)
        if kept is None:
            return None
        now, today = self.now(), self._seconds()
        while kept:
            newest = kept.pop()
            self._count -= 1
            if newest.until > now and newest.expires > today:
                break
        else:
            newest = None
        if not kept:
            del self._kept[server]
        return newest

    def keep(self, server: object, resumable: Resumable) -> None:
        """Keep a session; where there are too many, the oldest goes."""
        kept = self._kept.setdefault(server, [])
        self._kept.move_to_end(server)
        kept.append(resumable)
        self._count += 1
        if len(kept) > MOST_OF_ONE:
            self._drop_oldest(server)
        elif self._count > self._most:
            self._drop_oldest(next(iter(self._kept)))

    def forget(self, server: object) -> None:
        """Keep none of a server."""
        self._count -= len(self._kept.pop(server, ()))

    def _drop_oldest(self, server: object) -> None:
        kept = self._kept[server]
        del kept[0]
        self._count -= 1
        if not kept:
            del self._kept[server]


class Shelf:
    """What a cache keeps of one server."""

    def __init__(self, cache: SessionCache, server: object) -> None:
        self._cache = cache
        self._server = server

    def take(self) -> Resumable | None:
        """The newest session that is not over; nobody else gets it."""
        return self._cache.take(self._server)

    def keep(self, session: SSL.Session, expires: float = inf, resumed: Resumable | None = None) -> None:
        """Keep a session. expires: when a certificate of its handshake is over, in seconds since 1970. resumed: the one
        that led to it, which it lasts no longer than."""
        if resumed is None:
            resumed = Resumable(session, self._cache.now() + LASTS, expires)
        self._cache.keep(self._server, resumed._replace(session=session))

    def forget(self) -> None:
        """Keep none: the last one was of no use."""
        self._cache.forget(self._server)
