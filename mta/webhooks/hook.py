"""Hook: tells one webhook what it is owed, in order, until it has taken it.

One post is under way at a time, and what waits does so in the spool: memory and connections are bounded however long a
webhook is down, and mail is never held up.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mta.maillog import Log, timestamp
from mta.net import measures
from mta.net.measures import Measures
from mta.outbox import IOutbox, Standing, name_of
from mta.webhooks.letter import body, signature, word

PAUSES: Final = (60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)  # seconds after failures in a row; the last one repeats
GIVE_UP: Final = 86_400.0  # seconds after which an event is told no more, where the last try has failed
MOST_EVENTS: Final = 100  # in one post
MOST_OCTETS: Final = 256 * 1024  # of one post, but for a single event
MOST_WAITING: Final = 100_000  # events; of what is beyond, the oldest go
STEP: Final = 1_000  # events that are forgotten in one commit
LOOKS: Final = 60.0  # seconds between two looks how many wait

Poster = Callable[[str, Mapping[str, str], bytes], Coroutine[Any, Any, None]]

_log = Logger()


class NotNow(Exception):
    """It cannot be posted, or has not been taken; the text says why, for people."""


class Hook:
    """One webhook. waiting: events that it has not taken, as of the last look. failures: in a row. trouble: why the
    last try failed; "" where it did not."""

    def __init__(
        self,
        url: str,
        secret: Callable[[], str | None],
        outbox: IOutbox,
        post: Poster,
        clock: IReactorTime,
        log: Log,
        counted: Measures,
    ) -> None:
        """secret: what to sign with now, None for no signature; raises `NotNow`. post: raises `NotNow`."""
        self.url = url
        self.name = name_of(url).rstrip("/…")
        self.waiting = 0
        self.failures = 0
        self.trouble = ""
        self._secret = secret
        self._outbox = outbox
        self._post = post
        self._clock = clock
        self._write = log
        self._cells = counted.cells
        self._not_before = 0.0
        self._next_look = 0.0
        self._under_way: Deferred[None] | None = None
        self._is_stopping = False

    def look(self) -> None:
        """Tell what is owed, unless that is being done or the last failure was a short while ago."""
        now = self._clock.seconds()
        if self._under_way is not None or self._is_stopping:
            return
        if now >= self._not_before:
            self._begin(self._tell())
        elif now >= self._next_look:
            self._begin(self._keep_bounds())

    def hurry(self) -> None:
        """Somebody may have mended it: the next look is a try."""
        self._not_before = 0.0

    def stop(self, grace: float) -> "Deferred[Any]":
        """Begin with nothing more. What is under way may end within so many seconds; else it will be told again."""
        self._is_stopping = True
        if self._under_way is None:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._under_way.addBoth(ended.callback)
        call = self._clock.callLater(grace, self._under_way.cancel)
        return ended.addBoth(lambda _: call.cancel() if call.active() else None)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        def ended(result: Any) -> None:
            self._under_way = None

        self._under_way = Deferred.fromCoroutine(self._guarded(work))
        self._under_way.addBoth(ended)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            if not self._is_stopping:  # the spool has said why, or it is a bug
                _log.failure("webhook {name}: what is owed cannot be told now", name=self.name)
                self._not_before = self._clock.seconds() + PAUSES[0]

    async def _tell(self) -> None:
        try:
            while await self._tell_some() and not self._is_stopping:
                if self._clock.seconds() >= self._next_look:
                    await self._keep_bounds()
        except NotNow as error:
            if not self._is_stopping:
                await self._failed(str(error))

    async def _tell_some(self) -> bool:
        """One post. Is there more to tell?"""
        owed = await self._outbox.owed(self.url, MOST_EVENTS)
        if not owed:
            self.waiting = 0
            return False
        number, octets = body(owed, MOST_OCTETS)
        some = owed[:number]
        headers = {
            "Content-Type": "application/json",
            "X-Mta-Event": ", ".join(dict.fromkeys(word(one.event.kind) for one in some)),
        }
        secret = self._secret()
        if secret is not None:
            headers["X-Mta-Signature"] = signature(secret, int(self._clock.seconds()), octets)
        await self._post(self.url, headers, octets)
        await self._outbox.told(self.url, [one.id for one in some], self._clock.seconds())
        self._cells[measures.HOOK_TOLD] += len(some)
        self.waiting = max(self.waiting - len(some), len(owed) - len(some))
        if self.failures:
            self.failures, self.trouble = 0, ""
            self._write("webhook", hook=self.name, why="takes events again")
        return len(owed) == MOST_EVENTS or len(some) < len(owed)

    async def _failed(self, why: str) -> None:
        self._cells[measures.HOOK_FAILED] += 1
        self.trouble = why
        pause = PAUSES[min(self.failures, len(PAUSES) - 1)]
        self.failures += 1
        now = self._clock.seconds()
        self._not_before = now + pause
        await self._outbox.failed(self.url, Standing(now, self.failures, why, self._not_before))
        await self._keep_bounds()
        self._write("webhook", hook=self.name, why=why, waiting=self.waiting or None, next=timestamp(self._not_before))

    async def _keep_bounds(self) -> None:
        """See how many events wait, and let go of those that nobody is told of any more."""
        now = self._clock.seconds()
        self._next_look = now + LOOKS
        dropped = 0
        while self.failures and (some := await self._outbox.forget(self.url, now - GIVE_UP, STEP)):
            dropped += some
        waiting = await self._outbox.waiting(self.url)
        while waiting > MOST_WAITING:
            some = await self._outbox.forget(self.url, now, min(STEP, waiting - MOST_WAITING))
            if not some:
                break  # all of it is of this moment
            dropped += some
            waiting -= some
        self.waiting = waiting
        if dropped:
            self._cells[measures.HOOK_DROPPED] += dropped
            self._write("webhook", hook=self.name, why="it has not been told in time", dropped=dropped)
