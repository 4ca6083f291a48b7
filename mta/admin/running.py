"""Running: a relay in this process, as the HTTP side asks about it."""

from collections.abc import Callable
from socket import socket
from typing import Any

from zope.interface import implementer

from mta.noting import note
from mta.service import Relay
from mta.web.seams import Doubt, IRunning, Work

STALLED = 30.0  # seconds that one write may take before the queue counts as stuck


@implementer(IRunning)
class OneProcess:
    """The relay of this process."""

    def __init__(self, relay: Relay, reactor: Any) -> None:
        self._relay = relay
        self._reactor = reactor
        self._begun = reactor.seconds()

    def work(self) -> Work:
        """As in `IRunning`."""
        note(self._relay)
        return Work(tuple(self._relay.measures.cells), self._begun, 1, 1, self._reactor.seconds())

    def listen(self, take: Callable[[dict[str, Any]], None] | None) -> None:
        """As in `IRunning`."""
        self._relay.log.tap = take

    def admit(self, connection: socket) -> bool:
        """As in `IRunning`."""
        if not self._relay.running:
            connection.close()
            return False
        self._relay.admit(connection.detach())
        return True

    def ill(self) -> list[Doubt]:
        """As in `IRunning`. That it is answered shows that the reactor turns."""
        return doubts_of_writing(self._relay.spool.writing_for())

    def unready(self) -> list[Doubt]:
        """As in `IRunning`."""
        found = self.ill() + doubts_of_file(self._relay.spool.trouble())
        if not self._relay.running:
            found.append(Doubt("relay", "it is not started yet, or is stopping"))
        if not self._relay.spool.has_room(0):
            found.append(Doubt("spool", "its disk is nearly full, so mail is answered with 452"))
        found += [Doubt("listen", f"nobody listens on {name}") for name in self._relay.deaf()]
        return found


def doubts_of_file(trouble: str) -> list[Doubt]:
    """What is to be said of a queue file that fails. A new start would not mend it, so the relay is alive, and is not
    ready: a start sets a damaged file aside and ends, and the next one begins with an empty queue.
    """
    return [Doubt("spool", f"the queue file fails, so mail is answered with 451: {trouble}")] if trouble else []


def doubts_of_writing(seconds: float) -> list[Doubt]:
    """What is to be said of a queue file whose present write has taken so long."""
    if seconds < STALLED:
        return []
    return [Doubt("spool", f"the queue file has not answered for {seconds:.0f} s; look at its disk")]
