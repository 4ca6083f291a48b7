"""Case 9: who speaks before the greeting, or before replies are due. Nothing is heard early; all comes in order."""

from pathlib import Path

from attack_ground import BEGUN, GREETED, RECIPIENT, SENDER, Victim, codes
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.interfaces import ICheck
from mta.smtp.events import NEED_OCTETS
from mta.smtp.reply import Reply
from mta.smtp.server import ServerSession
from mta.smtp.settings import ServerSettings

BLOCKED = Reply(554, "5.7.1", ("your address is on a list",))


@implementer(ICheck)
class SlowCheck:
    """A list that answers when it is told to."""

    def __init__(self) -> None:
        self.clients: list[Deferred[Reply | None]] = []
        self.recipients: list[Deferred[Reply | None]] = []

    def client(self, client_address: str) -> "Deferred[Reply | None]":
        self.clients.append(Deferred())
        return self.clients[-1]

    def recipient(self, client_address: str, helo: str, sender: str, recipient: str) -> "Deferred[Reply | None]":
        self.recipients.append(Deferred())
        return self.recipients[-1]


class Welcoming(SlowCheck):
    def client(self, client_address: str) -> "Deferred[Reply | None]":
        return succeed(None)


def test_nothing_is_heard_before_the_greeting(tmp_path: Path) -> None:
    check = SlowCheck()
    victim = Victim(tmp_path, checks=[check])
    assert victim.say(GREETED, SENDER, RECIPIENT) == []
    assert check.recipients == [], "nobody is asked of recipients yet"
    check.clients[0].callback(None)
    assert codes(victim.heard()) == ["220", "250", "250"], "the greeting stands before the replies"


def test_the_language_hears_nothing_before_it_has_greeted() -> None:
    """Whoever drives it need not know."""
    session = ServerSession("mail.example.org", ServerSettings())
    session.receive(f"{GREETED}\r\n{SENDER}\r\n".encode())
    assert session.next_event() is NEED_OCTETS
    assert session.octets_to_send() == b""


def test_who_is_refused_gains_nothing_by_having_spoken(tmp_path: Path) -> None:
    check = SlowCheck()
    victim = Victim(tmp_path, checks=[check])
    victim.say(*BEGUN, "DATA", "Subject: early", "", "text", ".", "QUIT")
    check.clients[0].callback(BLOCKED)
    heard = codes(victim.heard())
    assert heard[:5] == ["554", "503", "503", "503", "503"]
    assert set(heard[5:]) <= {"500", "503", "421", "221"}
    assert victim.claims == []


def test_what_is_sent_early_is_bounded(tmp_path: Path) -> None:
    victim = Victim(tmp_path, checks=[SlowCheck()])
    for _ in range(20):
        victim.say(*["NOOP"] * 1000)
    assert victim._wire.producerState == "paused"


def test_a_group_is_answered_in_order_however_slow_the_answers_are(tmp_path: Path) -> None:
    check = Welcoming()
    victim = Victim(tmp_path, checks=[check])
    assert codes(victim.say(*BEGUN, "RCPT TO:<brown@example.org>", "NOOP", "DATA")) == ["250", "250"]
    check.recipients[0].callback(Reply(450, "4.2.0", ("come back later",)))
    assert codes(victim.heard()) == ["450"]
    check.recipients[1].callback(None)
    assert codes(victim.heard()) == ["250", "250", "354"]


def test_content_sent_before_the_354_that_never_comes_is_no_command(tmp_path: Path) -> None:
    """A client that does not wait: DATA is refused, and what it took for content ends the session."""
    victim = Victim(tmp_path)
    said = victim.say(
        GREETED,
        SENDER,
        "RCPT TO:<unknown@example.org>",
        "DATA",
        "Subject: early",
        "",
        SENDER,
        RECIPIENT,
        "DATA",
        "x",
        ".",
    )
    assert codes(said) == ["250", "250", "550", "554", "421"]
    assert victim.claims == []
