"""Wishes: what an operator asks for while a delivery is being tried, kept with it until the try has ended.

A wish is kept as text: "" for none, a verb ("retry", "hold", "drop", "bounce") for all recipients, or a JSON object
of verbs by forward-path, where "" stands for all others. What has been delivered meanwhile stays delivered.
"""

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple

from mta.interfaces import Waiting
from mta.message.envelope import Recipient
from mta.message.timeline import Event

OPERATOR = "operator"
BOUNCE = "bounce"


class Left(NamedTuple):
    """Recipients who stay in the queue, and the wish that stays with them: "" or "bounce"."""

    waiting: Waiting
    wish: str = ""


def add(wish: str, verb: str, addresses: Collection[str] | None) -> str:
    """The wish with another one added; the later one counts. addresses: None for all recipients.

    "release" takes a "hold" back and nothing else.
    """
    verbs = _verbs(wish)
    if verb == "release":
        concerned = set(verbs) if addresses is None else addresses
        verbs |= {to: "" for to in concerned if verbs.get(to, verbs.get("")) == "hold"}
    elif addresses is None:
        verbs = {"": verb}
    else:
        verbs |= dict.fromkeys(addresses, verb)
    return _text(verbs)


def grant(wish: str, waiting: Sequence[Waiting], at: float) -> tuple[list[Left], list[Event]]:
    """Apply a wish, at the end of a try, to those whom the try has left waiting. Returns who stays, and what to tell.

    A bounce is left to whoever claims it next, which is at once, even if the destination is paused.
    """
    if not wish:
        return [Left(group) for group in waiting], []
    verbs = _verbs(wish)
    left: list[Left] = []
    events: list[Event] = []
    for group in waiting:
        for verb, recipients in _parted(group.recipients, verbs).items():
            part = group._replace(recipients=recipients)
            if verb == "drop":
                events.append(event(at, "dropped", recipients))
            elif verb == "hold":
                left.append(Left(part._replace(state="held")))
                events.append(event(at, "held", recipients))
            elif verb == BOUNCE:
                left.append(Left(part._replace(state="waiting", due=at, deadline=at), BOUNCE))
            elif verb == "retry" and part.state == "waiting":
                left.append(Left(part._replace(due=at)))
                events.append(event(at, "retried", recipients))
            else:
                left.append(Left(part))
    return left, events


def event(at: float, kind: str, recipients: tuple[Recipient, ...]) -> Event:
    """What a timeline says of an operator's verb."""
    return Event(at, kind, {"recipients": [one.address for one in recipients], "by": OPERATOR})


def _parted(recipients: tuple[Recipient, ...], verbs: dict[str, str]) -> dict[str, tuple[Recipient, ...]]:
    parts: dict[str, list[Recipient]] = {}
    for recipient in recipients:
        parts.setdefault(verbs.get(recipient.address, verbs.get("", "")), []).append(recipient)
    return {verb: tuple(part) for verb, part in parts.items()}


def _verbs(wish: str) -> dict[str, str]:
    if wish.startswith("{"):
        verbs: dict[str, str] = json.loads(wish)
        return verbs
    return {"": wish} if wish else {}


def _text(verbs: dict[str, str]) -> str:
    rest = verbs.get("", "")
    some = {address: verb for address, verb in verbs.items() if address and verb != rest}
    return json.dumps({"": rest} | some, separators=(",", ":")) if some else rest
