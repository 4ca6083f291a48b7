"""Sink: `mta sink`, a toy next hop that takes any mail and prints what it gets; nothing is kept.

It speaks the same language as the relay, and is as bounded: in connections, recipients, size and time.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Final

import click
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from mta.cli.common import NotDone
from mta.message.printable import printable
from mta.operating.words import moment, path
from mta.smtp import replies
from mta.smtp.command import Bdat, Data, Helo, Help, Mail, Quit, Rcpt, Vrfy
from mta.smtp.events import NEED_OCTETS, Content, EndOfChunk, EndOfContent, Question, Rejected
from mta.smtp.reply import Reply
from mta.smtp.server import ServerSession
from mta.smtp.settings import ServerSettings

HOSTNAME: Final = "sink.localhost"
SETTINGS: Final = ServerSettings(message_size=50 * 1024 * 1024, lenient=True)
CONNECTIONS: Final = 100
RECIPIENTS: Final = 1000
IDLE: Final = 300  # seconds
HEAD: Final = 4096  # octets of content that lines are printed of
HEAD_LINES: Final = 20
LINE: Final = 200  # characters

Say = Callable[[str], None]


@click.command()
@click.option("--config", "-c", metavar="FILE", expose_value=False, help="Taken as everywhere; a sink needs none.")
@click.option("--port", type=click.IntRange(0, 65535), default=2526, show_default=True, help="0: any that is free.")
@click.option("--address", default="127.0.0.1", show_default=True, help="The IP address to listen on.")
def sink(port: int, address: str) -> None:
    """Listen as a toy mail server that takes all mail, prints its envelope and first lines, and forgets it.

    For trying things out: give a route of the relay `via: smtp://127.0.0.1:2526`. It runs until ctrl-C.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed

    def say(text: str) -> None:
        try:
            click.echo(text)
        except BrokenPipeError:
            sys.stdout = sys.stderr  # nobody reads any more; click would try to flush it
            reactor.stop()

    try:
        listening = reactor.listenTCP(port, SinkFactory(say), interface=address)
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or error.socketError
        raise NotDone(f"cannot listen on {address}:{port}: {reason}") from None
    where = listening.getHost()
    say(f"listening on {where.host}:{where.port}; ctrl-C ends it")
    reactor.run()


class SinkFactory(Factory):
    """Builds sessions, up to a number at a time. say: prints some lines."""

    noisy = False

    def __init__(self, say: Say) -> None:
        self.say = say
        self.connections = 0

    def buildProtocol(self, addr: IAddress | None) -> "SinkSession | None":
        if self.connections >= CONNECTIONS:
            return None
        return SinkSession(self, getattr(addr, "host", ""))


class SinkSession(Protocol, TimeoutMixin):
    """One session. Every transaction is answered as a server would answer, and told at its end."""

    transport: Any

    def __init__(self, factory: SinkFactory, client: str) -> None:
        self._factory = factory
        self._client = client
        self._session = ServerSession(HOSTNAME, SETTINGS)
        self._helo = ""
        self._mail: Mail | None = None
        self._recipients: list[str] = []
        self._head = b""

    def connectionMade(self) -> None:
        self._factory.connections += 1
        self.setTimeout(IDLE)
        self._session.greet()
        self._send()

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        session = self._session
        session.receive(data)
        while (event := session.next_event()) is not NEED_OCTETS:
            if isinstance(event, Content):
                self._head += event.octets[: HEAD - len(self._head)]
            elif isinstance(event, EndOfContent):
                session.reply(event.fault or replies.OK)
                self._tell(event)
            elif isinstance(event, Rejected):
                line = event.line[:LINE].decode("ascii", "backslashreplace")
                self._factory.say(f"{self._now()}  {self._client}  rejected {printable(line)}: {event.reply}")
            elif not isinstance(event, Bdat):  # which is answered when its octets are there
                session.reply(self._answer(event))
        self._send()

    def timeoutConnection(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.connections -= 1
        self.setTimeout(None)

    def _answer(self, command: Question) -> Reply:
        match command:
            case Helo():
                self._helo = command.domain
                return replies.ehlo(HOSTNAME, SETTINGS.keywords) if command.extended else replies.helo(HOSTNAME)
            case Mail():
                self._mail = command
                self._recipients = []
                self._head = b""
                return replies.SENDER_OK
            case Rcpt():
                if len(self._recipients) >= RECIPIENTS:
                    return replies.TOO_MANY_RECIPIENTS
                self._recipients.append(command.forward_path.address)
                return replies.RECIPIENT_OK
            case Data():
                return replies.START_CONTENT
            case EndOfChunk():
                return command.fault or replies.chunk_taken(command.size)
            case Vrfy():
                return replies.CANNOT_VERIFY
            case Help():
                return replies.help_on(command.topic)
            case Quit():
                return replies.bye(HOSTNAME)
            case _:
                return replies.OK

    def _tell(self, end: EndOfContent) -> None:
        """Print a transaction."""
        assert self._mail is not None, "content comes only after MAIL"
        parameters = "".join(f" {name}={value}".rstrip("=") for name, value in self._mail.parameters.items())
        head = self._head.decode("utf-8", "backslashreplace").split("\r\n")
        shown = head[: head.index("")] if "" in head else head
        lines = [
            f"{self._now()}  {self._client} {printable(self._helo)}",
            f"    from {path(self._mail.reverse_path.address)}{printable(parameters)}",
            *(f"    to   {path(one)}" for one in self._recipients),
            f"    {end.size:,} octets, {f'refused: {end.fault}' if end.fault else 'taken'}",
            *(f"    | {printable(line.expandtabs())[:LINE]}" for line in shown[:HEAD_LINES]),
        ]
        self._factory.say("\n".join(lines))

    def _now(self) -> str:
        return moment(time.time())

    def _send(self) -> None:
        octets = self._session.octets_to_send()
        if octets:
            self.transport.write(octets)
        if self._session.closing:
            self.transport.loseConnection()
