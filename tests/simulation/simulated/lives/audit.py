"""The audit: what the relay owes, held against what senders were told, peers have taken, and the books say.

`balance` and `bounds` can be asked at any time, `everything` when the relay has stopped after a calm that was long
enough for all mail to have found its end.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mta.delivery.turns import Bounds
from mta.service import GRACE
from simulated.books import Books, Kept
from simulated.lives.domains import LIST, OWNER, REFUSED, TAKERS, UNKNOWN, domain_of, expanded
from simulated.lives.peers import Copy
from simulated.lives.plan import HOUR, MINUTE, seconds
from simulated.lives.tries import storms
from simulated.machine import Machine
from simulated.network import START
from simulated.promises import queue_id, without_trace
from simulated.wire import LATENCY

if TYPE_CHECKING:
    from simulated.lives.life import Life
    from simulated.lives.senders import Letter

IN_FLIGHT = 0.5  # seconds from a final reply that was heard until the result is stored
LATE = 30.0  # seconds that a final reply takes where a peer or the network is slow
BELIEVED = 15 * MINUTE  # seconds behind its end in which a lie of the DNS may still be acted on
MOST_TIMERS = 60  # of one process with nothing under way
_FATE = re.compile(rb"^Final-Recipient: rfc822; ?(\S+)\r\nAction: (\w+)\r$", re.MULTILINE)


def balance(books: Books) -> Iterator[str]:
    """Every accepted recipient has one end or is in the queue, and the totals say the same."""
    queued = messages = 0
    for kept in books.kept.values():
        ends = Counter(one for kind, names in kept.ends.items() for one in names if kind != "expanded")
        if ends + Counter(kept.waiting) != Counter(kept.recipients):
            yield f"{kept.id} for {kept.recipients}: ended {dict(kept.ends)}, queued {kept.waiting}"
        if kept.ended != (not kept.waiting):
            yield f"{kept.id} has ended {kept.ended} times, with {kept.waiting} in the queue"
        queued += len(kept.waiting)
        messages += not kept.ended
    if (queued, messages) != (books.queued, books.messages):
        yield f"the totals say {books.queued} recipients of {books.messages} messages, not {queued} of {messages}"
    if books.rows["message"] != messages:
        yield f"{books.rows['message']} messages have a row, not {messages}"
    yield from (f"mta audit says of {one.id}: {one.text}" for one in books.audit.mismatches)
    counted = (books.audit.messages + books.audit.notices, books.audit.queued.total())
    if counted != (len(books.kept), queued):
        yield f"mta audit counts {counted}, not {(len(books.kept), queued)} (messages, and recipients in the queue)"


def bounds(machine: Machine, idle: bool = False) -> Iterator[str]:
    """Memory holds what is in flight, and that is bounded; nothing is left of it when nothing is under way."""
    for one in machine.running:
        if one.process.is_frozen:
            continue
        manager, process = one.relay.manager, one.process
        most = Bounds()
        tries = len(manager._tries) + len(manager._decisions)
        if manager.in_flight > most.deliveries or tries > most.unrecorded:
            yield f"worker {one.number} has {manager.in_flight} deliveries and {tries} tries in flight"
        if manager._recorder.count() > most.unrecorded or len(manager._destinations) > most.destinations:
            yield f"worker {one.number} has more in memory than its bounds"
        if not idle:
            continue
        left = {
            "deliveries": manager.in_flight,
            "tries": tries,
            "results": manager._recorder.count(),
            "destinations": len(manager._destinations),
            "connections": len(process.connections),
            "file operations": one.relay.spool._running,
        }
        if any(left.values()):
            yield f"worker {one.number} has nothing to do, and yet {left}"
        if len(process.getDelayedCalls()) > MOST_TIMERS:
            yield f"worker {one.number} has {len(process.getDelayedCalls())} timers"


def everything(life: Life, books: Books) -> list[str]:
    """Every promise that was not kept."""
    copies = [(queue_id(copy.taken), copy) for peer in life.peers for copy in peer.copies]
    return [
        *balance(books),
        *_senders(life, books),
        *_ends(life, books, copies),
        *_copies(life, books, copies),
        *_octets(life, books, copies),
        *_notices(books, copies),
        *storms(life),
        *_left(life, books),
    ]


def _senders(life: Life, books: Books) -> Iterator[str]:
    """What a sender was told is true, and what it does not know is the only reason for another message."""
    for letter in life.letters:
        mark = letter.posted.mark
        yield from (f"{mark} was answered out of order, or wrongly: {oddity}" for oddity in letter.oddities)
        kept = messages_of(letter, books)
        for number, taken in letter.accepted.items():
            if number not in books.kept:
                yield f"{mark} was accepted as {number}, of which nothing is stored"
                continue
            one = books.kept[number]
            wanted = {address for recipient in taken for address in expanded(recipient)}
            if set(one.recipients) != wanted:
                yield f"{mark} was accepted for {taken}, and kept for {one.recipients}"
            replaced = {recipient for recipient in taken if expanded(recipient) != (recipient,)}
            if set(one.ends["expanded"]) != replaced:
                yield f"{mark} was accepted for {taken}, and {one.ends['expanded']} were expanded"
            if {UNKNOWN, REFUSED} & set(taken):
                yield f"{mark} was accepted for {taken}"
        if len(kept) > len(letter.accepted) + letter.unsure:
            yield f"{mark} was kept {len(kept)} times: told {list(letter.accepted)}, unsure {letter.unsure} times"


def _ends(life: Life, books: Books, copies: list[tuple[str, Copy]]) -> Iterator[str]:
    """Delivered is who somebody has taken, with a final reply; failed is who was refused, or was too late."""
    took: dict[tuple[str, str], list[Copy]] = defaultdict(list)
    for number, copy in copies:
        for recipient in copy.taken.recipients:
            took[number, recipient].append(copy)
    for kept in books.kept.values():
        for recipient in kept.ends["delivered"]:
            if not any(copy.is_answered for copy in took[kept.id, recipient]):
                yield f"{kept.id} was delivered to {recipient}, though nobody has said that he takes it"
        for recipient in kept.ends["failed"]:
            if not _may_fail(life, kept, recipient):
                yield f"{kept.id} failed for {recipient} without a reason"
        for recipient in kept.ends["discarded"]:
            if domain_of(recipient) != "discard.test":
                yield f"{kept.id} was discarded for {recipient}"
        if kept.ends["dropped"] and not any(one.what == "drop" for one in life.plan.verbs):
            yield f"{kept.id} was dropped, and nobody had asked for it"
        if kept.waiting:
            yield f"{kept.id} is still in the queue for {kept.waiting}"


def _may_fail(life: Life, kept: Kept, recipient: str) -> bool:
    domain, at = domain_of(recipient), kept.failed_at[recipient]
    if domain == "gone.test":
        return True
    clocks = sum(abs(blow.amount) for blow in life.plan.blows if blow.how == "clock")
    lies = [one for one in life.plan.dns if one.whom == domain and one.what != "servfail"]
    if any(one.begins - clocks <= at - START <= one.ends + BELIEVED + clocks for one in lies):
        return True
    if at - kept.received >= seconds(life.plan.retry[2]) - clocks - 1:
        return True
    # A refusal for the whole session, or of the sender, or of this recipient: by whoever takes mail for the domain.
    return any(
        peer.name in (*TAKERS.get(domain, ()), "elsewhere.test")
        and refusal.sender in (None, kept.sender, *_owners(kept))
        and refusal.recipient in ("", recipient)
        for peer in life.peers
        for refusal in peer.refusals
    )


def _owners(kept: Kept) -> tuple[str, ...]:
    """From whom the mail to members of a list goes on."""
    return (OWNER,) if LIST in kept.ends["expanded"] else ()


def _copies(life: Life, books: Books, copies: list[tuple[str, Copy]]) -> Iterator[str]:
    """One copy for each recipient, and one more for each final reply that was interrupted, and that is counted."""
    times: dict[tuple[str, str], list[Copy]] = defaultdict(list)
    lied = {one.whom for one in life.plan.dns}
    for number, copy in copies:
        if number not in books.kept:
            yield f"{copy.taken.host} got {number}, of which nothing is stored"
        for recipient in copy.taken.recipients:
            times[number, recipient].append(copy)
            domain = domain_of(recipient)
            if copy.taken.host not in TAKERS.get(domain, ()) and domain not in lied:
                yield f"{copy.taken.host} got {number} for {recipient}"
    for (number, recipient), taken in times.items():
        kept = books.kept.get(number)
        if kept is None:
            continue
        if recipient not in kept.recipients:
            yield f"{taken[0].taken.host} got {number} for {recipient}, to whom it was not sent"
        unknown = kept.unknown[recipient]
        told = kept.ends["delivered"].count(recipient)
        if len(taken) - told > unknown:
            yield f"{number} for {recipient}: {len(taken)} copies, delivered {told}, {unknown} unknown results"
        heard = sum(copy.is_answered and not _is_interrupted(life, copy) for copy in taken)
        if heard > told:
            yield f"{number} for {recipient}: {heard} copies whose replies nothing interrupted, delivered {told}"


def _is_interrupted(life: Life, copy: Copy) -> bool:
    """May the result of a final reply that was heard have been lost before it was stored?"""
    machine, plan, at = life.machine, life.plan, copy.taken.at
    if copy.transport.other.process.is_replaced:
        return True  # what it stores is refused
    window, ends = IN_FLIGHT, list(machine.crashes)
    if plan.network or any(one.what in ("is slow", "speaks in pieces") for one in plan.moods):
        window = LATE  # it is heard that much later than the peer has noted
        ends += [stop + GRACE for stop in machine.stops]  # what has not ended by then is cut off, and counted
    if machine.frozen:
        window = 2 * HOUR  # it may stand still between hearing and storing
    for spell in plan.disk:
        if spell.begins - LATE < at - START < spell.ends + LATE:
            window = max(window, START + spell.ends + 2 * LATE - at)  # it is kept in memory until it can be stored
            ends += machine.stops
    return any(at - 2 * LATENCY < end < at + window for end in ends)


def _octets(life: Life, books: Books, copies: list[tuple[str, Copy]]) -> Iterator[str]:
    """What arrives is what was sent, behind one trace field of ours; its envelope too."""
    originals = {kept.id: letter for letter in life.letters for kept in messages_of(letter, books)}
    for number, copy in copies:
        letter, taken = originals.get(number), copy.taken
        if letter is None:
            kept = books.kept.get(number)
            if kept is not None and not kept.about:
                yield f"{taken.host} got {number}, which nobody has sent"
            if taken.sender:
                yield f"{number} arrived at {taken.host} from <{taken.sender}>, who has not sent it"
            continue
        if without_trace(taken.content) != letter.content:
            yield f"{number} arrived at {taken.host} with other octets than were sent"
        if taken.sender != letter.posted.sender and taken.sender not in _owners(books.kept[number]):
            yield f"{number} arrived at {taken.host} from <{taken.sender}>"


def _notices(books: Books, copies: list[tuple[str, Copy]]) -> Iterator[str]:
    """Somebody is told of each recipient that failed, once; of a late one once at most; of nothing else."""
    contents = {number: copy.taken.content for number, copy in copies}
    for kept in books.kept.values():
        told: dict[str, Counter[str]] = defaultdict(Counter)
        unread = False
        for about, number in kept.notices:
            notice = books.kept.get(number)
            if notice is None or notice.about != kept.id:
                yield f"{kept.id} has a notice {number} of which nothing is stored"
            elif number in contents:
                told[about].update(
                    to.decode() for to, action in _FATE.findall(contents[number]) if action.decode() == about
                )
            else:
                unread = True  # it was refused, or dropped
        failed = Counter(kept.ends["failed"]) if kept.sender or kept.about else Counter()
        if failed and not any(about == "failed" for about, _ in kept.notices) and not _is_hopeless(kept, books):
            yield f"{kept.id} failed for {kept.ends['failed']}, and nobody was told"
        if told["failed"] - failed or (failed - told["failed"] and not unread and not _is_hopeless(kept, books)):
            yield f"{kept.id} failed for {dict(failed)}, and told of {dict(told['failed'])}"
        if told["delayed"] - Counter(kept.recipients):
            yield f"{kept.id} told more than once that it is late: {dict(told['delayed'])}"


def _is_hopeless(kept: Kept, books: Books) -> bool:
    """Is it the notice about a notice? Of what becomes of that nobody is told."""
    about = books.kept.get(kept.about)
    return about is not None and bool(about.about)


def _left(life: Life, books: Books) -> Iterator[str]:
    """Nothing is left: in the queue, on the disk, in the process; and nothing has gone wrong on the way."""
    machine = life.machine
    yield from (f"left open: {one}" for one in machine.left)
    yield from (f"a lock is still held: {name}" for name in machine.volume.locks)
    if not life.plan.disk and not machine.tainted:  # what failed to be removed goes with the next start
        yield from (f"a content file is left: {path}" for path in machine.volume.content_files())
    yield from (f"logged: {failure}" for failure in machine.failures)
    if books.rows["delivery"]:
        yield f"left in the queue: {books.rows}"


def messages_of(letter: Letter, books: Books) -> list[Kept]:
    """What the relay has kept of a letter."""
    posted = letter.posted
    if posted.sender:
        return [kept for kept in books.kept.values() if not kept.about and kept.sender == posted.sender]
    own = set(posted.recipients)
    return [kept for kept in books.kept.values() if not kept.about and own & set(kept.recipients)]
