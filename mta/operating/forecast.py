"""Forecast: what is going to happen to the mail in the queue if nothing changes at the other side, and what a new
configuration would do to it.

A copy of the queue is run forward (`rehearsal`), and what the relay would store of each message is gathered here.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from mta.config.model import Config
from mta.interfaces import Record, SpoolBroken
from mta.message.envelope import format_queue_id, recipients_from_json
from mta.message.timeline import Event
from mta.operating.rehearsal import rehearse
from mta.operating.story import ENDS
from mta.operating.words import moment
from mta.policy.addressing import Addressing
from mta.policy.expansion import is_expansion
from mta.policy.routing import Decision
from mta.policy.settlement import Notice, wants
from mta.spool.desk import Desk
from mta.spool.duplicate import duplicate
from mta.spool.listing import QueuedMessage, QueuedRecipient
from mta.spool.matching import EVERYTHING, Selection

ASSUMPTION: Final = (
    "if every try fails as the last one did (what has not been tried yet has to wait, too), nobody interferes, and "
    "chance adds nothing to any wait: a wait may be a tenth longer"
)
MOST: Final = 500  # messages that are copied, unless told otherwise: five days of them take some seconds
BESIDE: Final = 100  # messages that are copied with the one that is asked for, of each of its destinations
A_MINUTE: Final = 60.0  # seconds; what happens to some mail moves the tries of other mail by as little as this
SLACK: Final = 86_400.0  # seconds behind the last end within which everything must have come to it
_MEMORY: Final = Path("/dev/shm")  # noqa: S108  a file system in memory, if we may write there; the folder is private

_OUTCOMES: Final = frozenset({"deferred", "failed", "held"})

Progress = Callable[[int, int], None]


class Way(NamedTuple):
    """Where a recipient is routed. to: a destination, "discard", or the reply of a refusal. why: which rule says so."""

    to: str
    why: str
    is_refused: bool = False

    def is_like(self, other: "Way") -> bool:
        """Does it lead to the same, whichever rule says so?"""
        return (self.to, self.is_refused) == (other.to, other.is_refused)


@dataclass
class Prospect:
    """What is going to happen to a recipient of a message. Times are seconds since 1970, None for never.

    now: as the listing has him; a wish of an operator that waits for the end of a try decides, whatever else is said
    here. way: where he is routed now. tries, warned, ended: when. end: how he ends ("failed",
    "discarded"), or that he is "held" from then on, until somebody releases him; "" where he is not seen to end.
    is_told: his sender is told of the end. reply: what the end is told with. events: all of it, as the timeline would
    have it.
    """

    message: int
    sender: str
    now: QueuedRecipient
    way: Way
    tries: list[float] = field(default_factory=list)
    warned: float | None = None
    ended: float | None = None
    end: str = ""
    is_told: bool = False
    reply: str = ""
    events: list[Event] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For programs; times as in `moment`."""
        return {
            "address": self.now.address,
            "state": self.now.state,
            "destination": self.way.to,
            "why": self.way.why,
            "last_reply": self.now.last_reply,
            "tries": [moment(at) for at in self.tries],
            "warned": None if self.warned is None else moment(self.warned),
            "end": self.end,
            "ended": None if self.ended is None else moment(self.ended),
            "told": self.is_told,
            "reply": self.reply,
        }

    @property
    def reverse_path(self) -> str:
        """Whom the mail goes on from, and who is told what becomes of it: its sender, or the owner of a list."""
        return self.sender if self.now.reverse_path is None else self.now.reverse_path

    def is_like(self, other: "Prospect") -> bool:
        """Is it the same outlook, give or take a minute?"""
        mine, theirs = ([*one.tries, one.warned, one.ended] for one in (self, other))
        return (
            self.way.is_like(other.way)
            and (self.end, self.is_told) == (other.end, other.is_told)
            and len(mine) == len(theirs)
            and all(_is_close(*pair) for pair in zip(mine, theirs, strict=True))
        )


def _is_close(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) < A_MINUTE


@dataclass(frozen=True)
class Forecast:
    """The prospects of the messages that were looked at, the oldest first. left_out: messages that were not."""

    at: float
    prospects: list[Prospect]
    left_out: int = 0

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        messages: dict[int, dict[str, Any]] = {}
        for one in self.prospects:
            head = {"id": format_queue_id(one.message), "sender": one.sender, "recipients": []}
            messages.setdefault(one.message, head)["recipients"].append(one.to_json())
        return {
            "at": moment(self.at),
            "assumption": ASSUMPTION,
            "messages": list(messages.values()),
            "left_out": self.left_out,
        }


class Change(NamedTuple):
    """A recipient whose outlook is another one under a new configuration."""

    before: Prospect
    after: Prospect

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        before, after = self.before, self.after
        head = {"id": format_queue_id(before.message), "sender": before.sender, "address": before.now.address}
        return {**head, "before": before.to_json(), "after": after.to_json()}


def forecast(
    desk: Desk,
    configs: list[Config],
    now: float,
    message: int | None = None,
    limit: int = MOST,
    progress: Progress | None = None,
) -> list[Forecast]:
    """What is going to happen under each of some configurations, to the same copy of the queue.

    message: the one to tell of, with whatever waits for the same destinations beside it; None for all, up to a limit.
    progress: is told now and then how much has been done, and of how much.
    """
    chosen, asked, left_out = _choose(desk, message, limit)
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mta-forecast-", dir=memory) as place, _explained():
        original = Path(place, "original")
        original.mkdir(mode=0o700)
        workers = duplicate(desk, [one.id for one in chosen], original, lambda: now)
        chosen = _copied(chosen, original, now)
        found = []
        for number, config in enumerate(configs):
            folder = shutil.copytree(original, Path(place, f"copy-{number}"))
            folder.chmod(0o700)
            whole = len(configs)

            def tell(part: float, number: int = number, whole: int = whole) -> None:
                if progress is not None:
                    progress(int(1000 * (number + part)), 1000 * whole)

            prospects = _run(config, folder, workers, chosen, now, tell)
            found.append(Forecast(now, [one for one in prospects if one.message in asked], left_out))
    return found


def changes(before: Forecast, after: Forecast) -> list[Change]:
    """Those whose outlook is another one, in the order of the queue. Both are of the same copy."""
    pairs = zip(before.prospects, after.prospects, strict=True)
    return [Change(one, other) for one, other in pairs if not one.is_like(other)]


class Rerouted(NamedTuple):
    """Recipients of all that is in the queue who go another way. number: how many. before: where they wait now."""

    number: int
    before: str
    after: Way

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        after = {"after": self.after.to, "refused": self.after.is_refused, "why": self.after.why}
        return {"recipients": self.number, "before": self.before, **after}


def reroutes(desk: Desk, config: Config) -> tuple[list[Rerouted], int]:
    """The ways that a configuration has for mail that waits elsewhere now, those of most recipients first, and how
    many recipients there are in the queue. All of the queue is looked at, however long it is."""
    addressing = Addressing(config.directory(), config.routing(), config.postmaster)
    found: Counter[tuple[str, Way]] = Counter()
    whole = 0
    for reverse_path, destination, packed in desk.routed():
        for recipient in recipients_from_json(packed):
            whole += 1
            if not is_expansion(destination):
                way = _decided(addressing.decide(reverse_path, recipient.address))
                if way.is_refused or way.to != destination:
                    found[destination, way] += 1
    return [Rerouted(number, *ways) for ways, number in found.most_common()], whole


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise SpoolBroken(f"the queue cannot be copied and run forward: {error}") from error


def _copied(chosen: list[QueuedMessage], folder: Path, now: float) -> list[QueuedMessage]:
    """What of these messages is in a copy: some may have ended before they were read."""
    with Desk(folder, lambda: now) as copy:
        there = {(one.id, to.address) for one in copy.queue(limit=len(chosen)) for to in one.recipients}
    left = (
        one._replace(recipients=tuple(to for to in one.recipients if (one.id, to.address) in there)) for one in chosen
    )
    return [one for one in left if one.recipients]


def _choose(desk: Desk, message: int | None, limit: int) -> tuple[list[QueuedMessage], set[int], int]:
    """The messages to copy, those of them to tell of, and how many there are that would have been wanted, too."""
    if message is None:
        chosen = desk.queue(EVERYTHING, limit=limit)
        return chosen, {one.id for one in chosen}, max(0, desk.totals().messages - len(chosen))
    asked = desk.queue(Selection(ids=frozenset({message})))
    beside: dict[int, QueuedMessage] = {}
    for name in dict.fromkeys(to.destination for one in asked for to in one.recipients):
        # A destination that is down is tried with whichever of its messages comes first.
        others = [one.id for one in desk.queue(Selection(to=name), limit=min(limit, BESIDE))]
        beside |= {one.id: one for one in desk.queue(Selection(ids=frozenset(others)), limit=len(others))}
    beside |= {one.id: one for one in asked}  # with all of its recipients
    return [beside[number] for number in sorted(beside)], {message}, 0


def _run(
    config: Config,
    folder: Path,
    workers: list[int],
    chosen: list[QueuedMessage],
    now: float,
    tell: Callable[[float], None],
) -> list[Prospect]:
    addressing = Addressing(config.directory(), config.routing(), config.postmaster)
    gathering = _Gathering(_prospect(one, to, addressing) for one in chosen for to in one.recipients)
    until = max((one.created for one in chosen), default=now)
    # Who holds mail back (RFC 4865) says so by when it is due; it ages from then on.
    due = max((to.next_attempt or 0.0 for one in chosen for to in one.recipients), default=0.0)
    until = max(until, due, now) + config.retry.give_up + SLACK
    messages = {one.id for one in chosen}
    begun = len(gathering.open)

    def tick(_: float) -> None:
        tell(1 - len(gathering.open) / max(1, begun))

    rehearse(config, folder, workers, messages, now, until, gathering.hear, lambda: not gathering.open, tick)
    return gathering.prospects


def _prospect(message: QueuedMessage, recipient: QueuedRecipient, addressing: Addressing) -> Prospect:
    reverse_path = message.sender if recipient.reverse_path is None else recipient.reverse_path
    return Prospect(message.id, message.sender, recipient, _way(addressing, reverse_path, recipient))


def _way(addressing: Addressing, reverse_path: str, recipient: QueuedRecipient) -> Way:
    if is_expansion(recipient.destination):
        return Way(recipient.destination, "its sender is to be told that it was expanded")
    return _decided(addressing.decide(reverse_path, recipient.address))


def _decided(decision: Decision) -> Way:
    if decision.hop is None:
        return Way(str(decision.refusal), decision.why, is_refused=True)
    return Way(decision.hop.destination, decision.why)


_Key = tuple[int, str, str]  # a message, whom it goes on from, and a recipient


class _Gathering:
    """Gathers prospects from records. open: those of whom something is still to be expected."""

    def __init__(self, prospects: Iterator[Prospect]) -> None:
        self.prospects: list[Prospect] = list(prospects)
        self._found: dict[_Key, list[Prospect]] = {}
        for one in self.prospects:
            self._found.setdefault((one.message, one.reverse_path, one.now.address), []).append(one)
        self.open = {id(one) for one in self.prospects if one.now.state != "held" and not one.now.wish}

    def hear(self, record: Record) -> None:
        """Take in what is stored of a try, or of a decision."""
        kinds = {(event.kind, event.detail.get("about"), "id" in event.detail) for event in record.events}
        is_tried = any(kind == "attempt" for kind, *_ in kinds)
        is_told = ("notice", "failed", True) in kinds
        if ("notice", "delayed", True) in kinds:
            self._warned(record)
        wishes = {one.address: one for one in record.claim.envelope.recipients}
        for event in record.events:
            named = event.detail.get("recipients")
            for address in named if isinstance(named, list) else ():
                one = self._find(record, address)
                if one is None:
                    continue
                one.events.append(event)
                if is_tried and event.kind in _OUTCOMES:
                    one.tries.append(record.at)
                if event.kind in ENDS or event.kind == "held":
                    one.end, one.ended = event.kind, record.at
                    one.reply = str(event.detail.get("reply") or event.detail.get("why") or "")
                    one.is_told = event.kind == "failed" and is_told and wants(wishes[address], Notice.FAILURE)
                    self.open.discard(id(one))

    def _warned(self, record: Record) -> None:
        for group in record.waiting:
            for recipient in group.recipients:
                one = self._find(record, recipient.address)
                if one is not None and wants(recipient, Notice.DELAY) and one.warned is None:
                    one.warned = record.at
                    one.events.append(Event(record.at, "warned", {"recipients": [recipient.address]}))

    def _find(self, record: Record, address: str) -> Prospect | None:
        """A recipient; of several by the same name the one who waits, or waited when it was copied, for this."""
        claim = record.claim
        found = self._found.get((claim.message, claim.envelope.sender, address), [])
        here = [one for one in found if one.now.destination == claim.destination]
        return next(iter(here or found), None)
