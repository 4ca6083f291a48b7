"""The side that asks: what we say to a server, as generators, since we decide what comes next.

`hello` opens a session, `deliver` carries a message, `bye` closes. They yield the steps of `mta.smtp.steps` and are
sent the replies to each, always as many as it asks for. The peer may offer PIPELINING (RFC 2920) or not, and speak
SMTP or LMTP (RFC 2033): the same generators serve.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from mta.smtp import limits
from mta.smtp.content import stuff
from mta.smtp.reply import Reply
from mta.smtp.steps import Commands, Content, Dialogue, Greeting, OwnReply

RECIPIENTS_LIMIT = 100  # of one transaction: every server takes as many (RFC 5321 4.5.3.1.8)

_HELO_INSTEAD = frozenset({500, 502, 504, 550})
_TOO_MANY_RECIPIENTS = frozenset({452, 552})


_IN_VAIN = Reply(503, "5.5.1", ("not asked for: the command before was refused",))
_SESSION_ENDED = OwnReply(451, "4.4.2", ("the session ended before this recipient's turn",))


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
    the session ended after the content, so that nobody knows who is responsible (RFC 1047).
    """

    TAKEN = "taken"
    REFUSED = "refused"
    OURS = "ours"
    LOST = "lost"
    UNKNOWN = "unknown"


class Ending(NamedTuple):
    """How it ended for one recipient, by which reply (an `OwnReply` where the peer gave none), to what."""

    how: How
    reply: Reply
    stage: Stage


class Next(Enum):
    """What a session is good for after a transaction."""

    MAIL = "another MAIL"
    RESET = "another MAIL behind a RSET: the server may still have a transaction open"
    NOTHING = "nothing: it has ended, or the two sides no longer agree on where they are"


class Delivery(NamedTuple):
    """What came of carrying a message over one session: an ending for each of its recipients, in order."""

    endings: list[Ending]
    next: Next


class Peer(NamedTuple):
    """A server that has introduced itself. extensions: keyword, in upper case, to its parameters (RFC 5321 4.1.1.1)."""

    name: str
    extensions: Mapping[str, str]
    lmtp: bool = False

    @property
    def size_limit(self) -> int:
        """The largest message in octets that it says it takes (RFC 1870); 0 where it does not say."""
        limit = self.extensions.get("SIZE", "")
        return int(limit) if limit.isdecimal() and len(limit) <= 20 else 0


class Mail(NamedTuple):
    """A message to carry. Paths as "local@domain", the reverse-path "" for the null one.

    size: octets, before transparency. eight_bit: BODY=8BITMIME is to be said where the peer knows it. dotted: some
    line begins with a dot. blocks: the content, from its beginning at every call.
    """

    reverse_path: str
    forward_paths: Sequence[str]
    size: int
    eight_bit: bool
    dotted: bool
    blocks: Callable[[], Iterator[bytes]]


def hello(name: str, lmtp: bool = False) -> Dialogue[Peer | Ending]:
    """Greeting and introduction, by `name`, our host name. EHLO, else HELO (RFC 5321 3.2); LHLO for LMTP.

    An `Ending` when the server does not want us, or is none.
    """
    [greeting] = yield Greeting()
    if not greeting.is_positive:
        return _refusal(greeting, Stage.GREETING)
    word = b"LHLO" if lmtp else b"EHLO"
    [reply] = yield Commands(b"%b %b\r\n" % (word, name.encode()))
    if reply.is_positive:
        extensions = dict(_extension(line) for line in reply.lines[1:])
        return Peer(_first_word(reply), extensions, lmtp)
    if reply.code in _HELO_INSTEAD and lmtp:
        # A mistake in the configuration, as it seems, and no reason to bounce.
        return Ending(How.LOST, OwnReply(451, "4.5.0", (f"the server does not speak LMTP: {reply}",)), Stage.GREETING)
    if reply.code in _HELO_INSTEAD:
        [reply] = yield Commands(b"HELO %b\r\n" % name.encode())
        if reply.is_positive:
            return Peer(_first_word(reply), {})
    return _refusal(reply, Stage.GREETING)


def bye() -> Dialogue[None]:
    """Take leave, whatever the answer."""
    yield Commands(b"QUIT\r\n", seconds=limits.CLIENT_QUIT)


def deliver(peer: Peer, mail: Mail, after: Next = Next.MAIL) -> Dialogue[Delivery]:
    """Carry a message to all its recipients, in as many transactions as it takes. after: as the last one left it.

    Recipients that a server finds too many for one transaction go in the next (RFC 5321 4.5.3.1.10).
    """
    endings: dict[int, Ending] = {}
    waiting: list[int] = []
    unfit = _unfit_message(peer, mail)
    for index, path in enumerate(mail.forward_paths):
        objection = unfit or _unfit_path(path)
        if objection is None:
            waiting.append(index)
        else:
            endings[index] = Ending(How.OURS, objection, Stage.MAIL if unfit else Stage.RCPT)
    while waiting:
        asked, waiting = waiting[:RECIPIENTS_LIMIT], waiting[RECIPIENTS_LIMIT:]
        try:
            results, after = yield from _transaction(peer, mail, [mail.forward_paths[index] for index in asked], after)
        except OSError as error:
            unreadable = OwnReply(451, "4.3.0", (f"the content cannot be read: {error}",))
            endings.update(dict.fromkeys(asked + waiting, Ending(How.OURS, unreadable, Stage.CONTENT)))
            return Delivery(_in_order(endings), Next.NOTHING)
        too_many = []
        for index, ending in zip(asked, results, strict=True):
            if ending is None:
                too_many.append(index)
            else:
                endings[index] = ending
        waiting = too_many + waiting
        if after is Next.NOTHING:
            last = next((e.reply for e in endings.values() if e.how in (How.LOST, How.UNKNOWN)), _SESSION_ENDED)
            endings.update(dict.fromkeys(waiting, Ending(How.LOST, last, Stage.MAIL)))
            break
    return Delivery(_in_order(endings), after)


def _in_order(endings: dict[int, Ending]) -> list[Ending]:
    return [endings[index] for index in range(len(endings))]


_Results: TypeAlias = list[Ending | None]  # None: too many recipients, this one goes in the next transaction


def _transaction(peer: Peer, mail: Mail, paths: Sequence[str], after: Next) -> Dialogue[tuple[_Results, Next]]:
    """One mail transaction."""
    opening = [b"RSET\r\n"] if after is Next.RESET else []
    opening.append(_mail_from(peer, mail))
    rcpts = [b"RCPT TO:<%b>\r\n" % path.encode("ascii") for path in paths]
    if "PIPELINING" in peer.extensions:
        replies = yield Commands(*opening, *rcpts, b"DATA\r\n")
    else:
        replies = yield from _in_turn(opening, rcpts)
    data = replies[-1]
    results, accepted = _before_data(replies[: len(opening)], replies[len(opening) : -1])
    lost = next((ending for ending in results if ending and ending.how is How.LOST), None)
    if lost is not None:
        _fill(results, accepted, lost)
        return results, Next.NOTHING
    if data.code != 354:
        refusal = _refusal(data, Stage.DATA)
        _fill(results, accepted, refusal)
        return results, Next.NOTHING if refusal.how is How.LOST else Next.RESET
    if not accepted:
        return results, (yield from _nothing_to_send(peer))

    content = Content(stuff(mail.blocks(), mail.dotted), mail.size, len(accepted) if peer.lmtp else 1)
    replies = yield content
    finals = [_final(reply, content.sent) for reply in replies]
    for index, ending in zip(accepted, finals if peer.lmtp else finals * len(accepted), strict=True):
        results[index] = ending
    agreed = content.sent and all(ending.how in (How.TAKEN, How.REFUSED) for ending in finals)
    return results, Next.MAIL if agreed else Next.NOTHING


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


def _in_turn(opening: Sequence[bytes], rcpts: Sequence[bytes]) -> Dialogue[list[Reply]]:
    """The replies to the commands of a transaction, one asked for after the other. What would be in vain is not sent;
    its reply is what a server would say."""
    replies: list[Reply] = []
    for command in opening:
        replies += yield Commands(command)
        if not replies[-1].is_positive:
            return replies + [_IN_VAIN] * (len(opening) - len(replies) + len(rcpts) + 1)
    answers: list[Reply] = []
    for command in rcpts:
        answers += yield Commands(command)
    data = [_IN_VAIN]
    if any(reply.is_positive for reply in answers):
        data = yield Commands(b"DATA\r\n", seconds=limits.CLIENT_DATA)
    return replies + answers + data


def _nothing_to_send(peer: Peer) -> Dialogue[Next]:
    """The server took a pipelined DATA though it took no recipient: end it at once (RFC 2920 3.1).

    An LMTP server must not do that, and how often it would reply nobody can tell (RFC 2033 4.2).
    """
    if peer.lmtp:
        return Next.NOTHING
    content = Content(iter((b".\r\n",)), 0, 1)
    [reply] = yield content
    return Next.NOTHING if _final(reply, content.sent).how in (How.LOST, How.UNKNOWN) else Next.MAIL


def _mail_from(peer: Peer, mail: Mail) -> bytes:
    """MAIL with the parameters that the peer knows."""
    size = b" SIZE=%d" % mail.size if "SIZE" in peer.extensions else b""
    body = b" BODY=8BITMIME" if mail.eight_bit and "8BITMIME" in peer.extensions else b""
    return b"MAIL FROM:<%b>%b%b\r\n" % (mail.reverse_path.encode("ascii"), size, body)


def _unfit_message(peer: Peer, mail: Mail) -> OwnReply | None:
    """Our own refusal of what the peer would refuse anyway; None when it may be asked."""
    if 0 < peer.size_limit < mail.size:
        return OwnReply(552, "5.3.4", (f"{mail.size} octets are more than {peer.name} takes ({peer.size_limit})",))
    if not _is_sendable(mail.reverse_path):
        return OwnReply(553, "5.1.7", ("the reverse-path cannot be sent in ASCII",))
    return None


def _unfit_path(path: str) -> OwnReply | None:
    return None if _is_sendable(path) else OwnReply(553, "5.1.3", ("the forward-path cannot be sent in ASCII",))


def _is_sendable(path: str) -> bool:
    """Whatever else is wrong with a path: it must not end the line that it stands in."""
    return path.isascii() and path.isprintable()


def _refusal(reply: Reply, stage: Stage) -> Ending:
    """What a reply that is not the hoped-for one means. Neither a refusal nor expected: we have lost each other."""
    if reply.code >= 400 and reply.code != 421 and not isinstance(reply, OwnReply):
        return Ending(How.REFUSED, reply, stage)
    return _lost(reply, stage)


def _lost(reply: Reply, stage: Stage) -> Ending:
    if isinstance(reply, OwnReply) or reply.code == 421:
        return Ending(How.LOST, reply, stage)
    return Ending(How.LOST, OwnReply(451, "4.5.0", (f"unexpected reply to {stage.value}: {reply}",)), stage)


def _final(reply: Reply, sent: bool) -> Ending:
    """What the reply to the content means. A success that came before the content's end is none."""
    if sent and reply.is_positive:
        return Ending(How.TAKEN, reply, Stage.CONTENT)
    ending = _refusal(reply, Stage.CONTENT)
    if sent and ending.how is How.LOST and isinstance(ending.reply, OwnReply):
        return ending._replace(how=How.UNKNOWN)
    return ending


def _fill(results: _Results, accepted: Sequence[int], ending: Ending) -> None:
    for index in accepted:
        results[index] = ending


def _extension(line: str) -> tuple[str, str]:
    """A line of the reply to EHLO: keyword and parameters."""
    keyword, _, parameters = line.partition(" ")
    return keyword.upper(), parameters


def _first_word(reply: Reply) -> str:
    return reply.lines[0].partition(" ")[0]
