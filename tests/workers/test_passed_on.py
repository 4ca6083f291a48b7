"""XCLIENT of a proxy who was passed on from one worker to another: one has accepted it, the other serves it."""

import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from dialogue_ground import STRANGER
from test_neighbours import World
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

sys.path.insert(0, str(Path(__file__).parents[1] / "inbound"))

from house_in_memory import InMemory

from mta.config.model import Config
from mta.inbound.door import Doorkeeper, DoorLimits
from mta.inbound.listener import Listener, ListenerFactory
from mta.maillog import MailLog
from mta.net import sockets
from mta.service import Relay
from mta.workers.hatch import Hatch

NAME = "127.66.0.1:25"
GREETING = "220 mail.example.org ESMTP mta"
CLIENT = "192.0.2.7"  # may relay, as the proxy may not


class Worker(InMemory):
    """A worker, its connections counted with those of the others."""

    def __init__(self, folder: Path, world: World, number: int) -> None:
        super().__init__(folder, {"xclient": "yes"})
        log = MailLog(self.lines.append, self.clock)
        self.door = Doorkeeper(self.clock, "mail.example.org", DoorLimits(20, 20), log, world.tallies[number])
        self.factory._door = self.door
        relay = SimpleNamespace(
            _listeners=[Listener(NAME, lambda factory: (), self.factory)],
            _ground=SimpleNamespace(reactor=world.reactor),
            log=SimpleNamespace(tap=None),
        )
        relay.take = partial(Relay.take, cast(Any, relay))
        Hatch(world.reactor, world.theirs[number], cast(Any, relay), lambda: None).open()

    def _listener(self, config: Config) -> ListenerFactory:
        self.factory = super()._listener(config)
        return self.factory

    def settle(self) -> None:
        self._settle()


class Proxy:
    """Speaks over a socket, and has the reactor turn, which has nobody else to serve, until there is an answer."""

    def __init__(self, reactor: MemoryReactorClock, workers: list[Worker], where: tuple[str, int]) -> None:
        self._reactor = reactor
        self._workers = workers
        self._octets = b""
        self.socket = socket.create_connection(where, 5, source_address=(STRANGER, 0))

    def say(self, *lines: str) -> list[str]:
        """The last line of the reply to each, after which there is nothing more."""
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())
        return self.replies(len(lines))

    def replies(self, count: int) -> list[str]:
        found = []
        while len(found) < count:
            line = self._line()
            if line[3] != "-":
                found.append(line)
        assert not self._octets
        return found

    def close(self) -> None:
        self.socket.close()
        self._turn_until(lambda: not any(worker.door.sessions for worker in self._workers))

    def _line(self) -> str:
        while b"\r\n" not in self._octets:
            self._turn_until(lambda: select.select([self.socket], [], [], 0)[0])
            octets = self.socket.recv(10_000)
            assert octets, "the connection was closed"
            self._octets += octets
        line, _, self._octets = self._octets.partition(b"\r\n")
        return line.decode()

    def _turn_until(self, done: Callable[[], Any]) -> None:
        for _ in range(1000):  # nearly always it is done at once
            for one in self._reactor.getReaders():
                if (why := one.doRead()) is not None:
                    self._reactor.removeReader(one)
                    one.connectionLost(Failure(why))
            for worker in self._workers:
                worker.settle()
            for one in self._reactor.getWriters():
                self._reactor.removeWriter(one)
                one.doWrite()
            if done():
                return
            time.sleep(0.01)
        pytest.fail("nothing came of it")


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    yield one
    one.close()


def test_xclient_of_a_proxy_who_was_passed_on(world: World, tmp_path: Path) -> None:
    """The one who serves it sees the proxy's own address, lets it say whose the session is, and counts the proxy."""
    workers = [Worker(tmp_path / str(number), world, number) for number in range(2)]
    world.tallies[2].let_in(False)
    world.have(9, 0, 0)
    with socket.create_server(("127.66.0.1", 0)) as listening:
        listening.setblocking(False)
        where = listening.getsockname()
        descriptor = listening.detach()
    port = sockets.adopt(world.reactor, descriptor, workers[0].factory, partial(world.neighbours.pass_on, NAME))
    proxy = Proxy(world.reactor, workers, where)
    try:
        assert proxy.replies(1) == [GREETING]
        assert [one.door.sessions for one in workers] == [0, 1]
        outside = "RCPT TO:<guest@dead.example>"
        said = proxy.say("EHLO proxy.example", "MAIL FROM:<smith@client.example>", outside, "RSET")
        assert [reply[:3] for reply in said] == ["250", "250", "550", "250"]
        said = proxy.say(f"XCLIENT ADDR={CLIENT} HELO=client.example PROTO=ESMTP")
        assert said == [GREETING]
        said = proxy.say("EHLO client.example", "MAIL FROM:<smith@client.example>", outside, "DATA")
        assert [reply[:3] for reply in said] == ["250", "250", "250", "354"]
        assert proxy.say("Subject: passed on\r\n\r\n.")[0].startswith("250 2.0.0 queued as ")
        assert proxy.say(f"XCLIENT ADDR={CLIENT}")[0].startswith("502 5.5.1 ")
        [claim] = workers[1].dispatcher.claims
        assert (claim.envelope.client.address, claim.envelope.client.helo) == (CLIENT, "client.example")
        assert workers[0].dispatcher.claims == []
        assert world.tallies[0].elsewhere_from(STRANGER) == 1
        assert world.tallies[0].elsewhere_from(CLIENT) == 0
    finally:
        proxy.close()
        port.stopListening()
        world.reactor.advance(0)
    assert [one.door.sessions for one in workers] == [0, 0]
    assert world.tallies[0].elsewhere_from(STRANGER) == world.tallies[0].elsewhere() == 0
