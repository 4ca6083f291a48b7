"""Report: delivery status notifications, from the values they are about to their octets (RFC 3464, RFC 6522).

A notice has three parts: a text that a person understands, fields that a program understands, and the header of the
original message. It is written by hand, in 7-bit lines that end with CRLF: the standard library would encode long
fields by RFC 2047, which is not for them, and everything that comes from outside has to be made harmless anyway.
"""

import re
from binascii import b2a_qp
from collections.abc import Sequence
from enum import StrEnum
from textwrap import wrap
from typing import Final, NamedTuple

from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Outcome
from mta.message.trace import address_literal, mail_date
from mta.smtp.reply import Reply

_WIDTH: Final = 76
_LONGEST_LINE: Final = 998
_LONGEST_ADDRESS: Final = 400
_LONGEST_TEXT: Final = 900  # so that even without a space to fold at, a line stays within what is allowed
_MOST_REPLY_LINES: Final = 20
_LARGEST_HEADER: Final = 64 * 1024
_MOST_HEADER_LINES: Final = 1000

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_NOT_PLAIN = re.compile(rb"[^\t\r\n -~]|\r(?!\n)|(?<!\r)\n")

# What a person can do about it, by the subject and the detail of the status code (RFC 3463, and the IANA registry).
_HINTS: Final = {
    "1.1": "There is no such mailbox. Check what stands before the @ in the address.",
    "1.2": "There is no such mail domain. Check what stands after the @ in the address.",
    "1.3": "The address is not written as an address should be.",
    "1.6": "The recipient has moved. Ask for the new address.",
    "1.10": "The domain declares that it takes no mail at all. Check what stands after the @ in the address.",
    "2.1": "The mailbox has been closed or blocked.",
    "2.2": "The mailbox is full. The recipient has to make room before you send it again.",
    "2.3": "The message is too big for the mailbox. Send less at once, or a link to it.",
    "3.4": "The message is too big for the mail server. Send less at once, or a link to it.",
    "4.1": "The mail server of the recipient could not be reached.",
    "4.2": "The connection to the mail server of the recipient broke.",
    "4.3": "The name servers of the recipient's domain could not be asked.",
    "4.4": "Nobody could find out where mail for this domain goes. Its administrators have to correct that.",
    "4.6": "The mail servers handed the message round in a circle. Their administrators have to correct that.",
    "5.3": "There are too many recipients. Send it to fewer at once.",
    "6.3": "The message cannot be changed into a form that the next mail server takes.",
    "7.1": "It was refused by a rule of a mail server. Ask the recipient, by other means, to have you allowed.",
}
_HINTS_BY_SUBJECT: Final = {
    "7": "It was refused for reasons of security. Its administrators, or those of your own mail, may know more.",
}


class Action(StrEnum):
    """What has become of a recipient, in the words of RFC 3464 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


class Fate(NamedTuple):
    """One recipient that a notice is about. at: when it was last tried, in seconds since 1970."""

    recipient: Recipient
    outcome: Outcome
    at: float


class About(NamedTuple):
    """The message that a notice is about, and who gives the notice.

    hostname, postmaster: of this relay. queue_id: as people see it. These are believed; all else is made harmless.
    header: the header section of the message, lines with CRLF, of which at most 64 KiB and 1,000 lines are quoted.
    """

    hostname: str
    postmaster: str
    queue_id: str
    envelope: Envelope
    header: bytes


def failure_report(about: About, fates: Sequence[Fate], notice_id: str, now: float, to: str = "") -> bytes:
    """The content of the notice that a message will not reach these recipients.

    notice_id: the queue id of the notice, which its Message-ID is made of. to: who gets it; else the reverse-path of
    the message. Somebody else than the sender gets it when the message is itself a notice.
    """
    opening = f"Your message could not be delivered to {_whom(fates)}. It will not be tried again."
    if not about.envelope.sender:
        opening = "This message without a sender, most likely a notice like this one, could not be delivered."
    return _report(Action.FAILED, "Undelivered mail", opening, about, fates, notice_id, now, to)


def delay_report(
    about: About, fates: Sequence[Fate], notice_id: str, now: float, retry_until: float, to: str = ""
) -> bytes:
    """The content of the notice that a message has not reached these recipients yet, and is tried on.

    retry_until: when it is given up, in seconds since 1970. Else as for `failure_report`.
    """
    opening = (
        f"Your message is delayed: after {_span(now - about.envelope.received)} it has not been delivered to "
        f"{_whom(fates)} yet. It is tried again until {mail_date(retry_until)}. You need not send it again; you will "
        "hear when it cannot be delivered by then."
    )
    return _report(Action.DELAYED, "Delayed mail", opening, about, fates, notice_id, now, to, retry_until)


def status(reply: Reply, action: Action) -> str:
    """The status code for a reply: its enhanced code where its class agrees with the basic one, else X.0.0.

    A failure may have the class 4: then a temporary condition has lasted until the message was given up
    (RFC 3463 2).
    """
    kind = reply.code // 100
    if _STATUS.fullmatch(reply.enhanced) and reply.enhanced[0] == str(kind):
        return reply.enhanced
    if kind in (2, 4, 5):
        return f"{kind}.0.0"
    return {Action.FAILED: "5.0.0", Action.DELAYED: "4.0.0"}.get(action, "2.0.0")


def _report(
    action: Action,
    subject: str,
    opening: str,
    about: About,
    fates: Sequence[Fate],
    notice_id: str,
    now: float,
    to: str,
    retry_until: float | None = None,
) -> bytes:
    parts = (
        _text_part(_text(action, opening, about, fates, now)),
        _fields_part(action, about, fates, retry_until),
        _header_part(about.header),
    )
    inside = b"".join(parts)
    boundary = f"=_{notice_id}"
    while boundary.encode() in inside:
        boundary += "="
    whom = _line(fates[0].recipient.address, 200) if len(fates) == 1 else f"{len(fates)} recipients"
    head = [
        f"From: Mail Delivery System <MAILER-DAEMON@{about.hostname}>",
        f"To: <{_line(to or about.envelope.sender, _LONGEST_ADDRESS)}>",
        _field("Subject", f"{subject} to {whom}"),
        f"Date: {mail_date(now)}",
        f"Message-ID: <{notice_id}@{about.hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
    ]
    separator = f"--{boundary}\r\n".encode()
    return b"".join(
        (
            "\r\n".join(head).encode(),
            b"\r\n\r\n",
            *(piece for part in parts for piece in (separator, part, b"\r\n")),
            f"--{boundary}--\r\n".encode(),
        )
    )


def _whom(fates: Sequence[Fate]) -> str:
    return "this recipient" if len(fates) == 1 else "these recipients"


def _text(action: Action, opening: str, about: About, fates: Sequence[Fate], now: float) -> str:
    lines = [f"This is the mail relay {about.hostname}.", "", *wrap(opening, _WIDTH), ""]
    alike: dict[Outcome, list[str]] = {}
    for fate in fates:
        alike.setdefault(fate.outcome, []).append(fate.recipient.address)
    for outcome, addresses in alike.items():
        lines += [f"  <{_printable(address)[:_LONGEST_ADDRESS]}>" for address in addresses]
        lines += [*_reason(outcome), *_advice(action, outcome.reply, now - about.envelope.received), ""]
    lines += [
        f"The message was received on {mail_date(about.envelope.received)}",
        f"and has the queue id {about.queue_id} here. Its header is attached, its text is not.",
        f"If you need help, write to {about.postmaster} and quote this notice.",
    ]
    return "\n".join(lines) + "\n"


def _reason(outcome: Outcome) -> list[str]:
    """Who said what. The reply of a remote server stands there line by line as it came."""
    host = _printable(outcome.host)[:_LONGEST_ADDRESS]
    reply = outcome.reply
    if not outcome.remote:
        text = _printable(reply.text)[:_LONGEST_TEXT]
        return [f"    {line}" for line in wrap(f"{host}: {text}" if host else text, _WIDTH - 4)]
    prefix = " ".join(part for part in (str(reply.code), reply.enhanced) if part)
    said = [_printable(f"      {prefix} {line}")[:_LONGEST_TEXT] for line in reply.lines or ("",)]
    return [f"    {host or 'The mail server'} said:", *said[:_MOST_REPLY_LINES]]


def _advice(action: Action, reply: Reply, age: float) -> list[str]:
    code = status(reply, action)
    kind, subject, detail = code.split(".")
    advice = _HINTS.get(f"{subject}.{detail}") or _HINTS_BY_SUBJECT.get(subject, "")
    if action is Action.FAILED and kind == "4":
        tried = f"This was tried for {_span(age)}. You may send it again when the trouble is over."
        advice = f"{advice} {tried}" if advice else tried
    return [f"    {line}" for line in wrap(advice, _WIDTH - 4)]


def _span(seconds: float) -> str:
    for size, unit in (86400, "day"), (3600, "hour"), (60, "minute"):
        number = round(seconds / size)
        if number >= 1 and seconds >= 0.95 * size:
            return f"{number} {unit}s" if number > 1 else f"1 {unit}"
    return "less than a minute"


def _fields_part(action: Action, about: About, fates: Sequence[Fate], retry_until: float | None) -> bytes:
    envelope = about.envelope
    lines = ["Content-Type: message/delivery-status", "", _field("Reporting-MTA", f"dns; {about.hostname}")]
    if envelope.envid:
        lines.append(_field("Original-Envelope-Id", _decoded(envelope.envid)))
    lines += [_field("X-Queue-ID", about.queue_id), f"Arrival-Date: {mail_date(envelope.received)}"]
    for recipient, outcome, at in fates:
        reply = outcome.reply
        lines.append("")
        if recipient.original:
            lines.append(_field("Original-Recipient", _decoded(recipient.original)))
        lines += [
            _field("Final-Recipient", f"rfc822; {_line(recipient.address, _LONGEST_ADDRESS)}"),
            f"Action: {action}",
            f"Status: {status(reply, action)}",
        ]
        if outcome.remote and outcome.host:
            lines.append(_field("Remote-MTA", f"dns; {_remote_name(outcome.host)}"))
        # A type of our own for what no SMTP server said (RFC 3464 2.3.6).
        lines.append(_field("Diagnostic-Code", f"{'smtp' if outcome.remote else 'x-mta'}; {reply}"))
        lines.append(f"Last-Attempt-Date: {mail_date(at)}")
        if retry_until is not None:
            lines.append(f"Will-Retry-Until: {mail_date(retry_until)}")
    return ("\r\n".join(lines) + "\r\n").encode()


def _text_part(text: str) -> bytes:
    if text.isascii():
        return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + text.replace("\n", "\r\n").encode()
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head + _quoted(text.encode().split(b"\n"))


def _header_part(header: bytes) -> bytes:
    """The header as it came where it is clean 7-bit text, else quoted-printable, as RFC 6522 4 allows."""
    header = header[:_LARGEST_HEADER]
    lines = header[: header.rfind(b"\r\n") + 2].split(b"\r\n")[:_MOST_HEADER_LINES]
    if b"" in lines:
        del lines[lines.index(b"") :]  # the end of the header; what follows is not for a notice
    head = b"Content-Type: text/rfc822-headers\r\n"
    plain = b"".join(line + b"\r\n" for line in lines)
    if _NOT_PLAIN.search(plain) is None and max(map(len, lines), default=0) <= _LONGEST_LINE:
        return head + b"\r\n" + plain
    return head + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + _quoted([*lines, b""])


def _quoted(lines: list[bytes]) -> bytes:
    return b"\r\n".join(b2a_qp(line, quotetabs=False, istext=False).replace(b"\n", b"\r\n") for line in lines)


def _field(name: str, value: str) -> str:
    """A field, folded at spaces, so that unfolding gives the value back."""
    text = f"{name}: {_line(value, _LONGEST_TEXT)}"
    return "\r\n ".join(wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _line(text: str, longest: int) -> str:
    """The text as one line of printable ASCII, with an escape in place of each other letter."""
    one_line = _printable(" ".join(text[:longest].split()))
    return one_line.encode("ascii", "backslashreplace").decode()[:longest]


def _printable(text: str) -> str:
    text = text.replace("\t", " ")
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


def _decoded(xtext: str) -> str:
    """What ENVID and ORCPT say, without the encoding that they had on the wire (RFC 3461 4)."""
    return _XTEXT.sub(lambda match: chr(int(match[1], 16)), xtext)


def _remote_name(host: str) -> str:
    """The name in "mx.example.net[192.0.2.1]:25", or the address as a literal where there is no name."""
    name, _, rest = host.partition("[")
    return name or address_literal(rest.partition("]")[0])
