"""Pages of advice, with what the `mta` command has printed as JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from console_ground import Ground, text_of

from mta.web.console.seams import Advice
from mta.web.seams import NotDone, Unusable

TOLD = Path(__file__).parent / "told"


def told(name: str) -> Any:
    return json.loads((TOLD / f"{name}.json").read_text())


def explain(address: str, sender: str, client: str) -> dict[str, Any]:
    if client == "nobody":
        raise Unusable("the client must be an IP address")
    found: dict[str, Any] = told(f"explain-{address.partition('@')[0]}")
    return found


def audit(seconds: float) -> dict[str, Any]:
    if seconds > 86400:
        raise NotDone("the queue cannot be read")
    wrong = {"id": "CR7D5JBH7000", "text": "it is in the queue, and <has> ended"}
    return told("audit") | ({"matches": False, "found": 1, "mismatches": [wrong]} if seconds < 86400 else {})


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path, Advice(explain, lambda domain: told("doctor"), audit))
    yield made
    made.close()


def test_explain_tells_route_hosts_and_times(ground: Ground) -> None:
    assert "Ask about an address" in text_of(ground.page("/explain"))
    text = text_of(ground.page("/explain?address=sent@x.test"))
    for part in (
        "accepted bob@moody.test",
        "250 2.1.5 recipient ok",
        "routes[0]: to moody.test",
        "mta.yml:4",
        "smtp://127.0.0.1:2626",
        "29 Nov 22:17:56",
        "of the delay, 30 Nov 02:12:56",
        "4 Dec 22:12:56",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("refused", "refused bob@gone.test at RCPT: 550 5.7.1 this domain takes no mail"),
        ("deferred", "deferred bob@unknown.test 451 4.4.3 the DNS look-up of unknown.test failed"),
        ("stranger", "refused bob@hole.test"),
    ],
)
def test_explain_tells_why_not(ground: Ground, name: str, part: str) -> None:
    assert part in text_of(ground.page(f"/explain?address={name}@x.test"))


def test_explain_says_what_was_asked_wrongly(ground: Ground) -> None:
    page = ground.page("/explain?address=sent@x.test&client=nobody")
    assert 'role="alert"' in page and "must be an IP address" in page and 'value="nobody"' in page


def test_doctor_tells_each_finding_with_what_to_do(ground: Ground) -> None:
    answer = ground.post("/doctor", domain="")
    text = text_of(ground.page(answer.headers["Location"]))
    for finding in told("doctor")["findings"]:
        assert text_of(finding["seen"]).strip()[:40] in text.replace("&#39;", "'").replace("&lt;", "<").replace(
            "&gt;", ">"
        )
    assert "name the selectors" in text


def test_audit_says_whether_the_sums_match(ground: Ground) -> None:
    assert "Nothing has been added up" in text_of(ground.page("/audit"))
    for hours, part in {
        "24": "The sums match",
        "1": "1 message not in order",
        "168": "the queue cannot be read",
    }.items():
        answer = ground.post("/audit", since=hours)
        assert part in text_of(ground.page(answer.headers["Location"]))
    assert "it is in the queue, and &lt;has&gt; ended" in ground.page("/audit?since=1")
    assert ground.post("/audit", since="99").status == 422
