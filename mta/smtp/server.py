"""The server's side of a session, as an object with events, since the client decides what comes next.

    session.receive(octets)
    event = session.next_event()       # a command, Content, EndOfContent, Rejected or NEED_OCTETS
    session.reply(replies.OK)          # answers the last command or EndOfContent
    transport.write(session.octets_to_send())

After a command or EndOfContent nothing further comes out until `reply`, so that pipelined commands keep their order
however long an answer takes (RFC 2920). What is wrong or out of order the session answers itself.
"""

from mta.smtp import limits, replies
from mta.smtp.command import Bdat, Command, Mail
from mta.smtp.content import ChunkReader, ContentReader, Reader
from mta.smtp.events import NEED_OCTETS, AuthResponse, Content, EndOfChunk, EndOfContent, Event, Rejected
from mta.smtp.framing import LineFault, LineReader
from mta.smtp.parser import (
    LONG_LINES,
    VERBS,
    decode_response,
    hides_announcement,
    is_not_mail,
    may_be_login,
    octets_announced,
    parse_arguments,
    reply_to_unknown,
    verb_of,
)
from mta.smtp.reply import Reply, render
from mta.smtp.settings import ServerSettings
from mta.smtp.states import (
    CHALLENGED,
    CHUNKS,
    CONNECTED,
    CONTENT,
    END_OF_CHUNK,
    END_OF_CONTENT,
    GREETED,
    GREETING,
    HANDSHAKE,
    IN_TRANSACTION,
    LOGIN,
    READY,
    State,
    Step,
)

_LONGEST = limits.ACCEPTED_COMMAND_LINE - 2  # without its end
_IDLE_VERBS = frozenset({b"NOOP", b"RSET", b"VRFY", b"EXPN", b"ETRN", b"AUTH", b"HELP", b"HELO", b"EHLO"})


class ServerSession:
    """One session. `closing`: send what `octets_to_send` still has, then close; nothing more is read.

    settings: what the client is offered. in_content: content is being read, wanted or not. awaits_handshake: STARTTLS
    was accepted: once its reply is sent, TLS begins, then comes `reset_for_tls`.
    """

    __slots__ = (
        "_bad_commands",
        "_binary",
        "_chunk",
        "_chunks",
        "_fault",
        "_hostname",
        "_idle_commands",
        "_left",
        "_lines",
        "_login_tried",
        "_out",
        "_reader",
        "_refusals",
        "_skip",
        "_state",
        "_step",
        "awaits_handshake",
        "closing",
        "in_content",
        "settings",
    )

    def __init__(self, hostname: str, settings: ServerSettings) -> None:
        self._hostname = hostname
        self.settings = settings
        self._lines = LineReader(settings.bare_lf == "fix", settings.longest_line)
        self._out: list[bytes] = []
        self._state = CONNECTED
        self._step: Step | None = GREETING  # what the owner owes a reply to
        self._reader: ContentReader | None = None
        self._chunks: ChunkReader | None = None
        self._chunk: Bdat | None = None  # on its way, with so many octets left to come
        self._left = 0
        self._skip = 0  # octets of a chunk that nobody wants
        self._binary = False
        self._fault: Reply | None = None
        self._bad_commands = 0
        self._idle_commands = 0
        self._refusals = 0
        self._login_tried = False
        self.closing = False
        self.in_content = False
        self.awaits_handshake = False

    @property
    def state(self) -> State:
        """Where the session stands; while a reply is owed, where it stood before."""
        return self._state

    @property
    def in_transaction(self) -> bool:
        """A MAIL was accepted, and its transaction has not ended."""
        return self._state in IN_TRANSACTION

    @property
    def content_has_begun(self) -> bool:
        """The times for content hold, not the one for commands.

        Between two chunks as well: a client that sends small ones would get its time anew with each of them.
        """
        return self.in_content or self._state is CHUNKS

    @property
    def backlog(self) -> int:
        """Octets received and not looked at. While a reply is owed only whoever reads can keep them few."""
        return len(self._lines)

    def greet(self, reply: Reply | None = None) -> None:
        """Greet with 220, or refuse: with 421 the session is closing, with 554 it waits for QUIT (RFC 5321 3.1)."""
        reply = reply or replies.greeting(self._hostname)
        self._state = GREETING.accepted if reply.is_positive else GREETING.refused
        self._step = None
        self._send(reply)

    def receive(self, octets: bytes) -> None:
        """Octets from the client, cut in any way."""
        if not (self.closing or self._state is HANDSHAKE):
            self._lines.receive(octets)

    def next_event(self) -> Event:
        """What the client has said next. To be called until it is NEED_OCTETS, after `receive` and after `reply`."""
        if self._step is not None:
            return NEED_OCTETS
        if self.in_content:
            return self._next_of_chunk() if self._reader is None else self._next_content(self._reader)
        line = self._lines.next_line()
        if line is None:
            return NEED_OCTETS
        if isinstance(line, LineFault):
            return self._reject_fault(line)
        if self._state is LOGIN:
            return self._next_response(line)
        command = self._understand(line)
        return self._reject(line, command) if isinstance(command, Reply) else command

    def reply(self, reply: Reply) -> None:
        """Answer the last command, response, chunk or content. The code decides what it leads to.

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
        code = reply.code
        state = step.accepted
        if code == 354 if state is CONTENT else 200 <= code < 300:
            if step is END_OF_CONTENT:
                self._bad_commands = self._idle_commands = self._refusals = 0
            elif state is CONTENT:
                self._reader = ContentReader(self.settings.bare_lf, self.settings.message_size)
                self.in_content = True
            elif state is HANDSHAKE:
                self.awaits_handshake = True
                self._lines.clear()  # what was said in the clear behind STARTTLS was said by anybody (RFC 3207 4.2)
        elif code == 334:
            state = LOGIN
        else:
            self._refusals += 1
            state = step.refused
        self._state = state
        self._send(reply)

    def octets_to_send(self) -> bytes:
        """Everything that is to be sent now."""
        out = self._out
        if len(out) == 1:
            return out.pop()
        octets = b"".join(out)
        out.clear()
        return octets

    def shut_down(self, reply: Reply) -> None:
        """End the session now, with a 421, whatever it is doing."""
        if not self.closing:
            self._send(reply)
            self._close()

    def reset_for_tls(self, settings: ServerSettings) -> None:
        """The handshake is done: forget what the client said in the clear (RFC 3207 4.2).

        settings: what holds from now on.
        """
        self._lines.clear()
        self._state = GREETED
        self.awaits_handshake = False
        self.change(settings)

    def change(self, settings: ServerSettings) -> None:
        """What holds from now on: the client has logged in, or is another one than it seemed."""
        self.settings = settings
        self._lines.longest = settings.longest_line

    def _understand(self, line: bytes) -> Command | Reply:
        """The command on a line, or why there is none."""
        settings = self.settings
        line = line.rstrip(b" \t")
        verb = verb_of(line)
        step = settings.rows[self._state].get(verb)
        if not isinstance(step, Step) or self._refusals > settings.limits.refusals:
            return self._turned_down(verb, step)
        if len(line) > _LONGEST and verb not in LONG_LINES:
            return replies.LINE_TOO_LONG
        if verb in _IDLE_VERBS:
            self._login_tried = verb == b"AUTH"
            self._idle_commands += 1
            if self._idle_commands > settings.limits.idle_commands:
                return replies.too_many_idle_commands(self._hostname)
        command = parse_arguments(verb, line, settings.dialect)
        if isinstance(command, Reply):
            return command
        if verb == b"MAIL":
            assert isinstance(command, Mail)
            if command.size > settings.message_size > 0:
                return replies.MESSAGE_TOO_BIG
            self._binary = command.body == "BINARYMIME"
        elif verb == b"BDAT":
            assert isinstance(command, Bdat)
            self._begin_chunk(command)
            return command
        self._step = step
        return command

    def _turned_down(self, verb: bytes, step: Step | Reply | None) -> Reply:
        """The reply to a verb that is unknown, may not come now, or not from this client."""
        if step is None:
            return replies.not_mail(self._hostname) if is_not_mail(verb) else reply_to_unknown(verb)
        if self._refusals > self.settings.limits.refusals:
            return replies.too_many_errors(self._hostname)
        assert isinstance(step, Reply), "a step would be allowed"
        return step

    def _begin_chunk(self, chunk: Bdat) -> None:
        self._chunk = chunk
        self._left = chunk.size
        self.in_content = True
        if self._state is not CHUNKS:
            bare_lf = "keep" if self._binary else self.settings.bare_lf
            self._chunks = ChunkReader(bare_lf, self.settings.message_size)
            self._state = CHUNKS

    def _next_of_chunk(self) -> Event:
        """More of a chunk, or its end; or nothing, of one that was refused: its octets are no commands."""
        if self._skip:
            self._skip -= len(self._lines.take(self._skip))
            self.in_content = self._skip > 0
            return NEED_OCTETS if self._skip else self.next_event()
        chunk, chunks = self._chunk, self._chunks
        assert chunk is not None
        assert chunks is not None
        if self._left:
            octets = self._lines.take(self._left)
            self._left -= len(octets)
            kept = chunks.feed(octets)
            if kept:
                return Content(kept)
            if self._left:
                return NEED_OCTETS
        if chunk.last and (rest := chunks.finish()):
            return Content(rest)
        self._chunk = None
        self.in_content = False
        self._fault = self._fault_of(chunks, whole=chunk.last)
        if not chunk.last:
            self._step = END_OF_CHUNK
            return EndOfChunk(chunk.size, self._fault)
        self._step = END_OF_CONTENT
        return EndOfContent(chunks.size, chunks.eight_bit, chunks.dotted or self._binary, self._fault)

    def _next_response(self, line: bytes) -> AuthResponse | Rejected:
        """A line of an AUTH exchange. It may hold a secret, so nobody is shown it."""
        response = decode_response(line)
        if isinstance(response, Reply):
            self._state = READY
            return self._reject(b"", response)
        self._step = CHALLENGED
        return AuthResponse(response)

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
        self.in_content = False
        if reader.too_big or reader.bare:
            self._fault = self._fault_of(reader)
        self._step = END_OF_CONTENT
        return EndOfContent(reader.size, reader.eight_bit, reader.dotted, self._fault)

    def _fault_of(self, reader: Reader, whole: bool = True) -> Reply | None:
        """Why content cannot be taken, if so. whole: all of it has come."""
        if reader.too_big:
            return replies.MESSAGE_TOO_BIG
        if reader.bare and whole and self.settings.bare_lf != "fix":
            return replies.BARE_LINE_END_IN_CONTENT
        return None

    def _reject_fault(self, fault: LineFault) -> Rejected:
        """Answer what is not even a line."""
        if fault is LineFault.ENDLESS:
            return self._reject(b"", replies.endless_line(self._hostname))
        if fault is LineFault.TOO_LONG:
            if self._state is LOGIN:
                self._state = READY
                return self._reject(b"", replies.LOGIN_LINE_TOO_LONG)
            head = self._lines.head
            if hides_announcement(head):  # what follows may be a chunk, of a size that nobody has seen
                return self._reject(b"", replies.endless_line(self._hostname))
            return self._reject(b"", replies.LINE_TOO_LONG, head)
        # Whoever sends this is broken or tries to slip commands past a relay that sees other lines than we do.
        rejected = self._reject(b"", replies.BARE_LINE_END)
        self._close()
        return rejected

    def _reject(self, line: bytes, reply: Reply, head: bytes = b"") -> Rejected:
        """Answer a line that does not reach the owner. head: how it began, where it was too long to be kept."""
        self._bad_commands += 1
        if self._bad_commands > self.settings.limits.bad_commands and reply.code != 421:
            reply = replies.too_many_errors(self._hostname)
        self._skip = octets_announced(line or head)
        self.in_content = self._skip > 0
        self._send(reply)
        if may_be_login(line):
            self._login_tried = True
            line = b"AUTH ..."
        elif self._login_tried and verb_of(line) not in VERBS:
            line = b"..."  # it may be a response to the challenge that did not come
        return Rejected(line, reply)

    def _send(self, reply: Reply) -> None:
        self._out.append(render(reply))
        if reply.code in (221, 421):
            self._close()

    def _close(self) -> None:
        self.closing = True
        self._lines.clear()
        self._step = self._reader = self._fault = self._chunk = self._chunks = None
        self._skip = 0
        self.in_content = False
