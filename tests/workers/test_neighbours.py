"""Who serves a client that has just connected, and what becomes of the descriptors on the way."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from few_descriptors import no_descriptor_left
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, eventAsText

from mta.net.spare import spare
from mta.net.tally import Tally, make_tally
from mta.workers.hatch import AGAIN, TAKE, Hatch, Hatches
from mta.workers.neighbours import REST, Neighbours


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class World:
    """Three workers, of whom we are the first; all of them let clients in."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.hatches = Hatches(self.reactor, 3)
        self.theirs = [socket.socket(fileno=os.dup(self.hatches.of(number))) for number in range(3)]
        memory = make_tally(3)
        self.tallies = [Tally(memory, number, 3) for number in range(3)]
        os.close(memory)
        for one in self.tallies:
            one.let_in(True)
        self.neighbours = Neighbours(self.reactor, self.tallies[0], [os.dup(one) for one in self.hatches.ways()])

    def close(self) -> None:
        ends = [one.end for one in self.hatches._ours]
        for end in (*self.theirs, *ends, *self.hatches._theirs, *self.neighbours._ways):
            end.close()

    def have(self, *counts: int) -> None:
        """So many are connected to each."""
        for tally, count in zip(self.tallies, counts, strict=True):
            tally.change("192.0.2.1", count - tally.here())

    def passes_on(self, client: socket.socket) -> bool:
        return self.neighbours.pass_on("127.0.0.1:25", client)

    def given_to(self, worker: int) -> list[int]:
        """The descriptors that wait in its hatch, taken out."""
        found: list[int] = []
        while True:
            try:
                word, descriptors, _, _ = socket.recv_fds(self.theirs[worker], 1000, 4)
            except BlockingIOError:
                return found
            assert word == TAKE + b"127.0.0.1:25"
            found += descriptors


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    yield one
    one.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client, and what he is connected by."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), 5)
        accepted, _ = server.accept()
    with client, accepted:
        yield client, accepted


@pytest.mark.parametrize(
    ("counts", "whose"),
    [
        ((0, 0, 0), None),
        ((1, 0, 0), 1),
        ((1, 1, 0), 2),
        ((3, 4, 5), None),
        ((8, 7, 9), None),  # an eighth less
        ((8, 6, 9), 1),
        ((80, 70, 75), None),
        ((80, 75, 69), 2),
    ],
)
def test_the_idlest_serves_unless_it_is_nearly_we(
    world: World, pair: tuple[socket.socket, socket.socket], counts: tuple[int, ...], whose: int | None
) -> None:
    world.have(*counts)
    assert world.passes_on(pair[1]) == (whose is not None)
    given = [len(world.given_to(number)) for number in range(3)]
    assert given == [int(number == whose) for number in range(3)]


def test_none_is_passed_on_behind_another_nor_to_one_who_lets_nobody_in(
    world: World, pair: tuple[socket.socket, socket.socket]
) -> None:
    world.have(9, 0, 9)
    assert [world.passes_on(pair[1]) for _ in range(5)] == [True, False, True, False, True]
    world.tallies[1].let_in(False)
    assert [world.passes_on(pair[1]) for _ in range(2)] == [False, False]
    world.have(9, 0, 1)
    world.tallies[0].forget(2)
    assert not world.passes_on(pair[1]), "there is nobody else any more"


def test_a_hatch_that_is_full_costs_nobody_his_place_and_nobody_waits(
    world: World, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, accepted = pair
    world.have(9, 0, 9)
    before = open_files()
    passed = 0
    while world.passes_on(accepted):
        passed += 1
        assert passed < 10_000, "this hatch has no bottom"
        world.passes_on(accepted)  # this one is not, so that the next one may be
    assert 5 < passed < 50, "more would wait for a worker that stands still, though we are here"
    assert open_files() == before, "what is on its way is not open here"
    assert not world.passes_on(accepted)
    accepted.close()
    world.hatches.empty(1)
    assert world.given_to(1) == []
    assert open_files() == before - 1
    assert client.recv(1) == b"", "nobody keeps him waiting: the last one who had him has let go of him"
    world.hatches.empty(1)


class Relay:
    """What can be asked through a hatch."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.log = SimpleNamespace(tap=None)

    def take(self, listener: str, descriptor: int) -> None:
        is_inherited = os.get_inheritable(descriptor)
        os.close(descriptor)
        assert not is_inherited, "programs that are run have nothing to do with it"
        self.taken.append(listener)
        if len(self.taken) == 1:
            raise RuntimeError("nobody expected this")


def test_a_hatch_stays_open_whatever_comes_through_it(world: World, pair: tuple[socket.socket, socket.socket]) -> None:
    relay = Relay()
    Hatch(world.reactor, world.theirs[1], cast(Any, relay), world.neighbours.rest).open()
    [hatch] = world.reactor.getReaders()
    before = open_files()
    world.have(9, 0, 9)
    assert world.passes_on(pair[1])
    with socket.socket(fileno=os.dup(world.hatches.ways()[1])) as way:
        socket.send_fds(way, [b"what is this"], [pair[1].fileno()])
    assert not world.passes_on(pair[1])
    assert world.passes_on(pair[1])
    hatch.doRead()
    assert relay.taken == ["127.0.0.1:25"] * 2
    assert world.reactor.getReaders() == [hatch]
    assert open_files() == before


@pytest.mark.parametrize("has_spare", [True, False])
def test_a_client_for_whom_no_descriptor_is_left_takes_the_spare_one_or_is_told_of_in_the_log(
    world: World, pair: tuple[socket.socket, socket.socket], has_spare: bool
) -> None:
    relay = Relay()
    relay.taken = [""]  # the first one is not a failure here
    Hatch(world.reactor, world.theirs[1], cast(Any, relay), world.neighbours.rest).open()
    [hatch] = world.reactor.getReaders()
    world.have(9, 0, 9)
    assert world.passes_on(pair[1])
    pair[1].close()
    spare.give()
    if has_spare:
        spare.keep()
    with capturedLogs() as logged, no_descriptor_left():
        hatch.doRead()
    assert relay.taken[1:] == ["127.0.0.1:25"] * has_spare
    assert [eventAsText(one, includeTimestamp=False, includeSystem=False) for one in logged] == [
        "a client who was passed on could not be taken: this process has too many open files"
    ] * (not has_spare)
    assert spare.give() == has_spare, "it is there again"
    assert pair[0].recv(1) == b"", "nobody keeps him waiting"
    assert len(world.reactor.getDelayedCalls()) == 1, "and no more are to come for a while"


def test_nobody_is_passed_on_for_a_while_to_one_who_has_no_room(world: World) -> None:
    world.have(0, 9, 9)
    for lets_in in (True, False):
        world.neighbours.let_in(True)
        assert world.tallies[1].idlest() == (0, 0)
        world.neighbours.rest()
        assert world.tallies[1].idlest() == (9, 2)
        world.neighbours.let_in(lets_in)  # it may stop meanwhile
        world.neighbours.rest()
        world.reactor.advance(REST)
        assert (world.tallies[1].idlest() == (0, 0)) == lets_in


def test_who_has_no_room_yet_rests_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.have(0, 9, 9)
    world.neighbours.let_in(True)
    world.neighbours.rest()
    with monkeypatch.context() as patched:
        patched.setattr(spare, "make_room", lambda: False)
        world.reactor.advance(REST)
    assert world.tallies[1].idlest() == (9, 2)
    world.reactor.advance(REST)
    assert world.tallies[1].idlest() == (0, 0)


def test_who_has_no_room_passes_on_to_whoever_there_is_and_is_given_none_meanwhile(
    world: World, pair: tuple[socket.socket, socket.socket]
) -> None:
    world.have(0, 9, 8)
    passed = 0
    while world.neighbours.pass_on("127.0.0.1:25", pair[1], False):
        passed += 1
        assert passed < 10_000, "this hatch has no bottom"
    assert len(world.given_to(2)) == passed > 5
    assert world.tallies[1].idlest() == (8, 2)
    assert len(world.reactor.getDelayedCalls()) == 1, "of many clients as of one"
    world.tallies[1].let_in(False)
    world.tallies[2].let_in(False)
    assert not world.neighbours.pass_on("127.0.0.1:25", pair[1], False), "there is nobody"
    world.reactor.advance(REST)
    assert world.tallies[1].idlest() is None
    assert not world.passes_on(pair[1])


def test_whose_hatch_is_full_hears_later_that_somebody_listens(
    world: World, pair: tuple[socket.socket, socket.socket]
) -> None:
    relay = Relay()
    relay.taken = [""]  # the first one is not a failure here
    Hatch(world.reactor, world.theirs[1], cast(Any, relay), world.neighbours.rest).open()
    [hatch] = world.reactor.getReaders()
    world.have(9, 0, 9)
    while world.passes_on(pair[1]):
        world.passes_on(pair[1])  # this one is not
    for take in (print, None, print):
        world.hatches.listen(take)
    hatch.doRead()
    assert relay.log.tap is None, "it was full"
    assert len(world.reactor.getDelayedCalls()) == 1
    world.reactor.advance(AGAIN)
    hatch.doRead()
    assert relay.log.tap is not None
    assert world.reactor.getDelayedCalls() == []
    world.hatches.listen(None)
    hatch.doRead()
    assert relay.log.tap is None
