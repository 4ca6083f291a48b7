"""The SMTP transport against servers that are good, bad and absent: who is delivered, deferred, failed, and where."""

import pytest
from carry_world import DEAF, HANG_UP, HOP, LETTER, SILENT, START, Letter, Script, Server, World

from mta.message.outcome import Carried, Result
from mta.smtp.reply import Reply
from mta.transports.errand import CARRY_SECONDS

DELIVERED, DEFERRED, FAILED = Result.DELIVERED, Result.DEFERRED, Result.FAILED
NONSENSE = b"\x16\x03\x01 what is this?\r\n"


def results(carried: Carried) -> list[tuple[Result, str]]:
    return [(outcome.result, str(outcome.reply)) for outcome in carried.outcomes]


def test_the_ordinary_case() -> None:
    world = World()
    server = world.serve()
    carried = world.carry("a@example.net", eight_bit=True)
    [outcome] = carried.outcomes
    assert outcome.result is DELIVERED
    assert outcome.reply == Reply(250, "2.0.0", ("taken",))
    assert outcome.host == "mx.example.net[192.0.2.1]:25"
    assert outcome.remote
    assert not outcome.unknown
    [tried] = carried.tries
    assert tried == (outcome.host, 0.0, "250 2.0.0 taken", "", (), ())
    assert carried.reached
    assert server.messages == [("s@example.com", ("a@example.net",), LETTER)]
    assert server.heard == [
        "EHLO me.example",
        f"MAIL FROM:<s@example.com> SIZE={len(LETTER)} BODY=8BITMIME",
        "RCPT TO:<a@example.net>",
        "DATA",
    ]


@pytest.mark.parametrize("pipelining", [True, False])
def test_writes_are_few(pipelining: bool) -> None:
    world = World()
    server = Server(pipelining=pipelining)
    world.host("mx.example.net", "192.0.2.1", server)
    world.carry("a@example.net", "b@example.net")
    assert len(server.conversations[0].wire.written) == (3 if pipelining else 6)
    assert len(server.messages) == 1


def test_each_recipient_has_its_own_reply() -> None:
    world = World()
    server = world.serve(RCPT=["250 ok", "550 5.1.1 unknown", "450 4.2.1 later", "250 ok"])
    backup = world.host("backup.example.net", "192.0.2.2", Server())
    carried = world.carry("a@example.net", "b@example.net", "c@example.net", "d@example.net")
    assert results(carried) == [
        (DELIVERED, "250 2.0.0 taken"),
        (FAILED, "550 5.1.1 unknown"),
        (DEFERRED, "450 4.2.1 later"),
        (DELIVERED, "250 2.0.0 taken"),
    ]
    assert server.messages == [("s@example.com", ("a@example.net", "d@example.net"), LETTER)]
    assert backup is not None
    assert not backup.connections
    [tried] = carried.tries
    assert tried.text == "550 5.1.1 unknown"
    assert tried.dialogue == (
        "S: 220 mx ESMTP",
        "C: EHLO me.example",
        "S: 250-mx",
        "S: 250-SIZE 1000000",
        "S: 250-8BITMIME",
        "S: 250 PIPELINING",
        f"C: MAIL FROM:<s@example.com> SIZE={len(LETTER)}",
        "C: RCPT TO:<a@example.net>",
        "C: RCPT TO:<b@example.net>",
        "C: RCPT TO:<c@example.net>",
        "C: RCPT TO:<d@example.net>",
        "C: DATA",
        "S: 250 2.1.0 sender ok",
        "S: 250 ok",
        "S: 550 5.1.1 unknown",
        "S: 450 4.2.1 later",
        "S: 250 ok",
        "S: 354 go ahead",
        f"C: (content of {len(LETTER)} octets)",
        "S: 250 2.0.0 taken",
    )


@pytest.mark.parametrize(
    ("script", "result", "reply"),
    [
        ({"MAIL": "451 4.3.0 later"}, DEFERRED, "451 4.3.0 later"),
        ({"MAIL": "550 5.7.1 no"}, FAILED, "550 5.7.1 no"),
        ({"RCPT": "450 4.2.1 greylisted"}, DEFERRED, "450 4.2.1 greylisted"),
        ({"RCPT": "552 5.2.2 full"}, FAILED, "552 5.2.2 full"),
        ({"DATA": "451 4.3.0 later"}, DEFERRED, "451 4.3.0 later"),
        ({"CONTENT": "451 4.7.1 later"}, DEFERRED, "451 4.7.1 later"),
        ({"CONTENT": "554 5.7.1 spam"}, FAILED, "554 5.7.1 spam"),
    ],
)
def test_a_refusal_is_an_answer_that_no_other_host_is_asked_for(
    script: dict[str, str], result: Result, reply: str
) -> None:
    world = World()
    world.serve(**script)
    backup = world.host("backup.example.net", "192.0.2.2", Server())
    carried = world.carry()
    assert results(carried) == [(result, reply)]
    assert carried.reached
    assert carried.outcomes[0].remote
    assert carried.tries[0].dialogue
    assert backup is not None
    assert not backup.connections


BEFORE_THE_DOT: list[tuple[dict[str, Script], float, str]] = [
    ({"GREETING": "421 4.3.2 busy"}, 0, "421 4.3.2 busy"),
    ({"GREETING": "450 4.3.2 busy"}, 0, "450 4.3.2 busy"),
    ({"GREETING": "554 5.3.2 no mail here"}, 0, "554 5.3.2 no mail here"),
    ({"GREETING": SILENT}, 300, "451 4.4.2 timed out while waiting for the greeting"),
    ({"GREETING": HANG_UP}, 0, "451 4.4.2 connection lost while waiting for the greeting"),
    ({"GREETING": NONSENSE}, 0, "451 4.5.0 not a reply: ??? what is this?"),
    ({"GREETING": b"220-never\r\n" * 101}, 0, "451 4.5.0 a reply of more than 100 lines"),
    ({"GREETING": b"220 " + b"x" * 70_000}, 0, "451 4.5.0 a reply of more than 65536 octets"),
    ({"GREETING": "220 hi\r\n250 too eager"}, 0, "451 4.5.0 a reply that was not asked for: 250 too eager"),
    ({"EHLO": "421 4.7.0 no"}, 0, "421 4.7.0 no"),
    ({"EHLO": "554 5.7.1 no"}, 0, "554 5.7.1 no"),
    ({"EHLO": SILENT}, 300, "451 4.4.2 timed out while waiting for the reply to EHLO"),
    ({"MAIL": "421 4.7.0 too many messages"}, 0, "421 4.7.0 too many messages"),
    ({"MAIL": HANG_UP}, 0, "451 4.4.2 connection lost while waiting for the reply to MAIL"),
    ({"MAIL": SILENT, "RCPT": SILENT, "DATA": SILENT}, 300, "451 4.4.2 timed out while waiting for the reply to MAIL"),
    ({"MAIL": "354 what"}, 0, "451 4.5.0 unexpected reply to MAIL: 354 what"),
    ({"RCPT": "421 4.7.0 no more"}, 0, "421 4.7.0 no more"),
    ({"RCPT": HANG_UP}, 0, "451 4.4.2 connection lost while waiting for the reply to RCPT"),
    ({"RCPT": "354 what"}, 0, "451 4.5.0 unexpected reply to RCPT: 354 what"),
    ({"DATA": "421 4.7.0 no more"}, 0, "421 4.7.0 no more"),
    ({"MAIL": b"421 4.7.0 bye\r\n", "RCPT": SILENT, "DATA": SILENT}, 0, "421 4.7.0 bye"),
    ({"RCPT": b"421 4.7.0 bye\r\n", "DATA": SILENT}, 0, "421 4.7.0 bye"),
    ({"RCPT": "421 4.7.0 bye", "DATA": "354 go\r\n250 2.0.0 taken"}, 0, "421 4.7.0 bye"),
    ({"DATA": "250 ok"}, 0, "451 4.5.0 unexpected reply to DATA: 250 ok"),
    ({"DATA": SILENT}, 300, "451 4.4.2 timed out while waiting for the reply to DATA"),
    ({"DATA": NONSENSE}, 0, "451 4.5.0 not a reply: ??? what is this?"),
    ({"DATA": b"354 go\r\n250 2.0.0 taken\r\n"}, 0, "451 4.5.0 a reply that was not asked for: 250 2.0.0 taken"),
    ({"CONTENT": "421 4.3.0 cannot keep it"}, 0, "421 4.3.0 cannot keep it"),
]


@pytest.mark.parametrize(("script", "seconds", "text"), BEFORE_THE_DOT)
def test_the_next_host_is_tried(script: dict[str, Script], seconds: float, text: str) -> None:
    world = World()
    first = world.serve(**script)
    second = world.host("backup.example.net", "192.0.2.2", Server())
    carried = world.carry(seconds=seconds + 0.001)
    assert results(carried) == [(DELIVERED, "250 2.0.0 taken")]
    assert carried.outcomes[0].host == "backup.example.net[192.0.2.2]:25"
    assert [tried.text for tried in carried.tries] == [text, "250 2.0.0 taken"]
    assert carried.tries[0].seconds == pytest.approx(seconds)
    assert second is not None
    assert len(second.messages) == 1
    assert not first.messages
    world.clock.advance(0)
    assert not first.open


@pytest.mark.parametrize(("script", "seconds", "text"), BEFORE_THE_DOT)
def test_without_a_next_host_the_mail_waits(script: dict[str, Script], seconds: float, text: str) -> None:
    world = World()
    world.serve(**script)
    carried = world.carry(seconds=seconds + 0.001)
    turned_away = text.startswith("554")
    assert results(carried) == [(FAILED if turned_away else DEFERRED, text)]
    [outcome] = carried.outcomes
    assert outcome.remote is not text.startswith("451")
    assert not outcome.unknown
    assert carried.reached is not ({"GREETING", "EHLO"} >= set(script) or text.endswith("MAIL") or "MAIL:" in text)


def test_a_host_that_is_not_there() -> None:
    world = World()
    world.host("mx.example.net", "192.0.2.1")
    carried = world.carry()
    assert results(carried) == [(DEFERRED, "451 4.4.1 connection refused")]
    assert carried.tries[0][:3] == ("mx.example.net[192.0.2.1]:25", 0.0, "451 4.4.1 connection refused")
    assert not carried.reached
    assert not carried.outcomes[0].remote
    assert not world.pool.open


def test_a_host_that_does_not_answer() -> None:
    world = World()
    world.host("mx.example.net", "192.0.2.1")
    world.unreachable.add("192.0.2.1")
    carried = world.carry(seconds=30)
    assert results(carried) == [(DEFERRED, "451 4.4.1 connection timed out")]
    assert carried.tries[0].seconds == 30.0
    assert not carried.reached


def test_every_host_has_turned_us_away_for_good() -> None:
    world = World()
    world.serve(GREETING="554 5.3.2 no mail here")
    world.host("backup.example.net", "192.0.2.2", Server(GREETING="550 5.7.1 not you"))
    assert results(world.carry()) == [(FAILED, "550 5.7.1 not you")]


def test_not_every_host_has_turned_us_away() -> None:
    world = World()
    world.serve(GREETING="554 5.3.2 no mail here")
    world.host("backup.example.net", "192.0.2.2")
    carried = world.carry()
    assert results(carried) == [(DEFERRED, "554 5.3.2 no mail here")]
    assert carried.outcomes[0].host == "mx.example.net[192.0.2.1]:25"
    assert not carried.reached


def test_a_host_whose_addresses_nobody_knows_may_think_otherwise() -> None:
    world = World()
    world.serve(GREETING="554 5.3.2 no mail here")
    world.host("backup.example.net", "192.0.2.2")
    world.resolver.failures.add("backup.example.net")
    assert results(world.carry()) == [(DEFERRED, "554 5.3.2 no mail here")]


def test_a_reply_lost_after_the_final_dot() -> None:
    """RFC 1047: nobody knows, so no other host is asked."""
    for script, seconds, why in (
        (HANG_UP, 0, "451 4.4.2 connection lost while waiting for the reply to the content"),
        (SILENT, 600, "451 4.4.2 timed out while waiting for the reply to the content"),
        (NONSENSE, 0, "451 4.5.0 not a reply: ??? what is this?"),
        ("354 what", 0, "451 4.5.0 unexpected reply to the content: 354 what"),
    ):
        world = World()
        world.serve(CONTENT=script)
        backup = world.host("backup.example.net", "192.0.2.2", Server())
        carried = world.carry(seconds=seconds)
        assert results(carried) == [(DEFERRED, why)]
        assert carried.outcomes[0].unknown
        assert not carried.outcomes[0].remote
        assert carried.reached
        assert backup is not None
        assert not backup.connections
        world.clock.advance(0)
        assert not world.pool.open


def test_only_those_without_an_answer_go_to_the_next_host() -> None:
    world = World()
    world.serve(RCPT=["250 ok", "550 5.1.1 unknown", "421 4.7.0 enough"])
    backup = world.host("backup.example.net", "192.0.2.2", Server())
    carried = world.carry("a@example.net", "b@example.net", "c@example.net")
    assert [result for result, _ in results(carried)] == [DELIVERED, FAILED, DELIVERED]
    assert backup is not None
    assert backup.messages == [("s@example.com", ("a@example.net", "c@example.net"), LETTER)]


def test_many_recipients() -> None:
    world = World()
    server = world.serve()
    everybody = [f"r{number}@example.net" for number in range(150)]
    carried = world.carry(*everybody)
    assert {outcome.result for outcome in carried.outcomes} == {DELIVERED}
    assert len(carried.outcomes) == 150
    assert [paths for _, paths, _ in server.messages] == [tuple(everybody[:100]), tuple(everybody[100:])]
    assert server.connections == 1


def test_too_many_recipients() -> None:
    world = World()
    server = world.serve(RCPT=["250 ok", "452 4.5.3 too many", "452 4.5.3 too many", "250 ok"])
    carried = world.carry("a@example.net", "b@example.net", "c@example.net")
    assert {outcome.result for outcome in carried.outcomes} == {DELIVERED}
    assert [paths for _, paths, _ in server.messages] == [("a@example.net",), ("b@example.net", "c@example.net")]
    assert server.connections == 1


def test_a_421_between_two_transactions() -> None:
    world = World()
    world.serve(MAIL=["250 ok", "421 4.7.0 enough for today"])
    everybody = [f"r{number}@example.net" for number in range(101)]
    carried = world.carry(*everybody)
    assert [outcome.result for outcome in carried.outcomes] == [DELIVERED] * 100 + [DEFERRED]
    assert carried.outcomes[100].reply.code == 421


def test_a_message_that_is_too_big_for_the_peer() -> None:
    world = World()
    server = world.serve(EHLO="250-mx\r\n250 SIZE 10")
    carried = world.carry()
    assert results(carried) == [(FAILED, f"552 5.3.4 {len(LETTER)} octets are more than mx takes (10)")]
    assert not carried.outcomes[0].remote
    assert server.heard == ["EHLO me.example"]


LARGE = b"".join(b"%07d line of a large content\r\n" % number for number in range(10_000))


def test_a_large_content_goes_block_by_block() -> None:
    world = World()
    server = world.serve()
    assert results(world.carry(content=LARGE)) == [(DELIVERED, "250 2.0.0 taken")]
    assert server.messages[0][2] == LARGE
    assert max(map(len, server.conversations[0].wire.written)) <= 65_536
    assert results(world.carry(content=Letter(LARGE, block=1000))) == [(DELIVERED, "250 2.0.0 taken")]
    assert server.messages[1][2] == LARGE
    assert server.connections == 1


def test_a_peer_that_reads_nothing_more_of_a_large_content() -> None:
    world = World()
    world.serve(BLOCK=DEAF)
    carried = world.carry(content=LARGE, seconds=180)
    assert results(carried) == [(DEFERRED, "451 4.4.2 timed out while sending the content")]
    assert not carried.outcomes[0].unknown
    assert carried.reached
    assert carried.tries[0].dialogue[-1] == f"C: (the beginning of a content of {len(LARGE)} octets)"
    world.clock.advance(0)
    assert not world.pool.open


def test_a_peer_that_reads_nothing_of_a_small_content() -> None:
    """It may be in the buffers on the way, all of it: that is not known."""
    world = World()
    world.serve(DATA=["354 go"], BLOCK=DEAF, CONTENT=SILENT)
    carried = world.carry(seconds=600)
    assert carried.outcomes[0].unknown


@pytest.mark.parametrize(
    ("early", "result", "text"),
    [
        ("552 5.3.4 too big", FAILED, "552 5.3.4 too big"),
        ("451 4.3.0 disk full", DEFERRED, "451 4.3.0 disk full"),
        ("421 4.3.0 closing", DEFERRED, "421 4.3.0 closing"),
        ("250 2.0.0 taken", DEFERRED, "451 4.5.0 a reply before the end of the content: 250 2.0.0 taken"),
        (HANG_UP, DEFERRED, "451 4.4.2 connection lost while sending the content"),
        (NONSENSE, DEFERRED, "451 4.5.0 not a reply: ??? what is this?"),
    ],
)
def test_a_reply_before_the_end_of_a_large_content(early: str, result: Result, text: str) -> None:
    world = World()
    server = world.serve(BLOCK=[SILENT, early, SILENT])
    carried = world.carry(content=LARGE)
    assert results(carried) == [(result, text)]
    assert not carried.outcomes[0].unknown
    assert not server.messages
    world.clock.advance(0)
    assert not world.pool.open


@pytest.mark.parametrize("size", [1000, 100_000, 300_000])
def test_content_that_cannot_be_read(size: int) -> None:
    world = World()
    server = world.serve()
    backup = world.host("backup.example.net", "192.0.2.2", Server())
    carried = world.carry(content=Letter(LARGE[:size], fails=OSError("the disk is gone")))
    assert results(carried) == [(DEFERRED, "451 4.3.0 the content cannot be read: the disk is gone")]
    assert not carried.outcomes[0].unknown
    assert not server.messages
    assert backup is not None
    assert not backup.connections
    world.clock.advance(0)
    assert not world.pool.open


def test_the_time_for_all_hosts_together_is_bounded() -> None:
    world = World()
    for number in range(1, 20):
        world.host(f"mx{number % 10}.example.net", f"192.0.2.{number}", Server(EHLO=SILENT))
    carried = world.carry(seconds=2 * CARRY_SECONDS)
    assert results(carried) == [(DEFERRED, "451 4.4.2 timed out while waiting for the reply to EHLO")]
    assert world.clock.seconds() - START == pytest.approx(CARRY_SECONDS, abs=1)


def test_a_server_that_drips_replies_is_given_up() -> None:
    """Each reply in time, but all of them together not."""
    world = World()
    everybody = [f"r{number}@example.net" for number in range(100)]
    server = world.serve(RCPT=SILENT, DATA=SILENT)
    for number in range(1, 60):
        world.clock.callLater(number * 200, lambda: server.conversations[0].wire.arrive(b"250 ok\r\n"))
    carried = world.carry(*everybody, seconds=2 * CARRY_SECONDS)
    assert {outcome.result for outcome in carried.outcomes} == {DEFERRED}
    assert world.clock.seconds() - START == pytest.approx(CARRY_SECONDS, abs=1)


def test_a_dialogue_is_bounded() -> None:
    world = World()
    world.serve(RCPT="550 5.1.1 " + "unknown " * 100)
    carried = world.carry(*[f"r{number}@example.net" for number in range(100)])
    [tried] = carried.tries
    assert len(tried.dialogue) == 60
    assert max(map(len, tried.dialogue)) == 500
    assert tried.dialogue[0] == "S: 220 mx ESMTP"
    assert tried.dialogue[20].endswith(" lines left out)")
    assert tried.dialogue[-1] == "S: 354 go ahead" or tried.dialogue[-1].startswith("S: 250")


def test_what_servers_say_is_clean_everywhere() -> None:
    world = World()
    world.serve(RCPT="550 5.1.1 \x1b[31mno\x00\x07 <script>\rFrom: x")
    carried = world.carry()
    shown = [str(outcome.reply) for outcome in carried.outcomes]
    shown += [line for tried in carried.tries for line in (tried.text, *tried.dialogue)]
    assert all(line.isprintable() for line in shown)


def test_no_timer_is_left() -> None:
    world = World()
    world.serve()
    world.carry()
    world.result(world.smtp.stop())
    assert world.clock.getDelayedCalls() == []
    assert HOP.destination == "example.net"
