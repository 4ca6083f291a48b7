"""Listing: the queue and one message of it as programs know them; what `--json` prints and the HTTP API answers."""

from typing import Any

from mta.message.envelope import format_queue_id
from mta.operating.story import accepted, ends_of
from mta.operating.words import moment
from mta.spool.destinations import DestinationSeen
from mta.spool.history import Story
from mta.spool.listing import QueuedMessage, QueuedRecipient, Totals


def queue_to_json(messages: list[QueuedMessage], totals: Totals) -> dict[str, Any]:
    """The listing as its users' programs know it; times as in `moment`, null for a time that there is none of."""
    return {
        "messages": [
            {
                "id": format_queue_id(one.id),
                "size": one.size,
                "sender": one.sender,
                "created": moment(one.created),
                "recipients": [recipient_to_json(recipient) for recipient in one.recipients],
            }
            for one in messages
        ],
        "totals": {"messages": totals.messages, "recipients": totals.recipients, "octets": totals.octets},
    }


def recipient_to_json(recipient: QueuedRecipient) -> dict[str, Any]:
    """A recipient who is in the queue, as the listing and the story of a message have it."""
    return {
        "address": recipient.address,
        "state": recipient.state,
        "next_attempt": None if recipient.next_attempt is None else moment(recipient.next_attempt),
        "last_reply": recipient.last_reply,
    }


def destination_to_json(one: DestinationSeen) -> dict[str, Any]:
    """What is known of a destination; times as in `moment`."""
    times = {"next_due": one.next_due, "paused_until": one.paused_until}
    return {**one._asdict(), **{name: None if at is None else moment(at) for name, at in times.items()}}


def story_to_json(story: Story, waiting: tuple[QueuedRecipient, ...]) -> dict[str, Any]:
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
