"""Report: delivery status notifications, from the values they are about to their octets (RFC 3464, RFC 6522).

A notice has three parts: a text that a person understands (`explanation`), fields that a program understands
(`statusfields`), and the original message or its header (`returned`). It is 7-bit text, unless a message that is
returned as a whole is not, or the address that it goes to is not (RFC 6533).
"""

from collections.abc import Sequence
from typing import NamedTuple

from mta.message.envelope import Envelope
from mta.message.explanation import Section, explanation, span, text_part
from mta.message.lines import LONGEST_ADDRESS, field, line
from mta.message.returned import Returned, returned_part
from mta.message.statusfields import Action, Fate, status_part
from mta.message.trace import mail_date

_SUBJECTS = {
    Action.FAILED: "Undelivered mail",
    Action.DELAYED: "Delayed mail",
    Action.DELIVERED: "Delivered mail",
    Action.RELAYED: "Relayed mail",
    Action.EXPANDED: "Expanded mail",
}
_SUCCESSES = {
    Action.DELIVERED: "Your message has been delivered to {whom}.",
    Action.RELAYED: (
        "Your message has been handed on for {whom} to a mail server that sends no notices like this one. You will "
        "hear no more of it, unless it fails there."
    ),
    Action.EXPANDED: (
        "Your message has reached {whom}, and is on its way to the several addresses that this stands for. You will "
        "hear no more of it, unless it fails for one of them."
    ),
}


class About(NamedTuple):
    """The message that a notice is about, and who gives the notice to whom.

    hostname, postmaster: of this relay. queue_id: of the message, as people see it. These are believed; all else is
    made harmless. given: what is given back of it. to: the address that the notice goes to: the reverse-path of the
    message, or somebody else's when the message is itself a notice.
    """

    hostname: str
    postmaster: str
    queue_id: str
    envelope: Envelope
    given: Returned
    to: str


def failure_report(about: About, fates: Sequence[Fate], notice_id: str, now: float) -> bytes:
    """The content of the notice that a message will not reach these recipients.

    notice_id: the queue id of the notice, which its Message-ID is made of.
    """
    opening = f"Your message could not be delivered to {_whom(fates)}. It will not be tried again."
    if not about.envelope.sender:
        opening = "This message without a sender, most likely a notice like this one, could not be delivered."
    return _report(Action.FAILED, about, [Section(opening, fates)], notice_id, now)


def delay_report(about: About, fates: Sequence[Fate], notice_id: str, now: float, retry_until: float) -> bytes:
    """The content of the notice that a message has not reached these recipients yet, and is tried on.

    retry_until: when it is given up, in seconds since 1970. Else as for `failure_report`.
    """
    opening = (
        f"Your message is delayed: after {span(now - about.envelope.queued_since)} it has not been delivered to "
        f"{_whom(fates)} yet. It is tried again until {mail_date(retry_until)}. You need not send it again; you will "
        "hear when it cannot be delivered by then."
    )
    return _report(Action.DELAYED, about, [Section(opening, fates)], notice_id, now, retry_until)


def success_report(about: About, fates: Sequence[Fate], notice_id: str, now: float) -> bytes:
    """The content of the notice that a message has reached these recipients, or is out of our sight now.

    Each has its own action: delivered, relayed or expanded. Else as for `failure_report`.
    """
    sections = []
    for action, opening in _SUCCESSES.items():
        group = [fate for fate in fates if fate.action is action]
        if group:
            sections.append(Section(opening.format(whom=_whom(group)), group))
    return _report(sections[0].fates[0].action, about, sections, notice_id, now)


def _report(
    action: Action,
    about: About,
    sections: Sequence[Section],
    notice_id: str,
    now: float,
    retry_until: float | None = None,
) -> bytes:
    envelope = about.envelope
    wide = not about.to.isascii()
    fates = [fate for section in sections for fate in section.fates]
    closing = (
        f"The message was received on {mail_date(envelope.received)}",
        f"and has the queue id {about.queue_id} here. {about.given.sentence}",
        f"If you need help, write to {about.postmaster} and quote this notice.",
    )
    text = explanation(about.hostname, sections, now - envelope.queued_since, closing)
    parts = [
        text_part(text),
        status_part(about.hostname, about.queue_id, envelope, fates, retry_until, wide),
        returned_part(about.given, envelope.smtputf8),
    ]
    inside = b"".join(parts)
    boundary = f"=_{notice_id}"
    while boundary.encode() in inside:
        boundary += "="
    whom = line(fates[0].recipient.address, 200, wide) if len(fates) == 1 else f"{len(fates)} recipients"
    head = [
        f"From: Mail Delivery System <MAILER-DAEMON@{about.hostname}>",
        f"To: <{line(about.to, LONGEST_ADDRESS, wide)}>",
        field("Subject", f"{_SUBJECTS[action]} to {whom}", wide),
        f"Date: {mail_date(now)}",
        f"Message-ID: <{notice_id}@{about.hostname}>",
        "Auto-Submitted: auto-replied",  # RFC 3834 5
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
    ]
    if not inside.isascii():
        head.append("Content-Transfer-Encoding: 8bit")
    separator = f"--{boundary}\r\n".encode()
    return b"".join(
        (
            "\r\n".join(head).encode(),
            b"\r\n\r\n",
            *(piece for part in parts if part for piece in (separator, part, b"\r\n")),
            f"--{boundary}--\r\n".encode(),
        )
    )


def _whom(fates: Sequence[Fate]) -> str:
    return "this recipient" if len(fates) == 1 else "these recipients"
