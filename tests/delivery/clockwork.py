"""A relay's delivery side on a clock that tests turn by hand: the manager, a spool and a transport in memory."""

import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from mta.delivery.attempt import Means
from mta.delivery.manager import Manager
from mta.delivery.notifier import Notifier
from mta.delivery.records import bouncing
from mta.delivery.turns import Bounds
from mta.interfaces import NewDelivery, Recovered
from mta.message.envelope import Envelope, Recipient, parse_queue_id
from mta.message.outcome import Outcome, Result
from mta.message.timeline import Event
from mta.policy.retry import RetryPolicy, deadline
from mta.policy.routing import Decision, Hop, Via
from mta.policy.window import WindowLimits
from mta.smtp.reply import Reply
from mta.spool.desk import Desk
from mta.spool.history import Story
from mta.spool.listing import QueuedRecipient
from mta.spool.matching import EVERYTHING
from mta.spool.memory import MemorySpool
from mta.spool.sqlite import SqliteSpool
from mta.transports.memory import Carriage, MemoryTransport

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
BEGINNING = 1_700_000_000.0
USUAL = RetryPolicy(
    (5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR), warn=4 * HOUR, give_up=5 * DAY
)
CONTENT = b"From: s@up.test\r\nSubject: hello\r\n\r\nbody\r\n"
GREYLISTED = Outcome(Result.DEFERRED, Reply(451, "4.7.1", ("greylisted",)), "mx.later.test[192.0.2.7]:25")
NO_SUCH_USER = Outcome(Result.FAILED, Reply(550, "5.1.1", ("no such user",)), "mx.no.test[192.0.2.8]:25")


def by_domain(sender: str, recipient: str) -> Decision:
    """Everything goes by MX."""
    return Decision(Hop(Via.MX, recipient.rpartition("@")[2]), None, "test")


class Left(NamedTuple):
    """A recipient who is in the queue."""

    address: str
    state: str
    attempts: int
    last_reply: str


class InMemory:
    """The spool's twin in memory, and what an operator can see and do."""

    def __init__(self, clock: Clock) -> None:
        self.spool = MemorySpool(clock.seconds, clock)
        self.open(0)

    def open(self, pauses: int) -> Recovered:
        return self.spool.start(pauses)

    def story(self, message: int) -> Story | None:
        return self.spool.story(message)

    def messages(self) -> int:
        return len(self.spool.messages)

    def active(self) -> int:
        return sum(one.state == "active" for one in self.waiting())

    def waiting(self) -> list[Left]:
        return [
            Left(to.address, one.state, one.attempts, one.last_reply)
            for message in self.spool.messages.values()
            for one in message.deliveries.values()
            for to in one.recipients
        ]

    def operate(self, verb: str, notifier: Notifier, policy: RetryPolicy) -> None:
        for message in list(self.spool.messages):
            self.spool.operate(verb, message)

    def close(self) -> None: ...


class OnDisk:
    """The real store, without its thread, and the operator's desk beside it."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        self._clock = clock
        self._folder = folder
        self.open(0)
        self._desk = Desk(folder, clock.seconds, rest=lambda seconds: None)

    def open(self, pauses: int) -> Recovered:
        self.spool = SqliteSpool(self._folder, self._clock, self._clock.seconds, inline=True)
        return self.spool.start(pauses)

    def story(self, message: int) -> Story | None:
        return self._desk.story(message)

    def messages(self) -> int:
        return self._desk.totals().messages

    def active(self) -> int:
        return self._desk.totals().active

    def waiting(self) -> list[Left]:
        return [
            Left(one.address, {"ready": "waiting", "deferred": "waiting"}.get(one.state, one.state), *rest(one))
            for message in self._desk.queue(limit=100_000)
            for one in message.recipients
        ]

    def operate(self, verb: str, notifier: Notifier, policy: RetryPolicy) -> None:
        if verb == "bounce":
            self._desk.bounce(EVERYTHING, bouncing(notifier, policy, self._clock.seconds))
        else:
            getattr(self._desk, verb)(EVERYTHING)

    def close(self) -> None:
        self._desk.close()
        stopped = self.spool.stop()
        for _ in range(10):
            self._clock.advance(0)
        assert stopped.called


def rest(one: QueuedRecipient) -> tuple[int, str]:
    return one.attempts, one.last_reply


Build = Callable[..., "House"]


class House:
    """The delivery side of a relay. What it does is in `transport.carriages`, in the spool, and in `log`."""

    def __init__(
        self,
        store: InMemory | OnDisk,
        clock: Clock,
        policy: RetryPolicy = USUAL,
        *,
        limits: WindowLimits | None = None,
        bounds: Bounds | None = None,
        poll: float = 1.0,
        route: Callable[[str, str], Decision] = by_domain,
    ) -> None:
        self.clock = clock
        self.store = store
        self.policy = policy
        self.transport = MemoryTransport(clock)
        self.log: list[tuple[float, str, int | None, dict[str, Any]]] = []
        self.route = route
        self.began = clock.seconds()
        self._settings = (limits or WindowLimits(), 7 * DAY, bounds, poll)
        self._chance = random.Random(1)
        self._begin()

    def _begin(self) -> None:
        self.spool: Any = self.store.spool
        self.notifier = Notifier("relay.test", "postmaster@up.test", self.policy, self._route, self.spool.new_id)
        self.means = Means(
            self.clock,
            self.spool,
            dict.fromkeys(Via, self.transport),
            self._route,
            self.notifier,
            self.policy,
            self._chance,
            self._log,
        )
        self.manager = Manager(self.means, *self._settings)

    def set_clock(self, seconds: float) -> None:
        """Set the clock forward, or back, under a manager that runs: its timers ring when they would have."""
        self.clock.rightNow += seconds
        self.began += seconds
        for call in self.clock.getDelayedCalls():
            call.time += seconds

    def restart(self, start: bool = True) -> None:
        """Stop the manager and the spool at once, and begin anew with what is kept."""
        self.wait(self.manager.stop(grace=0))
        self.wait(self.spool.stop())
        recovered = self.store.open(self.manager.most_pauses)
        self._begin()
        for destination, pause in recovered.pauses:
            self.manager.take_up(destination, pause)
        if start:
            self.manager.start(recovered.newest)

    def _route(self, sender: str, recipient: str) -> Decision:
        return self.route(sender, recipient)

    def _log(self, kind: str, message: int | None = None, /, **fields: Any) -> None:
        self.log.append((self.clock.seconds(), kind, message, fields))

    # Time

    @property
    def age(self) -> float:
        """Seconds since the beginning."""
        return self.clock.seconds() - self.began

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass, from one delayed call to the next."""
        self.run_until(self.age + seconds)

    def run_until(self, age: float) -> None:
        """Let time pass up to so many seconds since the beginning."""
        end = self.began + age
        for _ in range(2_000_000):
            first = min((call.getTime() for call in self.clock.getDelayedCalls()), default=end + 1)
            if first > end:
                self.clock.rightNow = max(end, self.clock.rightNow)
                return
            self.clock.rightNow = max(first, self.clock.rightNow)
            self.clock.advance(0)
        raise AssertionError("time does not pass: something calls itself for ever")

    def wait(self, deferred: "Deferred[Any]") -> Any:
        """What a Deferred comes to, within a second."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        for _ in range(100):
            if results:
                return results[0]
            self.run(0.01)
        raise AssertionError("no result")

    # Mail in

    def submit(
        self,
        *to: str | Recipient,
        sender: str = "s@up.test",
        eager: bool = False,
        silent: bool = False,
        content: bytes = CONTENT,
        expanded: Mapping[str, str | Recipient] | None = None,
        reverse_path: str | None = None,
        **envelope: Any,
    ) -> int:
        """Receive a message as the inbound side does: reserve if asked, store, then deliver or wake. Its queue id.

        silent: the manager is not told, as if it had been stored in another life. expanded: recipients who have been
        expanded into others, by the destination that says so. reverse_path: whom it goes on from.
        """
        now = self.clock.seconds()
        recipients = tuple(one if isinstance(one, Recipient) else Recipient(one) for one in to)
        groups: dict[str, list[Recipient]] = {}
        for one in recipients:
            hop = self.route(sender, one.address).hop
            groups.setdefault(hop.destination if hop else "nowhere", []).append(one)
        for name, whom in (expanded or {}).items():
            groups[name] = [whom if isinstance(whom, Recipient) else Recipient(whom)]
        by, by_mode = envelope.get("by", 0.0), envelope.get("by_mode", "")
        due = max(now, envelope.get("released", 0.0))
        until = deadline(self.policy, due, warned=False, by=by, by_mode=by_mode)
        deliveries = [
            NewDelivery(name, tuple(group), due, until, eager and self.manager.reserve(name), reverse_path)
            for name, group in groups.items()
        ]
        reception = self.spool.receive(now)
        reception.write(content)
        recipients = tuple(one for group in groups.values() for one in group)
        stored = reception.commit(
            Envelope(sender, recipients, now, len(content), **envelope), deliveries, (Event(now, "received", {}),)
        )

        def deliver(claims: Iterable[Any]) -> None:
            for claim in claims:
                self.manager.deliver(claim, reception.content)
            for one in deliveries:
                if not (one.eager or silent):
                    self.manager.wake(one.destination)

        stored.addCallback(deliver)
        self.stored = stored
        return int(reception.id)

    # What came of it

    def tries(self, destination: str) -> list[float]:
        """When a destination was tried, in seconds since the beginning."""
        return [one.at - self.began for one in self.transport.carriages if one.hop.destination == destination]

    def carried(self, destination: str) -> list[Carriage]:
        """What a destination was tried with."""
        return [one for one in self.transport.carriages if one.hop.destination == destination]

    def notices(self, address: str = "s@up.test") -> list[Carriage]:
        """The notices that arrived."""
        return [one for one in self.transport.carriages if one.envelope.sender == "" and address in one.taken]

    def story(self, message: int) -> Story:
        """What the spool has of a message."""
        story = self.store.story(message)
        assert story is not None
        return story

    def waiting(self) -> list[Left]:
        """The recipients that are in the queue."""
        return self.store.waiting()

    @property
    def messages(self) -> int:
        """How many messages are in the queue."""
        return self.store.messages()

    def logged(self, kind: str) -> list[dict[str, Any]]:
        """The lines of a kind."""
        return [fields for _, which, _, fields in self.log if which == kind]

    @staticmethod
    def refusal(text: str) -> Outcome:
        """A remote reply as an outcome."""
        code, enhanced, words = text.split(" ", 2)
        result = Result.FAILED if code.startswith("5") else Result.DEFERRED
        return Outcome(result, Reply(int(code), enhanced, (words,)), "mx.no.test[192.0.2.8]:25")

    @staticmethod
    def id_of(text: str) -> int:
        """The number of a queue id."""
        number = parse_queue_id(text)
        assert number is not None
        return number

    # What goes wrong, and who interferes

    def break_content(self, error: Exception | None = None) -> None:
        """From now on no content can be read from the spool. error: what is said of it."""
        self.spool.content = lambda claim: fail(error or OSError("the disk has a bad sector"))

    def operate(self, verb: str) -> None:
        """An operator's verb, on all that is in the queue."""
        self.store.operate(verb, self.notifier, self.policy)
