"""The door, the protocol and the conversation, on a virtual clock with the spool's twin in memory."""

from ipaddress import ip_network

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mta.inbound.door import Doorkeeper, DoorLimits
from mta.inbound.house import House
from mta.inbound.listener import ListenerFactory
from mta.inbound.manners import Manners
from mta.inbound.proxy import Porch
from mta.inbound.reception import Keeping
from mta.interfaces import SpoolBroken, SpoolFull
from mta.maillog import MailLog
from mta.net.measures import TURNED_AWAY
from mta.policy.access import Access
from mta.policy.addressing import Addressing
from mta.policy.directory import Directory
from mta.policy.pattern import Pattern
from mta.policy.routing import Route, Routing
from mta.smtp.reply import Reply
from mta.spool.memory import MemoryReception, MemorySpool

START = 1_800_000_000.0


class Wire(StringTransport):
    """A connection that remembers whether it was closed or cut."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class Dispatcher:
    """Takes what it is told to take."""

    def __init__(self) -> None:
        self.eager = True
        self.reserved = 0
        self.delivered: list[tuple[str, list[str], bytes]] = []
        self.woken: list[str] = []

    def reserve(self, destination: str) -> bool:
        self.reserved += self.eager
        return self.eager

    def unreserve(self, destination: str) -> None:
        self.reserved -= 1

    def deliver(self, claim, content) -> None:
        self.reserved -= 1
        recipients = [one.address for one in claim.envelope.recipients]
        self.delivered.append((claim.destination, recipients, b"".join(content.blocks())))

    def wake(self, destination: str) -> None:
        self.woken.append(destination)


class Place:
    """A relay's front rooms, and a way to talk to them."""

    def __init__(self, *, limits: DoorLimits | None = None, checks=(), recipients: int = 5, **settings) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.lines: list[str] = []
        log = MailLog(self.lines.append, self.clock)
        self.spool = MemorySpool(self.clock.seconds, self.clock)
        self.spool.start()
        self.dispatcher = Dispatcher()
        limits = limits or DoorLimits(connections=10, connections_per_client=5, idle=300, content=600)
        self.door = Doorkeeper(self.clock, "mx.example.org", limits, log)
        refused = Route(Reply(550, "5.7.1", ("no mail here",)), Pattern.parse("closed.example"))
        keeping = Keeping(
            "mx.example.org",
            self.spool,
            self.dispatcher,
            log,
            self.clock.seconds,
            lambda at, by, mode: at + 3600,
            max_received=3,
        )
        routing, directory = Routing([refused]), Directory({})
        house = House(
            hostname="mx.example.org",
            postmaster="chief@example.org",
            keeping=keeping,
            access=Access([ip_network("192.0.2.0/24"), ip_network("127.0.0.0/8")], ["example.org", "closed.example"]),
            routing=routing,
            directory=directory,
            addressing=Addressing(directory, routing, "chief@example.org"),
            authentication=None,
            checks=checks,
        )
        manners = Manners(message_size=2000, recipients=recipients, **settings)
        self.factory = ListenerFactory(self.door, Porch(self.clock, log), house, manners)

    def connect(self, address: str = "192.0.2.7"):
        protocol = self.factory.buildProtocol(IPv4Address("TCP", address, 1234))
        if protocol is None:
            return None
        wire = Wire()
        protocol.makeConnection(wire)
        return Talk(self, protocol, wire)


class Check:
    """Objects to nobody."""

    def client(self, address):
        return succeed(None)

    def recipient(self, *asked):
        return succeed(None)


class Talk:
    """One client."""

    def __init__(self, place: Place, protocol, wire: Wire) -> None:
        self.place, self.protocol, self.wire = place, protocol, wire

    def heard(self) -> str:
        text = self.wire.value().decode()
        self.wire.clear()
        return text

    def say(self, *lines: str) -> str:
        self.protocol.dataReceived("".join(f"{line}\r\n" for line in lines).encode())
        self.place.clock.advance(0)
        return self.heard()

    def hang_up(self) -> None:
        self.protocol.connectionLost()


ENVELOPE = ("EHLO pc.example", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>", "DATA")
CONTENT = ("Subject: x", "", "..dot", ".")


def test_a_message_is_kept_before_its_250_and_handed_on_with_its_trace() -> None:
    place = Place()
    talk = place.connect()
    talk.say(*ENVELOPE)
    answer = talk.say(*CONTENT)
    assert answer.startswith("250 2.0.0 queued as ")
    ((destination, recipients, content),) = place.dispatcher.delivered
    assert (destination, recipients) == ("example.org", ["b@example.org"])
    trace, _, rest = content.partition(b"Subject")
    assert trace.startswith(b"Received: from pc.example ([192.0.2.7])\r\n\tby mx.example.org with ESMTP id ")
    assert answer.split()[-1].encode() in trace
    assert b"Subject" + rest == b"Subject: x\r\n\r\n.dot\r\n"
    assert place.dispatcher.reserved == 0


def test_what_cannot_be_tried_at_once_waits_in_the_spool() -> None:
    place = Place()
    place.dispatcher.eager = False
    talk = place.connect()
    talk.say(*ENVELOPE)
    assert talk.say(*CONTENT).startswith("250 ")
    assert place.dispatcher.delivered == []
    assert place.dispatcher.woken == ["example.org"]


def test_recipients_share_a_delivery_where_they_share_a_next_hop() -> None:
    place = Place()
    talk = place.connect()
    talk.say("EHLO x", "MAIL FROM:<>", *(f"RCPT TO:<{one}>" for one in ("a@one.test", "b@two.test", "c@ONE.test")))
    assert talk.say("DATA", "x", ".").count("\r\n") == 2
    assert [(where, who) for where, who, _ in place.dispatcher.delivered] == [
        ("one.test", ["a@one.test", "c@ONE.test"]),
        ("two.test", ["b@two.test"]),
    ]


def test_strangers_may_send_to_our_domains_alone() -> None:
    talk = Place().connect("198.51.100.1")
    talk.say("EHLO x.example", "MAIL FROM:<a@b.example>")
    assert talk.say("RCPT TO:<c@else.example>").startswith("550 5.7.1 ")
    assert talk.say("RCPT TO:<c%else.example@example.org>").startswith("550 5.7.1 ")
    assert talk.say("RCPT TO:<c@example.org>").startswith("250 2.1.5 ")
    assert talk.say("RCPT TO:<c@closed.example>") == "550 5.7.1 no mail here\r\n"


def test_postmaster_needs_no_domain() -> None:
    place = Place()
    talk = place.connect("198.51.100.1")
    talk.say("EHLO x.example", "MAIL FROM:<>")
    assert talk.say("RCPT TO:<PostMaster>").startswith("250 ")
    talk.say("DATA", "x", ".")
    assert place.dispatcher.delivered[0][1] == ["chief@example.org"]


def test_too_many_recipients_are_put_off() -> None:
    talk = Place(recipients=2).connect()
    talk.say("EHLO x", "MAIL FROM:<>", "RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>")
    assert talk.say("RCPT TO:<c@example.org>").startswith("452 4.5.3 ")


def test_a_message_in_a_loop_is_refused_and_nothing_is_kept() -> None:
    place = Place()
    talk = place.connect()
    talk.say(*ENVELOPE)
    assert talk.say(*["Received: x"] * 4, "", "body", ".").startswith("554 5.4.6 ")
    assert "too many Received fields" in place.lines[-1]
    assert place.dispatcher.delivered == []
    talk.say(*ENVELOPE[1:])
    assert talk.say(*["Received: x"] * 3, "", "Received: body", ".").startswith("250 ")


def test_content_that_begins_with_a_blank_does_not_continue_our_trace_field() -> None:
    place = Place()
    talk = place.connect()
    talk.say(*ENVELOPE)
    assert talk.say(" by somebody.else; forged", "Subject: x", ".").startswith("250 ")
    ((_, _, content),) = place.dispatcher.delivered
    trace, _, rest = content.partition(b"\r\n\r\n")
    assert b"forged" not in trace
    assert rest == b" by somebody.else; forged\r\nSubject: x\r\n"


def test_content_that_is_too_big_or_has_a_bare_lf_is_refused_at_its_end() -> None:
    place = Place()
    talk = place.connect()
    talk.say(*ENVELOPE)
    assert talk.say("x" * 500, "x" * 500, "x" * 500, "x" * 500, ".").startswith("552 5.3.4 ")
    talk.say(*ENVELOPE[1:])
    assert talk.say("smuggled\n.\nMAIL FROM:<x@example>", ".").startswith("550 5.5.2 ")
    assert place.dispatcher.delivered == []
    assert talk.say("NOOP").startswith("250 ")


@pytest.mark.parametrize(("error", "reply"), [(SpoolFull("full"), "452 4.3.1"), (SpoolBroken("io"), "451 4.3.0")])
def test_what_cannot_be_kept_is_not_taken(error: Exception, reply: str, monkeypatch) -> None:
    place = Place()
    talk = place.connect()
    talk.say(*ENVELOPE)

    def fail(self, *args):
        failing: Deferred[None] = Deferred()
        place.clock.callLater(1, failing.errback, error)
        return failing

    monkeypatch.setattr(MemoryReception, "commit", fail)
    assert talk.say(*CONTENT) == ""
    place.clock.advance(1)
    assert talk.heard().startswith(reply)
    assert (place.dispatcher.reserved, place.dispatcher.delivered) == (0, [])


def test_below_the_floor_data_is_put_off_and_can_be_said_again(monkeypatch) -> None:
    place = Place()
    talk = place.connect()

    def full(now):
        raise SpoolFull("less than the floor")

    with monkeypatch.context() as patch:
        patch.setattr(place.spool, "receive", full)
        assert talk.say(*ENVELOPE).splitlines()[-1].startswith("452 4.3.1 ")
    assert talk.say("DATA").startswith("354 ")
    assert talk.say(*CONTENT).startswith("250 ")


def test_pipelined_commands_behind_a_slow_answer_keep_their_order() -> None:
    waiting: list[Deferred] = []

    class Slow(Check):
        def recipient(self, *asked):
            waiting.append(Deferred())
            return waiting[-1]

    place = Place(checks=[Slow()])
    talk = place.connect()
    assert talk.say("EHLO x").count("\r\n") > 1
    assert talk.say("MAIL FROM:<>", "RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>", "NOOP", "DATA") == (
        "250 2.1.0 sender ok\r\n"
    )
    waiting[0].callback(Reply(450, "4.2.0", ("come back later",)))
    assert talk.heard() == "450 4.2.0 come back later\r\n"
    waiting[1].callback(None)
    assert [line[:3] for line in talk.heard().splitlines()] == ["250", "250", "354"]


def test_a_check_that_breaks_is_answered_451(capsys) -> None:
    class Broken(Check):
        def recipient(self, *asked):
            raise ZeroDivisionError

    talk = Place(checks=[Broken()]).connect()
    talk.say("EHLO x", "MAIL FROM:<>")
    assert talk.say("RCPT TO:<a@example.org>").startswith("451 4.3.0 ")


def test_a_client_that_sends_faster_than_it_is_answered_is_paused() -> None:
    class Never(Check):
        def recipient(self, *asked):
            return Deferred()

    talk = Place(checks=[Never()]).connect()
    talk.say("EHLO x", "MAIL FROM:<>", "RCPT TO:<a@example.org>")
    for _ in range(20):
        talk.protocol.dataReceived(b"NOOP\r\n" * 1000)
    assert talk.wire.producerState == "paused"


def test_a_client_that_does_not_read_its_replies_is_not_listened_to() -> None:
    class Slow(Check):
        def recipient(self, *asked):
            return answers[-1]

    answers = [Deferred()]
    talk = Place(checks=[Slow()]).connect()
    talk.say("EHLO x", "MAIL FROM:<>", "RCPT TO:<a@example.org>")
    talk.wire.producer.pauseProducing()  # as a connection does whose queue is long
    assert talk.wire.producerState == "paused"
    answers[0].callback(None)
    assert talk.wire.producerState == "paused"
    talk.wire.producer.resumeProducing()
    assert talk.wire.producerState == "producing"
    talk.wire.producer.pauseProducing()
    assert talk.say("QUIT").splitlines()[-1].startswith("221 ")
    assert talk.wire.disconnecting
    assert talk.wire.producer is None


def test_connections_are_bounded_in_all_and_for_each_client() -> None:
    place = Place(limits=DoorLimits(connections=3, connections_per_client=2))
    talks = [place.connect("192.0.2.1"), place.connect("192.0.2.1")]
    third = place.connect("192.0.2.1")
    assert third.heard().startswith("421 4.7.0 ")
    assert third.wire.disconnecting
    talks.append(place.connect("192.0.2.2"))
    assert place.connect("192.0.2.3").heard().startswith("421 4.3.2 ")
    talks[0].hang_up()
    assert place.connect("192.0.2.1").heard().startswith("220 ")


def test_who_cannot_be_served_for_want_of_descriptors_is_told_so_and_counted() -> None:
    place = Place()
    before = place.door.measures.cells[TURNED_AWAY]
    assert place.factory.turn_away("::ffff:192.0.2.1").startswith(b"421 4.3.2 mx.example.org has as many connections")
    assert "refused client=192.0.2.1" in place.lines[-1]
    assert place.door.measures.cells[TURNED_AWAY] == before + 1
    place.door.close(1)
    assert place.factory.turn_away("").startswith(b"421 4.3.2 mx.example.org is shutting down")


def test_one_client_is_one_client_also_through_an_ipv6_socket() -> None:
    place = Place(limits=DoorLimits(connections=9, connections_per_client=1))
    place.connect("192.0.2.1")
    assert place.connect("::ffff:192.0.2.1").heard().startswith("421 ")


def test_a_unix_socket_is_on_this_machine() -> None:
    place = Place(limits=DoorLimits(connections=9, connections_per_client=1))
    for _ in range(3):
        protocol = place.factory.buildProtocol(UNIXAddress(b"/run/x"))
        wire = Wire()
        protocol.makeConnection(wire)
        talk = Talk(place, protocol, wire)
        assert talk.heard().startswith("220 ")
    talk.say("EHLO cron", "MAIL FROM:<>")
    assert talk.say("RCPT TO:<a@else.example>").startswith("250 ")


def test_an_idle_session_is_ended_with_421_and_then_cut() -> None:
    place = Place()
    talk = place.connect()
    talk.say("EHLO x")
    for _ in range(299):
        place.clock.advance(1)
    assert not talk.wire.disconnecting
    for _ in range(3):
        place.clock.advance(1)
    assert talk.heard().startswith("421 4.4.2 ")
    assert talk.wire.disconnecting
    for _ in range(20):
        place.clock.advance(1)
    assert talk.wire.aborted


def test_octets_without_a_line_end_do_not_keep_a_session_alive() -> None:
    place = Place()
    talk = place.connect()
    for _ in range(305):
        talk.protocol.dataReceived(b"N")
        place.clock.advance(1)
    assert "421 4.4.2" in talk.heard()


def test_dripping_content_is_cut_off_though_it_never_stops() -> None:
    place = Place()
    talk = place.connect()
    talk.say(*ENVELOPE)
    for _ in range(700):
        talk.protocol.dataReceived(b"x")
        place.clock.advance(1)
        if talk.wire.disconnecting:
            break
    assert talk.heard().startswith("421 4.4.2 ")


def test_a_connection_lost_in_the_middle_of_content_leaves_nothing() -> None:
    place = Place()
    talk = place.connect()
    talk.say(*ENVELOPE)
    talk.say("Subject: half")
    talk.hang_up()
    assert place.spool.start().messages == 0
    assert place.door.sessions == 0


def test_a_client_that_has_said_all_gets_its_replies_before_the_connection_is_closed(monkeypatch) -> None:
    place = Place()
    talk = place.connect()
    talk.say(*ENVELOPE)
    committing: Deferred[None] = Deferred()
    monkeypatch.setattr(MemoryReception, "commit", lambda self, *args: committing)
    assert talk.say(*CONTENT, "NOOP") == ""
    talk.protocol.readConnectionLost()
    assert not talk.wire.disconnecting
    committing.errback(SpoolFull("full"))
    assert [line[:3] for line in talk.heard().splitlines()] == ["452", "250"]
    assert talk.wire.disconnecting


def test_a_client_that_has_said_all_and_is_owed_nothing_is_let_go() -> None:
    talk = Place().connect()
    talk.say(*ENVELOPE, "not the end")
    talk.protocol.readConnectionLost()
    assert talk.wire.disconnecting


def test_what_was_sent_ahead_is_not_taken_up_once_the_client_has_gone() -> None:
    place = Place()
    talk = place.connect()
    talk.say(*ENVELOPE)
    talk.protocol.dataReceived(b"one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.org>\r\nDATA\r\ntwo\r\n.\r\n")
    talk.hang_up()
    place.clock.advance(1)
    assert len(place.dispatcher.delivered) == 1


def test_a_spool_that_does_not_answer_is_told_as_451(monkeypatch) -> None:
    place = Place()
    talk = place.connect()

    def broken(now):
        raise SpoolBroken("the disk of the spool does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(place.spool, "receive", broken)
        assert talk.say(*ENVELOPE).splitlines()[-1].startswith("451 4.3.0 ")
    assert talk.say("DATA").startswith("354 ")
    assert talk.say(*CONTENT).startswith("250 ")


def test_going_down_ends_a_session_whose_content_was_refused() -> None:
    place = Place()
    busy = place.connect()
    busy.say(*ENVELOPE)
    place.door.close(10)
    refused = busy.say("a bare\nLF", ".", "MAIL FROM:<s@example>", "RCPT TO:<r@example>")
    assert [line[:3] for line in refused.splitlines()] == ["550", "421"]
    assert busy.wire.disconnecting


def test_going_down_lets_a_transaction_end_and_tells_the_others() -> None:
    place = Place()
    idle, busy, waiting, early = (place.connect() for _ in range(4))
    idle.say("EHLO x")
    early.say("EHLO x", "MAIL FROM:<>")
    busy.say(*ENVELOPE)
    waiting.say(*ENVELOPE)
    closed: list[None] = []
    place.door.close(10).addCallback(closed.append)
    assert idle.heard().startswith("421 4.3.2 ")
    idle.hang_up()
    assert [line[:3] for line in early.say("RCPT TO:<b@example.org>", "DATA", "x", ".").splitlines()] == [
        "250",
        "354",
        "250",
        "421",
    ]
    early.hang_up()
    kept = busy.say(*CONTENT)
    assert [line[:3] for line in kept.splitlines()] == ["250", "421"]
    assert busy.wire.disconnecting
    busy.hang_up()
    assert closed == []
    assert place.connect().heard().startswith("421 4.3.2 ")
    place.clock.advance(10)
    assert waiting.heard().startswith("421 4.3.2 ")
    assert waiting.wire.disconnecting
    assert not waiting.wire.aborted
    waiting.hang_up()
    assert closed == [None]


def test_who_takes_no_notice_of_the_end_is_cut_off_soon() -> None:
    place = Place()
    dawdling, deaf = place.connect(), place.connect()
    for one in (dawdling, deaf):
        one.say(*ENVELOPE)
    deaf.say("a line")
    place.door.close(10)
    place.clock.advance(10)
    assert [one.heard()[:10] for one in (dawdling, deaf)] == ["421 4.3.2 "] * 2
    dawdling.hang_up()
    place.clock.pump([0.5] * 8)
    assert deaf.wire.aborted


def test_a_client_that_a_check_refuses_is_greeted_with_554_and_heard_no_more() -> None:
    class Closed(Check):
        def client(self, address):
            return asked

    asked: Deferred[Reply | None] = Deferred()
    talk = Place(checks=[Closed()]).connect()
    assert talk.say("EHLO early") == ""
    asked.callback(Reply(554, "5.7.1", ("not from there",)))
    assert (
        talk.heard()
        == "554 5.7.1 not from there\r\n503 5.7.0 no mail service here for your address; QUIT is all that is left\r\n"
    )
    assert talk.say("MAIL FROM:<>")[:3] == "503"
    assert talk.say("QUIT")[:3] == "221"


def test_a_proxy_that_speaks_for_others_is_counted_as_itself() -> None:
    place = Place(limits=DoorLimits(connections=10, connections_per_client=1), xclient=(ip_network("198.51.100.1/32"),))
    for _ in range(3):
        talk = place.connect("198.51.100.1")
        assert talk.heard()[:3] == "220"
        assert talk.say("XCLIENT ADDR=203.0.113.9")[:3] == "220"
        assert talk.say("QUIT")[:3] == "221"
        talk.hang_up()
    assert place.door.sessions == 0
    assert place.door.objection("203.0.113.9") is None


def test_what_a_proxy_has_logged_in_for_is_not_its_clients() -> None:
    place = Place(xclient=(ip_network("198.51.100.1/32"),))
    talk = place.connect("198.51.100.1")
    talk.say("XCLIENT LOGIN=alice@example.org", "EHLO a", "MAIL FROM:<a@example.net>")
    assert talk.say("RCPT TO:<b@elsewhere.example>")[:3] == "250"
    talk.say("RSET", "XCLIENT ADDR=203.0.113.9", "EHLO a", "MAIL FROM:<a@example.net>")
    assert talk.say("RCPT TO:<b@elsewhere.example>")[:9] == "550 5.7.1"
