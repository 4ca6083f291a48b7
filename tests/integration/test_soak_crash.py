"""A hundred times SIGKILL to all of a relay under load, with next hops that misbehave; then the books are balanced.

The clients count a message as accepted when they have read its 250, and as unsure when its last dot had no reply. The
next hops put off, refuse, close, answer late, and drop connections once they have all of a message; some recipients
they refuse for good, and the senders are owed a notice of each. A copy is in order where the reply to the one before it
was interrupted: by a kill, or by a next hop that dropped the connection; and the relay must know of it.
"""

import os
import random
import signal
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from peers.books import FIGURES, Books, content_of, mark_in
from peers.crowd import fill
from peers.daemon import Relay, StartRelay
from peers.ground import greets, wait_until
from peers.knot import Dns
from peers.sinks import DROP, MakeSink, Sink, Transaction
from peers.stubborn import Client, Letter

pytestmark = pytest.mark.soak

CLIENTS = 10
DOMAINS = 8
DOOMED = 0.05  # of the recipients
RETRY = ["1s", "2s", "3s"]
SLOWEST = 0.5  # seconds that a next hop takes over an answer, at most
# Seconds around a kill in which content may have come whose reply was not recorded, or not even said yet.
BEFORE, AFTER = SLOWEST + 0.5, 1.0


@dataclass
class Moods:
    """How a next hop behaves. later, closing, dropping, slow: shares of what it is asked."""

    chance: random.Random
    later: float = 0.02
    closing: float = 0.003
    dropping: float = 0.003
    slow: float = 0.01
    dropped: int = 0

    def answer(self, event: str, usual: str) -> str:
        if event in ("MAIL", "RCPT", "CONTENT"):
            drawn = self.chance.random()
            if drawn < self.later:
                return "450 4.2.1 not now" if event == "RCPT" else "451 4.3.0 not now"
            if drawn < self.later + self.closing:
                return "421 4.3.2 closing"
            if event == "CONTENT" and drawn < self.later + self.closing + self.dropping:
                self.dropped += 1
                return DROP
        return usual

    def delay(self, event: str) -> float:
        return self.chance.uniform(0.05, SLOWEST) if self.chance.random() < self.slow else 0.0


class Ledger(list[Transaction]):
    """In the place of a sink's transactions, which would be too many to keep: what it is given goes into the books."""

    def __init__(self, keep: Callable[[Transaction, bool], None]) -> None:
        super().__init__()
        self._keep = keep

    def append(self, one: Transaction) -> None:
        if not one.reply or one.taken:
            self._keep(one, not one.reply)


def misbehave(sink: Sink, books: Books, moods: Moods, keep: Callable[[Transaction, bool], None]) -> None:
    """Have a sink behave so, and remember only what the books need."""

    def answer(event: str, subject: str, usual: str) -> str:
        if event in ("RCPT", "CONTENT") and books.is_doomed(subject):
            if event == "CONTENT":
                return "554 5.7.1 this is not wanted here"
            if not books.is_refused_late(subject):
                return "550 5.1.1 there is nobody of that name"
        return moods.answer(event, usual)

    sink.answer = answer  # type: ignore[method-assign]
    sink.delay = moods.delay
    sink.transactions = Ledger(keep)
    for name in ("connections", "refused", "commands"):
        setattr(sink, name, deque(maxlen=0))


def letters(books: Books) -> Callable[[str], Letter]:
    """What each mark stands for."""
    return lambda mark: Letter(f"s.{mark}@sender.test", books.recipients(mark), content_of(mark))


@dataclass
class Executioner:
    """Kills the relay and starts it again. restarts: seconds until it greeted. at: when each kill was."""

    relay: Relay
    chance: random.Random
    restarts: list[float] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    early: int = 0
    singly: int = 0

    def kill_all(self) -> None:
        """SIGKILL to the process group; now and then once more while it starts."""
        self.at.append(time.time())
        self.relay.kill()
        if self.chance.random() < 0.1:
            self.early += 1
            self.relay.process.start()
            time.sleep(self.chance.uniform(0.1, 0.8))
            self.at.append(time.time())
            self.relay.kill()
        begun = time.monotonic()
        self.relay.process.start()
        wait_until(lambda: greets(self.relay.address, self.relay.port), "the relay greets", 30, 0.005)
        self.restarts.append(time.monotonic() - begun)

    def kill_one(self) -> None:
        """SIGKILL to one of several workers, which is started again by itself."""
        workers = self.relay.workers()
        if workers:
            self.singly += 1
            self.at.append(time.time())
            os.kill(self.chance.choice(list(workers.values())), signal.SIGKILL)


@pytest.mark.parametrize(("workers", "kills", "messages"), [(1, 100, 100_000), (2, 60, 60_000)])
def test_a_hundred_kills_in_a_hundred_thousand_messages(
    make_relay: StartRelay, dns: Dns, sink: MakeSink, workers: int, kills: int, messages: int
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    books = Books(tuple(f"soak{number}.test" for number in range(DOMAINS)), DOOMED)
    hops, home = [sink(), sink()], sink()
    for number, domain in enumerate(books.domains):
        dns.zone(domain, f"@ MX 10 mx\nmx A {hops[number % 2].address}")
    dns.zone("sender.test", f"@ MX 10 mx\nmx A {home.address}")
    moods = [Moods(random.Random(chance.random())) for _ in range(3)]
    for hop, mood in zip(hops, moods, strict=False):
        misbehave(hop, books, mood, books.keep)
    misbehave(home, books, moods[2], lambda one, is_interrupted: books.keep_notice(one))

    relay = make_relay(workers=workers, retry={"after": RETRY, "warn": "never", "give_up": "5d"})
    relay.start()
    clients = [Client(relay, books, letters(books), number, messages) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    executioner = Executioner(relay, chance)
    for number in range(kills):
        enough = (number * messages + chance.randrange(messages)) // kills
        wait_until(lambda: len(books.accepted) >= enough, f"{enough} messages are accepted", 120, 0.002)  # noqa: B023
        if workers > 1 and number % 4 == 1:
            executioner.kill_one()
            time.sleep(chance.uniform(0.0, 0.5))
        executioner.kill_all()
    for client in clients:
        client.join(300)
    assert len(books.accepted) >= messages
    relay.wait_until_empty(within=900)
    balance(books, executioner, relay, sum(mood.dropped for mood in moods[:2]), workers)


@pytest.mark.parametrize("queued", [100_000])
def test_it_greets_within_two_seconds_after_a_kill_however_much_is_queued(make_relay: StartRelay, queued: int) -> None:
    relay = make_relay(routes=[{"to": "gone.test", "via": "discard"}], dns={"nameservers": ["127.0.0.1:9"]})
    fill(relay.spool, queued, 1_000)
    relay.start()
    books = Books(("gone.test",), doomed=0.0)
    clients = [Client(relay, books, letters(books), number, 10**9) for number in range(4)]
    for client in clients:
        client.start()
    wait_until(lambda: len(books.accepted) > 200, "it is at work")
    relay.kill()
    for client in clients:
        client.stop()
        client.join(10)
    times = []
    for _ in range(3):  # the machine may have other things to do
        begun = time.monotonic()
        relay.process.start()
        wait_until(lambda: greets(relay.address, relay.port), "the relay greets", 30, 0.005)
        times.append(time.monotonic() - begun)
        assert relay.queue("--limit", "0")["totals"]["messages"] >= queued
        relay.kill()
    FIGURES.append(f"killed with {queued:,} queued: it greets after {', '.join(f'{one:.2f}' for one in times)} s")
    assert min(times) < 2.0


def balance(books: Books, executioner: Executioner, relay: Relay, dropped: int, workers: int) -> None:
    """Say what is in the books, and fail where they do not come out even."""
    owed = list(books.owed())
    copies = books.copies()
    beside_kills = [
        one
        for one, arrivals in copies.items()
        if any(not arrival.is_interrupted and is_near(arrival.at, executioner.at) for arrival in arrivals[:-1])
    ]
    unexplained = [
        one
        for one, arrivals in copies.items()
        if any(not arrival.is_interrupted and not is_near(arrival.at, executioner.at) for arrival in arrivals[:-1])
    ]
    extra = sum(len(arrivals) - 1 for arrivals in copies.values())
    untold = [one for one in beside_kills if "unknown" not in events_of(relay, books, one)]
    lost, unbounced, wrong = books.lost(), books.unbounced(), books.wrong()
    restarts = executioner.restarts
    FIGURES.append(
        f"{len(books.accepted):,} messages, {workers} worker{'s' * (workers > 1)}: {len(restarts)} times SIGKILL to "
        f"all of it, {executioner.early} more while it started, {executioner.singly} to one worker\n"
        f"  accepted    {len(books.accepted):,} messages for {len(owed):,} recipients; no reply to the last dot of "
        f"{len(books.unsure)}\n"
        f"  delivered   {sum(one in books.arrived for one in owed):,}\n"
        f"  bounced     {sum(one in books.notices for one in owed):,}\n"
        f"  lost        {len(lost)}\n"
        f"  corrupt     {len(books.corrupt)}\n"
        f"  unbounced   {len(unbounced)}\n"
        f"  extra       {extra} copies of {len(copies)}, beside {dropped} replies that were dropped and "
        f"{len(executioner.at)} kills; {len(unexplained)} without a cause; "
        f"{sum(count - 1 for count in books.notices.values())} notices told again\n"
        f"  restarted   greeting after {statistics.median(restarts):.2f} s in the middle, {max(restarts):.2f} at most"
    )
    assert lost == []
    assert books.corrupt == []
    assert unbounced == []
    assert wrong == []
    assert books.strange == []
    assert books.refused == []
    assert unexplained == [], [circumstances(relay, books, one, executioner.at) for one in unexplained]
    assert untold == [], "a copy that the relay does not know of"


def is_near(at: float, kills: list[float]) -> bool:
    """May a reply of then have been interrupted by a kill?"""
    return any(-BEFORE <= at - kill <= AFTER for kill in kills)


def circumstances(relay: Relay, books: Books, recipient: str, kills: list[float]) -> str:
    """When the copies came, and how long after the kill before and before the kill after; and the message's story."""
    arrivals = [
        (f"{at:.3f}", is_interrupted, [f"{at - kill:+.3f}" for kill in kills if abs(at - kill) < 10])
        for at, is_interrupted in books.arrived[recipient]
    ]
    queue_id = books.accepted.get(mark_in(recipient))
    return f"{recipient}: {arrivals}; {relay.story_of(queue_id)['events'] if queue_id else 'never had a 250'}"


def events_of(relay: Relay, books: Books, recipient: str) -> set[str]:
    """What happened to a message, by the kinds of its events; all that there are where its queue id is not known."""
    queue_id = books.accepted.get(mark_in(recipient))
    return {event["event"] for event in relay.story_of(queue_id)["events"]} if queue_id else {"unknown"}
