"""Hatch: what the supervisor hands to a worker while it runs, and what a worker tells it of: pairs of sockets that keep
the bounds of what is sent, and outlive a worker.

In goes a connected socket, to be served as a client that may send anywhere, or as one of a listener whom another worker
has accepted (see `neighbours`); or a word that somebody listens, or nobody does any more. Out come the events of the
log as JSON, one at a time and as many in a second as anybody can read. What does not fit is left out: nobody waits for
whoever looks on.
"""

import json
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.net.spare import spare
from mta.service import Relay

SERVE, LISTEN, DEAF = b"serve", b"listen", b"deaf"
TAKE: Final = b"take "  # and the name of a listener
MOST_EVENTS: Final = 200  # in a second, of one worker
MOST_OCTETS: Final = 32_768  # of one event
AT_ONCE: Final = 100  # events that are taken before others have their turn
ROOM: Final = 8192  # octets for what waits to be taken, to which the kernel adds its own: some twenty clients
AGAIN: Final = 0.2  # seconds until a word is said again that did not fit

Take = Callable[[dict[str, Any]], None]

_logger = Logger()


@implementer(IReadDescriptor)
class _End:
    """One end of a pair, read by the reactor while it is open."""

    def __init__(
        self,
        reactor: Any,
        end: socket.socket,
        heard: Callable[[bytes, list[int]], None],
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        """lost: is called where there is no room for descriptors that come."""
        end.setblocking(False)
        self.end = end
        self._reactor = reactor
        self._heard = heard
        self._lost = lost

    def open(self) -> None:
        """Listen from now on."""
        self._reactor.addReader(self)

    def close(self) -> None:
        """Do not listen."""
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        return self.end.fileno()

    def logPrefix(self) -> str:
        return "hatch"

    def doRead(self) -> None:
        for _ in range(AT_ONCE):
            has_room = spare.make_room()
            try:
                octets, descriptors, flags, _address = socket.recv_fds(self.end, MOST_OCTETS, 4)
            except OSError:  # there is nothing more now
                if not has_room:
                    spare.keep()
                return
            for one in descriptors:
                os.set_inheritable(one, False)
            if flags & socket.MSG_CTRUNC:  # the kernel has closed it already
                _logger.error("a client who was passed on could not be taken: this process has too many open files")
                has_room = False
            if not has_room:
                self._lost()
            try:
                self._heard(octets, descriptors)
            except Exception:  # or the reactor would not listen any more
                _logger.failure("what came through the hatch could not be dealt with")
            if not has_room:
                spare.keep()

    def connectionLost(self, reason: Failure) -> None:
        """Of the reactor, which stops."""


class Hatch:
    """A worker's end."""

    def __init__(self, reactor: Any, end: socket.socket, relay: Relay, lost: Callable[[], None]) -> None:
        """lost: is called for each client who came by here and for whom there was no descriptor left but the
        spare one, or not even that."""
        self._reactor = reactor
        self._relay = relay
        self._end = _End(reactor, end, self._heard, lost)
        self._second = 0
        self._told = 0

    def open(self) -> None:
        """Do what is asked for, from now on."""
        self._end.open()

    def _heard(self, word: bytes, descriptors: list[int]) -> None:
        if word == SERVE:
            for one in descriptors:
                self._relay.admit(one)
        elif word.startswith(TAKE):
            for one in descriptors:
                self._relay.take(word[len(TAKE) :].decode(), one)
        else:
            _close(descriptors)
            self._relay.log.tap = self._tell if word == LISTEN else None

    def _tell(self, event: dict[str, Any]) -> None:
        second = int(self._reactor.seconds())
        if second != self._second:
            self._second, self._told = second, 0
        self._told += 1
        if self._told > MOST_EVENTS:
            return
        octets = json.dumps(event).encode()
        if len(octets) <= MOST_OCTETS:
            with suppress(OSError):  # the supervisor has much to read as it is
                self._end.end.send(octets)


class Hatches:
    """The supervisor's ends, one for each worker."""

    def __init__(self, reactor: Any, workers: int) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
        for ours, theirs in pairs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)  # who finds it full serves the client himself
            theirs.setblocking(False)
        self._theirs = [theirs for _, theirs in pairs]
        self._ours = [_End(reactor, ours, self._heard) for ours, _ in pairs]
        self._take: Take | None = None
        self._untold: set[int] = set()
        self._next = 0
        self._reactor = reactor

    def of(self, worker: int) -> int:
        """The descriptor that a worker is given."""
        return self._theirs[worker].fileno()

    def ways(self) -> list[int]:
        """The descriptors that a worker reaches all of them by, itself included."""
        return [ours.fileno() for ours in self._ours]

    def hand_in(self, descriptor: int, workers: Sequence[int]) -> bool:
        """Have one of these workers serve a connection, by turns. False where none of them can be told."""
        for _ in workers:
            self._next += 1
            with suppress(OSError):
                socket.send_fds(self._ours[workers[self._next % len(workers)]].end, [SERVE], [descriptor])
                return True
        return False

    def empty(self, worker: int) -> None:
        """Nobody is there to serve those who have been handed in, nor will be for a while: let go of them."""
        with suppress(BlockingIOError):
            while True:
                _close(socket.recv_fds(self._theirs[worker], MOST_OCTETS, 4)[1])

    def listen(self, take: Take | None) -> None:
        """Give all events to `take` from now on; None: not any more."""
        self._take = take
        for worker, one in enumerate(self._ours):
            (one.open if take is not None else one.close)()
            self._say(worker)

    def remind(self, worker: int) -> None:
        """A worker has just begun: it knows of nobody who listens."""
        if self._take is not None:
            self._say(worker)

    def _say(self, worker: int) -> None:
        if worker in self._untold:
            return
        try:
            self._ours[worker].end.send(LISTEN if self._take is not None else DEAF)
        except BlockingIOError:  # it is full of clients
            self._untold.add(worker)
            self._reactor.callLater(AGAIN, self._say_again, worker)

    def _say_again(self, worker: int) -> None:
        self._untold.discard(worker)
        self._say(worker)

    def _heard(self, octets: bytes, descriptors: list[int]) -> None:
        _close(descriptors)
        if self._take is not None:
            with suppress(ValueError):
                self._take(json.loads(octets))


def _close(descriptors: Sequence[int]) -> None:
    for one in descriptors:
        os.close(one)
