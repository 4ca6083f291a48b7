"""Who is told of a success, what a notice gives back, and how it travels."""

import email
import email.policy

import pytest
from clockwork import GREYLISTED, HOUR, MINUTE, NO_SUCH_USER, Build, House
from test_delivery_days import about
from twisted.internet.defer import fail

from mta.message.envelope import Recipient
from mta.message.outcome import Onward
from mta.message.returned import LARGEST_WHOLE
from mta.policy import expansion
from mta.policy.routing import Decision, Hop, Via
from mta.policy.sourceroute import mailbox_of
from mta.transports.memory import DELIVERED

HEADER = b"From: s@up.test\r\nSubject: hello\r\n"
WHOLE = HEADER + b"\r\nbody\r\n"
TELL = "SUCCESS,FAILURE"


@pytest.mark.parametrize(
    ("onward", "action"), [(Onward.FINAL, "delivered"), (Onward.RELAYED, "relayed"), (Onward.PASSED, "")]
)
def test_a_success_is_told_by_whom_it_is_up_to(build: Build, onward: Onward, action: str) -> None:
    house = build()
    house.transport.answer("x@there.test", DELIVERED._replace(onward=onward))
    number = house.submit(Recipient("x@there.test", TELL, "rfc822;old+2Bx@there.test"), envid="QQ+3D1", ret="FULL")
    house.run(1)
    notices = house.notices()
    assert [about(one.content) for one in notices] == ([[("x@there.test", action, "2.0.0")]] if action else [])
    for one in notices:
        assert b"Original-Envelope-Id: QQ=1\r\n" in one.content
        assert b"Original-Recipient: rfc822;old+x@there.test\r\n" in one.content
        assert b"Subject: hello" in one.content
        assert b"body\r\n" not in one.content, "RET=FULL is for failures"
        assert (one.envelope.sender, one.envelope.notice_for) == ("", number)
    story = house.story(number)
    assert story.result == "delivered"
    told = [event.detail["about"] for event in story.events if event.kind == "notice"]
    assert told == (["delivered"] if action else [])


def test_nobody_is_told_of_a_success_who_did_not_ask(house: House) -> None:
    house.submit("x@there.test", Recipient("y@there.test", "FAILURE,DELAY"), Recipient("z@there.test", "NEVER"))
    house.submit(Recipient("x@there.test", TELL), sender="")
    house.run(1)
    assert house.notices() == []
    assert len(house.transport.carriages) == 2


def test_success_and_failure_are_two_notices(house: House) -> None:
    house.transport.answer("no@there.test", NO_SUCH_USER)
    number = house.submit(
        Recipient("yes@there.test", TELL), Recipient("no@there.test", TELL), content=WHOLE, ret="FULL"
    )
    house.run(1)
    assert sorted(about(one.content) for one in house.notices()) == [
        [("no@there.test", "failed", "5.1.1")],
        [("yes@there.test", "relayed", "2.0.0")],
    ]
    assert sorted(WHOLE in one.content for one in house.notices()) == [False, True]
    assert house.story(number).result == "delivered failed"


# Expansion


@pytest.mark.parametrize(("kind", "action"), [(expansion.ALIAS, "expanded"), (expansion.LIST, "delivered")])
@pytest.mark.parametrize("eager", [True, False])
def test_an_expansion_is_told_at_once_by_us(build: Build, kind: str, action: str, eager: bool) -> None:
    house = build()
    number = house.submit(
        "a@one.test", "b@two.test", expanded={kind: Recipient("sales@up.test", TELL)}, eager=eager, envid="E1"
    )
    house.run(1)
    [notice] = house.notices()
    assert about(notice.content) == [("sales@up.test", action, "2.1.5")]
    assert b"Original-Envelope-Id: E1" in notice.content
    assert house.carried(kind) == []
    assert len(house.carried("one.test")) == len(house.carried("two.test")) == 1
    story = house.story(number)
    assert story.result == "delivered expanded"
    assert [event.detail["recipients"] for event in story.events if event.kind == "expanded"] == [["sales@up.test"]]
    assert house.messages == 0
    assert house.manager.in_flight == 0


def test_an_expansion_outlives_a_crash_and_is_told_of_once(build: Build) -> None:
    house = build(start=False)
    house.submit("a@one.test", expanded={expansion.ALIAS: Recipient("sales@up.test", TELL)}, silent=True)
    house.restart()
    house.run(1)
    house.restart()
    house.run(HOUR)
    assert len(house.notices()) == 1
    assert house.messages == 0


def test_an_expansion_is_no_matter_of_time(build: Build) -> None:
    """Its members have theirs, and a relay that was away has still expanded it."""
    house = build(start=False)
    by = house.clock.seconds() + MINUTE
    alias = {expansion.ALIAS: Recipient("sales@up.test", TELL)}
    house.submit("a@one.test", expanded=alias, silent=True, by=by, by_mode="R")
    house.run(HOUR)
    house.manager.start()
    house.run(1)
    assert sorted(action for one in house.notices() for _, action, _ in about(one.content)) == ["expanded", "failed"]
    assert house.carried("one.test") == []


def test_an_operator_can_return_an_expansion_too(build: Build) -> None:
    house = build(start=False)
    number = house.submit(expanded={expansion.ALIAS: Recipient("sales@up.test", TELL)}, silent=True)
    house.run(1)
    house.operate("bounce")
    house.manager.start()
    house.run(1)
    assert house.story(number).result == "failed"
    assert [about(one.content) for one in house.notices()] == [[("sales@up.test", "failed", "5.0.0")]]


# What comes back


def test_the_whole_message_comes_back_where_it_was_asked_for(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    house.submit("x@no.test", content=WHOLE, ret="FULL")
    house.submit("x@no.test", content=WHOLE, ret="HDRS")
    house.submit("x@no.test", content=WHOLE)
    house.run(1)
    assert [WHOLE in one.content for one in house.notices()] == [True, False, False]
    for one in house.notices():
        assert not (one.envelope.eight_bit or one.envelope.body or one.envelope.ret)
    kinds = [part.get_content_type() for part in email.message_from_bytes(house.notices()[0].content).walk()]
    assert kinds[-2:] == ["message/rfc822", "text/plain"]


def test_eight_bits_that_come_back_are_declared(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    whole = HEADER + "\r\n.Grüße\r\n".encode()
    house.submit("x@no.test", content=whole, ret="FULL", eight_bit=True)
    house.run(1)
    [bounce] = house.notices()
    assert whole in bounce.content
    assert (bounce.envelope.eight_bit, bounce.envelope.body, bounce.envelope.dotted) == (True, "8BITMIME", True)
    assert not bounce.envelope.smtputf8


def test_a_big_message_does_not_come_back(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    for size in (LARGEST_WHOLE, LARGEST_WHOLE + 1):
        lines = b"x" * 62 + b"\r\n"
        content = (HEADER + b"\r\n" + lines * (size // 64)).ljust(size - 2, b"x")[: size - 2] + b"\r\n"
        house.submit("x@no.test", content=content, ret="FULL")
    house.run(1)
    whole, header = (one.content for one in house.notices())
    assert b"It is attached as a whole." in whole
    assert len(whole) > LARGEST_WHOLE
    assert b"the message is too big to be returned." in header
    assert len(header) < 10_000
    assert HEADER in header


def test_what_cannot_be_read_is_not_given_back(house: House) -> None:
    house.transport.holding = True
    house.submit("x@later.test", eager=True, ret="FULL")
    house.run(1)
    house.operate("bounce")
    house.transport.answer("later.test", GREYLISTED)
    content, house.spool.content = house.spool.content, lambda claim: fail(OSError("the disk has a bad sector"))
    house.transport.let_go()
    house.run(2)
    house.spool.content = content
    house.transport.holding = False
    house.transport.let_go()
    house.run(10 * MINUTE)  # the notice had met the bad sector too
    [bounce] = house.notices()
    assert b"Nothing of it is attached, since it cannot be read any more." in bounce.content
    assert b"rfc822" not in bounce.content.partition(b"Final-Recipient: rfc822")[2]


# How a notice travels


def verified(sender: str, recipient: str) -> Decision:
    """Everything by MX, to up.test over TLS alone."""
    domain = recipient.rpartition("@")[2]
    return Decision(Hop(Via.MX, domain, tls="verify" if domain == "up.test" else "may"), None, "test")


def test_a_notice_about_mail_for_tls_alone_goes_over_tls_alone_where_it_can(build: Build) -> None:
    house = build(route=verified)
    house.transport.answer("x@no.test", NO_SUCH_USER)
    house.submit("x@no.test", content=WHOLE, ret="FULL", requiretls=True)
    house.submit("x@no.test", content=WHOLE, ret="FULL", requiretls=True, sender="s@other.test")
    house.submit("x@no.test", content=WHOLE)
    house.run(1)
    [safe, ordinary] = house.notices()
    [redacted] = house.notices("s@other.test")
    assert [one.envelope.requiretls for one in (safe, redacted, ordinary)] == [True, False, False]
    assert HEADER in safe.content
    assert b"body\r\n" not in safe.content
    assert b"Subject: hello" not in redacted.content
    assert b"text/rfc822-headers" not in redacted.content
    assert about(redacted.content) == [("x@no.test", "failed", "5.1.1")]


def test_a_notice_to_an_address_beyond_ascii_asks_for_smtputf8(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    house.submit("jörg@no.test", sender="älice@up.test", smtputf8=True)
    house.submit("jörg@no.test", smtputf8=True)
    house.run(1)
    [wide], [narrow] = house.notices("älice@up.test"), house.notices()
    assert (wide.envelope.smtputf8, wide.envelope.eight_bit, wide.envelope.body) == (True, True, "8BITMIME")
    assert "Final-Recipient: utf-8; jörg@no.test\r\n".encode() in wide.content
    assert (narrow.envelope.smtputf8, narrow.envelope.eight_bit, narrow.envelope.body) == (False, False, "")
    assert b"Final-Recipient: utf-8; j\\x{F6}rg@no.test\r\n" in narrow.content
    email.message_from_bytes(wide.content, policy=email.policy.SMTPUTF8)


def test_a_notice_goes_to_the_mailbox_behind_a_source_route(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    house.submit("x@no.test", sender="@relay.test,@b.test:s@up.test")
    house.run(1)
    [bounce] = house.notices()
    assert b"\r\nTo: <s@up.test>\r\n" in bounce.content
    assert bounce.hop.destination == "up.test"
    assert mailbox_of('@a,@b:"x:y"@c') == '"x:y"@c'
    assert mailbox_of('"@x:y"@c') == '"@x:y"@c'


def test_a_notice_is_as_urgent_as_its_message(house: House) -> None:
    house.transport.answer("no.test", NO_SUCH_USER)
    house.submit("x@no.test", priority=4)
    house.run(1)
    assert [one.envelope.priority for one in house.notices()] == [4]
