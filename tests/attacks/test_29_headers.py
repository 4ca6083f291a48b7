"""Case 29: header sections that are huge, endless, doubled or missing: they cost little, and mean nothing to us."""

import re
from pathlib import Path
from time import process_time

import pytest
from attack_ground import GREETED, RECIPIENT, SENDER, Victim, codes

TWO_FROM = b"From: a@one.example\r\nFrom: b@two.example\r\nSubject: x\r\nSubject: y\r\n\r\nbody\r\n"


def kept(folder: Path, content: bytes, **settings: str) -> bytes:
    """What is kept of a content behind our own trace field."""
    victim = Victim(folder, **settings)
    victim.say(GREETED, SENDER, RECIPIENT, "DATA")
    for start in range(0, len(content), 65_536):
        victim.send(content[start : start + 65_536])
    assert codes(victim.send_all(b".\r\n")) == ["250"]
    trace = re.match(rb"Received: [^\r]*\r\n(?:[ \t][^\r]*\r\n)*", victim.contents[0])
    assert trace is not None
    return victim.contents[0][trace.end() :]


@pytest.mark.parametrize("relaying", [{}, {"relaying": "yes"}])
@pytest.mark.parametrize(
    "header",
    [
        b"X-A: b\r\n" * 100_000,
        b"X-A: " + b" folded\r\n" * 100_000,
        b"X-A: " + b"x" * 900_000 + b"\r\n",
        b"From: " + b"a@b.example, " * 60_000 + b"\r\n",
        b"To: " + b"(" * 400_000 + b"\r\n",
        b"To: " + b'"' * 400_001 + b"\r\n",
        b"Received : " * 80_000 + b"\r\n",
        b":" * 500_000 + b"\r\n",
        # Short enough to be read as a submission's.
        b"To: " + b"(" * 50_000 + b"\r\n",
        b"To: " + b"()" * 25_000 + b"\r\n",
        b"To: " + b'"' * 50_001 + b"\r\n",
        b"To: " + b"\\" * 50_001 + b"\r\n",
        b"To: " + b"a, " * 16_000 + b"\r\n",
        b"To: " + b"<" * 50_000 + b"\r\n",
        b"From: " + b"\r\n " * 16_000 + b"\r\n",
        b"DKIM-Signature: h=" + b"a:" * 25_000 + b"\r\nFrom: x\r\n",
        b"To: a\r\n" * 7_000,
    ],
)
def test_a_giant_header_costs_little(tmp_path: Path, header: bytes, relaying: dict[str, str]) -> None:
    content = header + b"\r\nbody\r\n"
    began = process_time()
    octets = kept(tmp_path, content, **relaying)
    assert process_time() - began < 2.0
    assert octets.endswith(b"\r\nbody\r\n")
    assert len(octets) >= len(content)


def test_a_header_without_an_end(tmp_path: Path) -> None:
    content = b"X-A: b\r\n" * 50_000
    assert kept(tmp_path, content) == content
    assert kept(tmp_path, content, relaying="yes") == content


@pytest.mark.parametrize(
    "content", [TWO_FROM, b"Subject: no author\r\n\r\nbody\r\n", b"\r\nno header\r\n", b"no header\r\n", b": x\r\n\r\n"]
)
def test_a_strangers_mail_goes_on_octet_for_octet(tmp_path: Path, content: bytes) -> None:
    """What is wrong with it is for the next to see. We sign nothing, so nothing that is wrong has our name on it."""
    assert kept(tmp_path, content) == content


def test_a_submission_with_two_authors_keeps_them_and_gets_no_third(tmp_path: Path) -> None:
    octets = kept(tmp_path, TWO_FROM, relaying="yes")
    assert re.findall(rb"(?im)^From: (.*)\r$", octets) == [b"a@one.example", b"b@two.example"]
    assert octets.count(b"Message-ID:") == 1


def test_a_submission_without_an_author_gets_one(tmp_path: Path) -> None:
    octets = kept(tmp_path, b"Subject: x\r\n\r\nFrom: not me\r\n", relaying="yes")
    assert re.findall(rb"(?im)^From: (.*)\r$", octets.partition(b"\r\n\r\n")[0] + b"\r\n") == [
        b"smith@client.example.com"
    ]


@pytest.mark.parametrize("name", [b"Received", b"Return-Path", b"Bcc", b"DKIM-Signature", b"Delivered-To"])
def test_fields_with_a_meaning_for_others_are_left_alone(tmp_path: Path, name: bytes) -> None:
    content = (name + b": x@else.example\r\n") * 3 + b"From: a@b.example\r\n\r\nbody\r\n"
    assert kept(tmp_path, content) == content
