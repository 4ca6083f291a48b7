"""Case 1, smuggling in: a second message behind an end of content that only somebody lax takes for one."""

from pathlib import Path

import pytest
from attack_ground import GREETED, HEADER, Victim, codes

ENDS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\n", b"\n.\r",
    b"\n\n.\n\n", b"\r\r\n.\r\r\n",
]  # fmt: skip
WITH_NUL = [b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\0\n", b"\r\0\n.\r\n", b"\r\n.\r\0\r\n"]
SECOND = b"MAIL FROM:<evil@client.example.com>\r\nRCPT TO:<brown@example.org>\r\nDATA\r\nsecond\r\n"


def attack(folder: Path, end: bytes, cut: int = 0, **settings: str) -> tuple[list[str], Victim]:
    """The replies to a content that holds an end of this form, and a message behind it."""
    victim = Victim(folder, cut, **settings)
    victim.begin()
    return victim.send_all(HEADER + b"first" + end + SECOND + b".\r\n"), victim


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("end", ENDS)
def test_it_is_one_content_and_refused(tmp_path: Path, end: bytes, cut: int) -> None:
    replies, victim = attack(tmp_path, end, cut)
    assert [one[:9] for one in replies] == ["550 5.5.2"]
    assert victim.claims == []


@pytest.mark.parametrize("end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r\n"])
def test_at_every_border_between_two_reads(tmp_path: Path, end: bytes) -> None:
    octets = b"first" + end + SECOND + b".\r\n"
    for border in range(1, len(octets)):
        victim = Victim(tmp_path)
        victim.begin()
        replies = victim.send_all(octets[:border]) + victim.send_all(octets[border:])
        assert [one[:9] for one in replies] == ["550 5.5.2"], border
        assert victim.claims == []


@pytest.mark.parametrize("end", ENDS)
def test_where_it_is_put_right_it_is_still_one_message(tmp_path: Path, end: bytes) -> None:
    replies, victim = attack(tmp_path, end, bare_lf="fix")
    assert codes(replies) == ["250"]
    [content] = victim.contents
    assert content.endswith(b"second\r\n")
    assert b"\r\nRCPT TO:<brown@example.org>\r\nDATA\r\n" in content
    assert content.replace(b"\r\n", b"").count(b"\r") + content.replace(b"\r\n", b"").count(b"\n") == 0
    assert [one.address for one in victim.claims[0].envelope.recipients] == ["jones@example.org"]


@pytest.mark.parametrize("bare_lf", ["refuse", "fix"])
@pytest.mark.parametrize("end", WITH_NUL)
def test_a_nul_in_it_ends_nothing_either(tmp_path: Path, end: bytes, bare_lf: str) -> None:
    replies, victim = attack(tmp_path, end, bare_lf=bare_lf)
    assert len(codes(replies)) == 1
    assert len(victim.claims) <= 1
    assert all(b"second" in content for content in victim.contents)


def test_the_end_of_content_in_one_piece_or_in_five(tmp_path: Path) -> None:
    """The real one is found wherever it is cut, and what is behind it is heard as commands."""
    for cut in (0, 1, 2, 3, 4):
        replies, victim = attack(tmp_path, b"\r\n.\r\n", cut)
        assert codes(replies) == ["250", "250", "250", "354", "250"]
        assert len(victim.claims) == 2


@pytest.mark.parametrize("line", [b"NOOP\nMAIL FROM:<a@client.example.com>\r\n", b"MAIL FROM:<a@b.example>\n"])
def test_a_command_that_ends_with_a_line_feed_ends_the_session(tmp_path: Path, line: bytes) -> None:
    victim = Victim(tmp_path)
    victim.say(GREETED)
    assert [one[:9] for one in victim.send_all(line + b"NOOP\r\n")] == ["500 5.5.2"]
    assert victim.closed


@pytest.mark.parametrize("end", ENDS)
def test_in_a_chunk_no_end_is_looked_for(tmp_path: Path, end: bytes) -> None:
    octets = HEADER + b"first" + end + SECOND + b".\r\n"
    victim = Victim(tmp_path)
    victim.say(GREETED, "MAIL FROM:<smith@client.example.com>", "RCPT TO:<jones@example.org>")
    assert codes(victim.send_all(b"BDAT %d LAST\r\n" % len(octets) + octets)) == ["550"]
    assert victim.claims == []
