"""Poller: Twisted's epoll reactor without the logging context that it puts around every event.

That context says in Twisted's own log which connection a line is about. Our log has that in the line; and ten events
a message cost 4 % of a relay's CPU. What goes wrong in an event is logged, and its connection closed, one layer below.
tests/net/test_poller.py fails when Twisted does more in that place than it did.
"""

import errno
import sys
from typing import Any

from twisted.internet.epollreactor import EPollReactor

_FOR_EVER = -1


class Poller(EPollReactor):
    """The reactor that `twistd mta start` runs, where it has not been told to take another one."""

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, so many seconds at the longest (None for ever), and have them handled."""
        try:
            events = self._poller.poll(_FOR_EVER if timeout is None else timeout, len(self._selectables))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        for descriptor, event in events:
            selectable = self._selectables.get(descriptor)
            if selectable is not None:  # an event before this one may have closed it
                self._doReadOrWrite(selectable, descriptor, event)

    doIteration = doPoll


def the_reactor() -> Any:
    """The reactor of this process: the one that was chosen already, else a `Poller`."""
    if "twisted.internet.reactor" not in sys.modules:
        from twisted.internet.main import installReactor

        installReactor(Poller())
    from twisted.internet import reactor

    return reactor
