"""Mail: the content of messages, as it is looked at and converted."""

from contextlib import suppress

from mta.message.header import TraceCounter, header_block
from mta.message.lines import LONGEST_LINE
from mta.message.returned import LARGEST_HEADER, LARGEST_WHOLE, returned
from mta.message.sevenbit import EIGHT_BIT, SEVEN_BIT, Unconvertible, converted, plan
from mta.message.structure import LARGEST_HEADER as LARGEST_OF_PART
from mta.message.structure import Kind, walk
from mta.message.submission import Submission
from targets.choices import Choices, cut
from targets.content import whole_lines
from targets.measures import Target, stretch

# Conversion is done in a thread: what counts there is that its time grows as the content does. A tenth of a second for
# a structure as large as is looked at, and a microsecond for each octet.
_IN_THREAD, _PER_OCTET = 0.1, 1e-6


def walking(octets: bytes) -> None:
    """The stretches of any content are in order and apart, and the same however it is cut."""
    choices = Choices(octets)
    how = choices.number(256)
    content = choices.rest()
    found = []
    for way in {0, how}:
        with stretch(_IN_THREAD, len(content), _PER_OCTET):
            stretches = list(walk(cut(content, way)))
        at = 0
        regions: list[list[object]] = []
        for one in stretches:
            assert one.at >= at
            assert content[one.at : one.at + len(one.octets)] == one.octets
            at = one.at + len(one.octets)
            assert one.kind is not Kind.HEADER or len(one.octets) <= LARGEST_OF_PART
            if regions and regions[-1][:2] == [one.kind, id(one.entity)] and regions[-1][3] == one.at:
                regions[-1][3] = at
            else:
                regions.append([one.kind, id(one.entity), one.at, at])
        found.append([(kind, begin, end) for kind, _, begin, end in regions])
    assert found[0] == found[-1], "the cut makes a difference"


def conversion(octets: bytes) -> None:
    """What is converted is fit for the hop it was converted for, and nothing more would have to be done to it."""
    choices = Choices(octets)
    how = choices.number(256)
    content = choices.rest()
    for target in (SEVEN_BIT, EIGHT_BIT):
        with stretch(_IN_THREAD, len(content), _PER_OCTET):
            try:
                found = plan(cut(content, how), target)
            except Unconvertible as error:
                assert str(error).isprintable(), error
                continue
        if not found.edits:
            continue
        with stretch(_IN_THREAD, len(content), _PER_OCTET):
            fit = b"".join(converted(cut(content, how), found))
        assert fit == b"".join(converted([content], found)), "the cut makes a difference"
        assert len(fit) <= 4 * len(content) + 1000
        with suppress(Unconvertible):  # a part that may not be changed has lines that are only too long
            again = plan([fit], target)
            assert not again.edits or _has_long_lines(fit), again.edits
        if found.quoted_printable + found.base64 + found.masked:
            assert target == EIGHT_BIT or fit.isascii(), "it has octets above 127 still"
            assert b"\0" not in fit and whole_lines(fit)


def _has_long_lines(content: bytes) -> bool:
    return max(map(len, content.split(b"\r\n"))) > LONGEST_LINE


def submission(octets: bytes) -> None:
    """What is added to a submission is added before it or in its addresses; nothing is taken away."""
    choices = Choices(octets)
    how, sender = choices.number(256), ("a@b.example", "")[choices.number(2)]
    content = choices.rest()
    made = []
    for way in (0, how):
        one = Submission("mail.example.org", "0QUEUEID", sender, 1_800_000_000.0)
        out = b""
        for piece in cut(content, way):
            with stretch():
                out += one.feed(piece)
        with stretch():
            out += one.finish()
        made.append(out)
    assert made[0] == made[1], "the cut makes a difference"
    assert out.replace(b"@mail.example.org", b"").endswith(content.replace(b"@mail.example.org", b""))
    assert whole_lines(out) or not whole_lines(content)


def header(octets: bytes) -> None:
    """What is known of a header section does not depend on how the content is cut."""
    choices = Choices(octets)
    how = choices.number(256)
    content = choices.rest()
    counts, blocks = [], []
    for way in (0, how):
        counter = TraceCounter()
        for piece in cut(content, way):
            if not counter.done:
                with stretch():
                    counter.feed(piece)
        counts.append((counter.fields, counter.done))
    # Of a message in pieces that are larger than a header section is quoted of, only whole lines within are.
    for limit in (80, LARGEST_HEADER):
        with stretch():
            block = header_block([content[:65_536], content[65_536:]], limit)
        blocks.append(block)
        assert content.startswith(block)
        assert len(block) <= limit
        assert not block or block.endswith(b"\r\n")
        assert b"\r\n\r\n" not in block
    assert counts[0] == counts[1], "the cut makes a difference"


def given_back(octets: bytes) -> None:
    """What a notice gives back of a message is found out in a moment, since the reactor waits for it."""
    choices = Choices(octets)
    smtputf8 = choices.flag()
    content = choices.rest()[:LARGEST_WHOLE]
    with stretch():
        given = returned(header_block([content], LARGEST_HEADER), content, smtputf8)
    assert given.whole in (content, b"")
    assert not given.whole or (whole_lines(content) and b"\0" not in content and not _has_long_lines(content))


_WORDS = (
    b"\r\n", b"\r\n\r\n", b"--b", b"--b--", b"\r\n--b\r\n", b"\r\n--b--\r\n", b"\r\n--c\r\n", b"MIME-Version: 1.0\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n", b'Content-Type: multipart/digest; boundary="c"\r\n',
    b"Content-Type: message/rfc822\r\n", b"Content-Type: text/plain; charset=utf-8\r\n", b"\xc3\xa9", b"\0", b"\r",
    b"\n", b"Content-Transfer-Encoding: 8bit\r\n", b"Content-Transfer-Encoding: base64\r\n", b"(", b")", b'"', b"\\",
    b";", b"=", b"/", b"boundary=", b" ", b"\t", b"x" * 998, b"From ", b"Received: x\r\n",
    b"DKIM-Signature: h=from\r\n",
    b"To: root\r\n", b"Cc: a, b <c>, d@e\r\n", b"From: x\r\n", b"Date", b":", b"<", b">", b",", b"root", b"a@b",
    b"Content-Type: multipart/signed; boundary=s\r\n", b"--" + b"-" * 600,
)  # fmt: skip
TARGETS = (
    Target("walking", walking, _WORDS, 1_048_576),
    Target("conversion", conversion, _WORDS, 1_048_576),
    Target("submission", submission, _WORDS),
    Target("header", header, _WORDS, 1_048_576),
    Target("given-back", given_back, _WORDS, 1_048_576),
)
