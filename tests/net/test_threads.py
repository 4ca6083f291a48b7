"""Threads, and what is like them without being any."""

import os
from threading import Event, current_thread

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from mta.net.threads import Busy, NoThreads, PooledThreads


class TestPooledThreads(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.go_on = Event()

    def make(self, line: int | None = None) -> PooledThreads:
        threads = PooledThreads(reactor, "test", 2, line)
        self.addCleanup(threads.stop)
        self.addCleanup(self.go_on.set)  # which is done first
        return threads

    def wait(self) -> str:
        assert self.go_on.wait(10)
        return current_thread().name

    async def test_a_few_at_once_and_a_short_line(self) -> None:
        threads = self.make(line=3)
        running = [threads.run(self.wait) for _ in range(5)]
        self.failureResultOf(threads.run(self.wait), Busy)
        self.go_on.set()
        assert 1 <= len(set(await gatherResults(running))) <= 2
        assert await threads.run(lambda: 1) == 1, "there is room again"

    async def test_a_line_without_end(self) -> None:
        threads = self.make()
        running = [threads.run(self.wait) for _ in range(200)]
        self.go_on.set()
        assert len(await gatherResults(running)) == 200
        assert len(threads._pool.threads) <= 2

    async def test_they_do_not_keep_to_the_core_of_the_reactor(self) -> None:
        cores = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, {min(cores)})
        self.assertEqual(await self.make().run(lambda: os.sched_getaffinity(0)), cores)
        self.assertEqual(os.sched_getaffinity(0), {min(cores)}, "which it stays on")

    async def test_who_waits_when_it_stops_is_told(self) -> None:
        threads = self.make()
        begun = Event()

        def begin() -> str:
            begun.set()
            return self.wait()

        first = threads.run(begin)
        second = threads.run(self.wait)
        waiting = [threads.run(self.wait) for _ in range(8)]
        assert begun.wait(10)
        stopped = threads.stop()
        assert threads.stop() is stopped
        self.failureResultOf(threads.run(self.wait), Busy)
        self.assertNoResult(stopped)
        self.go_on.set()
        await first
        second.addErrback(lambda failure: failure.trap(Busy))
        for one in waiting:
            await self.assertFailure(one, Busy)
        await stopped
        assert not any(thread.is_alive() for thread in threads._pool.threads)

    async def test_what_was_never_used_stops_without_having_begun(self) -> None:
        threads = self.make()
        self.successResultOf(threads.stop())
        assert not threads._pool.started

    async def test_what_the_work_raises(self) -> None:
        await self.assertFailure(self.make().run(lambda: 1 // 0), ZeroDivisionError)


class TestNoThreads(TestCase):
    def test_at_once(self) -> None:
        threads = NoThreads()
        assert self.successResultOf(threads.run(lambda: current_thread())) is current_thread()
        self.failureResultOf(threads.run(lambda: 1 // 0), ZeroDivisionError)
        self.successResultOf(threads.stop())
