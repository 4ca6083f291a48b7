"""Application: from a call to an answer. Who may ask, who answers, and what is said where something goes wrong."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mta.web.access import Friends, Guessing, Session, Sessions, Token, bearer, cookie
from mta.web.exchange import HTML, Answer, Call, problem, redirect
from mta.web.hosts import Hosts, host_of
from mta.web.login import login_page, page
from mta.web.routes import Route, Routes
from mta.web.seams import NotDone, NotThere, OutOfOrder, Unusable

API: Final = "/api/"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY: Final = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
GUARDS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser sends forms with "Origin: null"
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every answer says, unless it says otherwise. Pages of ours have `POLICY`."""

_TITLES: Final = {
    400: "Bad request",
    401: "Token needed",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Not done",
    413: "Content too large",
    414: "Address too long",
    421: "Misdirected request",
    422: "Unusable",
    429: "Too many requests",
    431: "Header too large",
    500: "Internal error",
    503: "Out of order",
}
_UNREADABLE: Final = {
    400: "this is no request of HTTP/1.1",
    414: "path and query are too long; ask for less at a time",
    431: "the header fields are too long",
}
_logger = Logger()


class Refused(Exception):
    """A call that is not answered by its route."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}


class Waits(Protocol):
    """Fires after some seconds."""

    def __call__(self, seconds: float) -> "Deferred[None]": ...


class Admission:
    """Who may ask: the token, sessions, and how guessing is slowed."""

    def __init__(self, token: Token, now: Callable[[], float], wait: Waits) -> None:
        self.token = token
        self.sessions = Sessions(now)
        self._guessing = Guessing(now)
        self._friends = Friends(now)
        self._wait = wait

    def is_known(self, call: Call) -> bool:
        """Has this call the right token, or a session? Slows nobody, so it must not answer anybody by itself."""
        shown = bearer(call.header("authorization"))
        return self.token.is_right(shown) if shown is not None else self.session(call) is not None

    def session(self, call: Call) -> Session | None:
        """The session of a browser."""
        return self.sessions.find(call.header("cookie"), self.token.generation())

    async def is_right(self, shown: str, client: str) -> bool:
        """Is this the token? Raises `Refused` where too many guesses come from there.

        Who has shown the right one from the same address before is let in all the same: others who guess behind the
        same proxy, or on this machine, do not keep the operator out.
        """
        generation = self.token.generation()
        if self._guessing.is_busy(client) and not self._friends.has(client, generation):
            raise _too_many()
        if self.token.is_right(shown):
            self._friends.add(client, generation)
            return True
        seconds = self._guessing.begin(client)
        if seconds is None:
            raise _too_many()
        try:
            await self._wait(seconds)
        finally:
            self._guessing.end(client)
        return False


def _too_many() -> Refused:
    return Refused(429, "too many wrong tokens from this address; try again later", {"Retry-After": "5"})


class Application:
    """Answers every call."""

    def __init__(self, routes: Sequence[Route], admission: Admission, hosts: Hosts) -> None:
        self.admission = admission
        self._hosts = hosts
        self.routes = Routes([*_session_routes(admission), *routes])

    def most(self, call: Call) -> int:
        """How many octets of content a call may have, known from its headers alone. Of strangers little is read."""
        found = self.routes.find(call.method, call.path).route
        if found is None or not self._hosts.are_ours(call.header("host")):
            return _LITTLE
        return found.most if found.opened or self.admission.is_known(call) else _LITTLE

    def too_long(self, call: Call) -> int:
        """The status for content that is too long to be read at all (RFC 9110 15.5.14)."""
        return 413 if self.admission.is_known(call) else 401

    async def answer(self, call: Call) -> Answer:
        """The answer, whatever happens."""
        try:
            answer = await self._answer(call)
        except Refused as refused:
            answer = self.told(call, refused.status, str(refused), refused.headers)
        except NotThere as error:
            answer = self.told(call, 404, str(error))
        except NotDone as error:
            answer = self.told(call, 409, str(error))
        except Unusable as error:
            answer = self.told(call, 422, str(error))
        except OutOfOrder as error:
            answer = self.told(call, 503, str(error))
        except Exception:
            _logger.failure("{method} {path} could not be answered", method=call.method, path=call.path)
            answer = self.told(call, 500, "something is wrong with this relay itself; its log has more")
        policy = {"Content-Security-Policy": POLICY} if answer.kind == HTML else {}
        return replace(answer, headers={**GUARDS, **policy, **answer.headers})

    def told(self, call: Call, status: int, detail: str, headers: dict[str, str] | None = None) -> Answer:
        """What went wrong, for programs or for people."""
        if status == 401 and not call.path.startswith(API):
            answer = login_page(self.admission.token.exists, _path_of(call))
        elif call.path.startswith(API) or "text/html" not in call.header("accept"):
            answer = problem(status, _TITLES.get(status, "Error"), detail)
        else:
            answer = page(status, _TITLES.get(status, "Error"), detail)
        return replace(answer, headers={**answer.headers, **(headers or {})})

    async def _answer(self, call: Call) -> Answer:
        if not self._hosts.are_ours(call.header("host")):
            raise Refused(421, "this is not the host that the Host field names; ask by one of its own names")
        route, names, methods = self.routes.find(call.method, call.path)
        if route is None or not route.opened:
            call = replace(call, session=await self._let_in(call))
        if call.is_cut:
            raise Refused(413, "the content is too long")
        if route is not None:
            return await route.handler(replace(call, names=names))
        if methods:
            allowed = ", ".join((*methods, "HEAD") if "GET" in methods else methods)
            raise Refused(405, f"this can be asked with {allowed}", {"Allow": allowed})
        raise Refused(404, "there is nothing at this path")

    async def _let_in(self, call: Call) -> Session | None:
        """The session of who has one, None for the token. Raises `Refused` for anybody else."""
        shown = bearer(call.header("authorization"))
        if shown is not None:
            if not await self.admission.is_right(shown, call.client):
                raise Refused(401, "this is not the token", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
            return None
        session = self.admission.session(call)
        if session is None:
            raise Refused(401, "show the token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        if call.method not in SAFE:
            _check_origin(call)
            _check_csrf(call, session)
        return session


def unreadable(status: int) -> Answer:
    """What is said of octets that are no request, or one that goes on for too long."""
    return problem(status, _TITLES[status], _UNREADABLE[status])


_LITTLE: Final = 8192  # octets of content that anybody may send


def _session_routes(admission: Admission) -> list[Route]:
    async def log_in(call: Call) -> Answer:
        _check_origin(call)
        form = call.form()
        where = _own_path(form.get("next", ["/"])[0])
        if not admission.token.exists or not await admission.is_right(form.get("token", [""])[0].strip(), call.client):
            return login_page(admission.token.exists, where, "This is not the token.")
        value = admission.sessions.begin(admission.token.generation())
        return redirect(where, Set_Cookie=cookie(value, call.secure))

    async def log_out(call: Call) -> Answer:
        admission.sessions.end(call.header("cookie"))
        return redirect("/", Set_Cookie=cookie("", call.secure))

    return [
        Route("POST", "/login", log_in, opened=True, most=_LITTLE),
        Route("POST", "/logout", log_out, most=_LITTLE),
    ]


def _check_origin(call: Call) -> None:
    """What a browser says of where a form is from. Raises `Refused`."""
    origin, site = call.header("origin"), call.header("sec-fetch-site")
    if site not in ("", "same-origin", "none") or (origin and host_of(origin) != call.header("host")):
        raise Refused(403, "this comes from another site")


def _check_csrf(call: Call, session: Session) -> None:
    """A form brings what only our pages know, as X-CSRF-Token or in a field csrf. Raises `Refused`."""
    brought = call.header("x-csrf-token")
    if not brought and call.header("content-type").startswith("application/x-www-form-urlencoded"):
        brought = call.form().get("csrf", [""])[0]
    if not session.brings(brought):
        raise Refused(403, "this form is not from this session; open the page again")


def _path_of(call: Call) -> str:
    """Where a page is that somebody wanted to see, to be shown after the login."""
    if call.method != "GET":
        return "/"
    return quote(call.path) + (f"?{call.query}" if call.query else "")


def _own_path(path: str) -> str:
    """A path of this site; "/" for anything else that a form may have brought."""
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isascii() and path.isprintable()
    return path if fine else "/"
