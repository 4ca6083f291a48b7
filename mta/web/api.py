"""API: /api/v1, everything that the operator has, for programs. Each row of the table says what it is for."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from mta.message.envelope import parse_queue_id
from mta.web.asking import Asking
from mta.web.exchange import Answer, Call, as_json
from mta.web.patterns import QUEUE_ID, WORD, is_like
from mta.web.routes import Route
from mta.web.schemas import (
    CHANGE,
    CHANGED,
    CONFIGURATION,
    DESTINATION,
    DESTINATIONS,
    ID,
    LIMIT,
    MESSAGE,
    QUEUE,
    SENDER,
    STATE,
    TO,
    VERB,
    WEBHOOKS,
    Operation,
    needed,
)
from mta.web.seams import STATES, VERBS, Chosen, NotThere, Unusable

PREFIX: Final = "/api/v1"
MOST_LISTED: Final = 10_000  # messages, or destinations
MOST_IDS: Final = 1000

_SPAN: Final = re.compile(r"([0-9]{1,4})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


def routes(ask: Asking) -> list[Route]:
    """The rows."""

    async def queue(call: Call) -> Answer:
        asked = asked_for(call, "to", "from", "state", "limit")
        limit = number_in(asked, "limit", 100)
        state = asked.get("state")
        if state is not None and state not in STATES:
            raise Unusable(f"state is one of {', '.join(STATES)}")
        chosen = Chosen(to=word_in(asked, "to"), sender=word_in(asked, "from"))
        return as_json(await ask(lambda operator: operator.queue(chosen, state, limit)))

    async def change_many(call: Call) -> Answer:
        asked_for(call)
        verb, chosen = verb_in(call), selection_in(call.json())
        return as_json(await ask(lambda operator: operator.change(verb, chosen)))

    async def message(call: Call) -> Answer:
        asked_for(call)
        number = id_in(call)
        return as_json(await ask(lambda operator: operator.message(number)))

    async def content(call: Call) -> Answer:
        asked_for(call)
        number = id_in(call)
        length, blocks = await ask(lambda operator: operator.content(number))
        # Never shown by a browser as anything of ours: it is somebody else's text.
        headers = {"Content-Disposition": f'attachment; filename="{call.names["id"].upper()}.eml"'}
        return Answer(200, "message/rfc822", blocks, headers, length)

    async def change_one(call: Call) -> Answer:
        asked_for(call)
        verb, number = verb_in(call), id_in(call)
        changed = await ask(lambda operator: operator.change(verb, Chosen(ids=frozenset({number}))))
        if changed["missing"]:
            raise NotThere(f"there is no message {call.names['id']} in the queue")
        return as_json(changed)

    async def destinations(call: Call) -> Answer:
        limit = number_in(asked_for(call, "limit"), "limit", 100)
        return as_json({"destinations": await ask(lambda operator: operator.destinations(limit))})

    async def destination(call: Call) -> Answer:
        asked = asked_for(call, "name")
        name = word_in(asked, "name")
        if name is None:
            raise Unusable("name is missing: a destination, as listings have it")
        return as_json(await ask(lambda operator: operator.destination(name)))

    async def webhooks(call: Call) -> Answer:
        asked_for(call)
        return as_json({"webhooks": await ask(lambda operator: operator.webhooks())})

    async def configuration(call: Call) -> Answer:
        asked_for(call)
        return as_json(await ask(lambda operator: operator.configuration()))

    change = "Try at once, hold, release, return to the sender, or remove."
    during = (
        "What is taken up for delivery has it when the try has ended, within a second if that has not begun, and what "
        "was delivered stays delivered."
    )
    return [
        row("GET", "/queue", queue, Operation("queue", "What is in the queue, the oldest first, with the totals.",
            QUEUE, query=(TO, SENDER, STATE, LIMIT))),
        row("POST", "/queue/{verb}", change_many, Operation("changeMany", f"{change} All mail of a selection. {during}",
            CHANGED, path=(VERB,), body=CHANGE)),
        row("GET", "/messages/{id}", message, Operation("message", "A message, in the queue or gone: its recipients, "
            "and all that has happened to it.", MESSAGE, path=(ID,))),
        row("GET", "/messages/{id}/content", content, Operation("content", "The content of a message in the queue, as "
            "it is sent on.", None, kind="message/rfc822", path=(ID,))),
        row("POST", "/messages/{id}/{verb}", change_one, Operation("changeOne", f"{change} One message. {during}",
            CHANGED, path=(ID, VERB))),
        row("GET", "/destinations", destinations, Operation("destinations", "Destinations that mail waits for, or that "
            "failed lately; the ones with the most mail first.", DESTINATIONS, query=(LIMIT,))),
        row("GET", "/destination", destination, Operation("destination", "One destination.", DESTINATION,
            query=(needed("name", "A destination, as listings have it."),))),
        row("GET", "/webhooks", webhooks, Operation("webhooks", "Webhooks, and what they have not been told yet.",
            WEBHOOKS)),
        row("GET", "/configuration", configuration, Operation("configuration", "The configuration as in force. Of "
            "secrets it has the names of their files.", CONFIGURATION)),
    ]  # fmt: skip


def row(method: str, path: str, handler: Callable[[Call], Any], operation: Operation, most: int = 1 << 20) -> Route:
    """One row of the API."""
    return Route(method, PREFIX + path, handler, most=most, about=operation.described(), within={"verb": VERBS})


# What a call asks for, or `Unusable` with what it should have been.


def asked_for(call: Call, *names: str) -> dict[str, str]:
    """The query, each of these names at most once, and no other."""
    asked = call.asked()
    for name, values in asked.items():
        if name not in names:
            known = f"; there are {', '.join(names)}" if names else ""
            raise Unusable(f"{name[:40]!r} cannot be asked for here{known}")
        if len(values) > 1:
            raise Unusable(f"{name} stands twice")
    return {name: values[0] for name, values in asked.items()}


def number_in(asked: Mapping[str, str], name: str, default: int, least: int = 0, most: int = MOST_LISTED) -> int:
    """A number within bounds."""
    text = asked.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise Unusable(f"{name} is a number from {least} to {most}")
    return int(text)


def span_in(asked: Mapping[str, str], name: str) -> float | None:
    """A time such as 90m, in seconds."""
    text = asked.get(name)
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    if span is None:
        raise Unusable(f"{name} is a time such as 30s, 90m, 24h or 7d")
    return float(int(span[1]) * _SECONDS[span[2]])


def word_in(asked: Mapping[str, Any], name: str) -> str | None:
    """An address, a domain or a destination."""
    if name not in asked:
        return None
    word = asked[name]
    if not isinstance(word, str) or not is_like(word, WORD):
        raise Unusable(f"{name} is an address, a domain or a destination: up to 512 characters, none that controls")
    return word


def id_in(call: Call) -> int:
    """The queue id in the path."""
    number = queue_id(call.names["id"])
    if number is None:
        raise NotThere("there is no such message: this is no queue id")
    return number


def queue_id(text: object) -> int | None:
    """The number of a queue id; None for what is none."""
    return parse_queue_id(text) if isinstance(text, str) and is_like(text, QUEUE_ID) else None


def verb_in(call: Call) -> str:
    """The verb in the path."""
    return call.names["verb"]


def selection_in(asked: Any) -> Chosen:
    """Which mail is meant, said in one way: {"ids": […]}, {"to": …} and "from", or {"all": true}."""
    if not isinstance(asked, dict) or not asked.keys() <= {"ids", "to", "from", "all"}:
        raise Unusable('say which mail is meant: {"ids": [...]}, {"to": "...", "from": "..."}, or {"all": true}')
    ids, everything = asked.get("ids"), asked.get("all", False)
    to, sender = word_in(asked, "to"), word_in(asked, "from")
    ways = ("ids" in asked) + bool(to is not None or sender is not None) + (everything is True)
    if ways != 1 or not isinstance(everything, bool):
        raise Unusable('say which mail is meant in one way: by "ids", by "to" and "from", or by "all": true')
    if "ids" not in asked:
        return Chosen(to=to, sender=sender)
    if not isinstance(ids, list) or not 0 < len(ids) <= MOST_IDS:
        raise Unusable(f"ids is a list of 1 to {MOST_IDS} queue ids")
    numbers = [queue_id(one) for one in ids]
    if None in numbers:
        raise Unusable(f"{str(ids[numbers.index(None)])[:40]!r} is not a queue id")
    return Chosen(ids=frozenset(number for number in numbers if number is not None))
