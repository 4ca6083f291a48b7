"""Case 3, smuggling through us: what was taken in reads the same to a strict and to a lax next hop."""

import re
from pathlib import Path

import pytest
from attack_ground import GREETED, HEADER, RECIPIENT, Victim, sent_on, wire_of
from carry_world import Server

ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r.\r", b"\0\r\n.\n\0"]
SECOND = b"MAIL FROM:<evil@client.example.com>\r\nRCPT TO:<brown@example.org>\r\nDATA\r\nsecond\r\n"
LAX = re.compile(rb"(?:\r\n|\r|\n)\.(?:\r\n|\r|\n)")


def ends_for_a_lax_reader(wire: bytes) -> int:
    """How many ends of content somebody sees to whom any line end is one."""
    return len(LAX.findall(b"\r\n" + wire.partition(b"DATA\r\n")[2].partition(b"QUIT\r\n")[0]))


@pytest.mark.parametrize("block", [1, 2, 3, 65_536])
@pytest.mark.parametrize("end", ENDS)
def test_of_what_was_put_right(tmp_path: Path, end: bytes, block: int) -> None:
    victim = Victim(tmp_path, bare_lf="fix")
    victim.begin()
    victim.send_all(HEADER + b"first" + end + SECOND + b".\r\n")
    [claim], [content] = victim.claims, victim.contents
    server = Server()
    sent_on(claim, content, server, block)
    assert len(server.messages) == 1
    assert ends_for_a_lax_reader(wire_of(server)) == 1


@pytest.mark.parametrize("end", ENDS)
def test_of_binary_content_for_a_hop_without_it(tmp_path: Path, end: bytes) -> None:
    """Any octets may come in as BODY=BINARYMIME. Such a hop gets them encoded, or not at all."""
    octets = HEADER + b"first" + end + SECOND + b"\r\n.\r\n"
    victim = Victim(tmp_path)
    victim.say(GREETED, "MAIL FROM:<smith@client.example.com> BODY=BINARYMIME", RECIPIENT)
    victim.send_all(b"BDAT %d LAST\r\n" % len(octets) + octets)
    [claim], [content] = victim.claims, victim.contents
    server = Server()
    sent_on(claim, content, server)
    wire = wire_of(server)
    assert ends_for_a_lax_reader(wire) <= 1
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)


@pytest.mark.parametrize("end", ENDS)
def test_nothing_that_was_refused_goes_on(tmp_path: Path, end: bytes) -> None:
    victim = Victim(tmp_path)
    victim.begin()
    victim.send_all(HEADER + b"first" + end + SECOND + b".\r\n")
    assert all(end in content for content in victim.contents), "only what has no bare line end is kept"
    assert all(b"second" in content for content in victim.contents)
    for claim, content in zip(victim.claims, victim.contents, strict=True):
        server = Server()
        sent_on(claim, content, server)
        assert ends_for_a_lax_reader(wire_of(server)) == 1
