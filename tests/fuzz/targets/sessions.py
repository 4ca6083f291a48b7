"""Sessions: both sides of the language against somebody who says anything at all."""

import re
from collections.abc import Iterator
from typing import Any

from fake_owner import EVERYTHING, FakeOwner
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mta.auth.client import HIDING, SHOWING
from mta.smtp import limits
from mta.smtp.answers import AnswerReader
from mta.smtp.asking import Mail, Peer, Wishes
from mta.smtp.client import Delivery, Ending, How, deliver
from mta.smtp.command import Bdat
from mta.smtp.events import Content, Event
from mta.smtp.opening import NotLoggedIn, Security, Unprotected, log_in, open_up
from mta.smtp.parser import VERBS
from mta.smtp.reply import Reply
from mta.smtp.settings import ServerSettings
from mta.smtp.steps import Dialogue
from mta.transports.session import Session
from targets.choices import Choices, cut
from targets.content import whole_lines
from targets.measures import Target, stretch

_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])([ -])([^\r\n]*)\r\n")
_SERVERS = tuple(
    ServerSettings(message_size=size, bare_lf=bare_lf, lenient=lenient, extensions=EVERYTHING)
    for size in (0, 1000)
    for bare_lf in ("refuse", "fix")
    for lenient in (False, True)
)


_PER_OCTET = 3e-6  # seconds; the shortest command that has an answer is of eight octets


def server(octets: bytes) -> None:
    """Whatever a client says, cut in any way: the same is understood, and each command has one reply, in order."""
    choices = Choices(octets)
    how, settings = choices.number(256), _SERVERS[choices.number(len(_SERVERS))]
    wire = choices.rest()
    heard = []
    for way in (0, how):
        owner = FakeOwner(settings)
        said = owner.greet()
        for piece in cut(wire, way):
            # It is asked event by event, and who asks sees to it that others have their turn (`listening`).
            with stretch(octets=len(piece), per_octet=_PER_OCTET):
                said += owner.hear(piece)
            if owner.session.awaits_handshake:
                break  # what follows is TLS, which the session does not see
        heard.append((said, _without_content(owner.events), owner.messages))
        assert len(codes(said)) == 1 + sum(not isinstance(event, Content | Bdat) for event in owner.events)
        assert owner.session.backlog <= settings.longest_line
        for message in owner.messages:
            assert message.recipients
            # Without a bare line end, unless it was said to be binary.
            assert whole_lines(message.content) or b"BINARYMIME" in wire.upper()
    assert heard[0] == heard[1], "the cut makes a difference"


def codes(octets: bytes) -> list[int]:
    """The replies, each by its code. What is no reply is an error."""
    found, at = [], 0
    while at < len(octets):
        match = _REPLY_LINE.match(octets, at)
        assert match, octets[at : at + 80]
        assert match[3].decode().isprintable(), match[0]
        assert len(match[0]) <= limits.REPLY_LINE, match[0]
        if match[2] == b" ":
            found.append(int(match[1]))
        at = match.end()
    return found


def _without_content(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Content)]


def answers(octets: bytes) -> None:
    """Whatever a server says, cut in any way: the same replies, of text that can be shown; and then why not."""
    choices = Choices(octets)
    how = choices.number(256)
    wire = choices.rest()
    heard = []
    for way in (0, how):
        reader = AnswerReader()
        replies: list[Reply] = []
        for piece in cut(wire, way):
            with stretch():
                replies += reader.receive(piece)
        heard.append((replies, reader.nonsense, reader.is_empty))
        assert reader.nonsense.isprintable()
        for reply in replies:
            is_fit_to_show(reply)
    # A line without end is nonsense when it is too long, and its beginning may be known before its end.
    assert heard[0] == heard[1] or len(wire) > 60_000, "the cut makes a difference"


def is_fit_to_show(reply: Reply) -> None:
    """Its text can go into a log, a listing and a notice as it is."""
    assert 200 <= reply.code < 600
    assert all(line.isprintable() for line in reply.lines), reply
    assert reply.enhanced.isprintable(), reply


class _Wire(StringTransport):
    """A connection to a server of our own making."""

    def startTLS(self, _: object) -> None:
        """As if it had gone well."""
        self.protocol.handshakeCompleted()

    def abortConnection(self) -> None:
        """Closed at once."""
        self.loseConnection()


class _Handshake:
    """A handshake that goes well."""

    fault = ""
    is_acceptable = True

    def described(self, _: object) -> str:
        return "TLSv1.3"


_WISHES = (
    Wishes(),
    Wishes(ret="FULL", envid="+41", notifications=[("SUCCESS", "rfc822;a@b"), ("", "utf-8;\xe9"), ("NEVER", "")]),
    Wishes(auth="<>", utf8=True, requiretls=True, priority=3, by=60, by_mode="R"),
    Wishes(by=-5, by_mode="NT"),
)
_PATHS = (["a@b.example"], ["a@b.example", "\xe9@c.example", "c@b.example"], ["a@b.example"] * 3)
_CONTENTS = (b"", b"Subject: x\r\n\r\n.\r\n", b"\r\n.\r\nbare\rcr\nlf", b"x\r\n" * 30_000)
_LOGINS = (*HIDING.values(), *SHOWING.values())


def client(octets: bytes) -> None:
    """Whatever a server says, and whenever it hangs up: each recipient has one ending, and nothing of ours is wrong."""
    choices = Choices(octets)
    how, lmtp, security = choices.number(256), choices.flag(), Security(wanted=choices.flag())
    wishes, paths = _WISHES[choices.number(4)], _PATHS[choices.number(3)]
    content, login = _CONTENTS[choices.number(4)], choices.number(len(_LOGINS) + 1)
    binary, hangs_up = choices.flag(), choices.flag()
    pieces = list(cut(choices.rest(), how))
    clock, wire, gone = Clock(), _Wire(), []
    session = Session(clock, "mx.example[192.0.2.1]:25", gone.append, _Handshake())
    wire.protocol = session

    def talk(dialogue: Dialogue[Any]) -> Any:
        """Hold a dialogue to its end, whatever the server does."""
        ends: list[Any] = []
        with stretch():
            done = session.hold(dialogue)
        done.addBoth(ends.append)
        if not session.connected:
            with stretch():
                session.makeConnection(wire)
        while not ends:
            with stretch():
                if not wire.producer and pieces:
                    session.dataReceived(pieces.pop(0))
                elif wire.producer:
                    wire.producer.resumeProducing()
                elif hangs_up:
                    session.connectionLost(Failure(ConnectionDone()))
                else:
                    clock.advance(3600)
        [end] = ends
        assert not isinstance(end, Failure), end.getTraceback()
        return end

    peer = talk(open_up("me.example", lmtp, security))
    if isinstance(peer, Ending | Unprotected):
        is_fit_to_show(peer.reply)
        return
    assert isinstance(peer, Peer)
    assert peer.size_limit >= 0
    if login:
        refused = talk(log_in(_LOGINS[login - 1]("user", "pencil")))
        if isinstance(refused, NotLoggedIn):
            is_fit_to_show(refused.reply)
    before = len(wire.value())
    mail = Mail("s@a.example", paths, len(content), True, True, _blocks(content), binary, wishes=wishes)
    delivery = talk(deliver(peer, mail))
    assert isinstance(delivery, Delivery)
    assert len(delivery.endings) == len(paths)
    for ending in delivery.endings:
        is_fit_to_show(ending.reply)
        assert ending.how is not How.TAKEN or ending.reply.is_positive
    assert all(line.isprintable() for line in session.transcript())
    assert binary or whole_lines(wire.value()), "a bare CR or LF left us"
    assert len(wire.value()) - before <= 2 * (2 * len(content) + 2000 * len(paths))


def _blocks(content: bytes) -> Any:
    def blocks() -> Iterator[bytes]:
        for at in range(0, len(content), 65_536):
            yield content[at : at + 65_536]

    return blocks


_SAID = (
    b"220 ready\r\n", b"220-\r\n", b"250 ok\r\n", b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 CHUNKING\r\n",
    b"250-PIPELINING\r\n", b"250-BINARYMIME\r\n", b"250-8BITMIME\r\n", b"250-SMTPUTF8\r\n", b"250-DSN\r\n",
    b"250-LIMITS RCPTMAX=1 MAILMAX=1\r\n", b"250-AUTH PLAIN\r\n", b"250-STARTTLS\r\n", b"250-DELIVERBY 1\r\n",
    b"354 go\r\n", b"334 \r\n", b"334 cj0=\r\n", b"235 in\r\n", b"421 bye\r\n", b"450 4.2.0 later\r\n",
    b"452 4.5.3 many\r\n", b"550 5.1.1 no\r\n", b"503 5.5.1 no\r\n", b"\r\n", b"\n", b"2", b"250", b"-", b" ",
    b"\x1b[31m", b"\xff", b"\0", b"\xe2\x80\xae", b"5.1.1", b"999 ", b"x" * 600,
)  # fmt: skip
_HEARD = (
    *(verb + b" " for verb in sorted(VERBS)), b"\r\n", b"EHLO x\r\n", b"MAIL FROM:<a@b>\r\n", b"DATA\r\n",
    b"RCPT TO:<a@example.org>\r\n", b"RCPT TO:<unknown@example.org>\r\n", b"BDAT 1\r\n", b"BDAT 0 LAST\r\n", b"x",
    b"MAIL FROM:<> BODY=BINARYMIME\r\n", b".\r\n", b"\n", b"\r", b"AUTH PLAIN\r\n", b"c2VjcmV0\r\n", b"*\r\n",
    b"AUTH PLAIN c2VjcmV0\r\n", b"XCLIENT ADDR=192.0.2.1\r\n", b"QUIT\r\n", b"RSET\r\n", b"x" * 2048, b"x" * 65_536,
    b"BDAT 999999999999999999\r\n", b"BDAT 99999999999999999999\r\n", b"GET / HTTP/1.1\r\n", b"\x80",
)  # fmt: skip
TARGETS = (
    Target("server", server, _HEARD),
    Target("answers", answers, _SAID),
    Target("client", client, (*(bytes((number,)) for number in range(8)), *_SAID)),
)
