"""Advice: the rows of the API for what takes a while to find out: explain, doctor, forecast, audit."""

import re
from collections.abc import Callable
from typing import Any, Final

from mta.message.envelope import parse_queue_id
from mta.net.threads import Busy, Threads
from mta.web.api import asked_for, number_in, row, word_in
from mta.web.exchange import Answer, Call, as_json
from mta.web.routes import Route
from mta.web.schemas import ANYTHING, LIMIT, WORD_SCHEMA, Operation, Parameter, needed
from mta.web.seams import IAdviser, NotThere, OutOfOrder, Unusable

MOST_FORECAST: Final = 1000  # messages

_SPAN: Final = re.compile(r"([0-9]{1,4})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

CLIENT: Final = Parameter("client", WORD_SCHEMA, "The IP address that the mail would come from.")
SENDER: Final = Parameter("from", WORD_SCHEMA, "The sender that it would have.")
DOMAIN: Final = Parameter("domain", WORD_SCHEMA, "A domain that this relay sends or takes mail for.")
MESSAGE: Final = Parameter("id", WORD_SCHEMA, "A queue id; all mail where there is none.")
SINCE: Final = Parameter(
    "since", {"type": "string", "pattern": "^[0-9]{1,4}[smhd]$", "default": "24h"}, "For how long."
)


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
        domain = word_in(asked_for(call, "domain"), "domain")
        return await find_out(lambda: adviser.doctor(domain or ""))

    async def forecast(call: Call) -> Answer:
        asked = asked_for(call, "id", "limit")
        word = word_in(asked, "id")
        number = None if word is None else parse_queue_id(word)
        if word is not None and number is None:
            raise NotThere("there is no such message: this is no queue id")
        limit = min(max(1, number_in(asked, "limit", 100)), MOST_FORECAST)
        return await find_out(lambda: adviser.forecast(number, limit))

    async def audit(call: Call) -> Answer:
        text = asked_for(call, "since").get("since", "24h")
        span = _SPAN.fullmatch(text)
        if span is None:
            raise Unusable("since is a time such as 90m, 24h or 7d")
        return await find_out(lambda: adviser.audit(float(int(span[1]) * _SECONDS[span[2]])))

    return [
        row("GET", "/explain", explain, Operation("explain", "What would become of a mail, and why. Sends nothing.",
            ANYTHING, query=(needed("address", "A recipient."), SENDER, CLIENT))),
        row("GET", "/doctor", doctor, Operation("doctor", "Whether this relay is ready for the world, each finding "
            "with what to do. Takes up to half a minute.", ANYTHING, query=(DOMAIN,))),
        row("GET", "/forecast", forecast, Operation("forecast", "When the mail in the queue is going to be tried, "
            "warned about and returned.", ANYTHING, query=(MESSAGE, LIMIT))),
        row("GET", "/audit", audit, Operation("audit", "What has become of every recipient, and whether the sums "
            "match.", ANYTHING, query=(SINCE,))),
    ]  # fmt: skip
