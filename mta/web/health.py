"""Health: /healthz and /readyz, which need no token."""

from collections.abc import Sequence

from mta.web.exchange import Answer, Call, as_json
from mta.web.routes import Route
from mta.web.seams import Doubt, IRunning


def routes(running: IRunning) -> list[Route]:
    """What is open to all."""

    async def healthz(call: Call) -> Answer:
        return _told("alive", running.ill())

    async def readyz(call: Call) -> Answer:
        return _told("ready", running.unready())

    return [
        Route("GET", "/healthz", healthz, opened=True),
        Route("GET", "/readyz", readyz, opened=True),
    ]


def _told(word: str, doubts: Sequence[Doubt]) -> Answer:
    reasons = [{"what": one.what, "why": one.text} for one in doubts]
    return as_json({"status": f"not {word}" if doubts else word, "reasons": reasons}, 503 if doubts else 200)
