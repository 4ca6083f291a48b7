"""An owner of server sessions that is as small as one can be: mail for example.org is taken, relayed is none."""

from typing import NamedTuple

from mta.smtp import replies
from mta.smtp.command import Data, Helo, Help, Mail, Noop, Quit, Rcpt, Rset, Vrfy
from mta.smtp.reply import Reply
from mta.smtp.server import NEED_OCTETS, Content, EndOfContent, Event, Rejected, ServerSession, ServerSettings

HOSTNAME = "mail.example.org"
RECIPIENTS = 5
NO_SUCH_USER = Reply(550, "5.1.1", ("no such user here",))


class Message(NamedTuple):
    sender: str
    recipients: tuple[str, ...]
    content: bytes


class FakeOwner:
    """Answers every event at once, and keeps what it was given."""

    def __init__(self, settings: ServerSettings) -> None:
        self.session = ServerSession(HOSTNAME, settings)
        self.settings = settings
        self.messages: list[Message] = []
        self.events: list[Event] = []
        self._forget()

    def greet(self) -> bytes:
        self.session.greet()
        return self.session.octets_to_send()

    def hear(self, octets: bytes) -> bytes:
        """Some octets of the client; what is sent in return."""
        self.session.receive(octets)
        while (event := self.session.next_event()) is not NEED_OCTETS:
            self.events.append(event)
            self._handle(event)
        return self.session.octets_to_send()

    def _handle(self, event: Event) -> None:
        match event:
            case Content(octets):
                self._content += octets
            case Rejected():
                pass
            case _:
                self.session.reply(self._answer(event))

    def _answer(self, event: Event) -> Reply:
        match event:
            case Helo(_, extended):
                self._forget()
                return replies.ehlo(HOSTNAME, self.settings.keywords) if extended else replies.helo(HOSTNAME)
            case Mail(reverse_path, _):
                self._forget()
                self._sender = reverse_path.address
                return replies.SENDER_OK
            case Rcpt(forward_path, _):
                return self._recipient(forward_path.address)
            case Data():
                return replies.START_CONTENT
            case EndOfContent(fault=fault):
                message = Message(self._sender, tuple(self._recipients), self._content)
                self._forget()
                if fault is not None:
                    return fault
                self.messages.append(message)
                return replies.queued(f"ID{len(self.messages)}")
            case Rset():
                self._forget()
                return replies.OK
            case Noop():
                return replies.OK
            case Help(topic):
                return replies.help_on(topic)
            case Vrfy():
                return replies.CANNOT_VERIFY
            case Quit():
                return replies.bye(HOSTNAME)
        raise AssertionError(event)

    def _recipient(self, address: str) -> Reply:
        if len(self._recipients) == RECIPIENTS:
            return replies.TOO_MANY_RECIPIENTS
        if address.startswith("unknown"):
            return NO_SUCH_USER
        if address != "postmaster" and not address.lower().endswith("@example.org"):
            return replies.RELAYING_DENIED
        self._recipients.append(address)
        return replies.RECIPIENT_OK

    def _forget(self) -> None:
        self._sender = ""
        self._recipients: list[str] = []
        self._content = b""
