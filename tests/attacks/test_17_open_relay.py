"""Case 17: addresses that would have us relay for strangers, each by some old or odd way of writing them."""

from pathlib import Path

import pytest
from attack_ground import GREETED, SENDER, Victim

from mta.policy.sourceroute import next_host

TRICKS = [
    "<victim@else.example>",
    "<victim%else.example@example.org>",
    "<victim%else.example@mail.example.org>",
    "<victim%else.example@[127.66.0.1]>",
    "<else.example!victim@example.org>",
    "<else.example!victim>",
    "<@example.org:victim@else.example>",
    "<@example.org,@example.net:victim@else.example>",
    "<@mail.example.org:victim@else.example>",
    '<"victim@else.example"@example.org>',
    '<"victim@else.example">',
    '<"victim%else.example"@example.org>',
    "<victim@else.example@example.org>",
    "<victim@example.org@else.example>",
    "<victim@else.example%example.org@example.org>",
    "<victim@>",
    "<victim>",
    "<@example.org>",
    "victim@else.example",
    "<victim@[127.66.0.1]>",
    "<victim@[127.0.0.1]>",
    "<victim@[IPv6:::1]>",
    "<victim@localhost>",
    "<victim@mail.example.org>",
    "<victim@sub.example.org>",
    "<victim@example.org.>",
    "<victim@else.example.example.org>",
    "<victim@xexample.org>",
    "<victim@example.org\0.else.example>",
    "<victim@else.example> <jones@example.org>",
    "<victim@else.example>,<jones@example.org>",
]


SENDERS = [SENDER, "MAIL FROM:<>", "MAIL FROM:<jones@example.org>", "MAIL FROM:<a@[127.66.0.1]>"]
THROUGH_US = ["<@example.org:victim@else.example>", "<@example.org,@example.net:victim@else.example>"]


@pytest.mark.parametrize(
    ("path", "source_routes"),
    [
        (path, mode)
        for path in TRICKS
        for mode in ("strip", "follow", "refuse")
        if mode != "follow" or path not in THROUGH_US  # the next test is about these
    ],
)
@pytest.mark.parametrize("sender", SENDERS)
def test_a_stranger_relays_nothing(tmp_path: Path, sender: str, path: str, source_routes: str) -> None:
    victim = Victim(tmp_path, source_routes=source_routes)
    victim.say(GREETED, sender)
    [reply] = victim.say(f"RCPT TO:{path}")
    assert reply[0] == "5", reply


@pytest.mark.parametrize("path", THROUGH_US)
def test_a_route_that_is_followed_leads_to_our_own_host_alone(tmp_path: Path, path: str) -> None:
    """`source_routes: follow` is asked for; `mta check` says what a store that follows them too would make of it."""
    victim = Victim(tmp_path, source_routes="follow")
    victim.say(GREETED, SENDER, f"RCPT TO:{path}", "DATA", "Subject: x", "", ".")
    [claim] = victim.claims
    assert [one.address for one in claim.envelope.recipients] == [path[1:-1]]
    assert next_host(path[1:-1]) == "example.org"


@pytest.mark.parametrize("name", ["victim%else.example", "else.example!victim", '"victim@else.example"'])
def test_not_even_where_local_names_are_not_listed(tmp_path: Path, name: str) -> None:
    """example.net takes any name, and its store might read more into these than we do."""
    victim = Victim(tmp_path)
    victim.say(GREETED, SENDER)
    assert victim.say(f"RCPT TO:<{name}@example.net>")[0][:9] == "550 5.7.1"


@pytest.mark.parametrize("helo", ["EHLO localhost", "EHLO mail.example.org", "EHLO [127.66.0.9]", "EHLO example.org"])
def test_who_claims_to_be_one_of_us_is_not(tmp_path: Path, helo: str) -> None:
    victim = Victim(tmp_path)
    victim.say(helo, SENDER)
    assert victim.say("RCPT TO:<victim@else.example>")[0][:9] == "550 5.7.1"


@pytest.mark.parametrize("line", ["XCLIENT ADDR=127.66.0.9", "XCLIENT LOGIN=bob", "PROXY TCP4 127.66.0.9 1.2.3.4 1 25"])
def test_nor_is_who_claims_to_speak_for_one(tmp_path: Path, line: str) -> None:
    victim = Victim(tmp_path)
    victim.say(line, GREETED, line, SENDER)
    assert victim.say("RCPT TO:<victim@else.example>")[0][:3] in ("550", "503")
    assert victim.say("RCPT TO:<victim@else.example>", "DATA")[-1][0] == "5"
    assert victim.claims == []
