"""Status fields: the part of a notice that a program understands (RFC 3464; RFC 6533 for addresses beyond ASCII)."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from mta.message.envelope import Envelope, Recipient
from mta.message.lines import LONGEST_TEXT, field, line
from mta.message.outcome import Outcome
from mta.message.trace import address_literal, mail_date
from mta.smtp import notification, xtext
from mta.smtp.reply import Reply

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_UTF8: Final = "utf-8"
# Octets of all replies together that the fields quote, and of one at least.
_MOST_QUOTED: Final = 131_072
_LEAST_QUOTED: Final = 120


class Action(StrEnum):
    """What has become of a recipient, in the words of RFC 3464 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


class Fate(NamedTuple):
    """One recipient that a notice is about. at: when it was last tried, in seconds since 1970.

    status: the status code to give, where it is not the one of the reply; "" for that.
    """

    recipient: Recipient
    outcome: Outcome
    at: float
    action: Action
    status: str = ""

    @property
    def code(self) -> str:
        """The status code to give."""
        return self.status or status(self.outcome.reply, self.action)


def status(reply: Reply, action: Action) -> str:
    """The status code for a reply: its enhanced code where its class agrees with the basic one, else X.0.0.

    A failure may have the class 4: then a temporary condition has lasted until the message was given up
    (RFC 3463 2). A delay has no other class, though one host may have refused for good what another still may take.
    """
    kind = reply.code // 100
    if action is Action.DELAYED and kind != 4:
        return "4.0.0"
    if _STATUS.fullmatch(reply.enhanced) and reply.enhanced[0] == str(kind):
        return reply.enhanced
    if kind in (2, 4, 5):
        return f"{kind}.0.0"
    return "5.0.0" if action is Action.FAILED else "2.0.0"


def status_part(
    hostname: str, queue_id: str, envelope: Envelope, fates: Sequence[Fate], retry_until: float | None, wide: bool
) -> bytes:
    """The body part, its header included. wide: in UTF-8, for a sender whose own address needs that (RFC 6533 4)."""
    if wide:
        head = ["Content-Type: message/global-delivery-status", "Content-Transfer-Encoding: 8bit"]
    else:
        head = ["Content-Type: message/delivery-status"]
    lines = [*head, "", field("Reporting-MTA", f"dns; {hostname}")]
    if envelope.envid:
        lines.append(field("Original-Envelope-Id", _decoded(envelope.envid), wide))
    lines += [field("X-Queue-ID", queue_id), f"Arrival-Date: {mail_date(envelope.received)}"]
    if envelope.by:
        lines.append(f"Deliver-By-Date: {mail_date(envelope.by)}")  # RFC 2852 6
    room = min(max(_MOST_QUOTED // len(fates), _LEAST_QUOTED), LONGEST_TEXT)
    for fate in fates:
        lines += ["", *_recipient_fields(fate, wide, room)]
        if retry_until is not None:
            lines.append(f"Will-Retry-Until: {mail_date(retry_until)}")
    return ("\r\n".join(lines) + "\r\n").encode()


def _recipient_fields(fate: Fate, wide: bool, room: int) -> list[str]:
    """room: octets of the reply that are quoted."""
    recipient, outcome = fate.recipient, fate.outcome
    lines = []
    if recipient.original:
        lines.append(field("Original-Recipient", _original(recipient.original, wide), wide))
    lines += [
        field("Final-Recipient", _final(recipient.address, wide), wide),
        f"Action: {fate.action}",
        f"Status: {fate.code}",
    ]
    if outcome.remote and outcome.host:
        lines.append(field("Remote-MTA", f"dns; {_remote_name(outcome.host)}", wide))
    if outcome.remote or fate.action in (Action.FAILED, Action.DELAYED):
        # A type of our own for what no SMTP server said (RFC 3464 2.3.6).
        said = f"{'smtp' if outcome.remote else 'x-mta'}; {_beginning(outcome.reply, room)}"
        lines.append(field("Diagnostic-Code", line(said, room, wide), wide))
    lines.append(f"Last-Attempt-Date: {mail_date(fate.at)}")
    return lines


def _beginning(reply: Reply, longest: int) -> str:
    """As many lines of a reply as so many characters need: one of a hundred is not copied for each recipient."""
    length = needed = 0
    for text in reply.lines:
        needed += 1
        length += len(text)
        if length >= longest:
            break
    return str(reply._replace(lines=reply.lines[:needed]))


def _original(orcpt: str, wide: bool) -> str:
    """What ORCPT said, without the encoding that it had on the wire, but for what a field cannot hold as it is."""
    kind, _, address = orcpt.partition(";")
    if kind.lower() != _UTF8:
        return _decoded(orcpt)
    try:
        address = notification.decode_utf8(address)
    except ValueError:
        return orcpt
    return f"{kind};{address if wide else notification.encode_utf8(address)}"


def _final(address: str, wide: bool) -> str:
    if address.isascii():
        return f"rfc822; {line(address, LONGEST_TEXT)}"
    return f"{_UTF8}; {address if wide else notification.encode_utf8(address)}"


def _decoded(text: str) -> str:
    """What an xtext says (RFC 3461 4); the text itself where it is none."""
    try:
        return xtext.decode(text)
    except ValueError:
        return text


def _remote_name(host: str) -> str:
    """The name in "mx.example.net[192.0.2.1]:25", or the address as a literal where there is no name."""
    name, _, rest = host.partition("[")
    return name or address_literal(rest.partition("]")[0])
