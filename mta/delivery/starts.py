"""Starts: queues that clients ask to have started (ETRN, RFC 1985), one after the other, and none of them too often."""

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredLock, fail, succeed
from twisted.internet.interfaces import IReactorTime

from mta.interfaces import Busy, ISpool

QUIET = 5.0  # seconds for which an answer is given again, without work
REMEMBERED = 100  # answers
MOST = 20  # wanted at once

Asked = tuple[str, str]  # a domain and a destination, of which one is ""


class Starts:
    """Has the spool make due what waits for a domain or a destination."""

    def __init__(self, clock: IReactorTime, spool: ISpool, look: Callable[[], None]) -> None:
        """look: finds what is due in the spool."""
        self._clock = clock
        self._spool = spool
        self._look = look
        self._answers: OrderedDict[Asked, tuple[float, int]] = OrderedDict()
        self._line = DeferredLock()
        self._wanted = 0

    def start(self, domain: str, destination: str) -> "Deferred[int]":
        """As `IDispatcher.start_queue`."""
        asked = (domain.lower(), destination)
        answer = self._answer(asked)
        if answer is not None:
            return succeed(answer)
        if self._wanted >= MOST:
            return fail(Busy("too many queues are being started"))
        self._wanted += 1
        return self._line.run(self._rush, asked).addBoth(self._done)

    def _answer(self, asked: Asked) -> int | None:
        at, messages = self._answers.get(asked, (0.0, 0))
        return messages if at and 0 <= self._clock.seconds() - at < QUIET else None

    def _rush(self, asked: Asked) -> "Deferred[int]":
        answer = self._answer(asked)  # somebody before us in the line may have asked for the same
        return self._spool.rush(*asked).addCallback(self._rushed, asked) if answer is None else succeed(answer)

    def _rushed(self, messages: int, asked: Asked) -> int:
        self._answers.pop(asked, None)
        self._answers[asked] = (self._clock.seconds(), messages)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        self._look()
        return messages

    def _done(self, result: object) -> object:
        self._wanted -= 1
        return result
