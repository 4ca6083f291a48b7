"""SIGKILL in the middle of five thousand messages, five times, and then the books are balanced.

With two workers it is one of them that is hit, or the supervisor, or all at once, in turn.

The clients count a message as accepted when they have read its 250, and as unsure when its final dot was sent and no
reply came. The sink counts what it was given. At the end every accepted message has arrived, every copy stands beside
a kill, and the relay has told of it.
"""

import os
import random
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from peers.daemon import Relay, StartRelay
from peers.ground import wait_until
from peers.knot import Dns
from peers.sinks import MakeSink, Transaction
from peers.stubborn import Client, Letter

MESSAGES = 5000
KILLS = 5
CLIENTS = 10
DOMAINS = 4
REPLY_IN_FLIGHT = 0.3  # seconds between a reply of the sink and a kill that may have come before its record
IN_FLIGHT = DOMAINS * 20  # deliveries that may be under way at once: the largest window of each destination

MARK = re.compile(rb"^X-Mark: (\S+)\r$", re.MULTILINE)
RECEIVED_ID = re.compile(rb"\tby relay\.test with \w+ id (\w+)")


def content_of(mark: str) -> bytes:
    """A content that its mark determines, of 300 octets to 9 KiB."""
    chance = random.Random(mark)
    lines = [f"{chance.choice(('', '.', '..'))}{mark} {chance.random()}\r\n" for _ in range(chance.randint(5, 250))]
    return f"From: a@client.test\r\nX-Mark: {mark}\r\n\r\n{''.join(lines)}".encode()


@dataclass
class Books:
    """What the clients know. accepted: queue ids by mark."""

    accepted: dict[str, str] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.accepted) >= MESSAGES


def letter(mark: str) -> Letter:
    return Letter("a@client.test", [f"bob@crash{hash(mark) % DOMAINS}.test"], content_of(mark))


def hit(relay: Relay, number: int) -> None:
    """Kill all of it, or, of several workers, one of these in turn: a worker, all, the other worker, the supervisor."""
    workers = relay.workers()
    if not workers or number % 4 == 2:
        relay.kill()
    elif number % 4 == 0:
        os.kill(relay.process.pid, signal.SIGKILL)
        relay.process.wait()
        left = [pid for pid in workers.values() if Path(f"/proc/{pid}").exists()]
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "its workers have stopped", 15)
    else:
        os.kill(workers[number // 2 % len(workers)], signal.SIGKILL)
        return
    relay.start()


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
def test_five_kills_in_five_thousand_messages_lose_nothing_and_every_copy_is_accounted_for(
    start_relay: StartRelay, dns: Dns, sink: MakeSink, workers: int
) -> None:
    relay = start_relay(workers=workers)
    hop = sink()
    for number in range(DOMAINS):
        dns.zone(f"crash{number}.test", f"@ MX 10 mx\nmx A {hop.address}")
    books = Books()
    clients = [Client(relay, books, letter, number, MESSAGES, patience=120) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    kills = []
    for number in range(1, KILLS + 1):
        enough = number * MESSAGES // (KILLS + 1) + random.randint(0, MESSAGES // 10)
        wait_until(lambda: len(books.accepted) >= enough, f"{enough} messages are accepted", within=60, pause=0.002)  # noqa: B023
        kills.append(time.time())
        hit(relay, number)
    for client in clients:
        client.join(60)
    assert books.is_full, f"only {len(books.accepted)} were accepted; {books.refused[:5]}"
    relay.wait_until_empty(within=60)

    arrived: dict[str, list[Transaction]] = {}
    for one in hop.taken:
        found = MARK.search(one.content)
        assert found, one.content
        mark = found[1].decode()
        assert one.content.endswith(content_of(mark)), f"{mark} has changed"
        arrived.setdefault(mark, []).append(one)
    copied = {mark: deliveries for mark, deliveries in arrived.items() if len(deliveries) > 1}
    copies = sum(len(deliveries) - 1 for deliveries in copied.values())
    print(
        f"accepted {len(books.accepted)}, unsure {len(books.unsure)}, refused {len(books.refused)}, "
        f"arrived {len(arrived)}, copies {copies}, kills {len(kills)}"
    )

    assert books.refused == []
    assert set(books.accepted) - set(arrived) == set(), "accepted, and lost"
    assert set(arrived) - set(books.accepted) <= books.unsure, "nobody sent these"
    for mark, deliveries in copied.items():
        for delivery in deliveries[:-1]:
            assert any(abs(kill - delivery.at) < REPLY_IN_FLIGHT for kill in kills), f"{mark} came again without a kill"
    assert copies <= KILLS * IN_FLIGHT
    ids = {mark: RECEIVED_ID.search(deliveries[0].content) for mark, deliveries in copied.items()}
    with ThreadPoolExecutor(2) as pool:
        stories = list(pool.map(lambda found: relay.story(found[1].decode()) if found else "", ids.values()))
    for deliveries, story in zip(copied.values(), stories, strict=True):
        assert story.count("unknown") >= len(deliveries) - 1, f"a copy was not counted:\n{story}"
