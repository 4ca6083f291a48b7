"""Case 21: octets that are meant for a log, a terminal, a header or a report, wherever text comes in from outside."""

import email
import email.policy
import json
import re
from pathlib import Path

import pytest
from attack_ground import GREETED, HEADER, SENDER, Victim, codes, house, sent_on, wire_of
from carry_world import Server, World
from cli_ground import Ground
from clockwork import NO_SUCH_USER
from twisted.internet.task import Clock

from mta.maillog import MailLog
from mta.message.envelope import Recipient
from mta.message.outcome import Outcome, Result
from mta.smtp.reply import Reply

NASTY = ["\r", "\0", "\x1b[2J", "\x7f", "\x07", "\x08", "\x9b31m", "\u2028", "\u202e"]
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
COMMANDS = [
    "EHLO client{}.example.com", "MAIL FROM:<smi{}th@client.example.com>", "MAIL FROM:<smith@client{}.example.com>",
    'MAIL FROM:<"smi{}th"@client.example.com>', "MAIL FROM:<smith@client.example.com> ENVID=a{}b",
    "RCPT TO:<jo{}nes@example.org>", "RCPT TO:<jones@example.org> ORCPT=rfc822;jo{}nes@example.org",
    "VRFY jo{}nes", "HELP {}", "NOOP {}", "XY{}ZZY", "AUTH PLA{}IN", "ETRN exa{}mple.org",
]  # fmt: skip


@pytest.mark.parametrize("octets", NASTY)
@pytest.mark.parametrize("command", COMMANDS)
def test_control_characters_stand_in_no_command(tmp_path: Path, command: str, octets: str) -> None:
    victim = Victim(tmp_path, auth="offered", relaying="yes")
    if not command.startswith("EHLO"):
        victim.say(GREETED)
    if command.startswith("RCPT"):
        victim.say(SENDER)
    said = victim.say(command.format(octets).encode())
    assert said[0][0] in "45"
    assert all(line.isascii() and line.isprintable() for line in said)
    assert all(line.isprintable() for line in victim.lines), "and the log has it on one line, made harmless"


@pytest.mark.parametrize("octets", [*NASTY, "\n", "\r\nEvil: yes"])
def test_what_a_server_says_is_made_harmless_before_it_is_kept(octets: str) -> None:
    world = World()
    world.serve(MAIL=f"550 5.7.1 no{octets}more".encode() + b"\r\n")
    carried = world.carry(seconds=10)
    texts = [str(carried.outcomes[0].reply), *(line for one in carried.tries for line in one.dialogue)]
    assert all(text.isprintable() for text in texts)


@pytest.mark.parametrize("octets", NASTY)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_of_the_log_is_one_line(octets: str, form: str) -> None:
    lines: list[str] = []
    log = MailLog(lines.append, Clock(), form)
    log.event(
        "received", 1, sender=f"a{octets}b@x.example", helo=f'"{octets}\n2026-01-01 forged', reply=f"550 {octets}"
    )
    [line] = lines
    assert "\n" not in line
    assert line.isprintable()
    if form == "json":
        assert isinstance(json.loads(line), dict)


def test_a_report_has_no_field_that_somebody_else_wrote() -> None:
    relay = house()
    hostile = Reply(550, "5.1.1", ("no\r\nAction: delivered\r\nX-Evil: yes",))
    relay.transport.answer("no.test", Outcome(Result.FAILED, hostile, "mx.no.test[192.0.2.8]:25"))
    relay.submit('"x\r\nX-Evil: yes"@no.test', sender="s@up.test", content=HEADER + b"body\r\n")
    relay.run(60)
    [bounce] = relay.notices("s@up.test")
    report = email.message_from_bytes(bounce.content, policy=email.policy.default)
    _, status, _ = report.iter_parts()
    assert [block["X-Evil"] for block in status.get_payload()] == [None, None]
    assert status.get_payload()[1]["Action"] == "failed"
    assert report["X-Evil"] is None


def test_what_a_client_wants_to_be_told_by_is_no_field_of_its_own() -> None:
    """ENVID and ORCPT may say any octet, and their report has them decoded (RFC 3461 5.3)."""
    relay = house()
    relay.transport.answer("no.test", NO_SUCH_USER)
    evil = "a+0D+0AX-Evil:+20yes+0D+0A+0D+0Aevil"
    relay.submit(Recipient("x@no.test", original=f"rfc822;{evil}@no.test"), envid=evil)
    relay.run(60)
    [bounce] = relay.notices("s@up.test")
    assert b"\r\nX-Evil" not in bounce.content
    report = email.message_from_bytes(bounce.content, policy=email.policy.default)
    assert len(list(report.iter_parts())) == 3
    assert [len(block) for block in list(report.iter_parts())[1].get_payload()] >= [3, 4]


def test_the_trace_field_has_no_line_of_its_own_from_outside(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    victim.begin()
    victim.send_all(b" by evil.example; Thu, 1 Jan 1970 00:00:00 +0000\r\n" + HEADER + b".\r\n")
    header = victim.contents[0].split(b"\r\n\r\n")[0]
    assert b"evil.example" not in header, "content that begins with a blank does not continue our own field"


def test_what_was_kept_goes_on_without_a_command_of_its_own(tmp_path: Path) -> None:
    """Quoted local parts may hold much, and yet not the end of a line."""
    victim = Victim(tmp_path, relaying="yes")
    victim.say(GREETED, 'MAIL FROM:<"a> SIZE=1 <b"@client.example.com>', 'RCPT TO:<"x> NOTIFY=NEVER <y"@else.example>')
    victim.say("DATA", "Subject: x", "", ".")
    server = Server()
    sent_on(victim.claims[0], victim.contents[0], server)
    wire = wire_of(server)
    assert b'MAIL FROM:<"a> SIZE=1 <b"@client.example.com>' in wire
    assert b'RCPT TO:<"x> NOTIFY=NEVER <y"@else.example>' in wire
    assert not BARE.search(wire)


@pytest.mark.parametrize("words", [["queue"], ["queue", "--json"], ["show"], ["show", "--json"]])
def test_what_is_listed_does_not_speak_to_a_terminal(folder: Path, words: list[str]) -> None:
    ground = Ground(folder)
    hostile = "".join(NASTY) + '<script>alert("x")</script>@there.test'
    queue_id = ground.add(hostile, sender=hostile)
    ground.defer(queue_id, "450 4.2.1 \x1b]0;owned\x07\x9b31m")
    printed = ground.mta(*words, *([queue_id] if "show" in words else [])).stdout
    ground.close()
    assert not re.search(r"[^\n -~]", printed)


def test_refused_lines_are_logged_short(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    assert codes(victim.say("XYZZY " + "\x1b" * 1900)) == ["500"]
    assert all(len(line) < 1000 for line in victim.lines)
