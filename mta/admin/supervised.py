"""Supervised: a relay whose work is done by several processes, as the HTTP side of their supervisor asks about it."""

from collections.abc import Callable
from socket import socket
from typing import Any

from zope.interface import implementer

from mta.admin.running import STALLED, doubts_of_file, doubts_of_writing
from mta.config.model import Config
from mta.net.measures import BROKEN, NOTED, WRITING, summed
from mta.spool.disk import Disk
from mta.spool.sqlite import FLOOR
from mta.web.seams import Doubt, IRunning, Work
from mta.workers.supervisor import Supervisor


@implementer(IRunning)
class SeveralProcesses:
    """The workers of this supervisor."""

    def __init__(self, config: Config, supervisor: Supervisor, reactor: Any) -> None:
        self._spool = config.spool
        self._supervisor = supervisor
        self._reactor = reactor
        self._begun = reactor.seconds()

    def work(self) -> Work:
        """As in `IRunning`."""
        boss = self._supervisor
        return Work(summed(boss.measures), self._begun, boss.ready_workers(), boss.wanted, self._reactor.seconds())

    def listen(self, take: Callable[[dict[str, Any]], None] | None) -> None:
        """As in `IRunning`."""
        self._supervisor.hatches.listen(take)
        self._supervisor.log.tap = take

    def admit(self, connection: socket) -> bool:
        """As in `IRunning`."""
        with connection:
            return self._supervisor.admit(connection.fileno())

    def ill(self) -> list[Doubt]:
        """As in `IRunning`."""
        if not self._supervisor.ready_workers():
            return [Doubt("workers", "none of them is running")]
        now = self._reactor.seconds()
        rows = [row.cells for row in self._supervisor.measures]
        stuck = [number for number, row in enumerate(rows) if row[NOTED] and now - row[NOTED] > STALLED]
        found = [Doubt("workers", f"worker {number} has done nothing for half a minute") for number in stuck]
        return found + doubts_of_writing(max(row[WRITING] for row in rows))

    def _doubts_of_files(self) -> list[Doubt]:
        failing = [number for number, row in enumerate(self._supervisor.measures) if row.cells[BROKEN]]
        return [one for number in failing for one in doubts_of_file(f"worker {number}, whose log says how")]

    def unready(self) -> list[Doubt]:
        """As in `IRunning`."""
        found = self.ill() + self._doubts_of_files()
        if not self._supervisor.running:
            found.append(Doubt("relay", "it is not started yet, or is stopping"))
        missing = self._supervisor.wanted - self._supervisor.ready_workers()
        if missing and not found:
            found.append(Doubt("workers", f"{missing} of {self._supervisor.wanted} are not running"))
        try:
            if Disk().free_octets(self._spool) < FLOOR:
                found.append(Doubt("spool", "its disk is nearly full, so mail is answered with 452"))
        except OSError as error:
            found.append(Doubt("spool", f"its disk does not answer: {error.strerror or error}"))
        return found
