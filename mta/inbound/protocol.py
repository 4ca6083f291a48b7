"""Protocol: octets from a connection to the language, answers from the conversation to the wire.

It knows nothing of mail. It keeps the order (while an answer is being found nothing more is read from the session),
slows a client down that sends faster than the disk takes it, says how long a client may take, and has the connection
encrypted when it is time.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.inbound.conversation import Conversation
from mta.inbound.door import Doorkeeper
from mta.net.channel import channel_of
from mta.net.tls import ServerTls, certificate_names, describe, start
from mta.smtp import replies
from mta.smtp.events import NEED_OCTETS, Content, Rejected
from mta.smtp.reply import Reply
from mta.smtp.server import ServerSession

_log = Logger()

# A pipelining client may be this far ahead (octets) of an answer that is still being found.
_READ_AHEAD = 65536
# Commands that are answered before others have their turn: a read may hold some thousand of them.
_AT_ONCE = 500
# Fewer where they take long: those of a client who names a large list again and again would take half a minute.
_A_FEW = 10  # after so many it is looked whether they do
_LONG = 0.05  # seconds
_HANDSHAKE = 60.0  # seconds that a client has for the TLS handshake


@implementer(IPushProducer, IHandshakeListener, IHalfCloseableProtocol)
class InboundProtocol(Protocol):
    """One connection. `deadline` is when it is to be cut off, by the door's `now`; the door looks at it.

    It is the producer of its replies: a client that does not read them is not listened to either.
    """

    transport: Any

    def __init__(
        self,
        door: Doorkeeper,
        session: ServerSession,
        conversation: Conversation,
        tls: ServerTls | None = None,
        implicit: bool = False,
    ) -> None:
        """tls: what STARTTLS begins. implicit: it begins with the connection (RFC 8314)."""
        self._tls = tls
        self._implicit = implicit
        self._door = door
        self._session = session
        self._conversation = conversation
        # Whom the door has counted, whoever a proxy says later that it speaks for.
        self.client = conversation.address
        self._waiting = False
        self._going = False
        self._gone = False
        self._paused = False
        self._unread = False
        self._heard_all = False
        self._closed = False
        self._content_from = 0.0
        self._content_octets = 0
        self.deadline = 0.0

    def connectionMade(self) -> None:
        self._door.entered(self)
        self.deadline = self._door.now() + self._door.limits.idle
        self.transport.registerProducer(self, True)
        if self._implicit:
            self._begin_tls()
        else:
            self._greet()

    def _greet(self) -> None:
        greeting = self._conversation.greet()
        if greeting is None:
            self._session.greet()
            self._send()
            return
        self._waiting = True
        greeting.addCallbacks(self._greeted, self._failed_to_greet).addErrback(self._broken)

    def _greeted(self, reply: Reply) -> None:
        self._waiting = False
        self._session.greet(reply)
        self._go_on()
        self._set_deadline()

    def _failed_to_greet(self, failure: Failure) -> None:
        _log.failure("no greeting could be found for {address}", failure, address=self._conversation.address)
        self._greeted(replies.shutting_down(self._door.hostname))

    def _begin_tls(self) -> None:
        """The handshake comes next; `handshakeCompleted` says when it is done."""
        assert self._tls is not None, "TLS is offered only where there is a certificate"
        self.deadline = self._door.now() + _HANDSHAKE
        start(self.transport, self._tls.creator(), self)

    def handshakeCompleted(self) -> None:
        """The connection is encrypted: what was said before does not count (RFC 3207 4.2)."""
        if self._session.closing:
            return  # it took too long: the last word has been said already
        transport = self.transport
        self._conversation.secured(describe(transport), certificate_names(transport), channel_of(transport, True))
        self.deadline = self._door.now() + self._door.limits.idle
        if self._implicit:
            self._session.change(self._conversation.settings)
            self._greet()
        else:
            self._session.reset_for_tls(self._conversation.settings)
            self._go_on()

    def dataReceived(self, data: bytes) -> None:
        self._session.receive(data)
        if self._waiting:
            if self._session.backlog > _READ_AHEAD:
                self._pause()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Take the session's events until it needs more octets or an answer has to be waited for."""
        session = self._session
        conversation = self._conversation
        answered = 0
        began = 0.0
        self._going = True
        while not (self._waiting or self._gone):
            event = session.next_event()
            if event is NEED_OCTETS:
                break
            if isinstance(event, Content):
                self._content_octets += len(event.octets)
                behind = conversation.content(event)
                if behind is not None:
                    self._wait_for(behind)
                continue
            answered += 1
            if isinstance(event, Rejected):
                self._door.rejected(self, event)
                continue
            answer = conversation.answer(event)
            if isinstance(answer, Reply):
                self._reply(answer)
            elif answer is not None:
                self._wait_for_answer(answer)
            if answered % _A_FEW == 0 and not (self._waiting or session.awaits_handshake):
                now = self._door.now()
                began = began or now
                if answered >= _AT_ONCE or now - began >= _LONG:
                    self._wait_for(self._door.next_turn())
        self._going = False
        self._send()
        if answered or session.in_content:
            self._set_deadline()
        if session.awaits_handshake and not self._gone:
            self._begin_tls()

    def _set_deadline(self) -> None:
        """A command, or the next part of the content, has its time from now (RFC 5321 4.5.3.2.7).

        Content also has a time for all of it, that grows with what has arrived: a client that sends an octet now and
        then does not hold a session, and the disk behind it, for days.
        """
        now = self._door.now()
        limits = self._door.limits
        if self._closed:
            self.deadline = now + self._door.farewell
            return
        self.deadline = now + limits.idle
        if not self._session.content_has_begun:
            self._content_from = 0.0
        elif not self._content_from:
            self._content_from = now
            self._content_octets = 0
        else:
            allowed = limits.content + self._content_octets / limits.content_rate
            self.deadline = min(self.deadline, self._content_from + allowed)

    def _wait_for_answer(self, answer: Deferred[Reply]) -> None:
        self._waiting = True
        answer.addCallbacks(self._answered, self._failed)
        answer.addErrback(self._broken)

    def _answered(self, reply: Reply) -> None:
        self._waiting = False
        self._reply(reply)
        if self._going:
            return  # it was known at once: the loop that asked goes on
        self._resume()
        self._go_on()
        self._set_deadline()

    def _reply(self, reply: Reply) -> None:
        session = self._session
        session.reply(reply)
        if reply.code >= 400:
            self._door.measures.refused(reply.code, reply.enhanced)
        if session.settings is not self._conversation.visitor.settings:
            session.change(self._conversation.visitor.settings)  # it has logged in, or is another one than it seemed
        if not (self._door.open or session.in_transaction):
            # The relay is going down: this transaction was let end, and was the last one here.
            session.shut_down(replies.shutting_down(self._door.hostname))

    def _failed(self, failure: Failure) -> None:
        """Somebody who was asked could not answer. That is a fault of ours; the client may try again."""
        _log.failure("no answer could be found for {address}", failure, address=self._conversation.address)
        self._answered(replies.LOCAL_ERROR)

    def _broken(self, failure: Failure) -> None:
        _log.failure("a session broke", failure)
        self._waiting = False
        self.transport.abortConnection()

    def _wait_for(self, others: Deferred[None]) -> None:
        """Go on when the disk has caught up, or others have had their turn."""
        self._waiting = True
        self._pause()
        others.addBoth(self._waited)
        others.addErrback(self._broken)

    def _waited(self, _: object) -> None:
        # Whether the disk failed is found out, and answered, at the end of the content.
        self._waiting = False
        self._resume()
        if not self._going:
            self._go_on()

    def pauseProducing(self) -> None:
        """Replies pile up unread."""
        self._unread = True
        self._pause()

    def resumeProducing(self) -> None:
        """They have been read."""
        self._unread = False
        self._resume()

    def stopProducing(self) -> None:
        """The connection is gone: `connectionLost` says so."""

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _resume(self) -> None:
        if self._paused and not (self._waiting or self._unread):
            self._paused = False
            self.transport.resumeProducing()

    def _send(self) -> None:
        octets = self._session.octets_to_send()
        if octets:
            self.transport.write(octets)
        if (self._session.closing or self._heard_all) and not (self._waiting or self._closed):
            self._closed = True
            self.transport.unregisterProducer()  # or the connection would wait for it before it closes
            self.transport.loseConnection()

    @property
    def in_transaction(self) -> bool:
        """A MAIL was accepted, or somebody is being asked: the end is worth waiting for."""
        return self._waiting or self._session.in_transaction

    def dismiss(self, reply: Reply) -> None:
        """Say a last word (421) and close. A client that does not read it is cut off."""
        self._session.shut_down(reply)
        self._waiting = False
        self._send()
        self.deadline = self._door.now() + self._door.farewell

    def overdue(self) -> None:
        """The deadline has passed: say so, and next time cut the connection."""
        if self._session.closing:
            self.transport.abortConnection()
        elif self._waiting:
            # It is we who have not answered; the client is not to blame.
            self.deadline = self._door.now() + self._door.limits.idle
        else:
            late = replies.content_timeout if self._session.content_has_begun else replies.command_timeout
            self.dismiss(late(self._door.hostname))

    def cut_off(self, reply: Reply) -> None:
        """Close, whatever is under way, with a last word: but for a client that waits for us, who could take it to mean
        that a message is not kept which perhaps is.
        """
        if self._waiting:
            self.transport.abortConnection()
        else:
            self.dismiss(reply)

    def readConnectionLost(self) -> None:
        """The client has sent its last octet, and may wait for its replies yet (TCP's half-closed connection).

        Exim does so behind the last message of a session. Without its 250 it would send that message again.
        """
        self._heard_all = True
        self._send()

    def writeConnectionLost(self) -> None:
        """Never: this side closes both directions at once."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True  # what it had sent ahead is not taken up any more
        self._conversation.lost()
        self._door.left(self)
