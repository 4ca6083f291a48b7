"""Extensions from envelope to outcome: what a host is told and given, what that comes to, and where it goes next."""

from typing import Any, cast

import pytest
from carry_world import HOP, LETTER, SILENT, Letter, Server, World, envelope_to
from twisted.internet.defer import Deferred, fail

from mta.interfaces import IContent
from mta.message.envelope import Recipient
from mta.message.outcome import Carried, Onward, Result
from mta.policy.routing import Hop, Via
from mta.transports.fitting import Fitted, Fitter
from mta.transports.pool import PoolLimits

EIGHT_BIT = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhéllo\r\n".encode()
STORE = Hop(Via.LMTP, "192.0.2.1")


def ehlo(*offers: str) -> str:
    return "\r\n".join(["250-mx", *(f"250-{offer}" for offer in offers), "250 PIPELINING"])


def results(carried: Carried) -> list[tuple[Result, str]]:
    return [(outcome.result, str(outcome.reply)) for outcome in carried.outcomes]


@pytest.mark.parametrize(
    ("hop", "offers", "onward"),
    [
        (HOP, [], Onward.RELAYED),
        (HOP, ["DSN"], Onward.PASSED),
        (STORE, [], Onward.FINAL),
        (STORE, ["DSN"], Onward.PASSED),
    ],
)
def test_who_answers_for_a_delivered_message(hop: Hop, offers: list[str], onward: Onward) -> None:
    """RFC 3461 5.2."""
    world = World()
    server = world.serve(EHLO=ehlo(*offers), LHLO=ehlo(*offers))
    envelope = envelope_to(ret="HDRS", envid="id")._replace(recipients=(Recipient("a@example.net", "SUCCESS", "x;y"),))
    transport = world.lmtp if hop is STORE else world.smtp
    carried = world.result(transport.carry(hop, envelope, cast(IContent, Letter(LETTER))))
    assert [(outcome.result, outcome.onward) for outcome in carried.outcomes] == [(Result.DELIVERED, onward)]
    passed = onward is Onward.PASSED
    assert server.heard[1:] == [
        "MAIL FROM:<s@example.com>" + " RET=HDRS ENVID=id" * passed,
        "RCPT TO:<a@example.net>" + " NOTIFY=SUCCESS ORCPT=x;y" * passed,
        "DATA",
    ]


NEEDED = "550 5.7.30 REQUIRETLS needed, and there is no TLS with a verified certificate of mx"


def test_requiretls_asks_every_host_and_gives_none_the_message() -> None:
    """RFC 8689 4.2.1."""
    world = World()
    servers = [Server(EHLO=ehlo("REQUIRETLS")), Server(EHLO=ehlo())]
    for number, server in enumerate(servers):
        world.host(f"mx{number}.example.net", f"192.0.2.{number + 1}", server)
    carried = world.carry(requiretls=True)
    assert results(carried) == [(Result.FAILED, NEEDED)]
    assert not carried.outcomes[0].remote
    assert carried.reached
    assert [tried.text for tried in carried.tries] == [NEEDED] * 2
    assert [server.heard for server in servers] == [["EHLO me.example"]] * 2
    # The sessions are as good as before for other mail.
    assert world.carry().outcomes[0].result is Result.DELIVERED
    assert [server.connections for server in servers] == [1, 1]


def test_requiretls_waits_for_a_host_that_is_down() -> None:
    world = World()
    world.host("mx1.example.net", "192.0.2.1", Server())
    world.host("mx2.example.net", "192.0.2.2")
    carried = world.carry(requiretls=True)
    assert results(carried) == [(Result.DEFERRED, "451 4.4.1 connection refused")]


def test_8_bit_content_is_converted_for_one_host_and_not_for_the_next() -> None:
    world = World()
    first = Server(EHLO=ehlo(), CONTENT="421 4.3.2 going down")
    second = Server(EHLO=ehlo("8BITMIME"))
    world.host("mx1.example.net", "192.0.2.1", first)
    world.host("mx2.example.net", "192.0.2.2", second)
    carried = world.carry(content=EIGHT_BIT, eight_bit=True)
    assert carried.outcomes[0].result is Result.DELIVERED
    assert [bool(tried.notes) for tried in carried.tries] == [True, False]
    assert carried.tries[0].notes[0].startswith("converted to 7 bit: 1 part quoted-printable")
    assert first.heard[1] == "MAIL FROM:<s@example.com>"
    assert second.heard[1] == "MAIL FROM:<s@example.com> BODY=8BITMIME"
    assert second.messages[0][2] == EIGHT_BIT


@pytest.mark.parametrize("script", [{"EHLO": "502 no"}, {"EHLO": ehlo()}, {"EHLO": ehlo("SIZE 1000")}])
def test_a_host_that_takes_only_7_bit_gets_only_7_bit(script: dict[str, Any]) -> None:
    world = World()
    server = world.serve(**script)
    assert world.carry(content=EIGHT_BIT, eight_bit=True).outcomes[0].result is Result.DELIVERED
    [(_, _, kept)] = server.messages
    assert kept.isascii()
    assert b"h=C3=A9llo\r\n" in kept
    announced = f" SIZE={len(kept)}" if "SIZE" in script["EHLO"] else ""
    assert f"MAIL FROM:<s@example.com>{announced}" in server.heard
    world = World()
    server = world.serve(**script)
    sending = Hop(Via.MX, "example.net", eight_bit="send")
    assert world.carry(content=EIGHT_BIT, eight_bit=True, hop=sending).outcomes[0].result is Result.DELIVERED
    assert server.messages[0][2] == EIGHT_BIT
    refusing = Hop(Via.MX, "example.net", eight_bit="bounce")
    carried = world.carry(content=EIGHT_BIT, eight_bit=True, hop=refusing)
    assert [outcome.result for outcome in carried.outcomes] == [Result.FAILED]
    assert carried.outcomes[0].reply.enhanced == "5.6.3"


BINARY = b"Content-Type: x/y\r\n\r\na\rb\nc\0\xff\r\n.\r\n.."


@pytest.mark.parametrize("hop", [HOP, STORE])
@pytest.mark.parametrize("size", [len(BINARY), 200_000])
def test_binary_content_arrives_octet_for_octet(hop: Hop, size: int) -> None:
    world = World()
    offers = ehlo("CHUNKING", "BINARYMIME")
    server = world.serve(EHLO=offers, LHLO=offers)
    octets = BINARY.ljust(size, b"\n")
    for _ in range(2):
        carried = world.carry(content=Letter(octets, block=1000), hop=hop, body="BINARYMIME", eight_bit=True)
        assert carried.outcomes[0].result is Result.DELIVERED
    assert [message[2] for message in server.messages] == [octets] * 2
    assert "DATA" not in server.heard
    assert server.connections == 1


def test_binary_content_in_lines_for_a_host_that_takes_no_chunks() -> None:
    world = World()
    server = world.serve(EHLO=ehlo("8BITMIME", "BINARYMIME"))
    content = (
        b"MIME-Version: 1.0\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\na\rb\nc\0\xff"
    )
    carried = world.carry(content=content, body="BINARYMIME", eight_bit=True)
    assert carried.outcomes[0].result is Result.DELIVERED
    kept = server.messages[0][2]
    assert kept.replace(b"\r\n", b"").find(b"\r") == kept.replace(b"\r\n", b"").find(b"\n") == -1


def test_content_that_changed_its_length_is_not_a_message() -> None:
    class Shrunk(Letter):
        def __init__(self, octets: bytes) -> None:
            super().__init__(octets)
            self.octets = octets[:-1]

    world = World()
    server = world.serve(EHLO=ehlo("CHUNKING", "BINARYMIME"))
    carried = world.carry(content=Shrunk(BINARY), body="BINARYMIME")
    assert results(carried) == [(Result.DEFERRED, "451 4.3.0 the content cannot be read: it is not as long as it was")]
    assert not server.messages


@pytest.mark.parametrize(
    ("limits", "connections"),
    [("MAILMAX=1 RCPTMAX=1", 5), ("MAILMAX=2 RCPTMAX=2", 2), ("RCPTMAX=2", 1), ("MAILMAX=9", 1)],
)
def test_as_many_sessions_as_a_server_wants(limits: str, connections: int) -> None:
    """RFC 9422."""
    world = World()
    server = world.serve(EHLO=ehlo(f"LIMITS {limits}"))
    backup = world.host("backup.example.net", "192.0.2.2", Server())
    everybody = [f"r{number}@example.net" for number in range(5)]
    carried = world.carry(*everybody)
    assert {outcome.result for outcome in carried.outcomes} == {Result.DELIVERED}
    assert sorted(path for message in server.messages for path in message[1]) == everybody
    assert server.connections == connections
    assert backup is not None
    assert not backup.connections
    assert all(not tried.dialogue for tried in carried.tries)


def test_a_session_that_has_done_what_it_may_is_left() -> None:
    world = World()
    server = world.serve(EHLO=ehlo("LIMITS MAILMAX=2"))
    for _ in range(3):
        assert world.carry().outcomes[0].result is Result.DELIVERED
    assert server.connections == 2
    assert server.heard.count("QUIT") == 1
    assert world.pool.resting == 1


def test_a_session_that_may_have_no_other_domain_is_kept_for_its_own() -> None:
    world = World()
    server = Server(EHLO=ehlo("LIMITS RCPTDOMAINMAX=1"))
    world.servers["192.0.2.9", 25] = server
    smarthost = Hop(Via.SMTP, "192.0.2.9")
    for recipient, connections in [("a@x.example", 1), ("b@y.example", 2), ("c@y.example", 2)]:
        carried = world.carry(recipient, hop=smarthost)
        assert results(carried) == [(Result.DELIVERED, "250 2.0.0 taken")]
        assert len(carried.tries) == 1
        assert server.connections == connections


def test_the_time_for_all_sessions_together_is_bounded_too() -> None:
    world = World()
    world.serve(EHLO=ehlo("LIMITS MAILMAX=1 RCPTMAX=1"), CONTENT=["250 2.0.0 taken", "(silent)"])
    carried = world.carry("a@example.net", "b@example.net", "c@example.net", seconds=7200)
    assert [outcome.result for outcome in carried.outcomes] == [Result.DELIVERED, Result.DEFERRED, Result.DEFERRED]
    assert carried.outcomes[1].unknown


def test_a_domain_beyond_ascii_is_found() -> None:
    world = World()
    server = Server(EHLO=ehlo("8BITMIME", "SMTPUTF8"))
    world.host("mx.example.net", "192.0.2.1", server, domain="xn--bcher-kva.example")
    hop = Hop(Via.MX, "bücher.example")
    assert world.carry("ä@bücher.example", hop=hop, smtputf8=True).outcomes[0].result is Result.DELIVERED
    assert server.heard[1:3] == ["MAIL FROM:<s@example.com> SMTPUTF8", "RCPT TO:<ä@bücher.example>"]
    server.says("EHLO", ehlo("8BITMIME"))
    server.hang_up()
    world.clock.advance(0)
    carried = world.carry("ä@bücher.example", "a@bücher.example", hop=hop, smtputf8=True)
    assert [outcome.result for outcome in carried.outcomes] == [Result.FAILED, Result.DELIVERED]
    assert carried.outcomes[0].reply.enhanced == "5.6.7"
    assert server.messages[-1][1] == ("a@xn--bcher-kva.example",)


def test_no_session_is_left_by_a_conversion_that_fails_for_a_bug() -> None:
    def broken(*work: Any) -> Deferred[Any]:
        return fail(KeyError("oops"))

    world = World()
    world.serve(EHLO=ehlo())
    world.smtp._fitter = Fitter(broken)
    with pytest.raises(KeyError):
        world.carry(eight_bit=True)
    world.clock.advance(0)
    assert not world.pool.open


@pytest.mark.parametrize("goodbye", ["221 2.0.0 bye", SILENT])
def test_a_session_that_takes_leave_while_the_content_is_converted(goodbye: str) -> None:
    waiting: list[Deferred[Any]] = []

    def later(*work: Any) -> Deferred[Any]:
        waiting.append(Deferred())
        return waiting[-1]

    world = World(PoolLimits(idle=20))
    world.smtp._fitter = Fitter(later)
    server = world.serve(EHLO=ehlo(), QUIT=goodbye)
    assert world.carry().outcomes[0].result is Result.DELIVERED
    envelope = envelope_to(eight_bit=True)
    running = world.smtp.carry(HOP, envelope, cast(IContent, Letter(EIGHT_BIT)))
    world.run(25)
    assert server.heard[-1] == "QUIT"
    converted = Fitted(cast(IContent, Letter(LETTER)), True, ("converted",))
    waiting.pop().callback(converted)
    carried = world.result(running)
    assert results(carried) == [(Result.DELIVERED, "250 2.0.0 taken")]
    assert server.heard[server.heard.index("QUIT") + 1] == "EHLO me.example"
    assert server.connections == 2
    assert not waiting
    assert [tried.notes for tried in carried.tries] == [("converted",)]
