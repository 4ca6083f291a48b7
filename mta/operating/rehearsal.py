"""Rehearsal: the clock of a copied queue is run forward, with the relay's own queue manager, and next hops that do
what they did last.

Everything is the real thing (the store, the manager with its windows and pauses, routing, retries, settlement, the
notices), but for three: the clock, which is turned as fast as there is nothing to do; the transports, which answer what
was answered last; and contents, of which there are none. Chance is left out, so that every wait is the shortest that
the schedule allows.
"""

import random
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from mta.config.model import Config
from mta.delivery.attempt import Means
from mta.delivery.manager import Manager
from mta.delivery.notifier import Notifier
from mta.delivery.turns import Bounds
from mta.ground import Place
from mta.interfaces import Claim, IContent, ITransport, Pause, Record
from mta.message.envelope import Envelope
from mta.message.outcome import DEFERRED, DELIVERED, HELD, Carried, Outcome, Try
from mta.policy.addressing import Addressing
from mta.policy.routing import Hop, Via
from mta.policy.window import WindowLimits, pauses_within
from mta.smtp.reply import Reply
from mta.spool.sqlite import SqliteSpool

NEVER: Final = 1e9  # seconds between two looks whether an operator has changed something: nobody does
NOT_TRIED: Final = "451 4.0.0 not tried yet; it is assumed that it must wait"
_TAKEN = Outcome(DELIVERED, Reply(250, "2.0.0", ("taken",)))
_REPLY = re.compile(r"([45][0-9]{2}) (?:([45]\.[0-9]{1,3}\.[0-9]{1,3}) )?(.*)", re.DOTALL)

PAUSES = "SELECT name, paused_until, failures, last_reply FROM destination WHERE failures > 0"

Heard = Callable[[Record], None]


class Shortest(random.Random):
    """Chance that adds nothing to any wait."""

    def random(self) -> float:
        """The least of what may be drawn."""
        return 0.0


@implementer(IContent)
class Nothing:
    """Where the content of a claim would be."""

    size = 0

    def __init__(self, claim: Claim) -> None:
        self.claim = claim

    def blocks(self) -> Iterator[bytes]:
        """No octets."""
        return iter(())


class CopiedSpool(SqliteSpool):
    """The store of a copy: without contents and without old timelines, and with somebody who hears of each record."""

    def __init__(self, folder: Path, clock: Clock, place: Place, heard: Heard) -> None:
        super().__init__(folder, clock, clock.seconds, worker=place.number, workers=256, inline=True)
        self._heard = heard

    def content(self, claim: Claim) -> "Deferred[IContent]":
        """As in `ISpool`."""
        return succeed(Nothing(claim))

    def record(self, record: Record) -> "Deferred[bool]":
        """As in `ISpool`."""

        def stored(is_stored: bool) -> bool:
            if is_stored:
                self._heard(record)
            return is_stored

        return super().record(record).addCallback(stored)

    def purge(self, before: float) -> "Deferred[int]":
        """There is nothing to purge, and who waits for the answer does not ask again: no minute need be stopped at."""
        return Deferred()

    def pauses(self) -> "Deferred[dict[str, Pause]]":
        """The destinations that failed as a whole when they were tried last."""
        return self._writer.submit(lambda store: {name: Pause(*rest) for name, *rest in store.rows(PAUSES)})


@implementer(ITransport)
class LastReply:
    """Next hops that do what they did last, to the messages of the copy. What is made meanwhile they take."""

    def __init__(self, messages: Collection[int]) -> None:
        """messages: of the copy. down: destinations where nobody is reached, or all is held, with what is said."""
        self._messages = messages
        self.down: dict[str, str] = {}

    def carry(self, hop: Hop, envelope: Envelope, content: IContent) -> "Deferred[Carried]":
        """As in `ITransport`."""
        assert isinstance(content, Nothing), "contents are the copied spool's"
        claim = content.claim
        if claim.message not in self._messages:
            return succeed(Carried((_TAKEN,) * len(envelope.recipients)))
        said = self.down.get(claim.destination)
        reply = _reply(said or claim.last_reply or NOT_TRIED)
        if said is None:
            outcome = Outcome(DEFERRED, reply)
        else:
            # A fault of ours keeps a destination from being used when a final refusal is what it was last paused for.
            outcome = Outcome(HELD if reply.is_permanent else DEFERRED, reply, remote=False)
        tries = (Try("", 0.0, str(reply)),)
        return succeed(Carried((outcome,) * len(envelope.recipients), tries, reached=said is None))

    def cut(self) -> None:
        """As in `ITransport`: nothing is ever on its way."""

    def stop(self) -> "Deferred[None]":
        """As in `ITransport`."""
        return succeed(None)


def rehearse(
    config: Config,
    folder: Path,
    workers: Collection[int],
    messages: Collection[int],
    now: float,
    until: float,
    heard: Heard,
    is_over: Callable[[], bool],
    tick: Callable[[float], None] | None = None,
) -> None:
    """Run the clock of a copy in a folder from `now` forward, until it is over, or some time has come.

    workers: whose files there are. messages: what has been copied. heard: is told of each record when it is stored.
    tick: is told of the time, in seconds since 1970, now and then.
    """
    clock = Clock()
    clock.rightNow = now
    spools = []
    managers = []
    for worker in sorted(workers):
        place = Place(worker, len(workers))
        spool = CopiedSpool(folder, clock, place, heard)
        spool.start()
        transport = LastReply(messages)
        manager = _manager(config, clock, place, spool, transport)
        spool.pauses().addCallback(_begin, manager, transport)
        spools.append(spool)
        managers.append(manager)
    _run(clock, until, is_over, tick)
    for manager in managers:
        manager.stop(0.0)
    for spool in spools:
        spool.stop()
    for _ in range(20):
        clock.advance(0.01)


def _begin(pauses: dict[str, Pause], manager: Manager, transport: LastReply) -> None:
    """Go on from where the relay is: it knows who is down."""
    for name, pause in pauses.items():
        transport.down[name] = pause.last_reply
        manager.take_up(name, pause)
    manager.start()


def _manager(config: Config, clock: Clock, place: Place, spool: CopiedSpool, transport: LastReply) -> Manager:
    """A worker's queue manager as the relay has it."""
    policy = config.retry_policy()
    addressing = Addressing(config.directory(), config.routing(), config.postmaster)
    notifier = Notifier(config.hostname, config.postmaster, policy, addressing.decide, spool.new_id, addressing.resolve)
    carriers = dict.fromkeys(Via, transport)
    means = Means(clock, spool, carriers, addressing.decide, notifier, policy, Shortest(), lambda *_, **__: None)
    whole, most = WindowLimits(), Bounds()
    windows = WindowLimits(place.share(whole.initial), place.share(whole.maximum), pauses_within(config.retry.after))
    bounds = Bounds(deliveries=place.share(most.deliveries), strangers=place.share(most.strangers))
    return Manager(means, windows, config.history, bounds, poll=NEVER)


def _run(clock: Clock, until: float, is_over: Callable[[], bool], tick: Callable[[float], None] | None) -> None:
    """Let time pass, from one delayed call to the next."""
    turns = 0
    while not is_over():
        first = min((call.getTime() for call in clock.getDelayedCalls()), default=until + 1)
        if first > until:
            return
        clock.rightNow = max(first, clock.rightNow)
        clock.advance(0)
        turns += 1
        if tick is not None and not turns % 100:
            tick(clock.rightNow)


def _reply(text: str) -> Reply:
    """A reply as it was stored, as a value."""
    match = _REPLY.fullmatch(text)
    return Reply(int(match[1]), match[2] or "", (match[3],)) if match is not None else Reply(451, "4.0.0", (text,))
