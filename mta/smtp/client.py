"""The side that asks: what we say to a server, as generators, since we decide what comes next.

`deliver` carries a message, `bye` closes; how a session is opened is in `mta.smtp.opening`, and what each command says
in `mta.smtp.asking`. They yield the steps of `mta.smtp.steps` and are sent the replies to each, always as many as it
asks for. The peer may offer PIPELINING (RFC 2920) or not, and speak SMTP or LMTP (RFC 2033): the same generators serve.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from mta.smtp import limits
from mta.smtp.allowance import RECIPIENTS_LIMIT
from mta.smtp.asking import Mail, Objection, Peer, commands, objection_to_mail, objection_to_rcpt
from mta.smtp.content import stuff
from mta.smtp.reply import Reply
from mta.smtp.steps import Commands, Content, Dialogue, OwnReply

_TOO_MANY_RECIPIENTS = frozenset({452, 552})

_IN_VAIN = Reply(503, "5.5.1", ("not asked for: the command before was refused",))
_SESSION_ENDED = OwnReply(451, "4.4.2", ("the session ended before this recipient's turn",))
_NEXT_SESSION = OwnReply(451, "4.5.3", ("the server takes no more recipients in one session",))


class Stage(Enum):
    """Which of our steps a reply decided."""

    GREETING = "the greeting"
    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "the content"


class How(Enum):
    """How it ended for one recipient.

    TAKEN: the server is responsible now. REFUSED: it said no, for now (4yz) or for good (5yz). OURS: we did not even
    ask. LOST: the session ended first, surely before the server was responsible; another host may be asked. UNKNOWN:
    the session ended after the content, so that nobody knows who is responsible (RFC 1047). ELSEWHERE: we did not ask
    this host, which may not be given the message; another one may. LATER: the session has done as much as the server
    allows (RFC 9422); the same host is to be asked in a new one.
    """

    TAKEN = "taken"
    REFUSED = "refused"
    OURS = "ours"
    LOST = "lost"
    UNKNOWN = "unknown"
    ELSEWHERE = "elsewhere"
    LATER = "later"


# Each by a name of its own: to ask an Enum for a member takes Python 3.11 as long as thirty such names.
TAKEN, REFUSED, OURS, LOST, UNKNOWN, ELSEWHERE, LATER = How


class Ending(NamedTuple):
    """How it ended for one recipient, by which reply (an `OwnReply` where the peer gave none), to what."""

    how: How
    reply: Reply
    stage: Stage


class Next(Enum):
    """What a session is good for after a transaction."""

    MAIL = "another MAIL"
    RESET = "another MAIL behind a RSET: the server may still have a transaction open"
    LEAVE = "nothing more: the server allows no more (RFC 9422)"
    NOTHING = "nothing: it has ended, or the two sides no longer agree on where they are"


MAIL, RESET, LEAVE, NOTHING = Next
_CONTENT = Stage.CONTENT


class Delivery(NamedTuple):
    """What came of carrying a message over one session: an ending for each of its recipients, in order."""

    endings: list[Ending]
    next: Next


def bye() -> Dialogue[None]:
    """Take leave, whatever the answer."""
    yield Commands(b"QUIT\r\n", seconds=limits.CLIENT_QUIT)


def deliver(peer: Peer, mail: Mail, after: Next = MAIL) -> Dialogue[Delivery]:
    """Carry a message to all its recipients, in as many transactions as it takes. after: as the last one left it.

    Recipients that a server finds too many for one transaction go in the next (RFC 5321 4.5.3.1.10).
    """
    objection = objection_to_mail(peer, mail)
    if objection is not None:
        return Delivery([_not_asked(objection)] * len(mail.forward_paths), after)
    endings = {} if mail.plain else _unfit(peer, mail)
    waiting = list(range(len(mail.forward_paths)))
    if endings:
        waiting = [index for index in waiting if index not in endings]
    while waiting:
        asked, waiting = _share(peer, mail, waiting)
        if not asked:
            endings.update(dict.fromkeys(waiting, Ending(LATER, _NEXT_SESSION, Stage.MAIL)))
            break
        try:
            results, after = yield from _transaction(peer, mail, asked, after)
        except OSError as error:
            unreadable = OwnReply(451, "4.3.0", (f"the content cannot be read: {error}",))
            endings.update(dict.fromkeys(asked + waiting, Ending(OURS, unreadable, _CONTENT)))
            return Delivery(_in_order(endings), NOTHING)
        too_many = []
        for index, ending in zip(asked, results, strict=True):
            if ending is None:
                too_many.append(index)
            else:
                endings[index] = ending
        waiting = too_many + waiting
        if after is NOTHING:
            last = next((e.reply for e in endings.values() if e.how in (LOST, UNKNOWN)), _SESSION_ENDED)
            endings.update(dict.fromkeys(waiting, Ending(LOST, last, Stage.MAIL)))
            break
    if peer.allowance is not None and not peer.allowance.mails and after is not NOTHING:
        after = LEAVE
    return Delivery(_in_order(endings), after)


def _unfit(peer: Peer, mail: Mail) -> dict[int, Ending]:
    """The recipients for whom the peer is not asked, by index."""
    objections = {index: objection_to_rcpt(peer, path) for index, path in enumerate(mail.forward_paths)}
    return {index: Ending(OURS, why, Stage.RCPT) for index, why in objections.items() if why is not None}


def _not_asked(objection: Objection) -> Ending:
    return Ending(ELSEWHERE if objection.elsewhere else OURS, objection.reply, Stage.MAIL)


def _share(peer: Peer, mail: Mail, waiting: list[int]) -> tuple[list[int], list[int]]:
    """Those of the waiting who are asked for in the next transaction, and the others."""
    if peer.allowance is not None:
        return peer.allowance.take(mail.forward_paths, waiting)
    return waiting[:RECIPIENTS_LIMIT], waiting[RECIPIENTS_LIMIT:]


def _in_order(endings: dict[int, Ending]) -> list[Ending]:
    return [endings[index] for index in range(len(endings))]


_Results: TypeAlias = list[Ending | None]  # None: too many recipients, this one goes in the next transaction


def _transaction(peer: Peer, mail: Mail, asked: Sequence[int], after: Next) -> Dialogue[tuple[_Results, Next]]:
    """One mail transaction, for the recipients with these indices."""
    mail_from, *rcpts = commands(peer, mail, asked)
    opening = [b"RSET\r\n", mail_from] if after is RESET else [mail_from]
    data = () if mail.binary else (b"DATA\r\n",)
    if "PIPELINING" in peer.extensions:
        replies = yield Commands(*opening, *rcpts, *data)
    else:
        replies = yield from _in_turn(opening, rcpts, data)
    behind = len(opening) + len(rcpts)
    results, accepted = _before_data(replies[: len(opening)], replies[len(opening) : behind])
    lost = next((ending for ending in results if ending and ending.how is LOST), None)
    if lost is not None:
        _fill(results, accepted, lost)
        return results, NOTHING
    if data and replies[-1].code != 354:
        refusal = _refusal(replies[-1], Stage.DATA)
        _fill(results, accepted, refusal)
        return results, NOTHING if refusal.how is LOST else RESET
    if not accepted:
        return results, (yield from _nothing_to_send(peer)) if data else RESET

    blocks = _chunk(mail.blocks(), mail.size) if mail.binary else stuff(mail.blocks(), mail.dotted)
    content = Content(blocks, mail.size, len(accepted) if peer.lmtp else 1)
    replies = yield content
    finals = [_final(reply, content.sent) for reply in replies]
    for index, ending in zip(accepted, finals if peer.lmtp else finals * len(accepted), strict=True):
        results[index] = ending
    if not content.sent or not all(ending.how in (TAKEN, REFUSED) for ending in finals):
        return results, NOTHING
    # After a chunk that was refused, what the server holds of the transaction is anybody's guess (RFC 3030 2).
    return results, RESET if mail.binary and any(ending.how is REFUSED for ending in finals) else MAIL


def _chunk(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The content as the one chunk of its transaction (RFC 3030 2).

    Its octets have been counted out to the server, which would take one too many for a command. So content that is
    not as long as it was is an `OSError`, and the octet never sent.
    """
    yield b"BDAT %d LAST\r\n" % size
    for block in blocks:
        size -= len(block)
        if size < 0:
            break
        yield block
    if size:
        raise OSError("it is not as long as it was")


def _before_data(opened: Sequence[Reply], answers: Sequence[Reply]) -> tuple[_Results, list[int]]:
    """What the replies to RSET and MAIL, and to each RCPT, mean; and which recipients were accepted."""
    if len(opened) == 2 and not opened[0].is_positive:
        # A refused RSET says nothing about the message: then the session is of no use.
        return [_lost(opened[0], Stage.RSET)] * len(answers), []
    if not opened[-1].is_positive:
        return [_refusal(opened[-1], Stage.MAIL)] * len(answers), []
    results: _Results = []
    accepted: list[int] = []
    for index, reply in enumerate(answers):
        if reply.is_positive:
            accepted.append(index)
            results.append(None)
        elif accepted and reply.code in _TOO_MANY_RECIPIENTS:
            results.append(None)
        else:
            results.append(_refusal(reply, Stage.RCPT))
    return results, accepted


def _in_turn(opening: Sequence[bytes], rcpts: Sequence[bytes], data: Sequence[bytes]) -> Dialogue[list[Reply]]:
    """The replies to the commands of a transaction, one asked for after the other. What would be in vain is not sent;
    its reply is what a server would say. data: DATA, or nothing."""
    replies: list[Reply] = []
    for command in opening:
        replies += yield Commands(command)
        if not replies[-1].is_positive:
            return replies + [_IN_VAIN] * (len(opening) - len(replies) + len(rcpts) + len(data))
    answers: list[Reply] = []
    for command in rcpts:
        answers += yield Commands(command)
    if data and any(reply.is_positive for reply in answers):
        return replies + answers + (yield Commands(*data, seconds=limits.CLIENT_DATA))
    return replies + answers + [_IN_VAIN] * len(data)


def _nothing_to_send(peer: Peer) -> Dialogue[Next]:
    """The server took a pipelined DATA though it took no recipient: end it at once (RFC 2920 3.1).

    An LMTP server must not do that, and how often it would reply nobody can tell (RFC 2033 4.2).
    """
    if peer.lmtp:
        return NOTHING
    content = Content(iter((b".\r\n",)), 0, 1)
    [reply] = yield content
    return NOTHING if _final(reply, content.sent).how in (LOST, UNKNOWN) else MAIL


def _refusal(reply: Reply, stage: Stage) -> Ending:
    """What a reply that is not the hoped-for one means. Neither a refusal nor expected: we have lost each other."""
    if reply.code >= 400 and reply.code != 421 and not isinstance(reply, OwnReply):
        return Ending(REFUSED, reply, stage)
    return _lost(reply, stage)


def _lost(reply: Reply, stage: Stage) -> Ending:
    if isinstance(reply, OwnReply) or reply.code == 421:
        return Ending(LOST, reply, stage)
    return Ending(LOST, OwnReply(451, "4.5.0", (f"unexpected reply to {stage.value}: {reply}",)), stage)


def _final(reply: Reply, sent: bool) -> Ending:
    """What the reply to the content means. A success that came before the content's end is none."""
    if sent and reply.is_positive:
        return Ending(TAKEN, reply, _CONTENT)
    ending = _refusal(reply, _CONTENT)
    if sent and ending.how is LOST and isinstance(ending.reply, OwnReply):
        return ending._replace(how=UNKNOWN)
    return ending


def _fill(results: _Results, accepted: Sequence[int], ending: Ending) -> None:
    for index in accepted:
        results[index] = ending
