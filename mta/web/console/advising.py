"""Advising: what would become of a mail, is this relay ready, do the sums match: the pages of who can be asked."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from mta.web.console.errands import Errands
from mta.web.console.filters import one
from mta.web.console.seams import Advice
from mta.web.console.showing import Showing
from mta.web.exchange import Answer, Call, redirect
from mta.web.routes import Route
from mta.web.seams import NotDone, Unusable

SINCE: Final = {"1": "the last hour", "24": "the last day", "168": "the last week"}


def routes(showing: Showing, advice: Advice, errands: Errands) -> list[Route]:
    """The pages of those who can be asked."""
    found: list[Route] = []
    if advice.explain is not None:
        found.append(_explain(showing, advice.explain))
    if advice.doctor is not None:
        found += _doctor(showing, advice.doctor, errands)
    if advice.audit is not None:
        found += _audit(showing, advice.audit, errands)
    return found


def _explain(showing: Showing, ask: Callable[[str, str, str], dict[str, Any]]) -> Route:
    @showing.page("/explain", "explain.html")
    def explain(call: Call) -> Mapping[str, Any]:
        fields = call.asked()
        asked = {name: one(fields, name) for name in ("address", "from", "client")}
        found, wrong = None, ""
        if asked["address"]:
            try:
                found = ask(*asked.values())
            except (Unusable, NotDone) as error:
                wrong = str(error)
        return {"asked": asked, "found": found, "wrong": wrong}

    return explain


def _doctor(showing: Showing, examine: Callable[[str], dict[str, Any]], errands: Errands) -> list[Route]:
    async def begin(call: Call) -> Answer:
        domain = one(call.form(), "domain").lower()
        errands.begin("doctor", domain, partial(examine, domain))
        return redirect(f"/doctor?domain={quote(domain, safe='')}")

    @showing.page("/doctor", "doctor.html")
    def doctor(call: Call) -> Mapping[str, Any]:
        domain = one(call.asked(), "domain").lower()
        url = f"/doctor?domain={quote(domain, safe='')}"
        return {"domain": domain, "url": url, "errand": errands.look("doctor", domain)}

    return [doctor, Route("POST", "/doctor", begin)]


def _audit(showing: Showing, add_up: Callable[[float], dict[str, Any]], errands: Errands) -> list[Route]:
    async def begin(call: Call) -> Answer:
        hours = _hours(one(call.form(), "since"))
        errands.begin("audit", hours, lambda: add_up(float(hours) * 3600))
        return redirect(f"/audit?since={hours}")

    @showing.page("/audit", "audit.html")
    def audit(call: Call) -> Mapping[str, Any]:
        hours = _hours(one(call.asked(), "since") or "24")
        return {"hours": hours, "since": SINCE, "url": f"/audit?since={hours}", "errand": errands.look("audit", hours)}

    return [audit, Route("POST", "/audit", begin)]


def _hours(text: str) -> str:
    if text not in SINCE:
        raise Unusable(f"since: one of {', '.join(SINCE)} hours")
    return text
