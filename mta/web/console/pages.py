"""Pages: what is looked at."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from mta.message.envelope import parse_queue_id
from mta.web.console import shapes
from mta.web.console.deeds import said_by
from mta.web.console.filters import Filter, one
from mta.web.console.showing import Showing
from mta.web.exchange import Answer, Call, redirect
from mta.web.routes import Route
from mta.web.seams import NotThere, Unusable

PAGE: Final = 100  # messages
ALARMS: Final = 3  # lines of the log that are alarms, the last ones
SHOWN: Final = 300  # lines of the log
_AGES: Final = ("", "", "deferred", "deferred", "failed")  # how ages are coloured, the youngest first


def routes(showing: Showing) -> list[Route]:
    """The pages."""

    page, console = showing.page, showing.console

    @page("/", "overview.html")
    def overview(call: Call) -> Mapping[str, Any]:
        view = console.overview()
        alarms = [{"text": line, "advice": "", "destination": ""} for line in showing.watch.alarms(ALARMS)]
        ages = [
            {"label": age["label"], "count": age, "share": share, "word": word}
            for age, share, word in zip(view["ages"], shapes.bars(view["ages"]), _AGES, strict=True)
        ]
        return {
            "view": {
                **view,
                "alarms": [*alarms, *view["alarms"]],
                "alarmed": bool(alarms),
                "ages": ages,
                "states": shapes.stack(view["states"]),
                "rates": _rates(showing),
            }
        }

    @page("/queue", "queue.html")
    def queue(call: Call) -> Mapping[str, Any]:
        fields = call.asked()
        wanted = Filter.of(fields)
        view = console.page(wanted.chosen(), wanted.state or None, wanted.after, PAGE)
        return {
            "view": view,
            "filter": wanted,
            "said": said_by(fields),
            "url": wanted.address(),
            "first": wanted.address(0),
            "next": wanted.address(view["next"] or 0),
        }

    @page("/message/{id}", "message.html", "/queue")
    def message(call: Call) -> Mapping[str, Any]:
        return {"view": console.story(number_of(call.names["id"])), "said": said_by(call.asked())}

    @page("/destination", "destination.html", "/")
    def destination(call: Call) -> Mapping[str, Any]:
        fields = call.asked()
        name = one(fields, "name")
        if not name:
            raise Unusable("name: which destination?")
        view = console.place(name)
        return {"view": view, "said": said_by(fields), "url": f"/destination?name={quote(name, safe='')}"}

    @page("/log", "log.html")
    def log(call: Call) -> Mapping[str, Any]:
        wanted = one(call.asked(), "q")
        lines = showing.watch.lines(wanted, SHOWN)
        kept, scope = len(showing.watch.lines()), showing.watch.scope
        return {"view": {"lines": lines, "kept": kept, "scope": scope}, "wanted": wanted}

    @page("/configuration", "configuration.html")
    def configuration(call: Call) -> Mapping[str, Any]:
        return {"view": settled(console.configuration())}

    async def look_up(call: Call) -> Answer:
        return redirect(f"/message/{quote(one(call.asked(), 'id'), safe='') or '-'}")

    return [
        overview, queue, message, destination, log, configuration,
        Route("GET", "/message", look_up),
    ]  # fmt: skip


def settled(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as rows of sections: what has no keys of its own comes first."""
    plain: list[tuple[str, Any]] = []
    sections = []
    for name, value in configuration["settings"].items():
        if isinstance(value, dict) and value:
            sections.append({"name": name, "rows": list(_flat("", value))})
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            rows = [row for number, one in enumerate(value, 1) for row in _flat(f"{number}. ", one)]
            sections.append({"name": name, "rows": rows})
        else:
            plain.append((name, value))
    return {"file": configuration["file"], "sections": [{"name": "the relay", "rows": plain}, *sections]}


def _flat(before: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(f"{before}{name}.", value)
        else:
            yield f"{before}{name}", value


def number_of(text: str) -> int:
    """A queue id. Raises `NotThere` for what is none."""
    number = parse_queue_id(text)
    if number is None:
        raise NotThere(
            f"{text[:40]} is no queue id; it has 12 or 13 letters and digits, as the 250 and the log name it"
        )
    return number


def _rates(showing: Showing) -> dict[str, Any]:
    """The last hour, for a chart and for people who read numbers."""
    counts = showing.rates.counts()
    most = max(max(numbers) for numbers in counts.values())
    series = [
        {
            "word": word,
            "numbers": numbers,
            "points": shapes.line(numbers, most),
            "last": numbers[-2],
            "total": sum(numbers),
            "most": max(numbers),
        }
        for word, numbers in counts.items()
    ]
    return {
        "series": series,
        "most": most,
        "step": 60,
        "end": int(showing.now() // 60) * 60,
    }
