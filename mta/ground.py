"""Ground: what a relay stands on, and which of several processes it is. The composition root is given both."""

import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.task import Clock

from mta.config.model import Config
from mta.dns.resolver import ThreadedResolver
from mta.interfaces import IResolver
from mta.maillog import LineWriter
from mta.net.handover import HandedOver
from mta.net.measures import Measures
from mta.net.systemd import Systemd
from mta.net.tally import Alone, Tally
from mta.net.threads import NoThreads
from mta.spool.disk import Disk


def threaded_resolver(reactor: Any, config: Config) -> ThreadedResolver:
    """Asks the servers of the configuration, or the system's."""
    servers = [str(server) for server in config.dns.nameservers]
    return ThreadedResolver(reactor, reactor, servers, config.dns.timeout)


def blocking_resolver(config: Config, now: float) -> ThreadedResolver:
    """Asks the same servers for a command that has nothing else to do: whatever it is asked, it waits for the answer.

    now: in seconds since 1970; how old answers become is not counted from then on.
    """
    clock = Clock()
    clock.rightNow = now
    servers = [str(server) for server in config.dns.nameservers]
    return ThreadedResolver(None, clock, servers, config.dns.timeout, threads=NoThreads())


@dataclass(frozen=True)
class Place:
    """Which of the processes of a relay this is. What all of them may do together they share.

    number: from 0; it has the queue file of this number. of: how many there are. sockets: descriptors of listening
    sockets to take over, by the number of the listener in the configuration; others are to be made. tally: counts
    connections with the others. key: a secret that all of them have; None for one of our own. holder: the process that
    an operator should know of as the one that has the spool; None for this one. measures: the row that it counts in;
    None for one of its own. pass_on: has another of the processes serve a client of a listener, where that is idler, or
    where we have no room for him, as the last value says.
    """

    number: int = 0
    of: int = 1
    sockets: Mapping[int, Sequence[int]] = field(default_factory=dict)
    tally: Tally | Alone = field(default_factory=Alone)
    key: bytes | None = None
    holder: int | None = None
    measures: Measures | None = None
    pass_on: Callable[[str, socket.socket, bool], bool] | None = None

    def share(self, whole: int) -> int:
        """Our part of something, and never nothing."""
        return max(1, whole // self.of)

    def mark(self) -> int | None:
        """Our number, where a line of the log has to say which one of several has written it."""
        return self.number if self.of > 1 else None


@dataclass(frozen=True)
class Ground:
    """What a relay stands on. The real thing by default; the simulation brings its own of each.

    sink: where the lines of the log go; None for Twisted's own log. vfs: the name of the SQLite VFS under the queue
    file. inline: no threads. resolver: makes whoever asks the DNS. poll: seconds between two looks whether an operator
    has changed something in the queue; drop: likewise in the drop folder, 0 for no such folder. place: beside whom it
    stands. systemd: who has started it, perhaps. handed: what its process had before it was begun anew.
    """

    reactor: Any
    sink: LineWriter | None = None
    chance: random.Random = field(default_factory=random.Random)
    disk: Disk = field(default_factory=Disk)
    vfs: str | None = None
    inline: bool = False
    resolver: Callable[[Any, Config], IResolver] = threaded_resolver
    poll: float = 1.0
    drop: float = 1.0
    place: Place = field(default_factory=Place)
    systemd: Systemd = field(default_factory=Systemd)
    handed: HandedOver = field(default_factory=HandedOver)
