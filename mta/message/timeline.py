"""Timeline: what happened to a message, as events that are kept with it and for some days after it has gone.

Events are kept as lines of JSON, each the list of those that were written together, `[seconds since 1970, "kind",
{details}]`: appending is concatenation, and `sqlite3` shows them to anybody.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from mta.message.compact import to_json

Detail = str | int | float | bool | list[str] | None


class Event(NamedTuple):
    """One thing that happened. at: seconds since 1970. kind: one of the words below. detail: JSON values.

    received     client, helo, protocol, sender, recipients, size, login, tls
    routed       to (destination), recipients, why
    attempt      destination, try (number from 1), host, tls, seconds, reply, dialogue; notes: what was done to the mail
    delivered    recipients, host, reply
    deferred     recipients, reply, next (seconds since 1970)
    failed       recipients, reply, host
    discarded    recipients, why
    expanded     recipients, into
    dropped      recipients, by
    notice       about (failed, delayed, …), id (queue id of the notice) or why there is none
    held, released, retried    recipients, by or why
    unknown      recipients: "last result unknown": no final reply was recorded of a try, if there was one
    ended        nothing is left to do
    """

    at: float
    kind: str
    detail: dict[str, Detail]


def events_to_json(events: Sequence[Event]) -> str:
    """One line for all of them, with a line end, so that later ones can be appended; "" for none."""
    return to_json(events) + "\n" if events else ""


def events_from_json(text: str) -> list[Event]:
    """The inverse of `events_to_json`, for one text or several in a row."""
    return [Event(*event) for line in text.split("\n") if line for event in json.loads(line)]
