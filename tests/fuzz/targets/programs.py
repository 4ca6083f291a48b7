"""Programs: what the programs of this machine write to `sendmail`: messages, and lists of addresses."""

import io

from mta.cli.letter import Letter, Unfit, addresses_in
from mta.smtp.address import parse_mailbox
from targets.choices import Choices
from targets.content import whole_lines
from targets.measures import Target, stretch

# A program of its own waits for this, not the reactor: it is enough that the time grows as the message does.
_AT_ALL, _PER_OCTET = 0.2, 1e-5


def letter(octets: bytes) -> None:
    """Whatever is written, what is sent has whole lines, and its size is known; each recipient is an address."""
    choices = Choices(octets)
    dot_ends = choices.flag()
    written = choices.rest()
    with stretch(_AT_ALL, len(written), _PER_OCTET):
        one = Letter(io.BytesIO(written), dot_ends, io.BytesIO())
    sent = b"".join(one.blocks())
    assert whole_lines(sent)
    assert one.size == len(sent)
    assert one.eight_bit != sent.isascii()
    if not (dot_ends or written.startswith((b"From ", b">From "))):
        assert sent.translate(None, b"\r\n") == written.translate(None, b"\r\n"), "octets are lost, or made up"
    with stretch(_AT_ALL, len(written), _PER_OCTET):
        try:
            found = one.recipients()
        except Unfit as error:
            assert str(error).isprintable() and len(str(error)) < 300
            return
    for address in found:
        parse_mailbox(address if "@" in address else f"{address}@localhost", utf8=True)
    before = b"".join(one.blocks())
    header = b"\r\n" + before.partition(b"\r\n\r\n")[0].lower()
    assert before.startswith(b"\r\n") or b"\r\nbcc:" not in header
    one.add_from("a@b.example", written[:200].decode(errors="replace"))
    after = b"".join(one.blocks())
    assert whole_lines(after)
    assert after.endswith(before)


def recipients(octets: bytes) -> None:
    """A list of addresses has addresses alone, or is refused with a word that can be shown."""
    text = octets.decode(errors="replace")
    with stretch(_AT_ALL, len(octets), _PER_OCTET):
        try:
            found = addresses_in(text, "To")
        except Unfit as error:
            assert str(error).isprintable() and len(str(error)) < 300
            return
    for address in found:
        parse_mailbox(address if "@" in address else f"{address}@localhost", utf8=True)
    assert len(found) <= 1 + text.count(",")


TARGETS = (
    Target(
        "letter",
        letter,
        (
            b"\n", b"\r\n", b"\r", b".\n", b".", b" ", b"\t", b"To: ", b"Cc:", b"Bcc: ", b"BCC :", b"Resent-To: ",
            b"Resent-Bcc: ", b"From: ", b"From a@b Mon\n", b"Subject: x\n", b"a@b.example", b"root", b", ", b"(", b")",
            b"<", b">", b'"', b"\\", b":", b";", b"\xc3\xa9", b"\xff", b"\0", b"body\n", b"x" * 998, b"x" * 65_536,
        ),
    ),
    Target(
        "recipients",
        recipients,
        (
            b"a@b.example", b"root", b", ", b",", b" ", b"(", b")", b"<", b">", b'"', b"\\", b":", b";", b"@", b".",
            b"[", b"]", b"g: ", b"\r\n ", b"\xc3\xa9", b"\xff", b"\0", b"=?utf-8?q?x?=", b"%", b"!",
        ),
        20_000,
    ),
)  # fmt: skip
