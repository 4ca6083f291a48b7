"""Case 19: bounces to people who have sent nothing, and what such a bounce could carry for a spammer."""

from pathlib import Path

import pytest
from attack_ground import BEGUN, GREETED, HEADER, SENDER, Victim, codes, house
from clockwork import NO_SUCH_USER

PAYLOAD = b"buy our pills at http://pills.example\r\n"
MAIL = b"From: forged@victim.test\r\nSubject: hello\r\n\r\n" + PAYLOAD * 100


@pytest.mark.parametrize("name", ["unknown", "UNKNOWN", '"un known"', "jones+tag", "former"])
def test_who_is_not_there_is_refused_in_the_session(tmp_path: Path, name: str) -> None:
    victim = Victim(tmp_path)
    victim.say(GREETED, SENDER)
    [reply] = victim.say(f"RCPT TO:<{name}@example.org>")
    assert reply[:3] in ("550", "551")
    assert codes(victim.say("DATA")) == ["554"]


def test_what_a_route_refuses_is_refused_in_the_session(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    victim.say(GREETED, SENDER)
    assert victim.say("RCPT TO:<closed@example.net>") == ["550 5.2.1 this mailbox takes no mail"]


@pytest.mark.parametrize("content", [b"x\ny\r\n", b"x" * 2000 + b"\r\n"])
def test_what_is_refused_at_the_end_of_content_leaves_nothing_to_bounce(tmp_path: Path, content: bytes) -> None:
    victim = Victim(tmp_path, message_size="1000")
    victim.say(*BEGUN, "DATA")
    assert victim.send_all(HEADER + content + b".\r\n")[0][0] == "5"
    assert victim.claims == []
    assert victim.spool.messages == {}


def test_a_bounce_carries_the_header_alone() -> None:
    relay = house()
    relay.transport.answer("no.test", NO_SUCH_USER)
    relay.submit("x@no.test", sender="forged@victim.test", content=MAIL)
    relay.run(60)
    [bounce] = relay.notices("forged@victim.test")
    assert b"Subject: hello" in bounce.content
    assert b"pills" not in bounce.content
    assert len(bounce.content) < 5000


def test_a_thousand_unknown_recipients_are_one_bounce() -> None:
    relay = house()
    relay.transport.answer("no.test", NO_SUCH_USER)
    relay.submit(*[f"x{number}@no.test" for number in range(1000)], sender="forged@victim.test")
    relay.run(60)
    assert len(relay.notices("forged@victim.test")) == 1


def test_a_huge_header_does_not_come_back_whole() -> None:
    relay = house()
    relay.transport.answer("no.test", NO_SUCH_USER)
    fields = b"".join(b"X-Spam-%d: %s\r\n" % (number, b"x" * 900) for number in range(2000))
    relay.submit("x@no.test", sender="forged@victim.test", content=fields + MAIL)
    relay.run(60)
    [bounce] = relay.notices("forged@victim.test")
    assert len(bounce.content) < 100_000
