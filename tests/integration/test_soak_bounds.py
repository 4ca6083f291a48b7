"""What many, slow and large clients and next hops cost, and that others do not notice."""

import asyncio
import contextlib
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
from peers.books import FIGURES
from peers.clients import QUEUED, Talk, submit
from peers.crowd import pulse
from peers.daemon import Relay, StartRelay
from peers.ground import wait_until
from peers.knot import Dns
from peers.sinks import MakeSink
from test_live_bad_days import cpu_seconds

pytestmark = pytest.mark.soak

MIB = 1024 * 1024
IDLE = 10_000
SENDING = 2_000
SLOW = 500
LARGE = 100
MEMORY = 300 * MIB
PATIENT = 500.0  # milliseconds for a 250 beside all that, with room for a machine that has other things to do
SLOWLY = 20  # octets, one a second
DISCARD = [{"to": "gone.test", "via": "discard"}]


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Have as many open files as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def wide(make_relay: StartRelay, connections: int, **settings: object) -> Relay:
    """A relay that lets in so many."""
    limits = {"connections": connections, "connections_per_client": connections}
    relay: Relay = make_relay(limits=limits, routes=DISCARD, **settings)
    relay.start()
    return relay


class Watch(threading.Thread):
    """Sees how much memory a relay has at most."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(daemon=True)
        self._relay = relay
        self._going = True
        self.most = 0

    def run(self) -> None:
        while self._going:
            with contextlib.suppress(OSError):
                self.most = max(self.most, self._relay.resident())
            time.sleep(0.2)

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._going = False
        self.join()


class Session:
    """A client that waits for nobody but its own server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, relay: Relay) -> "Session":
        session = cls(*await asyncio.open_connection(relay.address, relay.port))
        assert (await session.reply()).startswith("220")
        return session

    async def reply(self) -> str:
        while (line := (await self.reader.readline()).decode())[3:4] == "-":
            pass
        return line.rstrip()

    async def say(self, text: str) -> str:
        self.writer.write(text.encode() + b"\r\n")
        return await self.reply()

    async def begin(self, recipient: str) -> None:
        """Come to the point where content is awaited."""
        for text, code in (
            ("EHLO client.test", "250"),
            ("MAIL FROM:<a@sender.test>", "250"),
            (f"RCPT TO:<{recipient}>", "250"),
            ("DATA", "354"),
        ):
            assert (await self.say(text)).startswith(code)

    async def content(self, block: bytes, count: int = 1) -> str:
        """Send blocks of whole lines; the reply to the last dot."""
        for _ in range(count):
            self.writer.write(block)
            await self.writer.drain()
        self.writer.write(b".\r\n")
        return await self.reply()

    def close(self) -> None:
        self.writer.close()


async def all_of(count: int, act: Callable[[int], Awaitable[Session]], at_once: int = 200) -> list[Session]:
    """Do the same for each number, so many at once."""
    gate = asyncio.Semaphore(at_once)

    async def one(number: int) -> Session:
        async with gate:
            return await act(number)

    return await asyncio.gather(*map(one, range(count)))


def test_ten_thousand_idle_sessions_and_no_more(make_relay: StartRelay) -> None:
    relay = wide(make_relay, IDLE + 4)  # four of them are the pulse's
    before = relay.resident()

    async def run() -> tuple[int, float]:
        begun = time.monotonic()
        sessions = await all_of(IDLE, lambda number: Session.open(relay))
        took = time.monotonic() - begun
        growth = relay.resident() - before
        with pulse(relay, "bob@gone.test") as beat:
            await asyncio.sleep(5)
            with Talk(relay.address, relay.port) as one_more:
                assert one_more.reply().startswith("421 "), "one above the limit"
        assert not beat.errors
        assert beat.at_most(0.99) < PATIENT
        assert {reply[:3] for reply in await asyncio.gather(*(one.say("NOOP") for one in sessions))} == {"250"}
        for session in sessions:
            session.close()
        FIGURES.append(
            f"{IDLE:,} idle sessions in {took:.0f} s: {growth / IDLE / 1024:.1f} KiB each; beside them {beat}"
        )
        return growth, beat.at_most(0.99)

    growth, _ = asyncio.run(run())
    assert growth < 100 * MIB
    submit(relay, "a@sender.test", ["bob@gone.test"], b"Subject: x\r\n\r\n")


def test_two_thousand_sessions_send_at_once(make_relay: StartRelay, dns: Dns, sink: MakeSink) -> None:
    hop = sink()
    dns.zone("crowd-of-senders.test", f"@ MX 10 mx\nmx A {hop.address}")
    relay = wide(make_relay, SENDING)
    block = (b"x" * 78 + b"\r\n") * 128

    async def run() -> tuple[list[str], float]:
        async def ready(number: int) -> Session:
            session = await Session.open(relay)
            await session.begin(f"r{number}@crowd-of-senders.test")
            return session

        sessions = await all_of(SENDING, ready)
        begun = time.monotonic()
        replies = await asyncio.gather(*(session.content(block) for session in sessions))
        took = time.monotonic() - begun
        for session in sessions:
            session.close()
        return replies, took

    with Watch(relay) as watch:
        replies, took = asyncio.run(run())
        relay.wait_until_empty(60)
    FIGURES.append(
        f"{SENDING:,} sessions send 10 KiB at once: all accepted in {took:.1f} s, {watch.most / MIB:.0f} MiB at most"
    )
    assert all(QUEUED.match(reply) for reply in replies)
    arrived = Counter(one.recipients[0] for one in hop.taken)
    assert arrived == Counter(f"r{number}@crowd-of-senders.test" for number in range(SENDING))
    assert watch.most < MEMORY


def test_five_hundred_sessions_of_one_octet_a_second(make_relay: StartRelay) -> None:
    relay = wide(make_relay, SLOW + 4)

    async def run() -> tuple[float, float]:
        async def ready(number: int) -> Session:
            session = await Session.open(relay)
            if number % 2:  # half of them in a command, half in content
                await session.begin("slow@gone.test")
            return session

        sessions = await all_of(SLOW, ready)
        used, begun = cpu_seconds(relay.process.pid), time.monotonic()
        for at in range(SLOWLY):
            for number, session in enumerate(sessions):
                session.writer.write(
                    b"Subject: slow as can be"[at : at + 1] if number % 2 else b"EHLO slow.client.example"[at : at + 1]
                )
            await asyncio.sleep(1)
        share = (cpu_seconds(relay.process.pid) - used) / (time.monotonic() - begun)
        with pulse(relay, "bob@gone.test") as beat:
            for _ in range(3):
                for session in sessions:
                    session.writer.write(b"x")
                await asyncio.sleep(1)
        assert not beat.errors
        FIGURES.append(f"{SLOW} sessions of one octet a second: {share:.0%} of a core; beside them {beat}")
        replies = await asyncio.gather(
            *(session.say("\r\n." if number % 2 else "") for number, session in enumerate(sessions))
        )
        for session in sessions:
            session.close()
        assert {reply[:3] for reply in replies} == {"250"}
        return share, beat.at_most(0.99)

    share, waited = asyncio.run(run())
    assert share < 0.5
    assert waited < PATIENT


@contextlib.contextmanager
def crawling(address: str) -> Iterator[list[int]]:
    """A next hop that takes one octet a second of each content. Yields how many octets each connection has given."""
    taken: list[int] = []
    listening = socket.create_server((address, 25), backlog=100)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    open_ones: list[socket.socket] = [listening]

    def serve(connection: socket.socket, place: int) -> None:
        with contextlib.suppress(OSError), connection:
            connection.sendall(b"220 slow.test ESMTP\r\n")
            heard = b""
            while b"DATA\r\n" not in heard:
                heard += (octets := connection.recv(512))
                if not octets:
                    return
                connection.sendall({b"DATA": b"354 go on\r\n"}.get(heard[-6:-2], b"250 ok\r\n"))
            while octets := connection.recv(1):
                taken[place] += len(octets)
                time.sleep(1)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                open_ones.append(connection)
                taken.append(0)
                threading.Thread(target=serve, args=(connection, len(taken) - 1), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield taken
    for one in open_ones:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def test_a_next_hop_that_takes_one_octet_a_second(make_relay: StartRelay, dns: Dns, sink: MakeSink) -> None:
    hop, slow = sink(), sink()
    address = slow.address
    dns.zone("fast-hop.test", f"@ MX 10 mx\nmx A {hop.address}")
    relay = wide(make_relay, 100)
    large = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * (8 * MIB // 18)
    address = address.rpartition(".")[0] + ".251"
    dns.zone("crawling.test", f"@ MX 10 mx\nmx A {address}")
    with crawling(address) as taken, Watch(relay) as watch:
        for number in range(40):
            submit(relay, "a@sender.test", [f"r{number}@crawling.test"], large)
        wait_until(lambda: sum(octets > 0 for octets in taken) >= 5, "some are under way", 30)
        used, begun = cpu_seconds(relay.process.pid), time.monotonic()
        for number in range(200):
            submit(relay, "a@sender.test", [f"r{number}@fast-hop.test"], b"Subject: x\r\n\r\n")
        wait_until(lambda: len(hop.taken) == 200, "others get theirs", 20)
        time.sleep(10)
        share = (cpu_seconds(relay.process.pid) - used) / (time.monotonic() - begun)
        begun = time.monotonic()
        relay.stop()
        stopped = time.monotonic() - begun
    FIGURES.append(
        f"a next hop of one octet a second: {sum(octets > 0 for octets in taken)} deliveries of 8 MiB under way, "
        f"{watch.most / MIB:.0f} MiB at most, {share:.0%} of a core, stopped in {stopped:.1f} s"
    )
    assert watch.most < MEMORY
    assert stopped < 14
    assert share < 0.5


def test_a_thousand_recipients_and_no_more(make_relay: StartRelay, dns: Dns, sink: MakeSink) -> None:
    hop = sink()
    for number in range(10):
        dns.zone(f"thousand{number}.test", f"@ MX 10 mx\nmx A {hop.address}")
    relay = wide(make_relay, 10)
    everybody = [f"r{number}@thousand{number % 10}.test" for number in range(1000)]
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        talk.say("MAIL FROM:<a@sender.test>")
        talk.send("".join(f"RCPT TO:<{one}>\r\n" for one in [*everybody, "one-more@thousand0.test"]).encode())
        replies = [talk.reply()[:9] for _ in range(1001)]
        assert replies[:1000] == ["250 2.1.5"] * 1000
        assert replies[1000] == "452 4.5.3"
        assert talk.say("DATA").startswith("354")
        assert QUEUED.match(talk.say("Subject: x\r\n\r\n."))
    relay.wait_until_empty(60)
    assert Counter(one for taken in hop.taken for one in taken.recipients) == Counter(everybody)


@pytest.mark.parametrize("workers", [1])
def test_a_hundred_sessions_send_50_mib_at_once(make_relay: StartRelay, workers: int) -> None:
    relay = wide(make_relay, LARGE + 4, workers=workers)
    block = (b"0123456789" * 7 + b"12345678\r\n") * 819  # 64 KiB, nearly

    async def run() -> list[str]:
        async def ready(number: int) -> Session:
            session = await Session.open(relay)
            await session.begin("large@gone.test")
            return session

        sessions = await all_of(LARGE, ready)
        blocks = 50 * MIB // len(block) - 1  # with the Received field it is within the limit
        replies = await asyncio.gather(*(session.content(block, blocks) for session in sessions))
        for session in sessions:
            session.close()
        return replies

    begun = time.monotonic()
    with Watch(relay) as watch, pulse(relay, "bob@gone.test", rest=0.2) as beat:
        replies = asyncio.run(run())
    took = time.monotonic() - begun
    FIGURES.append(
        f"{LARGE} sessions send 50 MiB at once: {took:.0f} s ({LARGE * 50 / took:.0f} MiB a second), "
        f"{watch.most / MIB:.0f} MiB at most; beside them {beat}"
    )
    assert Counter(reply[:14] for reply in replies) == {"250 2.0.0 queu": LARGE}
    assert not beat.errors
    assert watch.most < MEMORY
