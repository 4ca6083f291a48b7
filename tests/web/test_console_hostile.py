"""What comes from outside stays text: nowhere on a page is it markup, a control character or a change of direction."""

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from console_ground import Ground

from mta.interfaces import Pause
from mta.message.envelope import format_queue_id
from mta.message.timeline import Event

MARK = "<img src=x onerror=alert(1)>"
NASTY = {
    "markup": f'"><script>alert(1)</script>{MARK}<!--',
    "quotes": "\" autofocus onfocus='alert(1)' x=`",
    "ansi": "\x1b[31mred\x1b]0;title\x07\x08\x7f",
    "control": "a\x00b\rc\nd\x85e\u2028f",
    "bidi": "\u202egnp.exe\u2066\u200f\u061c",
    "template": "{{ 7*7 }}{% raw %}${7*7}#{7}",
    "long": "W" * 20_000,
    "astral": "\U0001f600\ufeff\U000e0041",
}
# Everything that a browser would not show as what it is; line ends are the templates' own.
HIDDEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)
ELEMENTS = {
    "a", "bdi", "body", "button", "caption", "code", "dd", "details", "div", "dl", "dt", "fieldset", "footer", "form",
    "h1", "h2", "head", "header", "html", "input", "label", "legend", "li", "link", "main", "meta", "nav", "ol",
    "option", "p", "path", "polyline", "pre", "rect", "script", "section", "select", "small", "span", "strong",
    "summary", "svg", "table", "tbody", "td", "th", "thead", "time", "title", "tr", "ul",
}  # fmt: skip


class Reader(HTMLParser):
    """A page as a browser takes it apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ELEMENTS:
            self.found.append(f"<{tag}>")
        names = dict(attrs)
        if tag == "script" and not str(names.get("src", "")).startswith("/static/"):
            self.found.append("a script of its own")
        self.found += [f"{tag} {name}" for name in names if name.startswith("on") or name in ("style", "srcdoc")]
        for name in ("href", "src", "action", "hx-get"):
            where = names.get(name)
            if where is not None and not re.match(r"/(?![/\\])|#|/?\?", where):
                self.found.append(f"{name}={where}")
        if "autofocus" in names:
            self.found.append("autofocus")

    def handle_comment(self, data: str) -> None:
        self.found.append("a comment")


def check(page: str) -> None:
    assert Reader(page).found == []
    assert HIDDEN.findall(page) == []


@pytest.mark.parametrize("kind", NASTY)
def test_it_is_text_wherever_it_comes_from(ground: Ground, kind: str) -> None:
    nasty = NASTY[kind]
    spools, now = ground.spools, ground.clock.seconds()
    content = f"Subject: {nasty}\r\n{nasty}: x\r\nX: {nasty}\r\n\r\n".encode("utf-8", "surrogatepass")
    address = f"{nasty[:300]}@example.net"
    place = f"smtp:{nasty[:300]}"
    spools.commit(to=(address,), destination=place, sender=address, content=content)
    [claim] = spools.claim(place)
    dialogue = [f"S: 220 {nasty}", f"C: EHLO {nasty}", nasty]
    attempt = Event(now, "attempt", {
        "destination": place, "try": 1, "host": nasty, "tls": nasty, "seconds": 0.1, "reply": nasty,
        "dialogue": dialogue, "notes": [nasty],
    })  # fmt: skip
    waiting = spools.waiting(claim, last_reply=nasty, state="held")
    ground.record(claim, waiting, attempt, pause=Pause(now + 60, 3, nasty))
    spools.commit(to=(address,), destination=place, sender=address)
    ground.watch([f"2026-11-23T08:13:51.886Z X alarm why={nasty}", nasty])
    number = format_queue_id(claim.message)
    asked = quote(nasty[:300], safe="", errors="surrogatepass")
    for path in (
        "/",
        "/queue",
        f"/message/{number}",
        f"/destination?name={quote(place, safe='', errors='surrogatepass')}",
        "/log",
    ):
        page = ground.page(path)
        check(page)
    for path in (
        f"/queue?to={asked}",
        f"/queue?from={asked}&state=held",
        f"/log?q={asked}",
        f"/message/{asked}",
        f"/destination?name={asked}",
    ):
        answer = ground.get(path)
        assert answer.status < 500, path
        assert isinstance(answer.body, bytes)
        check(answer.body.decode())
    answer = ground.post("/destination", verb="drop", name=place)
    assert answer.status < 500 and isinstance(answer.body, bytes)
    check(answer.body.decode())


def test_it_would_be_found() -> None:
    for nasty in (
        NASTY["markup"],
        '<a href="javascript:x">',
        '<p style="x">',
        "<!-- x -->",
        '<a href="//else.where/">',
    ):
        assert Reader(nasty).found
    assert HIDDEN.findall(NASTY["ansi"]) and HIDDEN.findall(NASTY["bidi"]) and HIDDEN.findall(NASTY["control"])


def test_what_is_hidden_is_shown(ground: Ground) -> None:
    number, _ = ground.spools.commit(content=b"Subject: \x1b[31m\xe2\x80\xaetxt.exe\r\n\r\n")
    page = ground.page(f"/message/{format_queue_id(number)}")
    assert "\\x1b[31m\\x202etxt.exe" in page
