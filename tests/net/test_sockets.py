"""Sockets that send at the end of the turn: in order, whole, and still over Twisted's own buffers."""

import hashlib
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from few_descriptors import no_descriptor_left
from twisted.internet import reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import TestCase

from mta.net import sockets
from mta.net.spare import spare


class Gatherer(Protocol):
    def __init__(self) -> None:
        self.octets = b""
        self.pieces: list[bytes] = []
        self.waiting: tuple[int, Deferred[bytes]] | None = None
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.octets += data
        self.pieces.append(data)
        self._look()

    def connectionLost(self, reason=None) -> None:
        self.lost.callback(None)

    def gather(self, count: int) -> Deferred[bytes]:
        self.waiting = (count, Deferred())
        gathered = self.waiting[1]
        self._look()
        return gathered

    def _look(self) -> None:
        if self.waiting and len(self.octets) >= self.waiting[0]:
            (_, waiting), self.waiting = self.waiting, None
            waiting.callback(self.octets)


class ServerSide(Factory):
    noisy = False

    def __init__(self) -> None:
        self.accepted: Deferred[Gatherer] = Deferred()

    def buildProtocol(self, addr):
        protocol = Gatherer()
        reactor.callLater(0, self.accepted.callback, protocol)
        return protocol


class Remembering(ServerSide):
    def __init__(self, wants: bool = True) -> None:
        super().__init__()
        self.wants = wants
        self.seen: list[object] = []

    def buildProtocol(self, addr):
        self.seen.append(addr)
        return super().buildProtocol(addr) if self.wants else None


class Regretting(ServerSide):
    def turn_away(self, host: str) -> bytes:
        return b"come back, " + host.encode()


class ClientSide(ClientFactory):
    noisy = False

    def __init__(self) -> None:
        self.connected: Deferred[Gatherer] = Deferred()

    def buildProtocol(self, addr):
        protocol = Gatherer()
        reactor.callLater(0, self.connected.callback, protocol)
        return protocol

    def clientConnectionFailed(self, connector, reason) -> None:
        self.connected.errback(reason)


def in_a_moment() -> Deferred[None]:
    """Fires when what is on its way has come."""
    moment: Deferred[None] = Deferred()
    reactor.callLater(0.05, moment.callback, None)
    return moment


@contextmanager
def only_the_spare_one() -> Iterator[None]:
    """Meanwhile this process can open nothing more, but for the descriptor that it keeps."""
    if spare.give():
        spare.keep()  # below the limit, as it would be
    with no_descriptor_left():
        yield


class SocketTests(TestCase):
    timeout = 20

    async def _pair(self):
        server = ServerSide()
        self.port = sockets.listen(reactor, "127.0.0.1", 0, server)
        self.addCleanup(self.port.stopListening)
        client = ClientSide()
        sockets.connect(reactor, "127.0.0.1", self.port.getHost().port, client, 5)
        one, other = await client.connected, await server.accepted

        async def close() -> None:
            one.transport.loseConnection()
            await one.lost
            await other.lost

        self.addCleanup(lambda: Deferred.fromCoroutine(close()))
        return one, other

    async def test_what_is_written_is_sent_together_at_the_end_of_the_turn(self) -> None:
        one, other = await self._pair()
        one.transport.write(b"hel")
        one.transport.write(b"")
        one.transport.write(b"lo")
        self.assertIn(one.transport, reactor.getWriters())
        self.assertEqual(other.pieces, [])
        await other.gather(5)
        self.assertEqual(other.pieces, [b"hello"])
        self.assertNotIn(one.transport, reactor.getWriters())
        self.assertEqual((one.transport.dataBuffer, one.transport._tempDataBuffer), (b"", []))

    async def test_nobody_is_watched_whose_socket_takes_everything(self) -> None:
        one, other = await self._pair()
        watched = []
        watch = EPollReactor.addWriter
        self.patch(EPollReactor, "addWriter", lambda poller, writer: (watched.append(writer), watch(poller, writer)))
        one.transport.write(b"hello")
        await other.gather(5)
        self.assertEqual(watched, [])
        one.transport.write(b"x" * 20_000_000)
        await other.gather(20_000_005)
        self.assertEqual(watched, [one.transport])

    async def test_more_than_the_socket_takes_arrives_whole_and_in_order(self) -> None:
        one, other = await self._pair()
        blocks = [bytes([number % 251]) * (1 + number * 997 % 70_000) for number in range(300)]
        for block in blocks:
            one.transport.write(block)
        self.assertTrue(one.transport._tempDataBuffer, "this test must overfill the socket")
        sent = b"".join(blocks)
        got = await other.gather(len(sent))
        self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(sent).digest())

    async def test_what_was_written_before_closing_arrives(self) -> None:
        one, other = await self._pair()
        one.transport.write(b"x" * 3_000_000)
        one.transport.write(b"bye")
        one.transport.loseConnection()
        await other.lost
        self.assertEqual(len(other.octets), 3_000_003)

    async def test_what_is_written_behind_the_closing_arrives_too_in_the_same_turn(self) -> None:
        one, other = await self._pair()
        one.transport.write(b"a")
        one.transport.loseConnection()
        one.transport.loseConnection()
        self.assertFalse(one.lost.called, "not from within its own call")
        one.transport.write(b"b" * 3_000_000)
        await other.lost
        self.assertEqual(len(other.octets), 3_000_001)

    async def test_one_that_is_cut_off_while_it_closes_is_lost_once(self) -> None:
        one, other = await self._pair()
        one.transport.loseConnection()
        one.transport.abortConnection()
        await one.lost
        await other.lost

    async def test_writing_to_a_connection_that_the_peer_reset_ends_it(self) -> None:
        one, other = await self._pair()
        other.transport.abortConnection()
        await other.lost
        for _ in range(3):
            one.transport.write(b"to nobody")
        await one.lost
        one.transport.write(b"after the end")

    async def test_what_the_peer_said_before_it_reset_is_read_though_nothing_can_be_sent(self) -> None:
        server = ServerSide()
        port = sockets.listen(reactor, "127.0.0.1", 0, server)
        self.addCleanup(port.stopListening)
        with socket.create_connection(("127.0.0.1", port.getHost().port), 5) as peer:
            one = await server.accepted
            peer.sendall(b"421 goodbye")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.transport.write(b"to nobody")
        await one.lost
        self.assertEqual(one.octets, b"421 goodbye")

    async def test_a_pull_producer_is_asked_until_it_has_no_more(self) -> None:
        one, other = await self._pair()

        class Puller:
            left = 20

            def resumeProducing(self) -> None:
                self.left -= 1
                one.transport.write(b"p" * 1000)
                if not self.left:
                    one.transport.unregisterProducer()

            def stopProducing(self) -> None:
                pass

        one.transport.registerProducer(Puller(), False)
        self.assertEqual(len(await other.gather(20_000)), 20_000)

    async def test_a_unix_socket_works_the_same(self) -> None:
        server, client = ServerSide(), ClientSide()
        folder = tempfile.mkdtemp()  # trial's own names are longer than a socket's may be
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/socket"
        port = sockets.listen_unix(reactor, path, server)
        self.addCleanup(port.stopListening)
        sockets.connect_unix(reactor, path, client, 5)
        one, other = await client.connected, await server.accepted
        other.transport.write(b"220 hello")
        self.assertEqual(await one.gather(9), b"220 hello")
        self.assertEqual(other.transport.dataBuffer, b"")
        one.transport.loseConnection()
        await other.lost
        await one.lost

    async def test_both_families_can_be_listened_on_side_by_side(self) -> None:
        one = sockets.listen(reactor, "0.0.0.0", 0, ServerSide())
        self.addCleanup(one.stopListening)
        other = sockets.listen(reactor, "::", one.getHost().port, ServerSide())
        self.addCleanup(other.stopListening)

    async def test_a_port_that_is_taken_is_named(self) -> None:
        port = sockets.listen(reactor, "127.0.0.1", 0, ServerSide())
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        with pytest.raises(CannotListenError, match=str(number)):
            sockets.listen(reactor, "127.0.0.1", number, ServerSide())

    async def test_who_is_passed_on_is_served_there_as_one_who_was_accepted(self) -> None:
        for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            passed: list[socket.socket] = []
            there, elsewhere = Remembering(), Remembering()

            def pass_on(client: socket.socket, has_room: bool, passed=passed) -> bool:
                self.assertTrue(has_room)
                passed.append(client.dup())
                return len(passed) == 1

            with socket.create_server((address, 0), family=family) as held:
                held.setblocking(False)
                port = sockets.adopt(reactor, held.detach(), there, pass_on)
            self.addCleanup(port.stopListening)
            clients = []
            for _ in range(2):
                clients.append(ClientSide())
                sockets.connect(reactor, address, port.getHost().port, clients[-1], 5)
            ends = [await one.connected for one in clients]
            accepted = await there.accepted
            self.assertEqual(len(passed), 2)
            self.assertFalse(ends[0].lost.called, "he stays with whom he was passed on to")
            sockets.take(reactor, passed[0], elsewhere)
            passed[1].close()
            taken = await elsewhere.accepted
            peers = {end.transport.getHost().port: end for end in ends}
            self.assertEqual({one.seen[0].port for one in (there, elsewhere)}, set(peers))
            self.assertEqual((elsewhere.seen[0].host, taken.transport.getHost()), (address, port.getHost()))
            client = peers[elsewhere.seen[0].port]
            taken.transport.write(b"x" * 3_000_000)
            taken.transport.loseConnection()
            await client.lost
            self.assertEqual(len(client.octets), 3_000_000, "all of it, and nobody else has it open")
            self.assertEqual(passed[0].fileno(), -1, "it was ours")
            accepted.transport.loseConnection()
            await accepted.lost

    async def test_one_who_is_cut_off_is_reset(self) -> None:
        server = ServerSide()
        port = sockets.listen(reactor, "127.0.0.1", 0, server)
        self.addCleanup(port.stopListening)
        with socket.create_connection(("127.0.0.1", port.getHost().port), 5) as peer:
            one = await server.accepted
            one.transport.abortConnection()
            await one.lost
            with pytest.raises(ConnectionResetError):
                peer.recv(1)

    async def test_who_cannot_be_served_is_let_go_and_keeps_nobody_else_out(self) -> None:
        class Faulty(Gatherer):
            def connectionMade(self) -> None:
                raise LookupError("nobody knows what to say")

        server = Remembering()
        build = server.buildProtocol
        port = sockets.listen(reactor, "127.0.0.1", 0, server)
        self.addCleanup(port.stopListening)
        for fault, builder in ((ZeroDivisionError, lambda addr: 1 // 0), (LookupError, lambda addr: Faulty())):
            server.buildProtocol = builder
            with socket.create_connection(("127.0.0.1", port.getHost().port), 5) as first:
                first.setblocking(False)
                await in_a_moment()
                self.assertEqual(first.recv(1), b"", "he is not left to wait")
            self.assertEqual(len(self.flushLoggedErrors(fault)), 1)
        self.assertEqual([one for one in reactor.getReaders() if isinstance(one, tcp.Server)], [])
        server.buildProtocol = build
        with socket.create_connection(("127.0.0.1", port.getHost().port), 5) as second:
            one = await server.accepted
            self.assertEqual(one.transport.getPeer().port, second.getsockname()[1])
        await one.lost

    async def test_without_a_free_descriptor_who_connects_waits_and_is_served_when_there_is_one(self) -> None:
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, f"{folder}/socket")):
            server = ServerSide()
            with socket.socket(family) as listening, socket.socket(family) as client:
                listening.bind(address)
                listening.listen()
                listening.setblocking(False)
                port = sockets.adopt(reactor, os.dup(listening.fileno()), server)
                self.addCleanup(port.stopListening)
                await in_a_moment()  # the reactor runs, and has what it needs
                client.setblocking(False)
                with only_the_spare_one():
                    client.connect_ex(listening.getsockname())
                    await in_a_moment()
                    self.assertNotIn(port, reactor.getReaders(), "it does not try all the time")
                    with self.assertRaises(BlockingIOError, msg="he waits"):
                        client.recv(1)
                one = await server.accepted
                client.send(b"x")
                self.assertEqual(await one.gather(1), b"x")
                self.assertIn(port, reactor.getReaders())
            await one.lost

    async def test_without_a_free_descriptor_clients_are_told_so_and_later_ones_served(self) -> None:
        server = Regretting()
        port = sockets.listen(reactor, "127.0.0.1", 0, server)
        self.addCleanup(port.stopListening)
        await in_a_moment()
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            with only_the_spare_one():
                for client in (first, second):
                    client.setblocking(False)
                    client.connect_ex(("127.0.0.1", port.getHost().port))
                await in_a_moment()
                for client in (first, second):
                    self.assertEqual((client.recv(100), client.recv(100)), (b"come back, 127.0.0.1", b""))
            third.connect(("127.0.0.1", port.getHost().port))
            one = await server.accepted
            self.assertEqual(one.transport.getPeer().port, third.getsockname()[1])
        await one.lost

    async def test_without_a_free_descriptor_others_are_given_the_clients_if_they_have_room(self) -> None:
        server = Regretting()
        asked: list[bool] = []
        taken: list[socket.socket] = []

        def pass_on(client: socket.socket, has_room: bool) -> bool:
            asked.append(has_room)
            there.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", client.fileno()))])
            return len(asked) < 3

        here, there = socket.socketpair()
        here.settimeout(5)
        with here, there, socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            port = sockets.adopt(reactor, os.dup(listening.fileno()), server, pass_on)
            self.addCleanup(port.stopListening)
            await in_a_moment()
            clients = [socket.socket() for _ in range(3)]
            with only_the_spare_one():
                for client in clients:
                    client.setblocking(False)
                    client.connect_ex(listening.getsockname())
                await in_a_moment()
            for _ in clients:
                taken += [socket.socket(fileno=one) for one in socket.recv_fds(here, 1, 1)[1]]
            self.assertEqual(asked, [False] * 3)
            for client in clients[:2]:
                with self.assertRaises(BlockingIOError, msg="he is somebody else's"):
                    client.recv(1)
            self.assertEqual(clients[2].recv(100), b"come back, 127.0.0.1")
            for client in (*clients, *taken):
                client.close()

    async def test_where_the_spare_descriptor_has_gone_too_who_connects_waits(self) -> None:
        server = Regretting()
        port = sockets.listen(reactor, "127.0.0.1", 0, server)
        self.addCleanup(port.stopListening)
        await in_a_moment()
        with socket.socket() as client, socket.socket() as other:
            self.assertTrue(spare.give())
            with os.fdopen(os.dup(0)), only_the_spare_one():
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port.getHost().port))
                await in_a_moment()
                self.assertNotIn(port, reactor.getReaders())
            one = await server.accepted
            self.assertEqual(one.transport.getPeer().port, client.getsockname()[1])
            with only_the_spare_one():
                other.setblocking(False)
                other.connect_ex(("127.0.0.1", port.getHost().port))
                await in_a_moment()
                self.assertEqual(other.recv(100), b"come back, 127.0.0.1", "there is a spare one again")
        await one.lost

    async def test_who_is_passed_on_and_has_the_last_descriptor_is_told_so(self) -> None:
        nobody = Regretting()
        spare.keep()
        with socket.create_server(("127.0.0.1", 0)) as held:
            client = socket.create_connection(held.getsockname(), 5)
            with only_the_spare_one():
                self.assertFalse(spare.make_room())
                accepted, _ = held.accept()
                sockets.take(reactor, accepted, nobody)
                self.assertEqual(accepted.fileno(), -1)
                self.assertTrue(spare.give(), "it has come back")
            spare.keep()
            self.assertTrue(spare.make_room())
            client.settimeout(5)
            self.assertEqual((client.recv(100), client.recv(100)), (b"come back, 127.0.0.1", b""))
            client.close()

    async def test_a_port_that_has_no_room_can_be_closed(self) -> None:
        port = sockets.listen(reactor, "127.0.0.1", 0, ServerSide())
        await in_a_moment()
        before = reactor.getDelayedCalls()
        with socket.socket() as client, only_the_spare_one():
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port.getHost().port))
            await in_a_moment()
            await port.stopListening()
        self.assertEqual(reactor.getDelayedCalls(), before)

    async def test_who_is_not_wanted_or_has_gone_is_closed_when_taken(self) -> None:
        nobody = Remembering(wants=False)
        with socket.create_server(("127.0.0.1", 0)) as held:
            for goes in (True, False):
                client = socket.create_connection(held.getsockname(), 5)
                accepted, _ = held.accept()
                if goes:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                sockets.take(reactor, accepted, nobody)
                self.assertEqual(accepted.fileno(), -1)
            self.assertEqual(len(nobody.seen), 1, "who has gone is not even thought of")
            self.assertEqual(client.recv(1), b"")
            client.close()

    async def test_who_goes_while_he_is_taken_is_lost_as_one_who_goes_later(self) -> None:
        served = Remembering()
        with socket.create_server(("127.0.0.1", 0)) as held:
            client = socket.create_connection(held.getsockname(), 5)
            accepted, _ = held.accept()

        class Going(socket.socket):
            def getpeername(self):
                peer = super().getpeername()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                return peer

        sockets.take(reactor, Going(fileno=accepted.detach()), served)
        await (await served.accepted).lost


def test_twisted_still_keeps_what_is_queued_where_this_looks_for_it() -> None:
    ours, theirs = socket.socketpair()
    transport = tcp.Connection(ours, Protocol(), reactor)
    for name in ("dataBuffer", "_tempDataBuffer", "_writeDisconnected", "TLS", "producer", "streamingProducer"):
        assert hasattr(transport, name), name
    ours.close()
    theirs.close()


def test_a_reactor_with_transports_of_its_own_is_asked() -> None:
    virtual = MemoryReactorClock()
    sockets.listen(virtual, "127.0.0.1", 25, Factory())
    sockets.connect(virtual, "127.0.0.1", 25, ClientFactory(), 30)
    assert len(virtual.tcpServers) == len(virtual.tcpClients) == 1
