"""An owner of server sessions that is as small as one can be: mail for example.org is taken, relayed is none."""

from typing import NamedTuple

from mta.smtp import extensions, replies
from mta.smtp.command import (
    Auth,
    Bdat,
    Data,
    Etrn,
    Expn,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Starttls,
    Vrfy,
    Xclient,
)
from mta.smtp.events import NEED_OCTETS, AuthResponse, Content, EndOfChunk, EndOfContent, Event, Rejected
from mta.smtp.reply import Reply
from mta.smtp.server import ServerSession
from mta.smtp.settings import ServerSettings

HOSTNAME = "mail.example.org"
RECIPIENTS = 5
EVERYTHING = (  # all that can be offered at once
    *extensions.EXTENSIONS,
    extensions.EXPN,
    extensions.ETRN,
    extensions.STARTTLS,
    extensions.XCLIENT,
    *extensions.auth(["PLAIN", "LOGIN"]),
)
WRONG_PASSWORD = Reply(535, "5.7.8", ("wrong name or password",))
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
        self.most_recipients = RECIPIENTS
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
            case Rejected() | Bdat():
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
            case EndOfChunk(size, fault):
                return fault or replies.chunk_taken(size)
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
            case Expn():
                return replies.CANNOT_EXPAND
            case Etrn(node):
                return replies.etrn_empty(node)
            case Starttls():
                return replies.READY_FOR_TLS
            case Auth(_, None):
                return replies.challenge("Pw==")
            case Auth(_, secret) | AuthResponse(secret):
                return replies.LOGGED_IN if secret == b"secret" else WRONG_PASSWORD
            case Xclient():
                self._forget()
                return replies.greeting(HOSTNAME)
            case Quit():
                return replies.bye(HOSTNAME)
        raise AssertionError(event)

    def _recipient(self, address: str) -> Reply:
        if len(self._recipients) == self.most_recipients:
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
