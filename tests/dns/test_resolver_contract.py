"""What every resolver owes: the threaded one, asking a real name server, and its twin in memory."""

import shutil
import tempfile
import time
from pathlib import Path

import pytest
from dns_server import DnsServer
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from mta.dns.hosts import HostsFile
from mta.dns.memory import MemoryResolver, Name
from mta.dns.resolver import ThreadedResolver
from mta.interfaces import IResolver
from mta.net.poller import passing
from mta.policy.exchangers import Answer, Exchanger, Found

HOSTS = {"printer": ("192.0.2.200",), "backend.example.org": ("192.0.2.201", "2001:db8::201")}
ZONES = {
    "example.org": Name(mx=[Exchanger(20, "mx2.example.org"), Exchanger(10, "mx1.example.org")], a=["192.0.2.1"]),
    "mx1.example.org": Name(a=["192.0.2.2"], aaaa=["2001:db8::2"]),
    "mx2.example.org": Name(aaaa=["2001:db8::3"]),
    "null.example.org": Name(mx=[Exchanger(0, "")]),
    "text.example.org": Name(),
    "deep.below.example.org": Name(a=["192.0.2.4"]),
    "alias.example.org": Name(alias="second.example.org"),
    "second.example.org": Name(alias="mx1.example.org"),
    "dangling.example.org": Name(alias="nowhere.example.org"),
    "loop.example.org": Name(alias="pool.example.org"),
    "pool.example.org": Name(alias="loop.example.org"),
    "half.example.org": Name(a=["192.0.2.5"]),
    "other.example.org": Name(aaaa=["2001:db8::5"]),
}
FAILURES: set[str | tuple[str, str]] = {
    "broken.example.org",
    ("half.example.org", "AAAA"),
    ("other.example.org", "AAAA"),
}


class Contract:
    """The questions and their answers. Whoever inherits makes `resolver` and `now` and has the zones above."""

    resolver: IResolver

    async def check(
        self, question: Deferred[Answer[object]], found: Found, *records: object, at_least: float = 0.5
    ) -> None:
        answer = await question
        assert (answer.found, answer.records) == (found, records)
        assert self.now() + at_least < answer.until <= self.now() + 86400
        assert bool(answer.why) == (found is Found.FAILED)
        assert answer.why.isprintable()

    def now(self) -> float:
        raise NotImplementedError

    def test_is_a_resolver(self) -> None:
        assert verifyObject(IResolver, self.resolver)

    async def test_exchangers_by_preference(self) -> None:
        both = Exchanger(10, "mx1.example.org"), Exchanger(20, "mx2.example.org")
        await self.check(self.resolver.exchangers("example.org"), Found.RECORDS, *both)
        await self.check(self.resolver.exchangers("EXAMPLE.Org."), Found.RECORDS, *both)

    async def test_null_mx(self) -> None:
        await self.check(self.resolver.exchangers("null.example.org"), Found.RECORDS, Exchanger(0, ""))

    async def test_no_exchangers(self) -> None:
        await self.check(self.resolver.exchangers("mx1.example.org"), Found.NO_DATA)
        await self.check(self.resolver.exchangers("text.example.org"), Found.NO_DATA)
        await self.check(self.resolver.exchangers("below.example.org"), Found.NO_DATA)
        await self.check(self.resolver.exchangers("nowhere.example.org"), Found.NO_NAME)
        await self.check(self.resolver.exchangers("broken.example.org"), Found.FAILED)

    async def test_both_families(self) -> None:
        await self.check(self.resolver.addresses("mx1.example.org"), Found.RECORDS, "192.0.2.2", "2001:db8::2")
        await self.check(self.resolver.addresses("MX2.example.org."), Found.RECORDS, "2001:db8::3")

    async def test_no_addresses(self) -> None:
        await self.check(self.resolver.addresses("text.example.org"), Found.NO_DATA)
        await self.check(self.resolver.addresses("nowhere.example.org"), Found.NO_NAME)
        await self.check(self.resolver.addresses("broken.example.org"), Found.FAILED)

    async def test_one_family_fails(self) -> None:
        await self.check(self.resolver.addresses("half.example.org"), Found.RECORDS, "192.0.2.5", at_least=50)
        assert (await self.resolver.addresses("half.example.org")).until <= self.now() + 61
        await self.check(self.resolver.addresses("other.example.org"), Found.FAILED)

    async def test_failures_are_believed_for_seconds(self) -> None:
        for answer in (
            await self.resolver.exchangers("broken.example.org"),
            await self.resolver.addresses("broken.example.org"),
        ):
            assert self.now() + 3 < answer.until <= self.now() + 5

    async def test_aliases(self) -> None:
        await self.check(self.resolver.addresses("alias.example.org"), Found.RECORDS, "192.0.2.2", "2001:db8::2")
        await self.check(self.resolver.exchangers("alias.example.org"), Found.NO_DATA)
        await self.check(self.resolver.addresses("dangling.example.org"), Found.NO_NAME)
        await self.check(self.resolver.exchangers("dangling.example.org"), Found.NO_NAME)
        await self.check(self.resolver.exchangers("loop.example.org"), Found.FAILED)

    async def test_hosts_file_for_what_the_dns_does_not_know(self) -> None:
        await self.check(self.resolver.addresses("printer"), Found.RECORDS, "192.0.2.200")
        await self.check(self.resolver.addresses("Backend.example.org"), Found.RECORDS, "192.0.2.201", "2001:db8::201")
        await self.check(self.resolver.exchangers("printer"), Found.NO_NAME)

    async def test_addresses_answer_themselves(self) -> None:
        await self.check(self.resolver.addresses("192.0.2.77"), Found.RECORDS, "192.0.2.77")
        await self.check(self.resolver.addresses("2001:DB8::77"), Found.RECORDS, "2001:db8::77")
        await self.check(self.resolver.addresses("localhost"), Found.RECORDS, "127.0.0.1", "::1")

    async def test_what_is_not_a_name_does_not_exist(self) -> None:
        long = "a" * 64 + ".example.org"
        for name in ["", ".", "@", "a..b", "two words", long, ".".join(["a" * 60] * 6), "a\\.b", "[192.0.2.1]", "b\0"]:
            for answer in (await self.resolver.exchangers(name), await self.resolver.addresses(name)):
                assert (answer.found, answer.why) == (Found.NO_NAME, "not a domain name")


class MemoryTwin(Contract, TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.resolver = self.twin = MemoryResolver(self.clock, ZONES)
        self.twin.failures |= FAILURES
        self.twin.hosts |= HOSTS

    def now(self) -> float:
        return self.clock.seconds()

    async def test_counts_and_changes(self) -> None:
        self.twin.ttl = 7
        assert (await self.resolver.exchangers("Example.org")).until == 1007
        del self.twin.zones["example.org"]
        assert (await self.resolver.exchangers("example.org")).found is Found.NO_DATA
        await self.resolver.addresses("mx1.example.org")
        assert self.twin.asked == {
            ("MX", "example.org"): 2,
            ("A", "mx1.example.org"): 1,
            ("AAAA", "mx1.example.org"): 1,
        }

    def test_delay(self) -> None:
        self.twin.delay = 3
        waiting = [self.resolver.exchangers("example.org"), self.resolver.addresses("mx1.example.org")]
        self.clock.advance(2.9)
        for answer in waiting:
            self.assertNoResult(answer)
        self.clock.advance(0.2)
        for answer in waiting:
            assert self.successResultOf(answer).found is Found.RECORDS

    def test_stop_answers_whoever_waits(self) -> None:
        self.twin.delay = 3
        waiting = [self.resolver.exchangers("example.org"), self.resolver.addresses("mx1.example.org")]
        self.successResultOf(self.resolver.stop())
        for answer in [*waiting, self.resolver.exchangers("other.example.org")]:
            told = self.successResultOf(answer)
            assert (told.found, told.why) == (Found.FAILED, "the relay is stopping")
        assert not self.clock.getDelayedCalls()


class Threaded(Contract, TestCase):
    def setUp(self) -> None:
        self.server = DnsServer(ZONES)
        self.server.failures |= FAILURES
        self.addCleanup(self.server.stop)
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = Path(folder, "hosts")
        lines = [f"{address} {name}\n" for name, addresses in HOSTS.items() for address in addresses]
        path.write_text("".join(lines))
        self.resolver = self.threaded = self.make(HostsFile(path))
        self.addCleanup(self.threaded.stop)

    def make(self, hosts: HostsFile | None = None, timeout: float = 2.0) -> ThreadedResolver:
        assert IReactorTime.providedBy(reactor)
        return ThreadedResolver(reactor, reactor, [str(self.server)], timeout, hosts=hosts)

    def now(self) -> float:
        return passing(reactor)()

    async def test_asks_once_while_the_answer_may_be_believed(self) -> None:
        for _ in range(3):
            await gatherResults([self.resolver.exchangers(name) for name in ("example.org", "Example.ORG.")] * 5)
            await self.resolver.addresses("mx1.example.org")
            await self.resolver.addresses("nowhere.example.org")
            await self.resolver.addresses("broken.example.org")
        assert set(self.server.asked.values()) == {1}
        assert set(self.server.asked) == {("MX", "example.org")} | {
            (kind, f"{name}.example.org") for kind in ("A", "AAAA") for name in ("mx1", "nowhere", "broken")
        }

    async def test_asks_nobody_for_what_needs_no_asking(self) -> None:
        await self.resolver.addresses("192.0.2.1")
        await self.resolver.addresses("localhost")
        await self.resolver.exchangers("a..b")
        assert not self.server.asked
        assert not self.threaded._threads._pool.started

    @pytest.mark.alone
    async def test_families_are_asked_together(self) -> None:
        self.server.delay = 0.2
        started = time.monotonic()
        await self.resolver.addresses("mx1.example.org")
        assert time.monotonic() - started < 0.39
        assert self.server.most_at_once == 2

    async def test_threads_and_questions_are_bounded(self) -> None:
        self.server.delay = 0.02
        answers = await gatherResults([self.resolver.exchangers(f"d{n}.example.org") for n in range(200)])
        assert {answer.found for answer in answers} == {Found.NO_NAME}
        assert 1 < self.server.most_at_once <= 40
        assert len(self.threaded._threads._pool.threads) <= 40

    async def test_hosts_file_helps_while_the_dns_is_down(self) -> None:
        self.server.failures.add("backend.example.org")
        await self.check(self.resolver.addresses("backend.example.org"), Found.RECORDS, *HOSTS["backend.example.org"])

    async def test_stop_answers_whoever_waits_and_leaves_no_thread(self) -> None:
        self.server.delay = 0.3
        resolver = self.make(timeout=0.5)
        waiting = [resolver.exchangers(f"d{n}.example.org") for n in range(100)]
        stopped = resolver.stop()
        assert resolver.stop() is stopped
        for answer in await gatherResults(waiting):
            assert (answer.found, answer.why) == (Found.FAILED, "the relay is stopping")
        await stopped
        assert len(self.server.asked) <= 40
        assert not any(thread.is_alive() for thread in resolver._threads._pool.threads)
        assert (await resolver.exchangers("other.example.org")).found is Found.FAILED

    async def test_cancelling_one_waiter_leaves_the_others(self) -> None:
        one, other = self.resolver.exchangers("example.org"), self.resolver.exchangers("example.org")
        one.cancel()
        self.failureResultOf(one, CancelledError)
        assert (await other).found is Found.RECORDS

    async def test_bug_in_a_thread_is_logged_and_answered(self) -> None:
        def bug(domain: str) -> Answer[Exchanger]:
            raise RuntimeError(domain)

        self.threaded._servers.exchangers = bug  # type: ignore[method-assign]
        answer = await self.resolver.exchangers("example.org")
        assert (answer.found, answer.why) == (Found.FAILED, "look-up failed")
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
