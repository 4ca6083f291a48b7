"""Case 20: bounces that bounce, from forged senders; programs that answer programs."""

import email
from pathlib import Path

import pytest
from attack_ground import HEADER, Victim, codes, house
from clockwork import DAY, GREYLISTED, MINUTE, NO_SUCH_USER


@pytest.mark.parametrize("answer", [NO_SUCH_USER, GREYLISTED])
def test_nobody_hears_of_what_came_from_nobody(answer: object) -> None:
    relay = house()
    relay.transport.answer("no.test", answer)
    relay.submit("x@no.test", sender="")
    relay.run(6 * DAY)
    assert {one.hop.destination for one in relay.transport.carriages} == {"no.test"}
    assert relay.messages == 0


def test_a_forged_sender_costs_one_double_bounce_and_it_ends_there() -> None:
    relay = house()
    relay.transport.answer("no.test", NO_SUCH_USER)
    relay.transport.answer("postmaster@up.test", NO_SUCH_USER)
    relay.submit("x@no.test", sender="forged@no.test")
    relay.run(6 * DAY)
    assert len(relay.transport.carriages) == 3, "the mail, its bounce, the double bounce"
    assert [one.state for one in relay.waiting()] == ["held"]


def test_notices_say_that_a_program_has_written_them() -> None:
    """Those who keep to RFC 3834 do not answer them; and there would be nobody to answer."""
    relay = house()
    relay.transport.answer("no.test", NO_SUCH_USER)
    relay.submit("x@no.test", sender="s@up.test")
    relay.submit("y@no.test", sender="forged@no.test")
    relay.run(MINUTE)
    notices = [one for one in relay.transport.carriages if b"multipart/report" in one.content]
    assert len(notices) == 3
    for one in notices:
        assert one.envelope.sender == ""
        assert email.message_from_bytes(one.content)["Auto-Submitted"] == "auto-replied"


def test_a_return_path_in_the_header_is_no_reverse_path(tmp_path: Path) -> None:
    """Only the envelope says who hears of a failure."""
    victim = Victim(tmp_path)
    victim.begin()
    assert codes(
        victim.send_all(b"Return-Path: <victim@else.example>\r\nErrors-To: victim@else.example\r\n" + HEADER + b".\r\n")
    ) == ["250"]
    assert victim.claims[0].envelope.sender == "smith@client.example.com"
