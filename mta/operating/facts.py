"""Facts: what is to be known of a message at a glance, for people."""

from mta.message.envelope import Envelope, format_queue_id
from mta.message.printable import printable
from mta.operating.story import accepted, ends_of
from mta.operating.words import Line, moment, path, span
from mta.spool.history import Story
from mta.spool.listing import QueuedRecipient


def facts(story: Story, waiting: tuple[QueuedRecipient, ...], now: float) -> list[Line]:
    """What is to be known of a message, by name."""
    result = ", ".join(story.result.split()) or "no recipients"
    whole = "in the queue" if story.ended is None else f"ended {moment(story.ended)}: {result}"
    recipients, size = accepted(story.events)
    told = [
        Line(format_queue_id(story.id), whole),
        Line("from", path(story.sender)),
        Line("received", f"{moment(story.received)}, {span(now - story.received)} ago"),
        Line("size", f"{size:,} octets"),
    ]
    if story.envelope is not None and story.envelope.notice_for:
        told.append(Line("notice for", format_queue_id(story.envelope.notice_for)))
    if story.envelope is not None and (wishes := _wishes(story.envelope)):
        told.append(Line("asked for", wishes))
    states = {address: str(end) for address, end in ends_of(story.events).items()}
    states |= {one.address: _state(one, now) for one in waiting}
    addresses = dict.fromkeys([*recipients, *states])
    return told + [Line("to", f"{path(one)}: {printable(states.get(one, 'not known'))}") for one in addresses]


def _wishes(envelope: Envelope) -> str:
    """What its sender asked for with MAIL, where it is something that few ask for."""
    wishes = (
        f"RET={envelope.ret}" if envelope.ret else "",
        f"ENVID={envelope.envid}" if envelope.envid else "",
        "SMTPUTF8" if envelope.smtputf8 else "",
        "REQUIRETLS" if envelope.requiretls else "",
        f"MT-PRIORITY={envelope.priority}" if envelope.priority else "",
        f"not to go on before {moment(envelope.released)}" if envelope.released else "",
        f"delivery by {moment(envelope.by)} ({envelope.by_mode})" if envelope.by else "",
    )
    return ", ".join(printable(one) for one in wishes if one)


def _state(recipient: QueuedRecipient, now: float) -> str:
    """A recipient who is still in the queue."""
    text = recipient.state
    if recipient.next_attempt is not None and recipient.state == "deferred":
        what = "next try" if recipient.attempts or recipient.last_reply else "waits until"
        text += f", {what} {moment(recipient.next_attempt)} (in {span(recipient.next_attempt - now)})"
    if recipient.reverse_path is not None:
        text += f", goes on from {path(recipient.reverse_path)}"
    if recipient.wish:
        text += f", to be settled when the try has ended: {recipient.wish}"
    return f"{text}; last reply: {recipient.last_reply}" if recipient.last_reply else text
