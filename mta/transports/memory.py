"""The transports' twin in memory: next hops are a script, what they took is a list. For tests of delivery."""

from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.interfaces import IContent, ITransport
from mta.message.envelope import Envelope
from mta.message.outcome import Carried, Outcome, Result, Try, deferred
from mta.policy.routing import Hop
from mta.smtp.reply import Reply

DELIVERED = Outcome(Result.DELIVERED, Reply(250, "2.0.0", ("taken",)), "memory[192.0.2.1]:25")
NOBODY_THERE = deferred(451, "4.4.1", "connection refused")
CUT = deferred(451, "4.4.2", "we closed the connection", "memory[192.0.2.1]:25", unknown=True)


class Carriage(NamedTuple):
    """One call of `carry` that has ended, in seconds since 1970. content: as it was read; b"" if it was not sent."""

    at: float
    hop: Hop
    envelope: Envelope
    content: bytes
    carried: Carried

    @property
    def taken(self) -> tuple[str, ...]:
        """The recipients that the next hop took the message for."""
        pairs = zip(self.envelope.recipients, self.carried.outcomes, strict=True)
        return tuple(recipient.address for recipient, outcome in pairs if outcome.result is Result.DELIVERED)


class _Waiting(NamedTuple):
    """A call that is held back."""

    ended: Deferred[Carried]
    hop: Hop
    envelope: Envelope
    content: IContent


@implementer(ITransport)
class MemoryTransport:
    """Takes everything, but what `answer` and `down` say.

    down: destinations where nobody is reached. holding: calls wait until `let_go`, with their content sent; deaf: also
    when they are cut off. carriages: all that has ended.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._script: dict[str, list[Outcome]] = {}
        self._held: list[_Waiting] = []
        self._stopped: list[Deferred[None]] = []
        self.down: set[str] = set()
        self.holding = False
        self.deaf = False
        self.carriages: list[Carriage] = []

    def answer(self, whom: str, *outcomes: Outcome) -> None:
        """The outcomes, one for each try, for a recipient's address or else for a destination. The last one stays."""
        self._script[whom] = list(outcomes)

    @property
    def held(self) -> int:
        """How many calls wait for `let_go`."""
        return len(self._held)

    def taken(self, address: str) -> list[bytes]:
        """The contents that were taken for a recipient."""
        return [carriage.content for carriage in self.carriages if address in carriage.taken]

    def let_go(self, count: int | None = None) -> None:
        """End calls that are held back, all or the first few."""
        going = self._held[:count]
        del self._held[:count]
        for waiting in going:
            waiting.ended.callback(self._carry(waiting.hop, waiting.envelope, waiting.content))
        if not self._held:
            for stopped in self._stopped:
                stopped.callback(None)
            self._stopped.clear()

    def carry(self, hop: Hop, envelope: Envelope, content: IContent) -> Deferred[Carried]:
        """Carry it, at once or when it is let go."""
        if not self.holding:
            return succeed(self._carry(hop, envelope, content))
        waiting = _Waiting(Deferred(), hop, envelope, content)
        self._held.append(waiting)
        return waiting.ended

    def cut(self) -> None:
        """What is held back ends, and whether it has arrived is not known."""
        going, self._held = (self._held, []) if not self.deaf else ([], self._held)
        for waiting in going:
            waiting.ended.callback(self._all(waiting.envelope, CUT, reached=True))

    def stop(self) -> Deferred[None]:
        """Fires when nothing is held back."""
        if not self._held:
            return succeed(None)
        stopped = Deferred[None]()
        self._stopped.append(stopped)
        return stopped

    def _carry(self, hop: Hop, envelope: Envelope, content: IContent) -> Carried:
        octets = b""
        if hop.destination in self.down:
            carried = self._all(envelope, NOBODY_THERE, reached=False)
        else:
            try:
                octets = b"".join(content.blocks())
            except OSError as error:
                unreadable = deferred(451, "4.3.0", f"the content cannot be read: {error}")
                carried = self._all(envelope, unreadable, reached=True)
            else:
                outcomes = tuple(self._next(recipient.address, hop) for recipient in envelope.recipients)
                carried = Carried(outcomes, tuple(_tries(outcomes)))
        self.carriages.append(Carriage(self._clock.seconds(), hop, envelope, octets, carried))
        return carried

    def _next(self, address: str, hop: Hop) -> Outcome:
        outcomes = self._script.get(address) or self._script.get(hop.destination) or [DELIVERED]
        return outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]

    @staticmethod
    def _all(envelope: Envelope, outcome: Outcome, reached: bool) -> Carried:
        outcomes = (outcome,) * len(envelope.recipients)
        return Carried(outcomes, tuple(_tries(outcomes)), reached)


def _tries(outcomes: tuple[Outcome, ...]) -> list[Try]:
    """One try, as a real transport tells it: by the first reply that was not the hoped-for one."""
    worst = next((outcome for outcome in outcomes if outcome.result is not Result.DELIVERED), None)
    decisive = worst or outcomes[0]
    dialogue = ("C: (nothing: this is a script)",) if worst else ()
    return [Try(decisive.host, 0.0, str(decisive.reply), "", dialogue)]
