"""Case 10: BDAT that says one thing and sends another: what was declared is content, and never becomes a command."""

from pathlib import Path

import pytest
from attack_ground import BEGUN, GREETED, HEADER, SENDER, Victim, codes

EVIL = b"MAIL FROM:<evil@client.example.com>\r\nRCPT TO:<brown@example.org>\r\nBDAT 4 LAST\r\nevil"


@pytest.mark.parametrize("cut", [0, 1, 5])
@pytest.mark.parametrize(
    ("before", "command", "code"),
    [
        ([], b"BDAT %d LAST", "503"),
        ([GREETED], b"BDAT %d LAST", "503"),
        ([GREETED, SENDER], b"BDAT %d", "503"),
        ([GREETED, SENDER, "RCPT TO:<unknown@example.org>"], b"BDAT %d LAST", "554"),
        (list(BEGUN), b"BDAT %d FIRST", "501"),
        (list(BEGUN), b"bdat   %d  LAST  LAST", "501"),
        (list(BEGUN), b"BDAT %d" + b" " * 2100, "500"),
    ],
)
def test_the_octets_of_a_refused_chunk_are_consumed(
    tmp_path: Path, before: list[str], command: bytes, code: str, cut: int
) -> None:
    victim = Victim(tmp_path, cut)
    victim.say(*before)
    assert codes(victim.send_all(command % len(EVIL) + b"\r\n" + EVIL)) == [code]
    assert codes(victim.say("NOOP")) == ["250"], "the session goes on behind it"
    assert victim.claims == []


@pytest.mark.parametrize("size", [2**31, 2**32, 2**63, 2**64, 10**30, 10**1000])
@pytest.mark.parametrize("before", [[], list(BEGUN)])
def test_huge_sizes_are_waited_for_and_nothing_is_heard_meanwhile(tmp_path: Path, size: int, before: list[str]) -> None:
    victim = Victim(tmp_path)
    victim.say(*before)
    said = victim.send_all(b"BDAT %d LAST\r\n" % size + EVIL)
    assert codes(said) in ([], ["501"], ["503"])
    assert codes(victim.say("NOOP", "QUIT")) == []
    assert victim.claims == []
    assert codes(victim.later(7300, 100)) == ["421"], "but not for ever"


def test_a_line_that_is_too_long_to_show_its_size_ends_the_session(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    victim.say(*BEGUN)
    assert codes(victim.send_all(b"BDAT " + b"0" * 3000 + b"6 LAST\r\n" + EVIL)) == ["421"]
    assert victim.closed


@pytest.mark.parametrize("size", ["-1", "x10", "+5", "", "LAST"])
def test_what_is_no_size_announces_nothing(tmp_path: Path, size: str) -> None:
    victim = Victim(tmp_path)
    victim.say(*BEGUN)
    assert codes(victim.say(f"BDAT {size}", "NOOP")) == ["501", "250"]


def test_data_and_bdat_do_not_mix(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    victim.say(*BEGUN)
    assert codes(victim.send_all(b"BDAT 5\r\nhello")) == ["250"]
    assert codes(victim.say("DATA", "RCPT TO:<brown@example.org>", SENDER)) == ["503", "503", "503"]
    assert codes(victim.say("RSET")) == ["250"]
    victim.begin()
    assert codes(victim.send_all(b"BDAT 4 LAST\r\nevil\r\n.\r\n")) == ["250"], "in content BDAT is text"
    assert b"BDAT 4 LAST\r\nevil\r\n" in victim.contents[0]


def test_binary_content_does_not_come_by_data(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    said = victim.say(GREETED, "MAIL FROM:<smith@client.example.com> BODY=BINARYMIME", BEGUN[2], "DATA")
    assert codes(said)[-1] == "503"


@pytest.mark.parametrize("body", [b"", b"."])
def test_empty_chunks(tmp_path: Path, body: bytes) -> None:
    victim = Victim(tmp_path)
    victim.say(*BEGUN)
    chunks = b"BDAT 0\r\n" * 50 + b"BDAT %d\r\n" % len(HEADER + body) + HEADER + body + b"BDAT 0 LAST\r\n"
    assert codes(victim.send_all(chunks)) == ["250"] * 52
    assert len(victim.claims) == 1


def test_small_chunks_now_and_then_do_not_hold_a_session(tmp_path: Path) -> None:
    """The time for all of a content does not begin anew with each chunk."""
    victim = Victim(tmp_path)
    victim.say(*BEGUN)
    for _ in range(60):
        said = victim.send_all(b"BDAT 1\r\nx") + victim.later(200, 100)
        if victim.closed:
            break
    assert victim.closed
    assert codes(said)[-1] == "421"
    assert victim.claims == []


def test_a_message_in_chunks_is_held_to_the_limit(tmp_path: Path) -> None:
    victim = Victim(tmp_path, message_size="1000")
    victim.say(*BEGUN)
    said = [one for _ in range(20) for one in victim.send_all(b"BDAT 100\r\n" + b"x" * 98 + b"\r\n")]
    assert codes(said)[:11] == ["250"] * 10 + ["552"]
    assert set(codes(said)[11:]) == {"503"}
    assert victim.claims == []
