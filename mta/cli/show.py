"""Show: `mta show`, the envelope and the timeline of a message, also for some days after it has gone."""

import time
from typing import Any

import click

from mta.cli.common import NotDone, configured, id_of, one_message, with_json
from mta.cli.opening import configuration, desk_of
from mta.cli.output import Line, moment, path, print_json, print_lines, span
from mta.cli.queue import recipient_to_json
from mta.cli.story import accepted, ends_of, tell
from mta.message.envelope import Envelope, format_queue_id
from mta.message.printable import printable
from mta.spool.history import Story
from mta.spool.listing import QueuedRecipient
from mta.spool.matching import Selection


@click.command()
@configured
@one_message
@with_json
def show(config_file: str | None, number: int, as_json: bool) -> None:
    """Tell the story of a message: its envelope, each try with what was said, and how it ended.

    It can be told for some days after the message has gone (history: in the configuration). Times are UTC.
    """
    with desk_of(configuration(config_file)) as desk:
        story = desk.story(number)
        queued = desk.queue(Selection(ids=frozenset({number})), limit=1)
    if story is None:
        raise NotDone(f"no message {id_of(number)} is known here, or it ended too long ago")
    waiting = queued[0].recipients if queued else ()
    if as_json:
        print_json(_to_json(story, waiting))
    else:
        print_lines(_facts(story, waiting, time.time()))
        click.echo()
        print_lines([tell(event) for event in story.events])


def _to_json(story: Story, waiting: tuple[QueuedRecipient, ...]) -> dict[str, Any]:
    """The story for programs: recipients as in the listing, or with the word for their end in place of a state."""
    recipients = [recipient_to_json(one) for one in waiting]
    here = {one.address for one in waiting}  # who can have been expanded into others and himself
    recipients += [
        {"address": address, "state": end.word, "next_attempt": None, "last_reply": end.reply}
        for address, end in ends_of(story.events).items()
        if address not in here
    ]
    return {
        "id": format_queue_id(story.id),
        "size": accepted(story.events)[1],
        "sender": story.sender,
        "created": moment(story.received),
        "ended": None if story.ended is None else moment(story.ended),
        "recipients": recipients,
        "events": [{"time": moment(at), "event": kind, **_in_words(detail)} for at, kind, detail in story.events],
    }


def _in_words(detail: dict[str, Any]) -> dict[str, Any]:
    """The details of an event, a time among them as all times are given."""
    return {**detail, "next": moment(detail["next"])} if "next" in detail else detail


def _facts(story: Story, waiting: tuple[QueuedRecipient, ...], now: float) -> list[Line]:
    """What is to be known of a message, by name."""
    result = ", ".join(story.result.split()) or "no recipients"
    whole = "in the queue" if story.ended is None else f"ended {moment(story.ended)}: {result}"
    recipients, size = accepted(story.events)
    facts = [
        Line(format_queue_id(story.id), whole),
        Line("from", path(story.sender)),
        Line("received", f"{moment(story.received)}, {span(now - story.received)} ago"),
        Line("size", f"{size:,} octets"),
    ]
    if story.envelope is not None and story.envelope.notice_for:
        facts.append(Line("notice for", format_queue_id(story.envelope.notice_for)))
    if story.envelope is not None and (wishes := _wishes(story.envelope)):
        facts.append(Line("asked for", wishes))
    states = {address: str(end) for address, end in ends_of(story.events).items()}
    states |= {one.address: _state(one, now) for one in waiting}
    addresses = dict.fromkeys([*recipients, *states])
    return facts + [Line("to", f"{path(one)}: {printable(states.get(one, 'not known'))}") for one in addresses]


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
