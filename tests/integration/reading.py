"""Reading what arrived: content with trace fields on top of it, and delivery reports, with the standard library."""

import email
import email.policy
import re
from email.message import EmailMessage, Message
from typing import NamedTuple

TRACE_FIELD = re.compile(
    rb"(?:Return-Path|Delivered-To|X-Original-To|Received):[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE
)


def trace_on_top(arrived: bytes, sent: bytes) -> list[bytes]:
    """The trace fields that were put on top of a content; fails when anything else about it has changed."""
    assert arrived.endswith(sent), f"it is not what was sent:\n{arrived[-len(sent) :]!r}\n{sent!r}"
    top, fields = arrived[: len(arrived) - len(sent)], []
    while found := TRACE_FIELD.match(top):
        fields.append(found[0])
        top = top[found.end() :]
    assert not top, f"not only trace fields stand above the content: {top!r}"
    return fields


def with_lf(content: bytes) -> bytes:
    """A content as a mail store on Unix keeps it."""
    return content.replace(b"\r\n", b"\n")


class Report(NamedTuple):
    """A delivery status notification (RFC 3464). message, recipients: the fields, names in lower case.

    original: the header of the message that it is about. raw: all of it, parsed.
    """

    text: str
    message: dict[str, str]
    recipients: list[dict[str, str]]
    original: Message
    raw: EmailMessage

    def about(self, address: str) -> dict[str, str]:
        """The fields of one recipient."""
        found = [one for one in self.recipients if one["final-recipient"] == f"rfc822;{address}"]
        assert len(found) == 1, f"{address} stands {len(found)} times in {self.recipients}"
        return found[0]


def read_report(content: bytes) -> Report:
    """Parse a report, strictly: the three parts of RFC 6522, no defects."""
    raw = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(raw, EmailMessage)
    assert raw.get_content_type() == "multipart/report", raw.get_content_type()
    assert raw.get_param("report-type") == "delivery-status"
    assert not [part.defects for part in raw.walk() if part.defects]
    text, status, original = raw.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert original.get_content_type() in ("text/rfc822-headers", "message/rfc822", "message/global-headers")
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    fields = [
        {name.lower(): _folded(str(value)) for name, value in block.items()}
        for block in blocks
        if isinstance(block, Message)
    ]
    returned = original.get_content()
    header = returned if isinstance(returned, Message) else email.message_from_string(str(returned))
    return Report(text.get_content(), fields[0], [one for one in fields[1:] if one], header, raw)


def _folded(value: str) -> str:
    """A field's value on one line, without the space that may stand behind "rfc822;"."""
    return re.sub(r";\s+", ";", " ".join(value.split()))
