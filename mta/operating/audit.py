"""Audit: what has become of every recipient that mail was accepted for, or made here for, and whether the sums match.

Each message is a small account of its own. Owed: an end for each recipient that it was received for, and one for each
alias, list or moved user that was replaced by others at RCPT. Paid: the ends that its timeline tells of, and who is
still in the queue. An account is in order where each recipient has as many of the one as of the other, where a message
with nothing left to do has ended, and where of each failure somebody was told, or it stands there why nobody was.
At the end the totals that each queue file keeps of itself are compared with what is in it.

What is in the queue can be looked at however old it is. The timeline of what has ended is kept for `history` alone;
what ended earlier is not judged, since of a long timeline a part may be there still.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mta.message.envelope import format_queue_id, parse_queue_id, recipients_from_json
from mta.message.printable import printable
from mta.operating.failures import failure_class
from mta.operating.story import ENDS
from mta.operating.words import count, moment
from mta.spool.desk import Desk
from mta.spool.ledger import Entry
from mta.spool.listing import Totals

MOST_NAMED: Final = 1_000  # mismatches that are kept by name; all of them are counted
_TIMES: Final = ("not at all", "once", "twice")

Progress = Callable[[int, int, int], None]


class Mismatch(NamedTuple):
    """Something that is not in order. id: the queue id, as people see it, or the name of a queue file that has wrong
    totals. text: what, made harmless for a terminal.
    """

    id: str
    text: str


@dataclass
class Audit:
    """The books of the messages that came in between two times, in seconds since 1970.

    messages, notices: received, and made here. accepted, made: recipients of the former and of the latter. ended:
    recipients by their end. queued: recipients by the state of their delivery. failures: those who failed, by class.
    unknown: recipients whose last result is unknown, each as often as it was. forgotten: messages that ended before
    `remembered`, and are not judged. uncounted: queue files whose totals could not be compared with what is in them,
    since too much is written. found: mismatches, of which the first ones are in `mismatches`.
    """

    since: float
    until: float
    remembered: float
    messages: int = 0
    notices: int = 0
    accepted: int = 0
    made: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    queued: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    forgotten: int = 0
    uncounted: int = 0
    found: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)

    @property
    def matches(self) -> bool:
        """Do the sums match, for each message?"""
        return not self.found

    def to_json(self) -> dict[str, Any]:
        """For programs; times as in `moment`. Every end and state is there, also where nobody has come to it."""
        return {
            "since": moment(self.since),
            "until": moment(self.until),
            "messages": self.messages,
            "notices": self.notices,
            "accepted": self.accepted,
            "made": self.made,
            "ended": {end: self.ended[end] for end in ("delivered", "failed", "discarded", "expanded", "dropped")},
            "queued": {state: self.queued[state] for state in ("waiting", "active", "held")},
            "failures": dict(sorted(self.failures.items())),
            "unknown": self.unknown,
            "forgotten": self.forgotten,
            "uncounted": self.uncounted,
            "matches": self.matches,
            "found": self.found,
            "mismatches": [one._asdict() for one in self.mismatches],
        }


def audit(desk: Desk, since: float, now: float, history: float, progress: Progress | None = None) -> Audit:
    """Add up all that came in since a time, in seconds since 1970. history: how long timelines are kept, in seconds.

    progress: is told now and then of the id that has been come to, of the first one and of the last one, which rise
    with time.
    """
    books = Audit(since, now, now - history)
    first = int(since * 1_000_000)
    for stretch in desk.ledger(since):
        for entry in stretch:
            _enter(books, entry, desk)
        if progress is not None and stretch:
            progress(stretch[-1].id // 256, first, int(now * 1_000_000))
    _recount(books, desk)
    return books


def _recount(books: Audit, desk: Desk) -> None:
    """Compare the totals, by which listings say how much there is, with all that is in the queue, however old."""
    for worker, both in desk.recounted():
        if both is None:
            books.uncounted += 1
        elif both[0] != both[1]:
            said, found = (_in_words(one) for one in both)
            _add(books, f"queue-{worker}", [f"its totals say {said}, and there are {found}"])


def _in_words(totals: Totals) -> str:
    return (
        f"{count(totals.messages, 'message')} of {totals.octets:,} octets for {count(totals.recipients, 'recipient')} "
        f"({totals.active:,} active, {totals.held:,} held)"
    )


class _Account:
    """One message's. owed, ended, waiting: recipients, each as often as it is owed an end, has ended, or waits."""

    def __init__(self, entry: Entry) -> None:
        self.owed: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.waiting: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.notices: list[tuple[float, str]] = []  # when they were made, and their queue ids
        self.unknown = 0
        self.is_received = self.is_notice = self.is_told_of_failure = False
        for text in entry.events:
            for line in text.splitlines():
                for at, kind, detail in json.loads(line):
                    self._read(at, kind, detail)
        for state, packed in entry.waiting:
            addresses = [one.address for one in recipients_from_json(packed)]
            self.waiting.update(addresses)
            self.states[state] += len(addresses)

    def _read(self, at: float, kind: str, detail: dict[str, Any]) -> None:
        recipients = detail.get("recipients", [])
        if kind == "received":
            self.is_received = True
            self.is_notice = "about" in detail
            self.owed.update(recipients)
        elif kind in ENDS:
            if "into" in detail:  # at RCPT; its members, not itself, are among those it was received for
                self.owed.update(recipients)
            self.ended.update(recipients)
            self.ends[kind] += len(recipients)
            if kind == "failed":
                self.failures[failure_class(detail.get("reply", ""), detail.get("why", ""))] += len(recipients)
        elif kind == "unknown":
            self.unknown += len(recipients)
        elif kind == "notice":
            self.is_told_of_failure = self.is_told_of_failure or detail.get("about") == "failed"
            if "id" in detail:
                self.notices.append((at, detail["id"]))


def _enter(books: Audit, entry: Entry, desk: Desk) -> None:
    """Add a message to the books, and whatever is wrong with it."""
    if entry.ended is not None and entry.ended < books.remembered and not entry.is_queued:
        books.forgotten += 1
        return
    account = _Account(entry)
    if account.is_notice:
        books.notices += 1
        books.made += account.owed.total()
    else:
        books.messages += 1
        books.accepted += account.owed.total()
    books.ended += account.ends
    books.queued += account.states
    books.failures += account.failures
    books.unknown += account.unknown
    wrong = list(_wrong(entry, account))
    wrong += [
        f"its notice {number} is not there"
        for at, number in account.notices
        if at > books.remembered and not desk.knows(parse_queue_id(number) or 0)
    ]
    _add(books, format_queue_id(entry.id), wrong)


def _add(books: Audit, name: str, wrong: list[str]) -> None:
    books.found += len(wrong)
    room = MOST_NAMED - len(books.mismatches)
    books.mismatches += [Mismatch(name, text) for text in wrong[:room]]


def _wrong(entry: Entry, account: _Account) -> Iterator[str]:
    """What is not in order."""
    if entry.is_queued and entry.ended is not None:
        yield "it is in the queue, and has ended"
    elif not entry.is_queued and entry.ended is None:
        yield f"{count(account.waiting.total(), 'recipient')} in the queue, and there is no such message"
        return
    if not account.is_received:
        yield "its timeline does not tell of its reception"
    elif entry.is_queued and not account.waiting:
        yield "it is in the queue, with nothing left to do"
    owed, paid = account.owed, account.ended + account.waiting
    if owed != paid and account.is_received:
        for address in dict.fromkeys([*owed, *paid]):
            if owed[address] != paid[address]:
                yield (
                    f"{printable(address)} was accepted {_times(owed[address])}, has ended "
                    f"{_times(account.ended[address])}, and is {_in_queue(account.waiting[address])}"
                )
    if account.failures and not account.is_told_of_failure:
        yield f"{count(account.failures.total(), 'recipient')} failed, and it does not say who was told of it"


def _times(number: int) -> str:
    return _TIMES[number] if number < len(_TIMES) else f"{number} times"


def _in_queue(number: int) -> str:
    return f"in the queue {_times(number)}" if number else "not in the queue"
