"""Deeds: what forms do to mail in the queue, and what is asked first.

Who bounces or drops mail, or does anything to all that matches, is shown how much that is, and asked.
"""

from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from mta.message.envelope import format_queue_id, parse_queue_id
from mta.web.console.filters import Fields, Filter, one
from mta.web.console.showing import Showing
from mta.web.exchange import Answer, Call, redirect
from mta.web.routes import Route
from mta.web.seams import VERBS, Chosen, Unusable

DONE: Final = {
    "retry": "tried again at once",
    "hold": "held",
    "release": "released",
    "bounce": "returned to the sender",
    "drop": "dropped",
}
_ASKED: Final = {
    "retry": ("Try {what} again?", "They are due at once, at destinations that are paused, too.", "Yes, try"),
    "hold": ("Hold {what}?", "They stay in the queue and are not tried until they are released.", "Yes, hold"),
    "release": ("Release {what}?", "Their hold ends, and they are due at once.", "Yes, release"),
    "bounce": (
        "Return {what} to the sender?",
        "They end as failed, and their senders get the notice that a failure has. This cannot be undone.",
        "Yes, bounce",
    ),
    "drop": (
        "Drop {what}?",
        "They are removed from the queue, and nobody is told. This cannot be undone.",
        "Yes, drop",
    ),
}
_DURING: Final = "it is granted when the try has ended, within a second if that has not begun"
_MOST: Final = 1_000_000_000


class Deed(NamedTuple):
    """What a form wants. back: the page that it is on. action: where it was sent to. fields: what it has to bring again
    when it has been asked. widely: what is meant was not picked by anybody, and may be more than was thought of."""

    verb: str
    chosen: Chosen
    back: str
    action: str
    fields: list[tuple[str, str]]
    widely: bool = False


class Said(NamedTuple):
    """What is said at the top of a page. kind: "done" or "failed"."""

    kind: str
    text: str


def routes(showing: Showing, operator: Any) -> list[Route]:
    """What forms are sent to. operator: an `IOperator`."""

    async def queue(call: Call) -> Answer:
        return await _do(call, _of_queue(call.form()))

    async def message(call: Call) -> Answer:
        form, name = call.form(), call.names["id"]
        path = f"/message/{quote(name, safe='')}"
        verb = _verb(form)
        return await _do(call, Deed(verb, Chosen(frozenset(_numbers([name]))), path, path, [("verb", verb)]))

    async def destination(call: Call) -> Answer:
        form = call.form()
        name, verb = one(form, "name"), _verb(form)
        if not name:
            raise Unusable("name: which destination?")
        back = f"/destination?name={quote(name, safe='')}"
        return await _do(call, Deed(verb, Chosen(to=name), back, "/destination", [("name", name), ("verb", verb)]))

    async def _do(call: Call, deed: Deed) -> Answer:
        asks = deed.verb in ("bounce", "drop") or deed.widely
        if asks and one(call.form(), "sure") != "yes":
            return await showing.show(call, "confirm.html", "/queue", lambda: {"ask": _ask(showing, deed)})
        done = await showing.change(call, "/queue", lambda: operator.change(deed.verb, deed.chosen))
        if isinstance(done, Answer):
            return done
        told = {"done": deed.verb, "recipients": done["recipients"], "active": done["active"]}
        told["missing"] = len(done["missing"])
        return redirect(f"{deed.back}{'&' if '?' in deed.back else '?'}{urlencode(told)}")

    return [
        Route("POST", "/queue", queue),
        Route("POST", "/message/{id}", message),
        Route("POST", "/destination", destination),
    ]


def said_by(fields: Fields) -> Said | None:
    """What a form has done, as the address of the page that it has led to tells; None where it is no such page."""
    verb = one(fields, "done")
    if verb not in DONE:
        return None
    recipients, active, missing = (_count(fields, name) for name in ("recipients", "active", "missing"))
    gone = f" {_many(missing, 'message')} had left the queue." if missing else ""
    if not recipients:
        reasons = {
            "release": "It is not held.",
            "hold": "It is held already.",
            "retry": "What is held has to be released.",
        }
        return Said("failed", f"Nothing was {DONE[verb]}. {'' if gone else reasons.get(verb, '')}{gone}".strip())
    wait = f" {_many(active, 'recipient')} taken up for delivery: {_DURING}." if active else ""
    return Said("done", f"{_many(recipients, 'recipient')} {DONE[verb]}.{wait}{gone}")


def _of_queue(form: Fields) -> Deed:
    verb, wanted = _verb(form), Filter.of(form)
    if one(form, "scope") == "all":
        if wanted.state:
            raise Unusable(
                "all that matches can be meant by sender and recipient, not by state; select messages instead"
            )
        named = [("from", wanted.sender), ("to", wanted.to), ("scope", "all"), ("verb", verb)]
        return Deed(verb, wanted.chosen(), wanted.address(), "/queue", named, widely=True)
    if not wanted.selected:
        raise Unusable("select at least one message first")
    named = [("from", wanted.sender), ("to", wanted.to), ("state", wanted.state), ("verb", verb)]
    named += [("after", format_queue_id(wanted.after) if wanted.after else "")]
    named += [("id", name) for name in wanted.selected]
    numbers = frozenset(_numbers(wanted.selected))
    return Deed(verb, Chosen(numbers), wanted.address(), "/queue", named)


def _ask(showing: Showing, deed: Deed) -> dict[str, Any]:
    """What is asked."""
    numbers = deed.chosen.ids
    if numbers is not None:
        what = _many(len(numbers), "message")
    else:
        meant = showing.console.meant(deed.chosen)
        what = f"{'more than ' if meant['more'] else ''}{_many(meant['number'], 'message')}"
        if deed.chosen.to:
            what += f" for {deed.chosen.to}"
        if deed.chosen.sender:
            what += f" from {deed.chosen.sender}"
        if deed.chosen.to is None and deed.chosen.sender is None:
            what = f"the whole queue, {what},"
    title, text, yes = _ASKED[deed.verb]
    return {
        "title": title.replace("{what}", what),
        "text": text,
        "yes": yes,
        "verb": deed.verb,
        "ids": sorted(map(format_queue_id, numbers or ())),
        "action": deed.action,
        "fields": [pair for pair in deed.fields if pair[1]],
        "back": deed.back,
    }


def _verb(form: Fields) -> str:
    verb = one(form, "verb")
    if verb not in VERBS:
        raise Unusable(f"verb: one of {', '.join(VERBS)}")
    return verb


def _numbers(names: "tuple[str, ...] | list[str]") -> list[int]:
    numbers = [parse_queue_id(name) for name in names]
    if None in numbers:
        raise Unusable("id: a queue id is 12 or 13 letters and digits")
    return [number for number in numbers if number is not None]


def _count(fields: Fields, name: str) -> int:
    text = one(fields, name)
    return min(int(text), _MOST) if text.isdecimal() and len(text) < 12 else 0


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
