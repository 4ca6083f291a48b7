"""The server's side of a session, as an object with events, since the client decides what comes next.

    session.receive(octets)
    event = session.next_event()       # a command, Content, EndOfContent, Rejected or NEED_OCTETS
    session.reply(replies.OK)          # answers the last command or EndOfContent
    transport.write(session.octets_to_send())

After a command or EndOfContent nothing further comes out until `reply`, so that pipelined commands keep their order
however long an answer takes (RFC 2920). What is wrong or out of order the session answers itself.
"""

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TypeAlias

from mta.smtp import replies
from mta.smtp.command import Command, Dialect, Mail, is_not_mail, parse_arguments, reply_to_unknown, verb_of
from mta.smtp.content import ContentReader
from mta.smtp.extensions import EXTENSIONS, Extension, mail_parameters, rcpt_parameters
from mta.smtp.framing import LineFault, LineReader
from mta.smtp.limits import SessionLimits
from mta.smtp.reply import Reply, render
from mta.smtp.states import END_OF_CONTENT, IN_TRANSACTION, ROWS, State, Step

_IDLE_VERBS = frozenset({b"NOOP", b"RSET", b"VRFY", b"HELP", b"HELO", b"EHLO"})


@dataclass(frozen=True)
class ServerSettings:
    """What a listener offers to a kind of client; sessions share it.

    message_size: the largest content in octets, 0 for any. bare_lf: "refuse" or "fix", for commands and content.
    lenient: see `Dialect`.
    """

    message_size: int = 0
    bare_lf: str = "refuse"
    lenient: bool = False
    extensions: tuple[Extension, ...] = EXTENSIONS
    limits: SessionLimits = field(default_factory=SessionLimits)

    @cached_property
    def keywords(self) -> tuple[str, ...]:
        """The extensions as the answer to EHLO lists them."""
        return tuple(extension.announcement(self.message_size) for extension in self.extensions)

    @cached_property
    def dialect(self) -> Dialect:
        """What command lines are read by."""
        return Dialect(mail_parameters(self.extensions), rcpt_parameters(self.extensions), self.lenient)


@dataclass(frozen=True, slots=True)
class Content:
    """Some of the content, without transparency."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class EndOfContent:
    """All of the content has arrived. size, eight_bit, dotted: as `ContentReader` says.

    fault: the content cannot be taken (nor was all of it given out); answer with this reply.
    """

    size: int
    eight_bit: bool
    dotted: bool
    fault: Reply | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was no command, wrong or out of order, and the reply that it has been given. For logs.

    line: as it came, so not to be shown without care; b"" where it was too long to be kept.
    """

    line: bytes
    reply: Reply


class NeedOctets(Enum):
    """Nothing can be said until more octets arrive, or until `reply`."""

    NEED_OCTETS = "need octets"


NEED_OCTETS = NeedOctets.NEED_OCTETS
Event: TypeAlias = Command | Content | EndOfContent | Rejected | NeedOctets


class ServerSession:
    """One session. `closing`: send what `octets_to_send` still has, then close; nothing more is read."""

    __slots__ = (
        "_bad_commands",
        "_fault",
        "_hostname",
        "_idle_commands",
        "_lines",
        "_out",
        "_reader",
        "_refusals",
        "_settings",
        "_state",
        "_step",
        "closing",
    )

    def __init__(self, hostname: str, settings: ServerSettings) -> None:
        self._hostname = hostname
        self._settings = settings
        self._lines = LineReader(settings.bare_lf == "fix")
        self._out: list[bytes] = []
        self._state = State.CONNECTED
        self._step: Step | None = None  # what the owner owes a reply to
        self._reader: ContentReader | None = None
        self._fault: Reply | None = None
        self._bad_commands = 0
        self._idle_commands = 0
        self._refusals = 0
        self.closing = False

    @property
    def state(self) -> State:
        """Where the session stands; while a reply is owed, where it stood before."""
        return self._state

    @property
    def in_transaction(self) -> bool:
        """A MAIL was accepted, and its transaction has not ended."""
        return self._state in IN_TRANSACTION

    @property
    def in_content(self) -> bool:
        """Content is being read: the times for content hold, not the one for commands."""
        return self._reader is not None

    @property
    def owes_reply(self) -> bool:
        """It is our turn: the client may wait in peace."""
        return self._step is not None

    @property
    def backlog(self) -> int:
        """Octets received and not looked at. While a reply is owed only whoever reads can keep them few."""
        return len(self._lines)

    def greet(self, reply: Reply | None = None) -> None:
        """Greet with 220, or refuse: with 421 the session is closing, with 554 it waits for QUIT (RFC 5321 3.1)."""
        reply = reply or replies.greeting(self._hostname)
        self._state = State.GREETED if reply.is_positive else State.REFUSED
        self._send(reply)

    def receive(self, octets: bytes) -> None:
        """Octets from the client, cut in any way."""
        if not self.closing:
            self._lines.receive(octets)

    def next_event(self) -> Event:
        """What the client has said next. To be called until it is NEED_OCTETS, after `receive` and after `reply`."""
        if self.closing or self._step is not None or self._state is State.CONNECTED:
            return NEED_OCTETS
        if self._reader is not None:
            return self._next_content(self._reader)
        line = self._lines.next_line()
        if line is None:
            return NEED_OCTETS
        if isinstance(line, LineFault):
            return self._reject_fault(line)
        command = self._understand(line)
        return self._reject(line, command) if isinstance(command, Reply) else command

    def reply(self, reply: Reply) -> None:
        """Answer the last command or EndOfContent. The code decides what it leads to.

        Once the session is closing it is too late for an answer, and none is sent.
        """
        if self.closing:
            return
        step = self._step
        if step is None:
            raise RuntimeError(f"nothing waits for a reply: {reply}")
        if self._fault is not None and reply.is_positive:
            raise RuntimeError(f"content that is to be refused with {self._fault} was answered {reply}")
        self._step = self._fault = None
        accepted = reply.code == 354 if step.accepted is State.CONTENT else reply.is_positive
        if accepted and self._state is State.CONTENT:
            self._bad_commands = self._idle_commands = self._refusals = 0
        elif not accepted:
            self._refusals += 1
        self._state = step.accepted if accepted else step.refused
        if self._state is State.CONTENT:
            self._reader = ContentReader(self._settings.bare_lf, self._settings.message_size)
        self._send(reply)

    def octets_to_send(self) -> bytes:
        """Everything that is to be sent now."""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    def shut_down(self, reply: Reply) -> None:
        """End the session now, with a 421, whatever it is doing."""
        if not self.closing:
            self._send(reply)
            self._close()

    def reset_for_tls(self, settings: ServerSettings | None = None) -> None:
        """The handshake is next: forget what the client said in the clear (RFC 3207 4.2).

        settings: what holds from now on.
        """
        self._lines.clear()
        self._step = self._reader = self._fault = None
        self._state = State.GREETED
        self._settings = settings or self._settings

    def _understand(self, line: bytes) -> Command | Reply:
        """The command on a line, or why there is none."""
        line = line.rstrip(b" \t")
        verb = verb_of(line)
        step = ROWS[self._state].get(verb)
        if step is None:
            return replies.not_mail(self._hostname) if is_not_mail(verb) else reply_to_unknown(verb)
        if self._refusals > self._settings.limits.refusals:
            return replies.too_many_errors(self._hostname)
        if isinstance(step, Reply):
            return step
        if verb in _IDLE_VERBS:
            self._idle_commands += 1
            if self._idle_commands > self._settings.limits.idle_commands:
                return replies.too_many_idle_commands(self._hostname)
        command = parse_arguments(verb, line, self._settings.dialect)
        if isinstance(command, Reply):
            return command
        if isinstance(command, Mail) and command.size > self._settings.message_size > 0:
            return replies.MESSAGE_TOO_BIG
        self._step = step
        return command

    def _next_content(self, reader: ContentReader) -> Event:
        """The next piece of content, or its end."""
        had_ended = reader.ended
        octets = b"" if had_ended else reader.feed(self._lines.take_all())
        if reader.ended and not had_ended:
            self._lines.receive(reader.rest)
        if octets:
            return Content(octets)
        return self._end_content(reader) if reader.ended else NEED_OCTETS

    def _end_content(self, reader: ContentReader) -> EndOfContent:
        """What there is to know of the content, now that a reply is owed for it."""
        self._reader = None
        if reader.too_big:
            self._fault = replies.MESSAGE_TOO_BIG
        elif reader.bare and self._settings.bare_lf != "fix":
            self._fault = replies.BARE_LINE_END_IN_CONTENT
        self._step = END_OF_CONTENT
        return EndOfContent(reader.size, reader.eight_bit, reader.dotted, self._fault)

    def _reject_fault(self, fault: LineFault) -> Rejected:
        """Answer what is not even a line."""
        if fault is LineFault.ENDLESS:
            return self._reject(b"", replies.endless_line(self._hostname))
        if fault is LineFault.TOO_LONG:
            return self._reject(b"", replies.LINE_TOO_LONG)
        # Whoever sends this is broken or tries to slip commands past a relay that sees other lines than we do.
        rejected = self._reject(b"", replies.BARE_LINE_END)
        self._close()
        return rejected

    def _reject(self, line: bytes, reply: Reply) -> Rejected:
        """Answer a line that does not reach the owner."""
        self._bad_commands += 1
        if self._bad_commands > self._settings.limits.bad_commands and reply.code != 421:
            reply = replies.too_many_errors(self._hostname)
        self._send(reply)
        return Rejected(line, reply)

    def _send(self, reply: Reply) -> None:
        self._out.append(render(reply))
        if reply.code in (221, 421):
            self._close()

    def _close(self) -> None:
        self.closing = True
        self._lines.clear()
        self._step = self._reader = self._fault = None
