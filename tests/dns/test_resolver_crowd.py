"""As many domains as there are messages in a long queue, some of which nobody answers for."""

import os
import time
from pathlib import Path

import pytest
from dns_server import DnsServer
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase

from mta.dns.memory import Name
from mta.dns.resolver import ThreadedResolver
from mta.policy.exchangers import Answer, Exchanger, Found

TIMEOUT = 1.5
THREADS = 40


def resident() -> int:
    """The memory of this process, in octets."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Crowd(TestCase):
    """Of three hundred domains one is silent."""

    timeout = 600

    def setUp(self) -> None:
        self.server = DnsServer({})
        self.addCleanup(self.server.stop)
        self.resolver = ThreadedResolver(reactor, reactor, [str(self.server)], TIMEOUT)
        self.addCleanup(self.resolver.stop)

    async def look_up(self, domains: int) -> None:
        names = [f"d{number}.test" for number in range(domains)]
        self.server.zones = {name: Name(mx=[Exchanger(10, f"mx.{name}")], a=["192.0.2.1"]) for name in names}
        self.server.silent = set(names[::300])
        known = await self.resolver.exchangers(names[1])
        self.assertIs(known.found, Found.RECORDS)
        before = resident()
        longest, last = 0.0, time.perf_counter()

        def turn() -> None:
            nonlocal longest, last
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

        turns = LoopingCall(turn)
        turns.start(0.01)
        began = time.perf_counter()
        answers: list[Answer[Exchanger]] = []
        # The manager has no more than some hundred deliveries under way, each of which asks once.
        for first in range(0, domains, 200):
            some = names[first : first + 200]
            asked: list[Deferred[Answer[Exchanger]]] = [self.resolver.exchangers(name) for name in some for _ in "123"]
            asking = gatherResults(asked)
            again = self.resolver.exchangers(names[1])  # known, so that nobody is waited for
            self.assertTrue(again.called or first > 5_000)
            answers += (await asking)[::3]
        took = time.perf_counter() - began
        turns.stop()
        print(
            f"{domains:,} domains, {domains / took:,.0f} look-ups a second, {self.server.most_at_once} at once, "
            f"the reactor was away for {longest * 1000:.0f} ms at most, memory {(resident() - before) / 2**20:+.1f} MiB"
        )
        for name, answer in zip(names, answers, strict=True):
            is_silent = name in self.server.silent
            self.assertIs(answer.found, Found.FAILED if is_silent else Found.RECORDS)
        # Once for each, though three wanted to know; again where the server took its time, or is silent.
        heard = sum(count for (_, name), count in self.server.asked.items() if name not in self.server.silent)
        self.assertLess(heard, 1.1 * domains)
        self.assertLessEqual(max(self.server.asked.values()), 4)
        self.assertLessEqual(self.server.most_at_once, THREADS)
        self.assertLessEqual(len(self.resolver._threads._pool.threads), THREADS)
        self.assertLessEqual(len(self.resolver._exchangers), 10_000)
        self.assertEqual(len(self.resolver._exchangers), min(domains, 10_000))
        self.assertLess(took, 30 + domains / 200 * TIMEOUT)

    async def test_each_is_asked_for_once(self) -> None:
        await self.look_up(600)

    @pytest.mark.soak
    async def test_twenty_thousand(self) -> None:
        await self.look_up(20_000)
