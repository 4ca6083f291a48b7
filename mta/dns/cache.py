"""Cache: answers are kept as long as they may be believed, and equal questions in flight are asked once."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from mta.net.poller import passing
from mta.policy.exchangers import Answer, Found

Record = TypeVar("Record")


class Cache(Generic[Record]):
    """Answers about one type of record, by name: a bounded number, those used last.

    `ask` is who knows; its Deferred must never fail. At most `at_once` questions are with it, up to `most_waiting`
    more wait their turn, and what comes on top is answered as failed, without being kept.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ask: Callable[[str], Deferred[Answer[Record]]],
        size: int = 10_000,
        at_once: int = 50,
        most_waiting: int = 10_000,
    ) -> None:
        self._seconds = passing(clock)
        self._ask = ask
        self._size = size
        self._at_once = at_once
        self._most_waiting = most_waiting
        self._answers: OrderedDict[str, Answer[Record]] = OrderedDict()
        self._waiters: dict[str, deque[Deferred[Answer[Record]]]] = {}
        self._queue: deque[str] = deque()
        self._running = 0
        self._stopped = False
        self.asked = 0  # look-ups
        self.known = 0  # of those, answered from here

    def __len__(self) -> int:
        return len(self._answers)

    def look_up(self, name: str) -> Deferred[Answer[Record]]:
        """The answer for a name, which is in lower case. Each caller has a Deferred of its own, and may cancel it."""
        self.asked += 1
        answer = self._answers.get(name)
        if answer is not None and self._seconds() < answer.until:
            self.known += 1
            self._answers.move_to_end(name)
            return succeed(answer)
        if self._stopped:
            return succeed(self._failed("the relay is stopping"))
        waiters = self._waiters.get(name)
        if waiters is None:
            if len(self._queue) >= self._most_waiting:
                return succeed(self._failed("too many look-ups are waiting"))
            waiters = self._waiters[name] = deque()
            self._queue.append(name)
        waiter: Deferred[Answer[Record]] = Deferred(waiters.remove)
        waiters.append(waiter)
        self._ask_next()
        return waiter

    def stop(self) -> None:
        """Answer everybody who waits; ask nothing more."""
        self._stopped = True
        self._queue.clear()
        answer = self._failed("the relay is stopping")
        for name in list(self._waiters):
            self._fire(name, answer)

    def _ask_next(self) -> None:
        while self._queue and self._running < self._at_once:
            name = self._queue.popleft()
            self._running += 1
            self._ask(name).addCallback(self._answered, name)

    def _answered(self, answer: Answer[Record], name: str) -> None:
        self._running -= 1
        self._answers[name] = answer
        self._answers.move_to_end(name)
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)
        self._fire(name, answer)
        self._ask_next()

    def _fire(self, name: str, answer: Answer[Record]) -> None:
        waiters = self._waiters.pop(name, None)
        while waiters:
            # Taken off before it is called: whoever is called may cancel another one of them.
            waiters.popleft().callback(answer)

    def _failed(self, why: str) -> Answer[Record]:
        return Answer(Found.FAILED, until=self._seconds(), why=why)
