"""The promises: what the relay owes to those around it, checked when all is over.

`problems` names every promise that was not kept. What clients were told and what servers have taken is held against
the timelines that the relay has stored; of its log only alarms count.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from simulated.books import Books, read_books
from simulated.network import START
from simulated.people import Mail, Taken
from simulated.scenario import CAROL, DEAD, DELIVERED, ERIN, MAILBOXES, Play
from simulated.wire import LATENCY

HOUR = 3600.0
MOST_ATTEMPTS = 12  # at a dead host within an hour
MOST_AFTER_CRASH = 3  # and so many more for each crash
IN_FLIGHT = 0.1  # seconds from a server's final reply until the relay has stored it

_TRACE = re.compile(rb"Received: [^\n]*\r\n(?:[ \t][^\n]*\r\n)*")
_ID = re.compile(rb"\sid ([0-9A-Z]+)")
_MESSAGE_ID = re.compile(rb"^Message-I[dD]: <([0-9A-Z]+)[@.]", re.MULTILINE)
_FATE = re.compile(rb"^Final-Recipient: rfc822; ?(\S+)\r\nAction: (\w+)\r$", re.MULTILINE)


def problems(play: Play) -> list[str]:
    """Every promise that was not kept."""
    books = read_books(play.machine.volume, play.world.seconds())
    copies = [(queue_id(taken), taken) for server in play.servers for taken in server.taken]
    return [
        *_clients(play.mails, books),
        *_ends(books),
        *_copies(copies, books, play.machine.crashes),
        *_octets(copies, books, play.mails),
        *_notices(copies, books, play.machine.frozen > 0),
        *_attempts(play.world.asked, len(play.machine.crashes), play.machine.workers),
        *_left(play, books),
    ]


def _clients(mails: Sequence[Mail], books: Books) -> Iterator[str]:
    """What a client was told is true, and what it does not know is the only reason for a second message."""
    for mail in mails:
        if not mail.ids:
            yield f"{mail.mark} was never taken: {mail.refusals or 'no reply at all'}"
        yield from (f"{mail.mark} was refused: {why}" for why in mail.refusals if not why.startswith("421 "))
        yield from (
            f"{mail.mark} was accepted as {one}, of which nothing is stored"
            for one in mail.ids
            if one not in books.kept
        )
        messages = len(_messages_of(mail, books))
        if messages > 1 + mail.unsure:
            yield f"{mail.mark} was kept {messages} times, though only {mail.unsure} tries had no reply"


def _ends(books: Books) -> Iterator[str]:
    """Every accepted recipient has exactly one end, and the right one."""
    for kept in books.kept.values():
        if kept.ended != 1:
            yield f"{kept.id} has ended {kept.ended} times"
        ends = Counter(kept.ends["delivered"] + kept.ends["failed"])
        if ends != Counter(kept.recipients):
            yield f"{kept.id} for {kept.recipients} ended as {dict(kept.ends)}"
        for recipient in kept.ends["failed"]:
            if recipient in DELIVERED or recipient in MAILBOXES:
                yield f"{kept.id} failed for {recipient}, who takes mail"


def _copies(copies: Sequence[tuple[str, Taken]], books: Books, crashes: Sequence[float]) -> Iterator[str]:
    """A server has what was delivered to it, once; and once more only where its final reply was interrupted."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number, taken in copies:
        if number not in books.kept:
            yield f"{taken.host} got {number}, of which nothing is stored"
        for recipient in taken.recipients:
            times[number, recipient].append(taken.at)
            if (DELIVERED | MAILBOXES).get(recipient) != taken.host:
                yield f"{taken.host} got {number} for {recipient}"
    for kept in books.kept.values():
        if kept.unknown and not crashes:
            yield f"{kept.id} has unknown results {dict(kept.unknown)}, though nothing was interrupted"
        for recipient in kept.recipients:
            taken_at = times[kept.id, recipient]
            if bool(taken_at) != (recipient in kept.ends["delivered"]):
                yield f"{kept.id} for {recipient}: {len(taken_at)} copies, but {dict(kept.ends)}"
            unknown = kept.unknown[recipient]
            if len(taken_at) - 1 > unknown:
                yield f"{kept.id} for {recipient}: {len(taken_at)} copies, but {unknown} unknown results"
            for at in taken_at[:-1]:
                if not any(-2 * LATENCY < crash - at < IN_FLIGHT for crash in crashes):
                    yield f"{kept.id} for {recipient}: a second copy, though nothing interrupted the first reply"


def _octets(copies: Sequence[tuple[str, Taken]], books: Books, mails: Sequence[Mail]) -> Iterator[str]:
    """What arrives is what was sent, behind one trace field of ours; its envelope too."""
    originals = {number: mail for mail in mails for number in _messages_of(mail, books)}
    for number, taken in copies:
        mail = originals.get(number)
        if mail is not None:
            if without_trace(taken.content) != mail.content:
                yield f"{number} arrived at {taken.host} with other octets than were sent"
            if taken.sender != mail.sender:
                yield f"{number} arrived at {taken.host} from <{taken.sender}>"
        elif taken.sender:
            yield f"{number} arrived at {taken.host} from <{taken.sender}>, who has not sent it"


def _notices(copies: Sequence[tuple[str, Taken]], books: Books, too_late: bool) -> Iterator[str]:
    """A sender is told of each recipient that failed, once; of the late one, once; nobody is told of anything else.

    too_late: a worker stood still for so long that more was late, or nobody could be told of it in time.
    """
    contents = {number: taken.content for number, taken in copies}
    for kept in books.kept.values():
        told: dict[str, list[str]] = {"failed": [], "delayed": []}
        for about, number in kept.notices:
            notice = books.kept.get(number)
            if notice is None or notice.about != kept.id:
                yield f"{kept.id} has a notice {number} of which nothing is stored"
            elif number in contents:
                told[about] += [
                    to.decode() for to, action in _FATE.findall(contents[number]) if action.decode() == about
                ]
            elif notice.recipients[0] in MAILBOXES:
                yield f"{number}, a notice about {kept.id}, never arrived"
            else:
                told[about] += kept.ends["failed"]  # it was refused, so that there is a double bounce
        owed = kept.ends["failed"] if kept.sender or kept.about else []
        if Counter(told["failed"]) != Counter(owed):
            yield f"{kept.id} failed for {owed}, and told of {told['failed']}"
        late = [one for one in kept.recipients if one == ERIN and kept.sender]
        if told["delayed"] != late and not (too_late and set(told["delayed"]) <= {ERIN, CAROL}):
            yield f"{kept.id} was late for {late}, and told of {told['delayed']}"


def _attempts(asked: Sequence[tuple[float, str]], crashes: int, workers: int) -> Iterator[str]:
    """A dead host is left in peace, by each worker."""
    times = [at for at, address in asked if address == DEAD]
    most = MOST_ATTEMPTS * workers + MOST_AFTER_CRASH * crashes
    for first, last in zip(times, times[most:], strict=False):
        if last - first < HOUR:
            yield f"{DEAD} was tried more than {most} times in the hour from {first - START:.0f} s on"
            return


def _left(play: Play, books: Books) -> Iterator[str]:
    """Nothing is left: in the queue, on the disk, in the process; and nothing has gone wrong on the way."""
    yield from (f"left open: {one}" for one in play.machine.left)
    yield from (f"a lock is still held: {name}" for name in play.machine.volume.locks)
    yield from (f"a content file is left: {path}" for path in play.machine.volume.content_files())
    if books.queued or books.rows["message"] or books.rows["delivery"]:
        yield f"left in the queue: {books.queued} recipients, rows {books.rows}"
    yield from (f"logged: {failure}" for failure in play.machine.failures)
    yield from (f"logged: {line}" for line in play.machine.lines if " alarm " in line or " stale " in line)


def _messages_of(mail: Mail, books: Books) -> list[str]:
    return [
        kept.id
        for kept in books.kept.values()
        if not kept.about and kept.sender == mail.sender and kept.recipients == list(mail.recipients)
    ]


def queue_id(taken: Taken) -> str:
    """Under which id the relay knew a message that it has sent: its trace field tells, or a notice's Message-ID."""
    trace = _TRACE.match(taken.content)
    found = _ID.search(trace[0]) if trace else _MESSAGE_ID.search(taken.content)
    return found[1].decode() if found else ""


def without_trace(content: bytes) -> bytes:
    """A content as it was before the relay put its trace field before it."""
    return _TRACE.sub(b"", content, count=1)
