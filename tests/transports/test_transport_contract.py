"""What may be counted on from every transport: the real ones over scripted servers, and the twin in memory."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import cast

import pytest
from carry_world import DEAF, HANG_UP, HOP, LETTER, SILENT, Letter, Server, World, envelope_to
from twisted.internet.interfaces import IReactorTime
from zope.interface.verify import verifyObject

from mta.interfaces import IContent, ITransport
from mta.message.outcome import Carried, Outcome, Result, deferred
from mta.policy.routing import Hop, Via
from mta.smtp.reply import Reply
from mta.transports.memory import MemoryTransport

A, B, C = "a@example.net", "b@example.net", "c@example.net"
TAKEN = Reply(250, "2.0.0", ("taken",))
UNKNOWN_USER = Reply(550, "5.1.1", ("unknown",))
GREYLISTED = Reply(450, "4.2.1", ("later",))
RESULTS = {2: Result.DELIVERED, 4: Result.DEFERRED, 5: Result.FAILED}


class Side(ABC):
    """A transport and the world behind it."""

    hop = HOP
    transport: ITransport

    def __init__(self) -> None:
        self.world = World()

    @abstractmethod
    def replies(self, replies: Mapping[str, Reply]) -> None:
        """The next hop's replies from now on, by recipient; a message is carried to all of them, in order."""

    @abstractmethod
    def goes_down(self) -> None:
        """Nobody is there."""

    @abstractmethod
    def loses_final_reply(self) -> None:
        """The next hop takes a content, and its reply does not arrive."""

    @abstractmethod
    def holds_back(self) -> None:
        """The next hop takes its time to answer."""

    @abstractmethod
    def answers_at_last(self) -> None:
        """It answers with 250."""

    @abstractmethod
    def taken(self) -> list[tuple[tuple[str, ...], bytes]]:
        """What the next hop has taken: recipients and contents."""

    def carry(self, *recipients: str, content: Letter) -> Carried:
        envelope = envelope_to(*recipients)
        return self.world.result(self.transport.carry(self.hop, envelope, cast(IContent, content)))


class Smtp(Side):
    def __init__(self) -> None:
        super().__init__()
        self.transport = self.world.smtp
        self.server = self.world.serve()

    def replies(self, replies: Mapping[str, Reply]) -> None:
        self.server.says("RCPT", ["250 ok" if reply.is_positive else str(reply) for reply in replies.values()])

    def goes_down(self) -> None:
        self.server.hang_up()
        self.world.clock.advance(0)
        self.world.servers.clear()

    def loses_final_reply(self) -> None:
        self.server.says("CONTENT", HANG_UP)

    def holds_back(self) -> None:
        self.server.says("CONTENT", SILENT)

    def answers_at_last(self) -> None:
        self.server.conversations[-1].wire.arrive(b"250 2.0.0 taken\r\n")

    def taken(self) -> list[tuple[tuple[str, ...], bytes]]:
        return [message[1:] for message in self.server.messages]


class Lmtp(Smtp):
    hop = Hop(Via.LMTP, "192.0.2.1")

    def __init__(self) -> None:
        super().__init__()
        self.transport = self.world.lmtp

    def replies(self, replies: Mapping[str, Reply]) -> None:
        super().replies(replies)
        final = "\r\n".join("250 2.0.0 taken" for reply in replies.values() if reply.is_positive)
        self.server.says("CONTENT", final)


class Memory(Side):
    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryTransport(cast(IReactorTime, self.world.clock))
        self.transport = self.memory

    def replies(self, replies: Mapping[str, Reply]) -> None:
        for address, reply in replies.items():
            self.memory.answer(address, Outcome(RESULTS[reply.code // 100], reply, "memory[192.0.2.1]:25"))

    def goes_down(self) -> None:
        self.memory.down.add(self.hop.destination)

    def loses_final_reply(self) -> None:
        self.memory.answer(self.hop.destination, deferred(451, "4.4.2", "connection lost", "memory", unknown=True))

    def holds_back(self) -> None:
        self.memory.holding = True

    def answers_at_last(self) -> None:
        self.memory.let_go()

    def taken(self) -> list[tuple[tuple[str, ...], bytes]]:
        return [(one.taken, one.content) for one in self.memory.carriages if one.taken]


@pytest.fixture(params=[Smtp, Lmtp, Memory])
def side(request: pytest.FixtureRequest) -> Side:
    return cast(Side, request.param())


def test_it_is_a_transport(side: Side) -> None:
    assert verifyObject(ITransport, side.transport)


def test_an_outcome_for_each_recipient_in_order(side: Side) -> None:
    replies = {A: UNKNOWN_USER, B: TAKEN, C: GREYLISTED}
    side.replies(replies)
    carried = side.carry(*replies, content=Letter(LETTER))
    assert [outcome.reply for outcome in carried.outcomes] == list(replies.values())
    assert [outcome.result for outcome in carried.outcomes] == [Result.FAILED, Result.DELIVERED, Result.DEFERRED]
    assert all(outcome.remote and outcome.host and not outcome.unknown for outcome in carried.outcomes)
    assert carried.reached
    assert carried.tries
    assert carried.tries[-1].dialogue
    assert side.taken() == [((B,), LETTER)]


@pytest.mark.parametrize("content", [b"", b"\r\n", LETTER, b"x: y\r\n\r\n" + b".\r\n" * 50_000])
def test_the_content_arrives_octet_for_octet_any_number_of_times(side: Side, content: bytes) -> None:
    letter = Letter(content, block=1000)
    for count in range(1, 3):
        side.replies({A: TAKEN})
        carried = side.carry(A, content=letter)
        assert carried.outcomes[0].result is Result.DELIVERED
        assert carried.tries[-1].dialogue == ()
        assert side.taken() == [((A,), content)] * count


def test_nobody_there(side: Side) -> None:
    side.replies({A: TAKEN, B: TAKEN})
    side.goes_down()
    carried = side.carry(A, B, content=Letter(LETTER))
    assert not carried.reached
    assert [outcome.result for outcome in carried.outcomes] == [Result.DEFERRED] * 2
    assert not any(outcome.remote or outcome.unknown for outcome in carried.outcomes)
    assert side.taken() == []


def test_a_lost_final_reply(side: Side) -> None:
    side.loses_final_reply()
    carried = side.carry(A, content=Letter(LETTER))
    [outcome] = carried.outcomes
    assert outcome.result is Result.DEFERRED
    assert outcome.unknown
    assert not outcome.remote
    assert carried.reached


def test_content_that_cannot_be_read_is_deferred(side: Side) -> None:
    carried = side.carry(A, content=Letter(LETTER, fails=OSError("gone")))
    assert [str(outcome.reply) for outcome in carried.outcomes] == ["451 4.3.0 the content cannot be read: gone"]
    assert carried.outcomes[0].result is Result.DEFERRED
    assert not carried.outcomes[0].remote
    assert side.taken() == []


def test_stopping_lets_what_runs_end(side: Side) -> None:
    side.holds_back()
    running = side.transport.carry(side.hop, envelope_to(A), cast(IContent, Letter(LETTER)))
    side.world.run(5)
    stopped: list[None] = []
    side.transport.stop().addCallback(stopped.append)
    side.world.run(5)
    assert not stopped
    assert not running.called
    side.answers_at_last()
    side.world.run(1)
    assert side.world.result(running).outcomes[0].result is Result.DELIVERED
    assert stopped == [None]


def test_what_is_cut_off_when_it_was_sent_may_have_arrived(side: Side) -> None:
    side.holds_back()
    running = side.transport.carry(side.hop, envelope_to(A, B), cast(IContent, Letter(LETTER)))
    side.world.run(1)
    side.transport.cut()
    carried = side.world.result(running)
    assert [(one.result, one.unknown, one.remote) for one in carried.outcomes] == [(Result.DEFERRED, True, False)] * 2


@pytest.mark.parametrize("side", [Smtp, Lmtp], indirect=True)
@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA"])
def test_what_is_cut_off_before_it_was_sent_has_not_arrived_and_nothing_more_is_said(side: Smtp, verb: str) -> None:
    side.server.says("LHLO" if verb == "EHLO" and isinstance(side, Lmtp) else verb, SILENT)
    other = Server()
    side.world.host("mx2.example", "192.0.2.2", other)
    running = side.transport.carry(side.hop, envelope_to(A), cast(IContent, Letter(LETTER)))
    side.world.run(1)
    side.transport.cut()
    [outcome] = side.world.result(running).outcomes
    assert (outcome.result, outcome.unknown) == (Result.DEFERRED, False)
    side.world.run(10)
    assert (side.server.open, side.taken(), other.connections) == (0, [], 0)


def test_a_large_content_that_is_cut_off_half_way_has_not_arrived() -> None:
    side = Smtp()
    side.server.says("BLOCK", DEAF)
    running = side.transport.carry(side.hop, envelope_to(A), cast(IContent, Letter(b"x\r\n" * 100_000)))
    side.world.run(1)
    assert not running.called
    side.transport.cut()
    [outcome] = side.world.result(running).outcomes
    side.world.run(10)
    assert (outcome.result, outcome.unknown, side.taken()) == (Result.DEFERRED, False, [])


def test_stopping_with_nothing_to_do(side: Side) -> None:
    assert side.world.result(side.transport.stop()) is None
