"""Health: /healthz and /readyz, which need no token.

Alive is a relay as long as a new start would not help it: whoever asks ends it, and starts it anew, where it is not.
Ready is one that would take mail and has its queue: whoever asks sends clients elsewhere, or a person there.
"""

from collections.abc import Sequence

from mta.web.asking import Asking
from mta.web.exchange import Answer, Call, as_json
from mta.web.routes import Route
from mta.web.seams import Doubt, IOperator, IRunning, OutOfOrder


def routes(running: IRunning, ask: Asking) -> list[Route]:
    """What is open to all. ask: who can read the queue."""

    async def healthz(call: Call) -> Answer:
        return _told("alive", running.ill())

    async def readyz(call: Call) -> Answer:
        doubts = running.unready()
        return _told("ready", doubts if any(one.what == "spool" for one in doubts) else doubts + await ask(_unreadable))

    return [
        Route("GET", "/healthz", healthz, opened=True),
        Route("GET", "/readyz", readyz, opened=True),
    ]


def _unreadable(operator: IOperator) -> list[Doubt]:
    """What keeps the queue from being read. A relay without a client does not notice by itself."""
    try:
        operator.figures()
    except OutOfOrder as error:
        return [Doubt("queue", f"it cannot be read: {error}")]
    return []


def _told(word: str, doubts: Sequence[Doubt]) -> Answer:
    reasons = [{"what": one.what, "why": one.text} for one in doubts]
    return as_json({"status": f"not {word}" if doubts else word, "reasons": reasons}, 503 if doubts else 200)
