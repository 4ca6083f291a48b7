"""Sessions with as much TLS as the hop has to have, and logins: which policy comes to what, and what is told of it."""

from typing import Any, cast

import pytest
from carry_world import HANG_UP, HOP, LETTER, SILENT, TLS_SILENT, Letter, Server, World, envelope_to
from twisted.internet.defer import gatherResults

from mta.interfaces import IContent
from mta.message.outcome import Carried, Result
from mta.policy.routing import Hop, Via
from mta.smtp import limits
from mta.smtp.reply import Reply
from mta.transports.opener import REMEMBERED_HOSTS, REMEMBERED_SECONDS, BrokenTls
from mta.transports.pool import USUAL_LIMITS

DELIVERED, DEFERRED, HELD = Result.DELIVERED, Result.DEFERRED, Result.HELD
OFFERS = "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN"
INSIDE = "250-mx\r\n250-8BITMIME\r\n250 AUTH PLAIN SCRAM-SHA-256"
READY = "220 go ahead"
ENCRYPTED = "TLSv1.3 CIPHER, certificate not verified"
REQUIRE = Hop(Via.MX, "example.net", tls="require")
VERIFY = Hop(Via.MX, "example.net", tls="verify")
LOGIN = Hop(Via.MX, "example.net", login="provider")


def offering(world: World, **script: Any) -> Server:
    """A server with STARTTLS: the host mx.example.net, at 192.0.2.1."""
    return world.serve(**{"EHLO": [OFFERS, INSIDE], "STARTTLS": READY, **script})


def replies(carried: Carried) -> list[tuple[Result, str]]:
    return [(outcome.result, str(outcome.reply)) for outcome in carried.outcomes]


def test_tls_where_it_is_offered() -> None:
    world = World()
    server = offering(world)
    carried = world.carry(eight_bit=True)
    assert replies(carried) == [(DELIVERED, "250 2.0.0 taken")]
    assert server.heard[:4] == [
        "EHLO me.example",
        "STARTTLS",
        "EHLO me.example",
        "MAIL FROM:<s@example.com> BODY=8BITMIME",  # it was offered inside, SIZE was not
    ]
    [tried] = carried.tries
    assert (tried.tls, tried.notes) == (ENCRYPTED, ())
    assert world.tls.asked == [("mx.example.net", False)]
    world.carry()
    assert server.connections == 1, "it is kept, and is as good the second time"


def test_what_the_server_said_of_itself_in_the_clear_is_forgotten() -> None:
    world = World()
    server = offering(world, EHLO=["250-mx\r\n250-STARTTLS\r\n250-SIZE 5\r\n250 8BITMIME", "250 mx"])
    assert replies(world.carry()) == [(DELIVERED, "250 2.0.0 taken")]
    assert server.heard[3] == "MAIL FROM:<s@example.com>"


def test_no_tls_where_the_route_says_so() -> None:
    world = World()
    server = offering(world, EHLO=OFFERS)
    carried = world.carry(hop=Hop(Via.MX, "example.net", tls="none"))
    assert replies(carried) == [(DELIVERED, "250 2.0.0 taken")]
    assert "STARTTLS" not in server.heard
    assert carried.tries[0].tls == ""


@pytest.mark.parametrize(
    ("script", "tls", "why"),
    [
        ({"STARTTLS": "454 4.7.0 not now"}, "", "STARTTLS refused: 454 4.7.0 not now"),
        ({"STARTTLS": HANG_UP}, "", "no TLS: 451 4.4.2 connection lost while waiting for the reply to STARTTLS"),
        ({}, "wrong version number", "the TLS handshake failed: wrong version number"),
        ({}, TLS_SILENT, "the TLS handshake failed: timed out"),
    ],
)
def test_broken_tls_is_worth_no_more_than_none(script: dict[str, Any], tls: str, why: str) -> None:
    world = World()
    server = offering(world, EHLO=OFFERS, **script)
    server.tls = tls
    carried = world.carry(seconds=40)
    assert replies(carried) == [(DELIVERED, "250 2.0.0 taken")]
    [tried] = carried.tries
    assert tried.notes == (f"in the clear, though the server offers TLS: {why}",)
    assert tried.tls == ""
    assert server.connections == 2
    assert server.messages[0][2] == LETTER

    # It is remembered for a while, so that not each message costs a handshake.
    world.run(60)
    again = world.carry()
    assert again.tries[0].notes == tried.notes
    assert (server.connections, server.heard.count("STARTTLS")) == (3, 1)
    world.run(REMEMBERED_SECONDS)
    server.tls = "(works)"
    server.says("STARTTLS", READY)
    server.says("EHLO", [OFFERS, INSIDE])
    [tried] = world.carry().tries
    assert (tried.tls, tried.notes) == (ENCRYPTED, ())


def test_both_attempts_can_fail() -> None:
    world = World()
    server = offering(world, EHLO=OFFERS, GREETING=["220 mx", "450 4.3.2 busy"], STARTTLS="454 4.7.0 not now")
    carried = world.carry()
    assert replies(carried) == [(DEFERRED, "450 4.3.2 busy")]
    assert server.connections == 2


@pytest.mark.parametrize(
    ("script", "tls", "reply"),
    [
        ({"EHLO": "250 mx"}, "", "451 4.7.4 TLS is required here, and mx does not offer STARTTLS"),
        ({"EHLO": OFFERS, "STARTTLS": "554 5.7.0 never"}, "", "451 4.7.4 STARTTLS refused: 554 5.7.0 never"),
        ({"EHLO": OFFERS}, "wrong version number", "451 4.7.5 the TLS handshake failed: wrong version number"),
        ({"EHLO": OFFERS}, TLS_SILENT, "451 4.7.5 the TLS handshake failed: timed out"),
    ],
)
@pytest.mark.parametrize("hop", [REQUIRE, VERIFY])
def test_where_tls_is_required_nothing_goes_in_the_clear(
    hop: Hop, script: dict[str, Any], tls: str, reply: str
) -> None:
    world = World()
    server = offering(world, **script)
    server.tls = tls
    carried = world.carry(hop=hop, seconds=40)
    assert replies(carried) == [(DEFERRED, reply)]
    assert not carried.outcomes[0].remote
    assert not carried.reached
    assert server.connections == 1
    assert not any(line.startswith("MAIL") for line in server.heard)


def test_the_next_host_may_have_what_is_required() -> None:
    world = World()
    world.serve()
    good = Server(EHLO=[OFFERS, INSIDE], STARTTLS=READY)
    world.host("backup.example.net", "192.0.2.2", good)
    carried = world.carry(hop=REQUIRE)
    assert replies(carried) == [(DELIVERED, "250 2.0.0 taken")]
    assert [tried.tls for tried in carried.tries] == ["", ENCRYPTED]
    assert len(good.messages) == 1


def test_a_certificate_that_is_verified() -> None:
    world = World()
    offering(world)
    carried = world.carry(hop=VERIFY)
    assert replies(carried) == [(DELIVERED, "250 2.0.0 taken")]
    assert carried.tries[0].tls == "TLSv1.3 CIPHER, certificate verified for mx.example.net"
    assert world.tls.asked == [("mx.example.net", True)]


@pytest.mark.parametrize("tls", ["certificate verify failed", "(works)"])
def test_a_certificate_of_somebody_else(tls: str) -> None:
    """Whether the handshake ends or not: a certificate that was not found good is none."""
    world = World()
    server = offering(world)
    server.tls = tls
    world.tls.wrong.add("mx.example.net")
    carried = world.carry(hop=VERIFY)
    assert replies(carried) == [(DEFERRED, "451 4.7.5 the certificate is for a.example; not for mx.example.net")]
    assert server.heard == ["EHLO me.example", "STARTTLS"]


def test_a_bare_address_is_verified_as_one() -> None:
    world = World()
    world.servers["192.0.2.9", 2525] = Server(EHLO=[OFFERS, INSIDE], STARTTLS=READY)
    world.carry(hop=Hop(Via.SMTP, "192.0.2.9", 2525, tls="verify"))
    assert world.tls.asked == [("192.0.2.9", True)]


@pytest.mark.parametrize("behind", [b"250 mx\r\n", b"250-mx\r\n250-AUTH PLA", b"\r\n", b"2"])
@pytest.mark.parametrize("hop", [HOP, REQUIRE])
def test_what_is_said_in_the_clear_behind_the_220_ends_the_session(behind: bytes, hop: Hop) -> None:
    world = World()
    server = offering(world, STARTTLS=b"220 go ahead\r\n" + behind)
    carried = world.carry(hop=hop)
    [outcome] = carried.outcomes
    assert (outcome.result, outcome.reply.enhanced) == (DEFERRED, "4.5.0")
    assert server.heard == ["EHLO me.example", "STARTTLS"]
    assert server.connections == 1
    assert not server.open


def test_tls_from_the_first_octet() -> None:
    world = World()
    server = Server(EHLO="250-mx\r\n250 STARTTLS")
    server.implicit = True
    world.servers["192.0.2.9", 465] = server
    carried = world.carry(hop=Hop(Via.SMTPS, "192.0.2.9", 465))
    assert replies(carried) == [(DELIVERED, "250 2.0.0 taken")]
    assert carried.tries[0].tls == ENCRYPTED
    assert server.heard[1].startswith("MAIL")


def test_tls_from_the_first_octet_never_falls_back() -> None:
    world = World()
    server = world.servers["192.0.2.9", 465] = Server()
    server.implicit = True
    server.tls = "wrong version number"
    hop = Hop(Via.SMTPS, "192.0.2.9", 465)
    carried = world.carry(hop=hop)
    assert replies(carried) == [(DEFERRED, "451 4.7.5 the TLS handshake failed: wrong version number")]
    assert (server.connections, server.heard) == (1, [])
    del world.servers["192.0.2.9", 465]
    assert replies(world.carry(hop=hop)) == [(DEFERRED, "451 4.4.1 connection refused")]
    world.unreachable.add("192.0.2.9")
    assert replies(world.carry(hop=hop, seconds=40)) == [(DEFERRED, "451 4.4.1 connection timed out")]


def test_a_server_that_does_not_answer_the_goodbye_of_tls_is_left() -> None:
    world = World()
    server = offering(world, QUIT=SILENT)
    server.lingers = True
    world.carry()
    assert world.pool.open == 1
    world.run(USUAL_LIMITS.idle + 2 * limits.CLIENT_QUIT + 1)
    assert (world.pool.open, server.open) == (0, 0)


def test_lmtp_may_be_encrypted_and_a_unix_socket_is_not() -> None:
    world = World()
    server = world.servers["192.0.2.9", 24] = Server(LHLO=[OFFERS, INSIDE], STARTTLS=READY)
    carried = world.carry(hop=Hop(Via.LMTP, "192.0.2.9", 24, tls="require"))
    assert replies(carried) == [(DELIVERED, "250 2.0.0 taken")]
    assert server.heard[:3] == ["LHLO me.example", "STARTTLS", "LHLO me.example"]
    local = world.servers["/run/lmtp"] = Server(LHLO=OFFERS)
    carried = world.carry(hop=Hop(Via.LMTP_UNIX, path="/run/lmtp", tls="require"))
    assert replies(carried) == [(DELIVERED, "250 2.0.0 taken")]
    assert "STARTTLS" not in local.heard


class Password:
    """A mechanism with one response."""

    name = "PLAIN"

    def initial(self) -> bytes | None:
        return b"\0user\0secret"

    def respond(self, challenge: bytes) -> bytes:
        raise ValueError("nothing more to say")

    def succeeded(self) -> None:
        """A password proves nothing."""


AUTH = "AUTH PLAIN AHVzZXIAc2VjcmV0"


def test_logging_in_once_for_a_session() -> None:
    world = World()
    server = offering(world, AUTH="235 2.7.0 welcome")
    world.logins.answer = Password()
    for _ in range(2):
        assert replies(world.carry(hop=LOGIN)) == [(DELIVERED, "250 2.0.0 taken")]
    assert server.heard[:4] == ["EHLO me.example", "STARTTLS", "EHLO me.example", AUTH]
    assert server.heard.count(AUTH) == 1
    assert world.logins.asked == [("provider", ("PLAIN", "SCRAM-SHA-256"), True)]


def test_a_session_without_a_login_is_no_other_ones() -> None:
    world = World()
    server = offering(world, EHLO=[OFFERS, INSIDE, OFFERS, INSIDE], AUTH="235 2.7.0 welcome")
    world.logins.answer = Password()
    world.carry(hop=LOGIN)
    world.carry(hop=HOP)
    assert server.connections == 2
    assert server.heard.count(AUTH) == 1


@pytest.mark.parametrize("reply", ["535 5.7.8 no", "534 5.7.9 too weak", "504 5.5.4 unknown"])
def test_a_wrong_password_holds_the_mail_and_is_not_tried_at_other_hosts(reply: str) -> None:
    world = World()
    server = offering(world, AUTH=reply)
    backup = world.host("backup.example.net", "192.0.2.2", Server())
    world.logins.answer = Password()
    carried = world.carry("a@example.net", "b@example.net", hop=LOGIN)
    text = (
        f'451 4.7.8 login "provider" refused by mx.example.net[192.0.2.1]:25: {reply}; '
        "correct its password file, then mta release"
    )
    assert replies(carried) == [(HELD, text)] * 2
    assert not any(outcome.remote for outcome in carried.outcomes)
    assert not carried.reached
    assert backup is not None
    assert not backup.connections
    [tried] = carried.tries
    assert (tried.text, tried.tls) == (text, ENCRYPTED)
    assert "C: (secret)" in tried.dialogue
    assert "AHVzZXIAc2VjcmV0" not in str(carried)
    assert server.heard[-1] == "QUIT"


def test_a_login_that_was_bound_may_be_refused_for_another_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Password, "name", "SCRAM-SHA-256-PLUS")
    world = World()
    offering(world, AUTH="535 5.7.8 no")
    world.logins.answer = Password()
    [(result, text)] = replies(world.carry(hop=LOGIN))
    assert result is HELD
    assert text.endswith(
        "535 5.7.8 no; correct its password file, or see who stands in between "
        "(SCRAM-SHA-256-PLUS is bound to this TLS connection), then mta release"
    )


def test_no_mechanism_holds_the_mail_too() -> None:
    world = World()
    server = offering(world)
    world.logins.answer = Reply(451, "4.7.0", ("the server offers PLAIN, which is safe only inside TLS",))
    [outcome] = world.carry(hop=LOGIN).outcomes
    assert outcome.result is HELD
    assert outcome.reply.text == (
        'login "provider" cannot be used at mx.example.net[192.0.2.1]:25: the server offers PLAIN, '
        "which is safe only inside TLS; mend that, then mta release"
    )
    assert not any(line.startswith(("AUTH", "MAIL")) for line in server.heard)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("454 4.7.0 later", "454 4.7.0 later"),
        ("421 4.3.2 bye", "421 4.3.2 bye"),
        (HANG_UP, "451 4.4.2 connection lost while waiting for the reply to a secret"),
        ("334 cmVhbGx5Pw==", "451 4.7.0 the server's part of PLAIN is wrong: nothing more to say"),
    ],
)
def test_a_login_that_may_go_better_later_is_tried_elsewhere(reply: str, told: str) -> None:
    world = World()
    server = offering(world, AUTH=reply)
    server.says("*", "501 5.7.0 cancelled")
    world.logins.answer = Password()
    carried = world.carry(hop=LOGIN)
    assert replies(carried) == [(DEFERRED, told)]
    good = Server(EHLO=[OFFERS, INSIDE], STARTTLS=READY, AUTH="235 2.7.0 welcome")
    world.host("backup.example.net", "192.0.2.2", good)
    server.says("EHLO", [OFFERS, INSIDE])
    assert replies(world.carry(hop=LOGIN)) == [(DELIVERED, "250 2.0.0 taken")]
    assert len(good.messages) == 1


def test_whoever_logs_in_does_not_fall_back_to_the_clear() -> None:
    world = World()
    server = offering(world, EHLO=OFFERS, STARTTLS="454 4.7.0 not now")
    world.logins.answer = Password()
    carried = world.carry(hop=LOGIN)
    assert replies(carried) == [(DEFERRED, "451 4.7.4 STARTTLS refused: 454 4.7.0 not now")]
    assert (server.connections, world.logins.asked) == (1, [])


def test_a_login_in_the_clear_is_the_logins_to_decide() -> None:
    world = World()
    world.serve(EHLO="250-mx\r\n250 AUTH CRAM-MD5", AUTH="235 2.7.0 welcome")
    world.logins.answer = Password()
    assert replies(world.carry(hop=LOGIN)) == [(DELIVERED, "250 2.0.0 taken")]
    assert world.logins.asked == [("provider", ("CRAM-MD5",), False)]


def test_what_is_remembered_is_bounded() -> None:
    world = World()
    broken = BrokenTls(world.clock)  # type: ignore[arg-type]
    for number in range(REMEMBERED_HOSTS + 1):
        broken.remember(f"host{number}", "wrong version number")
    assert broken.why("host0") == ""
    assert broken.why("host1") == "wrong version number"
    world.run(REMEMBERED_SECONDS)
    assert broken.why("host1") == ""


def carried_again(world: World, **options: Any) -> Carried:
    """Carry a message over a new session."""
    world.run(USUAL_LIMITS.idle + 1)
    return world.carry(**options)


def test_a_tls_session_is_resumed_by_the_next_connection_to_the_same_place_with_the_same_policy() -> None:
    world = World()
    offering(world, EHLO=[OFFERS, INSIDE] * 10)
    world.carry()
    for hop in (HOP, REQUIRE, VERIFY, Hop(Via.SMTP, "mx.example.net", 25)):
        carried_again(world, hop=hop)
        carried_again(world, hop=hop)
    assert world.tls.offered == [False, True, True, False, True, False, True, True, True]


def test_where_resuming_breaks_tls_a_full_handshake_is_tried_before_it_is_called_broken() -> None:
    world = World()
    server = offering(world, EHLO=[OFFERS, OFFERS, INSIDE, INSIDE, OFFERS, OFFERS, INSIDE, OFFERS, INSIDE])
    server.resumes = False
    both = [world.smtp.carry(HOP, envelope_to(), cast(IContent, Letter(LETTER))) for _ in range(2)]
    world.result(gatherResults(both))
    assert server.connections == 2
    [tried] = carried_again(world).tries
    assert (tried.tls, tried.notes) == (ENCRYPTED, ())
    assert world.tls.offered == [False, False, True, False]
    [tried] = carried_again(world).tries
    assert tried.tls == ENCRYPTED
    assert world.tls.offered[4:] == [False], "the other one that was kept would have been of no use either"
