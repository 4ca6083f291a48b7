"""Timeline: what happened to a message, as events that are kept with it and for some days after it has gone.

Events are kept as lines of JSON, `[seconds since 1970, "kind", {details}]`: appending is concatenation, and
`sqlite3` shows them to anybody.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

# Made once, since json.dumps() makes an encoder for each call.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode

Detail = str | int | float | bool | list[str] | None


class Event(NamedTuple):
    """One thing that happened. at: seconds since 1970. kind: one of the words below. detail: JSON values.

    received     client, helo, protocol, sender, recipients, size
    routed       to (destination), recipients, why
    attempt      destination, try (number from 1), host, tls, seconds, reply, dialogue
    delivered    recipients, host, reply
    deferred     recipients, reply, next (seconds since 1970)
    failed       recipients, reply, host
    discarded    recipients, why
    expanded     recipients, into
    dropped      recipients, by
    notice       about (failed, delayed, …), id (queue id of the notice) or why there is none
    held, released, retried    recipients, by or why
    unknown      recipients: "last result unknown": it was being tried when the relay was killed
    ended        nothing is left to do
    """

    at: float
    kind: str
    detail: dict[str, Detail]


def events_to_json(events: Iterable[Event]) -> str:
    """One line each, with a line end, so that later events can be appended."""
    return "".join([_encode(event) + "\n" for event in events])


def events_from_json(text: str) -> list[Event]:
    """The inverse of `events_to_json`."""
    return [Event(*json.loads(line)) for line in text.splitlines()]
