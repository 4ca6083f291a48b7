"""What is added to a submission, what is completed, and that not an octet else changes."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.message.submission import Submission, complete

NOW = 1_800_000_000.0
DATE = b"Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n"
FROM = b"From: scan@example.org\r\n"
MESSAGE_ID = b"Message-ID: <1HZ8K3QW0R2MB@mx.example.org>\r\n"
WHOLE = (
    b"From: Ann <ann@example.org>\r\n"
    b"To: bob@example.org,\r\n\tcarl@example.org\r\n"
    b"Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    b"Message-ID: <x@y>\r\n"
)


def through(content: bytes, sender: str = "scan@example.org") -> bytes:
    submission = Submission("mx.example.org", "1HZ8K3QW0R2MB", sender, NOW)
    return submission.feed(content) + submission.finish()


def completed(field: bytes) -> bytes:
    """What becomes of a field of a message that lacks nothing."""
    rest = b"Date: x\r\nMessage-ID: <x@y>\r\n\r\nTo: root\r\n"
    rest = rest if field.lower().startswith(b"from") else b"From: a@b\r\n" + rest
    result = through(field + rest)
    assert result.endswith(rest)
    return result.removesuffix(rest)


@pytest.mark.parametrize(
    ("content", "added"),
    [
        (WHOLE + b"\r\nbody\r\n", b""),
        (b"Subject: x\r\n\r\nbody\r\n", DATE + FROM + MESSAGE_ID),
        (b"Subject: x\r\nFROM: a@b\r\n\r\n", DATE + MESSAGE_ID),
        (b"dAte: today\r\nmessage-id: <a@b>\r\n\r\n", FROM),
        (b"Date : today\r\nMessage-ID\t: <a@b>\r\nFrom : a\r\n\r\n", b""),
        (b"Subject: x\r\n Date: y\r\n\r\nDate: in the body\r\n", DATE + FROM + MESSAGE_ID),
        (b"X-Date: y\r\nDated: z\r\n\r\n", DATE + FROM + MESSAGE_ID),
        (b"\r\nbody\r\n", DATE + FROM + MESSAGE_ID),
        (b"\r\n", DATE + FROM + MESSAGE_ID),
        (b"", DATE + FROM + MESSAGE_ID),
        (b"Subject: no end\r\n", DATE + FROM + MESSAGE_ID),
        (b"From root Fri Jan 15\r\nDate: x\r\nMessage-ID: <a@b>\r\n\r\n", FROM),
        (b"The body begins at once\r\nDate: x\r\n", DATE + FROM + MESSAGE_ID + b"\r\n"),
        (b"The body begins at once.\r\n\r\nFrom: here\r\n", DATE + FROM + MESSAGE_ID + b"\r\n"),
        (b"no line end", DATE + FROM + MESSAGE_ID + b"\r\n"),
        (b": x\r\n\r\n", DATE + FROM + MESSAGE_ID + b"\r\n"),
    ],
)
def test_what_lacks_is_added_before_what_is_there(content: bytes, added: bytes) -> None:
    assert through(content) == added + content


def test_a_message_from_nobody_is_given_no_author() -> None:
    assert through(b"Subject: x\r\n\r\n", sender="") == DATE + MESSAGE_ID + b"Subject: x\r\n\r\n"


@pytest.mark.parametrize(
    ("field", "result"),
    [
        (b"From: root\r\n", b"From: root@mx.example.org\r\n"),
        (b"from:root\r\n", b"from:root@mx.example.org\r\n"),
        (b"To:a\r\n", b"To:a@mx.example.org\r\n"),
        (b"To:  admin \r\n", b"To:  admin@mx.example.org \r\n"),
        (b"TO: a.b+c, Ops Team <ops>,x@y.z\r\n", b"TO: a.b+c@mx.example.org, Ops Team <ops@mx.example.org>,x@y.z\r\n"),
        (b"Cc: <root>\r\n", b"Cc: <root@mx.example.org>\r\n"),
        (b"Cc: < root >\r\n", b"Cc: < root@mx.example.org >\r\n"),
        (b"Sender: Cron Daemon <cron>\r\n", b"Sender: Cron Daemon <cron@mx.example.org>\r\n"),
        (b"To: a,\r\n\tb,\r\n c\r\n", b"To: a@mx.example.org,\r\n\tb@mx.example.org,\r\n c@mx.example.org\r\n"),
        (b"To:\r\n root\r\n", b"To:\r\n root@mx.example.org\r\n"),
        (b"To: a\r\nCc: b\r\nTo: c\r\n", b"To: a@mx.example.org\r\nCc: b@mx.example.org\r\nTo: c@mx.example.org\r\n"),
        (b"To: =?utf-8?q?J=C3=BCrgen?= <juergen>\r\n", b"To: =?utf-8?q?J=C3=BCrgen?= <juergen@mx.example.org>\r\n"),
    ],
)
def test_plain_words_become_addresses(field: bytes, result: bytes) -> None:
    assert completed(field) == result


@pytest.mark.parametrize(
    "value",
    [
        b"root@example.org",
        b"Ann Lee <ann@example.org>",
        b'"root"',
        b'"Root, the" <root>',
        b"root (the root)",
        b"undisclosed-recipients:;",
        b"friends: ann, bob;",
        b"two words",
        b"a <b> c",
        b"<>",
        b"<@relay:user>",
        b"<root",
        b"root>",
        b"<<root>>",
        b".dot",
        b"dot.",
        b"two..dots",
        b"",
        b",",
        b"J\xc3\xbcrgen <root>",
        b"r\xc3\xb6\xc3\xb6t",
        b"user\\ name",
        b"[192.0.2.1]",
        b"root@",
        b"@example.org",
        b"root\radmin",
        b"root,\nadmin",
    ],
)
def test_anything_else_is_left_as_it_is(value: bytes) -> None:
    for name in (b"From", b"Sender", b"To", b"Cc"):
        assert completed(name + b": " + value + b"\r\n") == name + b": " + value + b"\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b"Subject: root\r\n",
        b"Reply-To: root\r\n",
        b"X-To: root\r\n",
        b"X: y\r\n To: root\r\n",
        b"Bcc: root\r\n",
        b"To : a\r\n",
    ],
)
def test_other_fields_are_left_as_they_are(field: bytes) -> None:
    assert completed(field) == field


SIGNATURE = b"DKIM-Signature: v=1; a=rsa-sha256; bh=date;\r\n\td=example.org; h=From:To :\r\n\t%b; b=abc\r\n"


@pytest.mark.parametrize(
    ("header", "added"),
    [
        (SIGNATURE % b"Subject" + b"From: root\r\nTo: admin\r\n", DATE + MESSAGE_ID),
        (SIGNATURE % b"Date" + b"From: root\r\n", MESSAGE_ID),
        (SIGNATURE % b"DATE:message-id" + b"To: admin\r\n", b""),
        (b"ARC-Message-Signature: i=1;h=message-id\r\nFrom: root\r\n", DATE),
        (SIGNATURE % b"subject" + b"dkim-signature: h = date\r\n", MESSAGE_ID),
        (b"ARC-Seal: i=1\r\nFrom: root\r\n", DATE + MESSAGE_ID),
        (b"Resent-From: ann@example.org\r\nFrom: root\r\nTo: admin\r\n", DATE + MESSAGE_ID),
    ],
)
def test_what_is_signed_or_sent_on_keeps_what_it_has(header: bytes, added: bytes) -> None:
    content = header + b"\r\nbody\r\n"
    assert through(content) == added + content


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(borders)]


CONTENTS = [
    WHOLE + b"\r\nTo: admin\r\n\r\nTo: x\r\n",
    b"Subject: x\r\nTo: root\r\n\r\nTo: admin\r\nDate: x\r\n",
    b"\r\nTo: admin\r\n\r\n",
    b"body at once\r\n\r\nand more\r\n",
    b"To: root\r\n",
]


@pytest.mark.parametrize("content", CONTENTS)
def test_it_is_all_the_same_for_every_single_cut(content: bytes) -> None:
    for place in range(len(content) + 1):
        submission = Submission("mx.example.org", "1HZ8K3QW0R2MB", "scan@example.org", NOW)
        pieces = submission.feed(content[:place]), submission.feed(content[place:]), submission.finish()
        assert b"".join(pieces) == through(content)


@given(st.sampled_from(CONTENTS), st.lists(st.integers(0, 200), max_size=12))
def test_it_is_all_the_same_wherever_the_blocks_are_cut(content: bytes, places: list[int]) -> None:
    submission = Submission("mx.example.org", "1HZ8K3QW0R2MB", "scan@example.org", NOW)
    pieces = [submission.feed(block) for block in cut(content, places)]
    assert b"".join(pieces) + submission.finish() == through(content)


@given(
    st.lists(
        st.sampled_from(
            [b"To: ", b"From: ", b"\r\n", b" ", b",", b"<", b">", b"root", b"a@b", b'"', b"\n", b"\r", b"(", b"=", b"x"]
        )
    )
)
def test_octets_are_only_ever_inserted(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    rest = iter(through(content))
    assert all(octet in rest for octet in content)


def test_a_header_section_without_an_end_is_passed_on_and_not_kept() -> None:
    submission = Submission("mx.example.org", "1HZ8K3QW0R2MB", "scan@example.org", NOW)
    line = b"X-Line: " + b"x" * 990 + b"\r\n"
    given_out = [submission.feed(line) for _ in range(100)]
    assert b"".join(given_out) == line * 100
    assert not any(given_out[:65])
    assert given_out[65] == line * 66
    assert submission.finish() == b""


@pytest.mark.parametrize(
    "value", [b" " * 65_000, b"<" * 65_000, b"a" * 65_000 + b"<", b"a." * 32_000, b"a," * 32_000, b"\r\n " * 21_000]
)
def test_no_header_takes_long(value: bytes) -> None:
    before = time.process_time()
    through(b"To: " + value + b"\r\n\r\n")
    assert time.process_time() - before < 1


def test_a_sender_without_a_domain_is_completed() -> None:
    assert complete("root", "mx.example.org") == "root@mx.example.org"
