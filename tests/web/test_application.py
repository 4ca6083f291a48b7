"""Who may ask what, and what is said to those who may not."""

import io
import os
from pathlib import Path

import pytest
from web_ground import BEARER, TOKEN, Web, form, told

from mta.web.access import FORGOTTEN, LASTS, MOST_WAITING
from mta.web.exchange import Answer, Call, as_json
from mta.web.routes import Route
from mta.web.seams import Doubt, NotDone, NotThere, OutOfOrder, Unusable

URLENCODED = {"content-type": "application/x-www-form-urlencoded"}


async def here(call: Call) -> Answer:
    return as_json({"names": dict(call.names), "csrf": call.session.csrf if call.session else None})


async def broken(call: Call) -> Answer:
    raise RuntimeError("secret things")


def raises(error: Exception) -> Route:
    async def handler(call: Call) -> Answer:
        raise error

    return Route("GET", f"/api/v1/{type(error).__name__}", handler)


ROWS = [
    Route("GET", "/api/v1/things/{id}", here),
    Route("POST", "/api/v1/things/{id}", here),
    Route("GET", "/page", here),
    Route("POST", "/page", here),
    Route("GET", "/broken", broken),
    *map(raises, (NotThere("gone"), NotDone("busy"), Unusable("nonsense"), OutOfOrder("disk"))),
]


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(tmp_path, ROWS)


def session_of(web: Web) -> tuple[dict[str, str], str]:
    """A Cookie field of a session, and what its forms bring."""
    cookie = {"cookie": web.log_in().headers["Set-Cookie"].partition(";")[0]}
    return cookie, told(web.ask("GET", "/page", cookie))["csrf"]


def test_three_paths_need_no_token(web: Web) -> None:
    assert [web.ask("GET", path).status for path in ("/metrics", "/healthz", "/readyz")] == [200, 200, 200]
    web.running.doubts = [Doubt("spool", "its disk is nearly full")]
    assert web.ask("GET", "/readyz").status == 503
    assert told(web.ask("GET", "/healthz"))["reasons"] == [{"what": "spool", "why": "its disk is nearly full"}]


def test_where_the_queue_cannot_be_read_it_is_not_ready_and_alive(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def figures() -> None:
        raise OutOfOrder("the queue file is damaged: malformed")

    monkeypatch.setattr(web.operator, "figures", figures)
    answer = web.ask("GET", "/readyz")
    assert answer.status == 503
    [reason] = told(answer)["reasons"]
    assert reason == {"what": "queue", "why": "it cannot be read: the queue file is damaged: malformed"}
    assert web.ask("GET", "/healthz").status == 200
    web.running.doubts = [Doubt("spool", "the queue file fails")]
    assert told(web.ask("GET", "/readyz"))["reasons"] == [{"what": "spool", "why": "the queue file fails"}], "said once"


@pytest.mark.parametrize("path", ["/", "/page", "/api/v1/things/1", "/nothing", "/api/nothing", "/logout", "/static/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "TRACE"])
def test_all_else_is_401_without_a_token(web: Web, path: str, method: str) -> None:
    answer = web.ask(method, path, {"cookie": "mta_session=guessed", **URLENCODED})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (answer.kind == "application/problem+json") == path.startswith("/api/")


def test_nobody_has_a_token_that_there_is_not(tmp_path: Path) -> None:
    web = Web(tmp_path, ROWS, token=None)
    assert web.ask("GET", "/healthz").status == 200
    for shown in ("", "None", "x"):
        answering = web.begin("GET", "/page", {"authorization": f"Bearer {shown}"})
        web.clock.advance(5)
        statuses: list[int] = []
        answering.addCallback(lambda answer, statuses=statuses: statuses.append(answer.status))
        assert statuses == [401]
    page = web.ask("GET", "/")
    assert page.status == 401
    assert b"admin.token_file" in page.body  # type: ignore[operator]
    answering = web.begin("POST", "/login", content=form(token=""))
    web.clock.advance(5)
    assert answering.result.status == 401  # type: ignore[attr-defined]


def test_with_the_token(web: Web) -> None:
    assert told(web.ask("GET", "/api/v1/things/a%20b", BEARER))["names"] == {"id": "a%20b"}
    assert web.ask("POST", "/api/v1/things/1", BEARER).status == 200  # no form of a page: needs no CSRF token
    assert web.ask("HEAD", "/api/v1/things/1", BEARER).status == 200
    assert web.ask("GET", "/nothing", BEARER).status == 404
    refused = web.ask("DELETE", "/api/v1/things/1", BEARER)
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, POST, HEAD")
    assert web.ask("GET", "/api/v1/things/1", {"authorization": f"Basic {TOKEN}"}).status == 401


def test_errors_say_what_they_may(web: Web) -> None:
    for name, status in (("NotThere", 404), ("NotDone", 409), ("Unusable", 422), ("OutOfOrder", 503)):
        assert web.ask("GET", f"/api/v1/{name}", BEARER).status == status
    answer = web.ask("GET", "/broken", {**BEARER, "accept": "text/html"})
    assert answer.status == 500
    assert b"secret" not in answer.body  # type: ignore[operator]
    assert b"RuntimeError" not in answer.body  # type: ignore[operator]


def test_every_answer_is_guarded(web: Web) -> None:
    for path in ("/", "/page", "/healthz", "/broken", "/nothing"):
        headers = web.ask("GET", path, BEARER).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost:8025", True),
        ("127.0.0.1", True),
        ("127.9.9.9:1", True),
        ("[::1]:8025", True),
        ("mx.example.org", True),
        ("MX.Example.ORG.:443", True),
        ("192.0.2.7:8025", True),
        ("192.0.2.8", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("mx.example.org@evil.example", False),
        ("", False),
        ("localhost:8025, evil.example", False),
    ],
)
def test_hosts(web: Web, host: str, is_ours: bool) -> None:
    for path in ("/healthz", "/page"):
        assert web.ask("GET", path, {**BEARER, "host": host}).status == (200 if is_ours else 421)


def test_login(web: Web) -> None:
    answer = web.log_in(next="/page?a=1")
    assert (answer.status, answer.headers["Location"]) == (303, "/page?a=1")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie
    secure = web.ask("POST", "/login", content=form(token=TOKEN), secure=True)
    assert secure.headers["Set-Cookie"].endswith("; Secure")
    for elsewhere in ("//evil.example/", "https://evil.example/", "/\\evil.example", "/x\r\nSet-Cookie: a=b"):
        assert web.log_in(next=elsewhere).headers["Location"] == "/"
    shown = {"cookie": f"other=1; {cookie.partition(';')[0]}"}
    assert web.ask("GET", "/page", shown).status == 200
    web.clock.advance(LASTS + 1)
    assert web.ask("GET", "/page", shown).status == 401


def test_forms_bring_what_other_sites_cannot_know(web: Web) -> None:
    cookie, csrf = session_of(web)
    fields = {**cookie, **URLENCODED}
    assert web.ask("POST", "/page", fields, content=form(csrf=csrf)).status == 200
    assert web.ask("POST", "/page", {**cookie, "x-csrf-token": csrf}).status == 200
    assert web.ask("POST", "/page", fields, content=form(csrf="guessed")).status == 403
    assert web.ask("POST", "/page", cookie).status == 403
    assert web.ask("POST", "/api/v1/things/1", cookie).status == 403
    for origin in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert web.ask("POST", "/page", {**cookie, **origin, "x-csrf-token": csrf}).status == 403
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert web.ask("POST", "/page", {**cookie, **own, "x-csrf-token": csrf}).status == 200
    other, _ = session_of(web)
    assert web.ask("POST", "/page", {**other, "x-csrf-token": csrf}).status == 403


def test_logout(web: Web) -> None:
    cookie, csrf = session_of(web)
    assert web.ask("POST", "/logout", cookie).status == 403
    answer = web.ask("POST", "/logout", {**cookie, "x-csrf-token": csrf})
    assert (answer.status, "Max-Age=0" in answer.headers["Set-Cookie"]) == (303, True)
    assert web.ask("GET", "/page", cookie).status == 401


def test_guessing_is_slowed_and_the_right_token_is_not(web: Web) -> None:
    guesses = [web.begin("GET", "/page", {"authorization": f"Bearer wrong{number}"}) for number in range(MOST_WAITING)]
    assert not any(guess.called for guess in guesses)
    assert web.ask("GET", "/page", BEARER).status == 429  # so many wait that no more are looked at
    web.clock.advance(0.15)
    assert [guess.called for guess in guesses].count(True) == 1
    assert web.ask("GET", "/page", BEARER).status == 200
    web.clock.advance(5)
    assert all(guess.called for guess in guesses)
    late = web.begin("GET", "/page", {"authorization": "Bearer wrong"})
    web.clock.advance(2.5)
    assert not late.called
    web.clock.advance(1)
    assert late.called
    web.clock.advance(FORGOTTEN)
    late = web.begin("POST", "/login", content=form(token="wrong"))
    web.clock.advance(0.15)
    assert late.called


def test_guesses_of_others_do_not_keep_out_who_has_been_here(web: Web) -> None:
    assert web.ask("GET", "/page", BEARER).status == 200
    for number in range(MOST_WAITING):
        web.begin("GET", "/page", {"authorization": f"Bearer wrong{number}"})
    assert web.ask("GET", "/page", BEARER).status == 200
    assert web.log_in().status == 303
    assert web.ask("GET", "/page", {"authorization": "Bearer wrong"}).status == 429, "no faster way to guess"
    web.file.write_text("another-token-0123456789\n")
    assert web.ask("GET", "/page", {"authorization": "Bearer another-token-0123456789"}).status == 429


def test_a_new_token_is_noticed_and_ends_the_sessions_of_the_old_one(web: Web) -> None:
    cookie, _ = session_of(web)
    web.file.write_text("another-token-0123456789\n")
    os.utime(web.file, ns=(1, 1))
    answering = web.begin("GET", "/page", BEARER)
    web.clock.advance(5)
    assert answering.result.status == 401  # type: ignore[attr-defined]
    assert web.ask("GET", "/page", {"authorization": "bearer another-token-0123456789"}).status == 200
    assert web.ask("GET", "/page", cookie).status == 401
    web.file.write_text("short")
    assert web.ask("GET", "/page", {"authorization": "Bearer another-token-0123456789"}).status == 200
    [warning] = web.warnings
    assert "at least 16 characters" in warning
    assert "short" not in warning


def test_strangers_may_send_little(web: Web) -> None:
    call = Call("POST", "/api/v1/things/1", headers={"host": "localhost"})
    known = Call("POST", "/api/v1/things/1", headers={"host": "localhost", **BEARER})
    assert web.application.most(call) < 10_000 < web.application.most(known)
    assert web.ask("POST", "/api/v1/things/1", BEARER, is_cut=True).status == 413
    assert web.ask("POST", "/api/v1/things/1", is_cut=True).status == 401


def test_files_that_hold_no_token(tmp_path: Path) -> None:
    for text in ("", "short", "two words of which it is made", "one line of\nsixteen chars"):
        with pytest.raises(ValueError, match="must"):
            Web(tmp_path, token=text)


@pytest.mark.parametrize(
    "content",
    [
        b'{"all": false, "all": true}',
        b'{"ids": [{"a": 1, "a": 1}]}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" + b"9" * 100_000 + b"]",
        b'{"to": "\\ud800@example.org"}',
        b"\xff",
        b"all=true",
    ],
    ids=["name twice", "name twice inside", "deep", "deep objects", "long number", "half a pair", "octets", "form"],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(Unusable):
        Call("POST", "/", content=io.BytesIO(content)).json()
