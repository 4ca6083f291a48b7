"""Desk: where an operator sits: the queue of a spool folder, all workers' files as one, for the `mta` command.

It works beside a running relay or alone. What it changes it changes in short transactions, under the lock that the
workers' commits take too, and it lets go of that lock for a moment between two of them.
"""

import heapq
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

import apsw

from mta.interfaces import Claim, IContent, Record, SpoolBroken
from mta.message.envelope import CLI_WORKER, QueueIds, format_queue_id
from mta.spool import database, history, ledger, listing, settling, verbs
from mta.spool.content import ContentFiles
from mta.spool.destinations import DestinationSeen, destination, destinations
from mta.spool.destinations import together as together_seen
from mta.spool.disk import Disk, Lock
from mta.spool.figures import Figures, figures, together
from mta.spool.folder import Folder
from mta.spool.history import Story
from mta.spool.ledger import Entry, Routed
from mta.spool.listing import Held, Outlook, QueuedMessage, Totals, View
from mta.spool.matching import EVERYTHING, Selection
from mta.spool.pace import Pace
from mta.spool.store import Store

BOUNCES = 50  # deliveries that are bounced in one transaction; composing their notices takes its time

Answer = TypeVar("Answer")
Compose = Callable[[Claim, IContent], Record]
"""Settles a claim whose wish is "bounce" and composes the notice that is owed, from the content if need be."""


class Seat(NamedTuple):
    """A worker's place. process: the id of the process that has it, "" where none has. totals: of its file."""

    worker: int
    process: str
    alive: bool
    totals: Totals


class _Drawer(NamedTuple):
    """One worker's file. alive: the worker is there."""

    worker: int
    store: Store
    lock: Lock
    files: ContentFiles
    alive: bool

    def view(self) -> View:
        """How states are to be seen now."""
        return View(self.store.now(), self.alive)


class Desk:
    """A spool as an operator sees and changes it. A context manager; every method may raise `SpoolBroken`.

    Numbers of recipients are returned by what changes anything. On a delivery that is being tried a verb is granted
    when the try has ended, and what was delivered meanwhile stays delivered.
    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[], float] = time.time,
        *,
        disk: Disk | None = None,
        vfs: str | None = None,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        """rest: sleeps for some seconds. A folder that is not there is an empty queue."""
        self._folder = Folder(folder.resolve(), disk or Disk(), vfs)
        self._now = now
        self._rest = rest
        self._drawers: list[_Drawer] = []
        try:
            # What is moved while we look goes into a file of a lower number, so it is met there at the latest.
            for worker in reversed(self._folder.workers()):
                try:
                    self._drawers.append(self._open(worker))
                except SpoolBroken:
                    if self._folder.disk.exists(self._folder.queue(worker)):
                        raise  # else it has been emptied and removed meanwhile
        except BaseException:
            self.close()
            raise
        last = max((one.store.last_message() for one in self._drawers), default=0)
        self._ids = QueueIds(CLI_WORKER, last)

    def __enter__(self) -> "Desk":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        for one in self._drawers:
            one.store.close()
            one.lock.close()
        self._drawers = []

    def queue(
        self,
        selection: Selection = EVERYTHING,
        state: str | None = None,
        limit: int = 100,
    ) -> list[QueuedMessage]:
        """Messages that have recipients of a selection in a state (None for any), the oldest first, up to a limit."""
        with _explained():
            lists = [listing.queued(one.store, selection, state, limit, one.view()) for one in self._drawers]
        once = {one.id: one for one in heapq.merge(*lists)}  # one that is being moved may be met twice
        return list(once.values())[:limit]

    def totals(self) -> Totals:
        """What is in the queue."""
        with _explained():
            each = [listing.totals(one.store) for one in self._drawers]
        return Totals(*map(sum, zip(*each, strict=True)))

    def ended(self, since: float) -> int:
        """How many messages have ended since a time, in seconds since 1970."""
        with _explained():
            return sum(listing.ended(one.store, since) for one in self._drawers)

    def destinations(self, beginning: str, limit: int) -> list[str]:
        """The first destinations that something waits for and whose names begin so."""
        with _explained():
            found = {name for one in self._drawers for name in listing.destinations(one.store, beginning, limit)}
        return sorted(found)[:limit]

    def ids(self, first: int, last: int, limit: int, gone: bool = False) -> list[int]:
        """The first ids from one to another of what is in the queue, or of what has gone."""
        with _explained():
            found = {number for one in self._drawers for number in ledger.ids(one.store, first, last, limit, gone)}
        return sorted(found)[:limit]

    def ask(self, question: Callable[[Store, View], Answer]) -> list[Answer]:
        """The answers of the workers' files to a question of `survey`, which reads no more than it has to."""
        with _explained():
            return [question(one.store, one.view()) for one in self._drawers]

    def workers(self) -> list[Seat]:
        """Who works on the queue, or did, and how much of it is theirs."""
        with _explained():
            return [
                Seat(
                    one.worker,
                    self._folder.holder(one.worker) if one.alive else "",
                    one.alive,
                    listing.totals(one.store),
                )
                for one in reversed(self._drawers)
            ]

    def figures(self) -> Figures:
        """How much is in the queue in which state, and how old it is."""
        with _explained():
            now = self._now()
            return together([figures(one.store, now, one.alive) for one in self._drawers])

    def destinations_seen(self, limit: int) -> list[DestinationSeen]:
        """Destinations that something waits for or that failed lately, those with most first, up to a limit."""
        with _explained():
            now = self._now()
            each = [one for drawer in self._drawers for one in destinations(drawer.store, limit, now)]
        named: dict[str, DestinationSeen] = {}
        for one in each:
            named[one.name] = one if one.name not in named else together_seen(named[one.name], one)
        return sorted(named.values(), key=lambda one: (-one.deliveries, -one.failures, one.name))[:limit]

    def destination(self, name: str) -> DestinationSeen | None:
        """What is known of one; None where nothing is."""
        with _explained():
            now = self._now()
            each = [destination(drawer.store, name, now) for drawer in self._drawers]
        found = [one for one in each if one is not None]
        return reduce(together_seen, found) if found else None

    def held(self) -> list[Held]:
        """What is held after something was said, by destination: perhaps somebody has to mend something there."""
        with _explained():
            each = [one for drawer in reversed(self._drawers) for one in listing.held(drawer.store)]
        named: dict[str, Held] = {}
        for one in each:
            before = named.get(one.destination)
            named[one.destination] = one._replace(recipients=one.recipients + (before.recipients if before else 0))
        return [named[name] for name in sorted(named)]

    def outlook(self, destination: str) -> Outlook:
        """How things stand with a destination. Of several workers the one that has paused it for longest tells why."""
        with _explained():
            each = [listing.outlook(one.store, destination) for one in self._drawers]
        worst = max(each, key=lambda one: (one.paused_until, one.failures), default=Outlook())
        return worst._replace(waiting=sum(one.waiting for one in each), held=sum(one.held for one in each))

    def story(self, message: int) -> Story | None:
        """What is known of a message; None where it was never here, or has been purged."""
        with _explained():
            stories = [history.story(one.store, message) for one in self._drawers]
        return next((one for one in stories if one is not None), None)

    def content(self, message: int) -> IContent | None:
        """The content of a message in the queue."""
        with _explained():
            contents = [history.content(one.store, one.files, message) for one in self._drawers]
        return next((one for one in contents if one is not None), None)

    def ledger(self, since: float) -> Iterator[list[Entry]]:
        """What is known of each message whose id was given since a time, in seconds since 1970, in stretches in order.

        A message is in one of them, even while it is being moved from one worker's file to another's: of each stretch
        the files are read in the order in which messages move, and what is in two of them is in the later one.
        """
        if not self._drawers:
            return
        after = ledger.after_time(since)
        with _explained():
            last = max(ledger.last(one.store) for one in self._drawers)
        while after < last:
            found: dict[int, Entry] = {}
            with _explained():
                end = min(ledger.end_of_stretch(one.store, after, last) for one in self._drawers)
                for one in self._drawers:
                    found |= {entry.id: entry for entry in ledger.read(one.store, after, end)}
            yield [found[number] for number in sorted(found)]
            after = end

    def routed(self) -> Iterator[Routed]:
        """Who waits where, of all that is in the queue."""
        for one in self._drawers:
            with _explained():
                yield from ledger.routed(one.store)

    def recounted(self) -> list[tuple[int, tuple[Totals, Totals] | None]]:
        """The workers' numbers, what each one's file says that there is in it, and what there is (`ledger.totals`)."""
        with _explained():
            return [(one.worker, ledger.totals(one.store)) for one in self._drawers]

    def files(self) -> list[tuple[int, Store]]:
        """The workers' numbers and files, in the order in which messages move; for reading."""
        return [(one.worker, one.store) for one in self._drawers]

    def knows(self, message: int) -> bool:
        """Is or was this message here, as far as is known?"""
        with _explained():
            return any(ledger.knows(one.store, message) for one in self._drawers)

    def new_id(self, now: float) -> int:
        """A queue id for a message that is made here, such as a notice."""
        return self._ids.next(now)

    def retry(self, selection: Selection) -> int:
        """Have it tried at once, paused destinations too. What is held stays held."""
        return self._change(selection, lambda one, chunk: verbs.apply(one.store, "retry", chunk, selection))

    def hold(self, selection: Selection) -> int:
        """Keep it from being tried until it is released."""
        return self._change(selection, lambda one, chunk: verbs.apply(one.store, "hold", chunk, selection))

    def release(self, selection: Selection) -> int:
        """End a hold: it is due at once."""
        return self._change(selection, lambda one, chunk: verbs.apply(one.store, "release", chunk, selection))

    def drop(self, selection: Selection) -> int:
        """Remove it; nobody is told."""
        return self._change(selection, lambda one, chunk: verbs.apply(one.store, "drop", chunk, selection))

    def bounce(self, selection: Selection, compose: Compose) -> int:
        """End it as failed. The notices that `compose` makes are stored in the same transaction.

        compose is called with a transaction open, so it has to be quick; what it raises undoes that transaction.
        """

        def settle(drawer: _Drawer, chunk: Sequence[int]) -> int:
            def compose_with_content(claim: Claim) -> Record:
                content = history.content(drawer.store, drawer.files, claim.message)
                if content is None:
                    raise SpoolBroken(f"message {format_queue_id(claim.message)} has no content")
                return compose(claim, content)

            return verbs.bounce(drawer.store, chunk, selection, compose_with_content)

        return self._change(selection, settle, BOUNCES)

    def _open(self, worker: int) -> _Drawer:
        with _explained():
            with _not_suspended():
                holding = self._folder.hold_for_a_moment(worker)
                if holding is not None:
                    holding.close()
            lock = self._folder.write_lock(worker)
            try:
                db = database.attach(self._folder.queue(worker), self._folder.vfs)
                store = Store(db, lock, CLI_WORKER, self._now)
            except BaseException:
                lock.close()
                raise
        return _Drawer(worker, store, lock, self._folder.contents(worker), holding is None)

    def _change(
        self, selection: Selection, change: Callable[[_Drawer, Sequence[int]], int], most: int = verbs.CHUNK
    ) -> int:
        done = 0
        with _explained():
            for drawer in self._drawers:
                self._recover(drawer)
                pace = Pace(most, most // 10)
                for chunk in verbs.chunks(drawer.store, selection, drawer.view(), pace):
                    with _not_suspended():
                        with drawer.store.transaction():
                            done += change(drawer, chunk)
                        pace.took(drawer.store.held)
                        drawer.store.checkpoint()
                    for message in drawer.store.take_removable():
                        drawer.files.remove(message)
                    self._rest(verbs.BREATH)
        return done

    def _recover(self, drawer: _Drawer) -> None:
        """Take up what a worker that is not there any more has left as being tried; nobody else would settle it."""
        with _not_suspended():
            holding = self._folder.hold_for_a_moment(drawer.worker)
            if holding is not None:
                try:
                    with drawer.store.transaction():
                        settling.recover(drawer.store)
                finally:
                    holding.close()


@contextmanager
def _not_suspended() -> Iterator[None]:
    """Let nobody's Ctrl-Z stop us while a worker waits for our lock, or could not start for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise SpoolBroken(f"the queue cannot be read or written: {error}") from error
