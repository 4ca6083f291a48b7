"""Neighbours: the other workers, to whom clients are passed on who have just connected.

The kernel deals them out by chance (SO_REUSEPORT). Of a few that stay, as applications do that send all the time, one
worker gets most, again and again: with twenty of them, on two cores, a fifth of what the cores could do is lost.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from mta.net.spare import spare
from mta.net.tally import Tally
from mta.workers.hatch import TAKE

REST: Final = 5.0  # seconds for which nobody is passed on to a worker that has no room


class Neighbours:
    """All workers of a relay, as one of them sees them."""

    def __init__(self, reactor: Any, tally: Tally, ways: Sequence[int]) -> None:
        """ways: descriptors of sockets to each worker's hatch, by their numbers; they are ours from now on."""
        self._reactor = reactor
        self._tally = tally
        self._lets_in = False
        self._ways = [socket.socket(fileno=one) for one in ways]
        for way in self._ways:
            way.setblocking(False)
        self._has_passed = False
        self._resting: IDelayedCall | None = None

    def pass_on(self, listener: str, client: socket.socket, has_room: bool = True) -> bool:
        """Have the one with the fewest clients serve this one, if it has fewer than we; else it is ours.

        It may have an eighth less without our caring. And since it may take a moment until it counts one whom it was
        given, none is passed on behind another. has_room: could we serve it? Where not, it is for whoever there is.
        """
        if not has_room:
            self.rest()
        idlest = self._tally.idlest()
        here = self._tally.here()
        if idlest is None or (has_room and (self._has_passed or here - here // 8 <= idlest[0])):
            self._has_passed = False
            return False
        self._has_passed = False
        with suppress(OSError):  # it has many to take as it is
            socket.send_fds(self._ways[idlest[1]], [TAKE + listener.encode()], [client.fileno()])
            self._has_passed = True
        return self._has_passed

    def let_in(self, whether: bool) -> None:
        """May the others pass clients on to us from now on, or not any more?"""
        self._lets_in = whether
        self._tally.let_in(whether)

    def rest(self) -> None:
        """Have nobody passed on to us for a while: we have no room, and may yet have the fewest."""
        self._tally.let_in(False)
        if self._resting is None:
            self._resting = self._reactor.callLater(REST, self._rested)
        else:
            self._resting.reset(REST)

    def _rested(self) -> None:
        self._resting = None
        if spare.make_room():
            self._tally.let_in(self._lets_in)
        else:
            spare.keep()
            self.rest()
