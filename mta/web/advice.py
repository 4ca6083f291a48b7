"""Advice: the rows of the API for what takes a while to find out: explain, doctor, forecast, audit."""

from collections.abc import Callable
from typing import Any, Final

from mta.net.threads import Busy, Threads
from mta.web import patterns
from mta.web.api import asked_for, number_in, queue_id, row, span_in, word_in
from mta.web.exchange import Answer, Call, as_json
from mta.web.patterns import is_like, like
from mta.web.routes import Route
from mta.web.schemas import ANYTHING, QUEUE_ID, SPAN, WORD_SCHEMA, Operation, Parameter, needed
from mta.web.seams import IAdviser, NotThere, OutOfOrder, Unusable

MOST_FORECAST: Final = 1000  # messages
MOST_SECONDS: Final = 25  # for an examination
MOST_NAME: Final = 253  # octets of a domain

A_DAY: Final = 86400.0  # seconds

CLIENT: Final = Parameter(
    "client",
    {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}, {"const": "unix"}]},
    'The IP address that the mail would come from, or "unix".',
)
SENDER: Final = Parameter("from", WORD_SCHEMA, "The sender that it would have.")
DOMAIN: Final = Parameter(
    "domain",
    like(patterns.HOST_NAME, maxLength=253, examples=["example.org"]),
    "A domain that this relay sends or takes mail for, in ASCII (A-labels).",
)
SECONDS: Final = Parameter(
    "seconds",
    {"type": "integer", "minimum": 1, "maximum": MOST_SECONDS, "default": MOST_SECONDS},
    "How long it may take; what is not found out by then is told as unknown.",
)
MESSAGE: Final = Parameter("id", QUEUE_ID, "A queue id; all mail where there is none.")
MOST_MESSAGES: Final = Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MOST_FORECAST, "default": 100},
    "How many messages to look at.",
)
SINCE: Final = Parameter("since", {**SPAN, "default": "24h"}, "For how long.")


def routes(adviser: IAdviser, threads: Threads) -> list[Route]:
    """The rows. threads: these are asked in them, so that nothing else waits."""

    async def find_out(work: Callable[[], dict[str, Any]]) -> Answer:
        try:
            return as_json(await threads.run(work))
        except Busy:
            raise OutOfOrder("as much as can be is being found out already; try again later") from None

    async def explain(call: Call) -> Answer:
        asked = asked_for(call, "address", "from", "client")
        address, sender, client = (word_in(asked, name) for name in ("address", "from", "client"))
        if address is None:
            raise Unusable("address is missing: a recipient")
        return await find_out(lambda: adviser.explain(address, sender or "", client or ""))

    async def doctor(call: Call) -> Answer:
        asked = asked_for(call, "domain", "seconds")
        domain = asked.get("domain", "")
        if "domain" in asked and not (len(domain) <= MOST_NAME and is_like(domain, patterns.HOST_NAME)):
            raise Unusable("domain is a domain such as example.org, in ASCII")
        seconds = number_in(asked, "seconds", MOST_SECONDS, 1, MOST_SECONDS)
        return await find_out(lambda: adviser.doctor(domain, float(seconds)))

    async def forecast(call: Call) -> Answer:
        asked = asked_for(call, "id", "limit")
        word = word_in(asked, "id")
        number = None if word is None else queue_id(word)
        if word is not None and number is None:
            raise NotThere("there is no such message: this is no queue id")
        limit = number_in(asked, "limit", 100, 1, MOST_FORECAST)
        return await find_out(lambda: adviser.forecast(number, limit))

    async def audit(call: Call) -> Answer:
        seconds = span_in(asked_for(call, "since"), "since")
        return await find_out(lambda: adviser.audit(A_DAY if seconds is None else seconds))

    return [
        row("GET", "/explain", explain, Operation("explain", "What would become of a mail, and why. Sends nothing.",
            ANYTHING, query=(needed("address", "A recipient."), SENDER, CLIENT))),
        row("GET", "/doctor", doctor, Operation("doctor", "Whether this relay is ready for the world, each finding "
            "with what to do. Takes up to half a minute, or as long as you allow.", ANYTHING, query=(DOMAIN, SECONDS))),
        row("GET", "/forecast", forecast, Operation("forecast", "When the mail in the queue is going to be tried, "
            "warned about and returned.", ANYTHING, query=(MESSAGE, MOST_MESSAGES))),
        row("GET", "/audit", audit, Operation("audit", "What has become of every recipient, and whether the sums "
            "match.", ANYTHING, query=(SINCE,))),
    ]  # fmt: skip
