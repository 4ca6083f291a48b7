"""Session: one connection to a server, over which dialogues of `mta.smtp.client` are held one after the other."""

from collections.abc import Callable
from itertools import takewhile
from math import inf
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPullProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.net.client_tls import ClientHandshake, why_lost
from mta.net.poller import passing
from mta.smtp import limits
from mta.smtp.answers import AnswerReader, Secrets
from mta.smtp.asking import Peer
from mta.smtp.client import Next, bye
from mta.smtp.reply import Reply
from mta.smtp.steps import Commands, Content, Dialogue, Greeting, Handshake, NoHandshake, OwnReply, Step
from mta.transports.transcript import Spoken, transcribe

_SERVICE_NOT_AVAILABLE = 421
_ENCRYPTED = OwnReply(220, "2.0.0", ("encrypted",))
AT_ONCE = 65_536  # octets: a content up to this size is one write, a larger one is asked for block by block

T = TypeVar("T")


class _Held:
    """A dialogue that is being held: the step that it waits in, and the replies that are there so far.

    block: of a large content that is being sent: read ahead, to know the last one.
    """

    __slots__ = ("block", "dialogue", "done", "replies", "step")

    def __init__(self, dialogue: Dialogue[Any], done: Deferred[Any]) -> None:
        self.dialogue = dialogue
        self.done = done
        self.step: Step = Greeting()
        self.replies: list[Reply] = []
        self.block: bytes | None = None


@implementer(IPullProducer, IHandshakeListener)
class Session(Protocol):
    """Drives dialogues: sends what they yield, gives them the replies, and keeps the promise of `mta.smtp.steps`.

    A dialogue may begin before the connection is there: it starts with waiting for the greeting, or for TLS. Whatever
    ends the session while a dialogue is held (the peer hangs up or says 421, is silent for too long, replies what is
    no reply or what nobody asked for) is the dialogue's to deal with; while none is held, nobody minds.

    host: whom we are connected to, as outcomes name it. closed: called once, when the connection is gone or could
    not be made. For whoever uses the session: opened: when, as `passing` has the time. peer: who the server says
    that it is. next: what the session is good for after the last message. messages: how many were tried over it.
    tls: what it is encrypted with, "" in the clear. notes: what is to be told of every message that goes over it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        host: str,
        closed: Callable[["Session"], None],
        handshake: ClientHandshake | None = None,
    ) -> None:
        """handshake: for dialogues with a step for it."""
        self.host = host
        self._now = passing(clock)
        self.opened = self._now()
        self.peer = Peer("", {})
        self.next = Next.MAIL
        self.messages = 0
        self.tls = ""
        self.notes: tuple[str, ...] = ()
        self._handshake = handshake
        self._secrets: Secrets | None = None
        self._farewell: IDelayedCall | None = None
        self._clock = clock
        self._closed = closed
        self._reader = AnswerReader()
        self._spoken: list[Spoken] = []
        self._held: _Held | None = None
        self._over: Reply | None = None
        self._until = inf
        self._deadline = inf
        self._timer: IDelayedCall | None = None
        self._wakes = inf

    @property
    def is_idle(self) -> bool:
        """Connected, as far as we know, and no dialogue is held."""
        return self._over is None and self._held is None

    def hold(self, dialogue: Dialogue[T], until: float = inf) -> Deferred[T]:
        """Hold a dialogue; fires with what it returns. One at a time.

        until: the latest end, as `passing` has the time; then it is as if the peer had been silent for too long. The
        Deferred fails only where the dialogue itself is wrong.
        """
        done = Deferred[T]()
        held = self._held = _Held(dialogue, done)
        self._until = until
        self._drive(held, dialogue.send, None)
        return done

    def rest(self, seconds: float) -> None:
        """Stay open without a dialogue for so long, then take leave. Forgets what was said."""
        self._spoken = []
        self._until = inf
        self._allow(seconds)

    def leave(self) -> None:
        """Say QUIT, wait a little for the reply, close. For a session at rest; others are left alone."""
        if self.is_idle:
            self.hold(bye(), self._now() + limits.CLIENT_QUIT).addCallback(self._close)

    def cut(self) -> None:
        """Close at once, whatever is on its way."""
        self._end(OwnReply(451, "4.4.2", ("we closed the connection",)))

    def transcript(self) -> tuple[str, ...]:
        """What was said since the session was opened or last at rest."""
        return transcribe(self._spoken)

    # What the connection tells.

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        if self._over is not None:
            self._wire.abortConnection()
        elif self._shakes:
            self._encrypt()

    def connection_failed(self, why: str) -> None:
        """There will be no connection."""
        self._end(OwnReply(451, "4.4.1", (why,)))
        self._closed(self)

    def dataReceived(self, octets: bytes) -> None:
        if self._over is not None:
            return
        replies = self._reader.receive(octets)
        if self._secrets is not None:
            replies = [self._secrets.without(reply) for reply in replies]
        if replies:
            self._spoken.append(replies)
        held = self._held
        wanted = 0
        if held is not None:
            if held.block is not None and replies:
                self._too_early(held, replies)
                return
            wanted = held.step.replies - len(held.replies)
            held.replies += replies[:wanted]
        goodbye = next((reply for reply in replies if reply.code == _SERVICE_NOT_AVAILABLE), None)
        if goodbye is not None:
            self._end(goodbye)
        elif self._reader.nonsense:
            nonsense: Reply = OwnReply(451, "4.5.0", (self._reader.nonsense,))
            self._end(nonsense if self._secrets is None else self._secrets.without(nonsense))
        elif len(replies) > wanted:
            self._end(OwnReply(451, "4.5.0", (f"a reply that was not asked for: {replies[wanted]}",)))
        elif held is not None and replies:
            if len(replies) == wanted:
                self._answer(held)
            else:
                self._allow(held.step.seconds)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(self._broken_off(why_lost(reason.value)))
        if self._farewell is not None and self._farewell.active():
            self._farewell.cancel()
        self._closed(self)

    def handshakeCompleted(self) -> None:
        """The connection is encrypted: whatever comes now comes from whom the certificate names."""
        held, handshake = self._held, self._handshake
        if self._over is not None or held is None or handshake is None:
            return
        if not handshake.is_acceptable:
            self._end(self._broken_off("no certificate was shown"))
            return
        self.tls = handshake.described(self.transport)
        held.replies.append(_ENCRYPTED)
        self._answer(held)

    def resumeProducing(self) -> None:
        """The connection has room for one more block of a large content."""
        held = self._held
        if held is None or held.block is None or not isinstance(held.step, Content):
            return
        block = held.block
        try:
            held.block = next(held.step.blocks, None)
        except OSError as error:
            self._close_off(_unreadable(error))
            self._drive(held, held.dialogue.throw, error)
            return
        if held.block is None:
            held.step.sent = True
            self._allow(held.step.seconds)
            self._wire.unregisterProducer()
        else:
            self._allow(limits.CLIENT_CONTENT_BLOCK)
        self._wire.write(block)

    def stopProducing(self) -> None:
        """The connection is gone: `connectionLost` says so."""

    # How a dialogue goes on.

    def _drive(self, held: _Held, resume: Callable[[Any], Step], value: Any) -> None:
        """Give the dialogue something, and do what it asks for, until it has to wait for the peer."""
        while True:
            try:
                held.step = resume(value)
            except StopIteration as end:
                self._finish()
                held.done.callback(end.value)
                return
            except Exception:
                self._close_off(OwnReply(451, "4.3.0", ("internal error",)))
                self._finish()
                held.done.errback(Failure())
                return
            if self._over is not None:
                resume, value = held.dialogue.send, [self._over] * held.step.replies
                continue
            try:
                self._send(held)
                return
            except OSError as error:
                self._close_off(_unreadable(error))
                resume, value = held.dialogue.throw, error

    def _send(self, held: _Held) -> None:
        """Send what belongs to the step. An `OSError` of a content's blocks passes through."""
        step = held.step
        self._spoken.append(step)
        if isinstance(step, Commands):
            if step.secret:
                self._secrets = self._secrets or Secrets()
                self._secrets.add(step.lines)
            self._allow(step.seconds)
            self._wire.write(b"".join(step.lines))
        elif isinstance(step, Handshake):
            # A connection that is still being made has its own time.
            self._allow(step.seconds if self.connected else limits.CLIENT_CONNECT + step.seconds)
            if self.connected:
                self._encrypt()
        elif not isinstance(step, Content):
            self._allow(step.seconds)
        elif step.size <= AT_ONCE:
            octets = b"".join(step.blocks)
            step.sent = True
            self._allow(step.seconds)
            self._wire.write(octets)
        else:
            held.block = next(step.blocks, None)
            self._wire.registerProducer(self, False)

    @property
    def _shakes(self) -> bool:
        """Do we wait for TLS?"""
        return self._held is not None and isinstance(self._held.step, Handshake)

    def _encrypt(self) -> None:
        """Begin TLS. What came before it, unread, was meant to be taken for a part of what comes inside."""
        if not self._reader.is_empty:
            self._end(OwnReply(451, "4.5.0", ("the server went on in the clear behind its reply to STARTTLS",)))
            return
        self._allow(Handshake.seconds)
        self._wire.startTLS(self._handshake)

    def _close(self, _: object) -> None:
        """Close the connection. TLS has a goodbye of its own, whose answer is not waited for any longer than QUIT's."""
        self._wire.loseConnection()
        if self.tls:
            self._farewell = self._clock.callLater(limits.CLIENT_QUIT, self._wire.abortConnection)

    def _broken_off(self, what: str) -> OwnReply:
        """The reply that there will not be, since the connection is gone or silent."""
        if self._handshake is not None and self._shakes:
            return NoHandshake(451, "4.7.5", (self._handshake.fault or f"the TLS handshake failed: {what}",))
        return OwnReply(451, "4.4.2", (f"{what} {self._while()}",))

    def _too_early(self, held: _Held, replies: list[Reply]) -> None:
        """There are replies before the end of the content: each refusal is one, anything else cannot be."""
        refusals = list(takewhile(_is_refusal, replies))[: held.step.replies]
        held.replies += refusals
        other = replies[len(refusals) :]
        if other and other[0].code == _SERVICE_NOT_AVAILABLE:
            self._end(other[0])
        else:
            what = f"a reply before the end of the content: {(other or refusals)[0]}"
            self._end(OwnReply(451, "4.5.0", (what,)))

    def _answer(self, held: _Held) -> None:
        """All replies to the step are there."""
        replies, held.replies = held.replies, []
        self._drive(held, held.dialogue.send, replies)

    def _finish(self) -> None:
        self._held = None
        self._deadline = inf

    def _end(self, reason: Reply) -> None:
        """The session is over. Every reply that is still waited for is replaced by the reason."""
        self._close_off(reason)
        held = self._held
        if held is not None:
            held.replies += [reason] * (held.step.replies - len(held.replies))
            self._answer(held)

    def _close_off(self, reason: Reply) -> None:
        """Nothing is read or sent any more."""
        if self._over is not None:
            return
        self._over = reason
        if self._held is not None:
            self._held.block = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.connected:
            self._wire.abortConnection()

    @property
    def _wire(self) -> Any:
        """The transport. Its interfaces are many; each that we connect with has what is asked for here."""
        return self.transport

    # Time.

    def _allow(self, seconds: float) -> None:
        """What is waited for must come within this time. The timer is seldom moved: it looks again when it fires."""
        now = self._now()
        self._deadline = min(now + seconds, self._until)
        if self._timer is None:
            self._timer = self._clock.callLater(max(self._deadline - now, 0), self._look_again)
        elif self._deadline < self._wakes:
            self._timer.reset(max(self._deadline - now, 0))
        else:
            return
        self._wakes = self._deadline

    def _look_again(self) -> None:
        self._timer = None
        left = self._deadline - self._now()
        if left == inf:
            return
        if left > 0:
            self._wakes = self._deadline
            self._timer = self._clock.callLater(left, self._look_again)
        elif self._held is None:
            self.leave()
        else:
            self._end(self._broken_off("timed out"))

    def _while(self) -> str:
        """What we were doing, for people."""
        if self._held is None:
            return "between two messages"
        step = self._held.step
        if isinstance(step, Commands):
            verb = "a secret" if step.secret else step.lines[len(self._held.replies)].split()[0].decode()
            return f"while waiting for the reply to {verb}"
        if isinstance(step, Content):
            return "while waiting for the reply to the content" if step.sent else "while sending the content"
        return "while waiting for the greeting"


def _is_refusal(reply: Reply) -> bool:
    return reply.code >= 400 and reply.code != _SERVICE_NOT_AVAILABLE


def _unreadable(error: OSError) -> OwnReply:
    return OwnReply(451, "4.3.0", (f"the content cannot be read: {error}",))
