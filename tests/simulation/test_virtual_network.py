"""The virtual network carries octets in order and in time, breaks as a real one does, and buries the dead."""

from typing import Any

import pytest
from simulated.network import START, TICK, Process, World
from simulated.wire import BLOCK, LATENCY
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import directlyProvides

SERVER, CLIENT = "192.0.2.1", "192.0.2.2"


class Ear(Protocol):
    """Notes down what it hears, and when."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory
        self.heard: list[bytes] = []
        self.times: list[float] = []
        self.ended: list[type[BaseException]] = []

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)
        self.times.append(self.factory.world.seconds() - START)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.ended.append(reason.type)


class Ears(ClientFactory):
    noisy = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.ears: list[Ear] = []
        self.failed: list[str] = []

    def buildProtocol(self, addr: object) -> Ear:
        self.ears.append(Ear(self))
        return self.ears[-1]

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self.failed.append(type(reason.value).__name__)


class Line:
    """A connection between two processes."""

    def __init__(self) -> None:
        self.world = World()
        self.server, self.client = Process(self.world, SERVER), Process(self.world, CLIENT)
        ears = Ears(self.world)
        self.port = self.server.listenTCP(25, ears, interface=SERVER)
        calling = Ears(self.world)
        self.client.connectTCP(SERVER, 25, calling)
        self.world.run(0.01)
        (self.theirs,), (self.ours,) = ears.ears, calling.ears


@pytest.fixture
def line() -> Line:
    return Line()


def test_octets_arrive_in_order_after_a_while(line: Line) -> None:
    line.ours.transport.write(b"a" * (BLOCK + 1))
    line.ours.transport.writeSequence([b"b", b"c"])
    line.world.run(LATENCY / 2)
    assert not line.theirs.heard
    line.world.run(LATENCY)
    assert line.theirs.heard == [b"a" * BLOCK, b"a", b"bc"]
    assert line.theirs.times == [pytest.approx(0.01 + LATENCY, abs=1e-6)] * 3
    assert line.theirs.transport.getPeer().host == line.ours.transport.getHost().host == CLIENT


def test_what_was_written_arrives_before_the_end(line: Line) -> None:
    line.ours.transport.write(b"last words")
    line.ours.transport.loseConnection()
    line.ours.transport.write(b"too late")
    line.theirs.transport.write(b"nobody reads this")
    line.world.run(1)
    assert line.theirs.heard == [b"last words"]
    assert not line.ours.heard
    assert (line.ours.ended, line.theirs.ended) == ([ConnectionDone], [ConnectionDone])


def test_nothing_is_heard_in_a_pause(line: Line) -> None:
    line.theirs.transport.pauseProducing()
    line.ours.transport.write(b"a")
    line.ours.transport.write(b"b")
    line.ours.transport.loseConnection()
    line.world.run(1)
    assert not line.theirs.heard
    assert not line.theirs.ended
    line.theirs.transport.resumeProducing()
    line.world.run(1)
    assert line.theirs.heard == [b"a", b"b"]
    assert line.theirs.ended == [ConnectionDone]


def test_abort(line: Line) -> None:
    line.ours.transport.abortConnection()
    line.world.run(1)
    assert (line.ours.ended, line.theirs.ended) == ([ConnectionLost], [ConnectionLost])


def test_a_producer_is_asked_until_it_leaves(line: Line) -> None:
    class Producer:
        blocks = [b"3", b"2", b"1"]

        def resumeProducing(self) -> None:
            line.ours.transport.write(self.blocks.pop())
            if not self.blocks:
                line.ours.transport.unregisterProducer()

    line.ours.transport.registerProducer(Producer(), False)
    line.ours.transport.loseConnection()
    line.world.run(1)
    assert line.theirs.heard == [b"1", b"2", b"3"]
    assert line.theirs.ended == [ConnectionDone]


def test_whoever_is_killed_does_nothing_more(line: Line) -> None:
    rung: list[str] = []
    timer = line.client.callLater(0.5, rung.append, "before")
    line.ours.transport.write(b"already on its way")
    line.client.kill()
    line.ours.transport.write(b"a ghost's")
    line.client.callLater(0, rung.append, "after")
    line.client.connectTCP(SERVER, 25, Ears(line.world))
    timer.reset(0.1)
    line.world.run(1)
    assert line.theirs.heard == [b"already on its way"]
    assert line.theirs.ended == [ConnectionLost]
    assert not line.ours.ended
    assert not rung
    assert len(line.world.asked) == 1


def test_a_killed_server_lets_go_of_its_port(line: Line) -> None:
    with pytest.raises(CannotListenError):
        Process(line.world, SERVER).listenTCP(25, Factory(), interface=SERVER)
    line.server.kill()
    calling = Ears(line.world)
    line.client.connectTCP(SERVER, 25, calling)
    line.world.run(1)
    assert calling.failed == ["ConnectionRefusedError"]
    assert line.ours.ended == [ConnectionLost]
    Process(line.world, SERVER).listenTCP(25, Ears(line.world), interface=SERVER)


def test_silence(line: Line) -> None:
    line.world.silent.add("192.0.2.9")
    calling = Ears(line.world)
    line.client.connectTCP("192.0.2.9", 25, calling, timeout=30)
    line.world.run(29)
    assert not calling.failed
    line.world.run(2)
    assert calling.failed == ["TimeoutError"]


def test_answers_are_watched_where_a_connection_was_made(line: Line) -> None:
    moments: list[str] = []

    def watch(moment: str) -> None:
        moments.append(f"{moment}: {line.ours.heard}")

    line.client.at_answer = line.server.at_answer = watch
    line.ours.transport.write(b"question")
    line.theirs.transport.write(b"answer")
    line.world.run(1)
    assert moments == ["before: []", "after: [b'answer']"]


def test_timers_fire_in_order_and_can_be_moved() -> None:
    world = World()
    process = Process(world, SERVER)
    rung: list[str] = []
    later = process.callLater(1, rung.append, "moved to the end")
    sooner = process.callLater(9, rung.append, "moved to the beginning")
    process.callLater(2, rung.append, "first of two")
    process.callLater(2, rung.append, "second of two")
    process.callLater(3, rung.append, "cancelled").cancel()
    later.reset(5)
    sooner.reset(1)
    assert len(process.getDelayedCalls()) == 4
    assert not world.run_until(lambda: len(rung) == 4, 4.5)
    assert world.seconds() == START + 4.5
    assert world.run_until(lambda: len(rung) == 4, 1)
    assert world.seconds() == START + 5
    assert rung == ["moved to the beginning", "first of two", "second of two", "moved to the end"]
    assert not process.getDelayedCalls()


def test_a_bug_in_a_live_program_is_not_hidden() -> None:
    world = World()
    Process(world, SERVER).callLater(1, [].pop)
    with pytest.raises(IndexError):
        world.run(2)


def test_a_half_closed_connection_is_still_heard(line: Line) -> None:
    line.ours.transport.write(b"the last question")
    line.ours.transport.loseWriteConnection()
    line.ours.transport.write(b"too late")
    line.world.run(1)
    assert line.theirs.heard == [b"the last question"]
    assert (line.ours.ended, line.theirs.ended) == ([ConnectionDone], [ConnectionDone]), "who does not care hangs up"


def test_who_cares_answers_on_a_half_closed_connection(line: Line) -> None:
    directlyProvides(line.theirs, IHalfCloseableProtocol)
    line.theirs.readConnectionLost = lambda: line.theirs.transport.write(b"the answer")
    line.ours.transport.loseWriteConnection()
    line.world.run(1)
    assert line.ours.heard == [b"the answer"]
    assert not line.ours.ended
    line.theirs.transport.loseConnection()
    line.world.run(1)
    assert line.ours.ended == [ConnectionDone]


def test_the_network_can_split_delay_and_break(line: Line) -> None:
    line.world.fate = lambda transport, octets: [(1.0, octets[:1]), (0.0, octets[1:])]
    line.ours.transport.write(b"abc")
    line.world.run(0.5)
    assert not line.theirs.heard
    line.world.run(1)
    assert line.theirs.heard == [b"a", b"bc"], "in order, whatever is late"
    line.world.fate = lambda transport, octets: None
    line.ours.transport.write(b"lost")
    line.world.run(1)
    assert line.theirs.heard == [b"a", b"bc"]
    assert (line.ours.ended, line.theirs.ended) == ([ConnectionLost], [ConnectionLost])


def test_timers_are_set_with_the_clock() -> None:
    """As by the relay's own reactor, see tests/net/test_poller.py."""
    world = World()
    process = Process(world, SERVER)
    rung: list[float] = []
    process.callLater(100, lambda: rung.append(world.seconds() - START))
    process.ahead = 60
    assert process.seconds() == START + 60
    process.callLater(50, lambda: rung.append(world.seconds() - START))
    world.run(200)
    assert rung == [50, 100]


def test_two_clocks_that_tick_out_of_step_never_read_the_same() -> None:
    world = World()
    first, second = Process(world, SERVER), Process(world, SERVER)
    first.phase, second.phase = 0.0, TICK / 2
    read: tuple[set[float], set[float]] = set(), set()
    for _ in range(1000):
        world.run(0.000137)
        for process, times in zip((first, second), read, strict=True):
            assert world.seconds() - TICK < process.seconds() <= world.seconds()
            times.add(process.seconds())
    assert not read[0] & read[1]
    assert min(abs(one - other) for one in read[0] for other in read[1]) == TICK / 2
