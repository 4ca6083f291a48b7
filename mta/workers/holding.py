"""Holding: the listening sockets of a configuration, as the supervisor holds them for its workers."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.error import CannotListenError

from mta.config.model import Config
from mta.config.units import SocketAddress
from mta.net.handover import HandedOver
from mta.net.held import Held, HeldBeside, HeldGiven, HeldTcp, HeldUnix
from mta.net.systemd import Systemd
from mta.wiring.changes import kept_listeners
from mta.wiring.inward import not_given
from mta.wiring.trouble import cannot_listen


class Holding:
    """The sockets of each listener; most have one for each process, those from systemd have what it has made."""

    def __init__(self, reactor: Any, processes: int, systemd: Systemd, handed: HandedOver | None = None) -> None:
        """Of a configuration without listeners. handed: sockets that we had before we were begun anew."""
        self._reactor = reactor
        self._processes = processes
        self._systemd = systemd
        self._handed = handed or HandedOver()
        self._names: list[str] = []
        self._held: list[Sequence[Held]] = []

    def of(self, config: Config) -> "Holding":
        """What another configuration wants held: what is held here already, and the rest from now on.

        Raises `CannotStart`, with nothing held that was not.
        """
        other = Holding(self._reactor, self._processes, self._systemd, self._handed)
        for old, entry in zip(self._kept(config), config.listen, strict=True):
            try:
                other._held.append(self._held[old] if old is not None else self._hold(entry.address))
            except (CannotListenError, OSError) as error:
                other.let_go_of_all_but(self)
                raise cannot_listen(str(entry.address), error) from error
            other._names.append(str(entry.address))
        return other

    def _kept(self, config: Config) -> list[int | None]:
        return kept_listeners(self._names, [str(entry.address) for entry in config.listen])

    def _hold(self, address: SocketAddress) -> Sequence[Held]:
        if address.systemd:
            given = self._systemd.sockets(address.systemd)
            if not given:
                raise not_given(self._systemd)
            return [HeldGiven(one, self._processes) for one in given]
        inherited = self._handed.take(str(address))
        if address.path:
            return [HeldUnix(self._reactor, address.path, self._processes, inherited)]
        one_each, left = inherited[: self._processes], inherited[self._processes :]
        own = HeldTcp(address.host, address.port, self._processes, one_each)
        return [own, *(HeldBeside(one, self._processes) for one in left)]

    def hand_over(self) -> dict[str, list[int]]:
        """Descriptors of what is listened on, by the names of listeners, which stay open when it is let go of."""
        return {
            name: [descriptor for one in held for descriptor in one.hand_over()]
            for name, held in zip(self._names, self._held, strict=True)
        }

    def let_go_of_all_but(self, those: "Holding | None" = None) -> None:
        """Hold no longer what is held here and not there."""
        kept = {id(one) for held in those._held for one in held} if those is not None else set()
        for held in self._held:
            for one in held:
                if id(one) not in kept:
                    one.close()

    @property
    def counts(self) -> list[int]:
        """How many sockets a process has of each listener."""
        return [len(held) for held in self._held]

    def descriptors(self, number: int) -> list[int]:
        """Those of a process, in the order of the listeners."""
        return [one.descriptors[number] for held in self._held for one in held]

    def added_to(self, before: "Holding", number: int) -> dict[int, list[int]]:
        """Those of a process that are held here and not there, by the number of the listener."""
        known = {id(held) for held in before._held}
        return {
            place: [one.descriptors[number] for one in held]
            for place, held in enumerate(self._held)
            if id(held) not in known
        }

    def pause(self, number: int) -> None:
        """Have the kernel give nobody to a process that is not there."""
        for held in self._held:
            for one in held:
                one.pause(number)

    def resume(self, number: int) -> None:
        """It is there. Raises `OSError`."""
        for held in self._held:
            for one in held:
                one.resume(number)
