"""Listening: what is sent to a client as long as it takes it: a stream of events, with signs of life between them."""

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

LISTENING: Final = 30.0  # seconds for which somebody who listens to a stream may take nothing
HEARTBEAT: Final = 15.0  # seconds between two signs of life in a stream
MOST_BEHIND: Final = 1 << 20  # octets of a stream that wait for a slow client


@implementer(IPushProducer)
class Flow:
    """Knows whether the client takes what is sent. over: fires when it never will again."""

    def __init__(self) -> None:
        self.is_paused = False
        self.when_open: Callable[[], None] | None = None
        self.over: Deferred[None] = Deferred()
        self._waiting: Deferred[None] | None = None

    def open(self) -> "Deferred[None]":
        """Fires when more may be sent, or nothing can be any more."""
        if not self.is_paused or self.over.called:
            return succeed(None)
        self._waiting = Deferred()
        return self._waiting

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False
        self._wake()
        if self.when_open is not None:
            self.when_open()

    def stopProducing(self) -> None:
        if not self.over.called:
            self.over.callback(None)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


class Listener:
    """Sends events as long as the client takes them, and a sign of life when there are none."""

    def __init__(
        self,
        reactor: IReactorTime,
        flow: Flow,
        write: Callable[[bytes], object],
        cut_off: Callable[[], None],
        may_listen: Callable[[], bool],
    ) -> None:
        """may_listen: is asked now and then: a session ends, and so may a token."""
        self._reactor = reactor
        self._flow = flow
        self._write = write
        self._cut_off = cut_off
        self._may_listen = may_listen
        self._behind: deque[bytes] = deque()
        self._octets = 0
        self._pause: IDelayedCall | None = None
        self._end: IDelayedCall | None = None
        self._is_over = False
        flow.when_open = self._go_on
        self._beat: IDelayedCall = self._reactor.callLater(0, self._sign)

    def send(self, octets: bytes) -> None:
        """Send, or keep until the client takes it; one who is too far behind is let go of, and comes again."""
        if not self._flow.is_paused:
            self._write(octets)
            return
        self._behind.append(octets)
        self._octets += len(octets)
        if self._octets > MOST_BEHIND:
            self._cut_off()
        elif self._pause is None:
            self._pause = self._reactor.callLater(LISTENING, self._cut_off)

    def last(self, seconds: float | None) -> None:
        """End after so long. None: not for that."""
        if seconds is not None:
            self._end = self._reactor.callLater(seconds, self.finish)

    def finish(self) -> None:
        """There is nothing more to send: the stream ends when the client has taken what there was."""
        self._is_over = True
        if not self._behind:
            self._flow.stopProducing()

    def _go_on(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        while self._behind and not self._flow.is_paused:
            octets = self._behind.popleft()
            self._octets -= len(octets)
            self._write(octets)
        if self._is_over:
            self.finish()

    def _sign(self) -> None:
        if not self._may_listen():
            self._cut_off()
            return
        self.send(b": here\n\n")
        self._beat = self._reactor.callLater(HEARTBEAT, self._sign)

    def close(self) -> None:
        """Stop."""
        for call in (self._beat, self._pause, self._end):
            if call is not None and call.active():
                call.cancel()
