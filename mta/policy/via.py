"""Via: what stands behind a route's `via`, read into a next hop or a refusal."""

import re
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Final

from mta.policy.pattern import parse_domain
from mta.policy.routing import Hop, Via
from mta.smtp.reply import Reply

_PORTS: Final = {Via.SMTP: 25, Via.SMTPS: 465, Via.LMTP: 24}
_FORMS: Final = "mx, smtp://HOST[:PORT], smtps://…, lmtp://…, lmtp+unix:PATH, discard, or a refusal like 550 5.7.1 text"
_WRITTEN: Final = {via: f"{via}://HOST" for via in _PORTS} | {Via.LMTP_UNIX: f"{Via.LMTP_UNIX}:PATH"}
_HOST = re.compile(r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+)\]|(?P<name>[^:@/\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_REFUSAL = re.compile(
    r"(?P<code>[45][0-5][0-9])(?: (?P<enhanced>[245]\.[0-9]{1,3}\.[0-9]{1,3}))?(?: (?P<text>[!-~][ -~]{0,399}))?"
)
_LIKE_ENHANCED = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


def parse_via(text: str) -> Hop | Reply:
    """The way onward that is written so. Raises `ValueError` with what is wrong, for people.

    For `mx` the hop's host is "", since it is each recipient's own domain. The path of a Unix socket is given back as
    it is written.
    """
    text = text.strip()
    if text[:1].isdigit():
        return _parse_refusal(text)
    if text in (Via.MX, Via.DISCARD):
        return Hop(Via(text))
    if text.startswith(f"{Via.LMTP_UNIX}:"):
        return _parse_unix(text.partition(":")[2])
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _PORTS:
        near = get_close_matches(scheme.lower(), list(Via), n=1)
        hint = f'; did you mean "{_WRITTEN.get(Via(near[0]), near[0])}"?' if near else ""
        raise ValueError(f"is not a way onward; there are {_FORMS}{hint}")
    return _parse_host(Via(scheme), rest.removesuffix("/"))


def _parse_host(via: Via, rest: str) -> Hop:
    if "@" in rest:
        raise ValueError("must not hold a user or password; those belong into an entry of logins")
    match = _HOST.fullmatch(rest)
    if match is None:
        colons = rest.count(":")
        hint = f"; an IPv6 address stands in brackets: {via}://[{rest}]" if colons > 1 and "[" not in rest else ""
        raise ValueError(f"must be {via}://HOST or {via}://HOST:PORT{hint}")
    port = int(match["port"]) if match["port"] else _PORTS[via]
    if not 1 <= port <= 65535:
        raise ValueError("has a port that is not one of 1 to 65535")
    return Hop(via, _address(match["bracketed"]) if match["bracketed"] else parse_domain(match["name"]), port)


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("has no IP address in its brackets") from None


def _parse_unix(path: str) -> Hop:
    path = path.removeprefix("//")
    if not path:
        raise ValueError("names no socket; write lmtp+unix:PATH")
    return Hop(Via.LMTP_UNIX, path=path)


def _parse_refusal(text: str) -> Reply:
    """A fixed refusal: a 4yz or 5yz code, then perhaps an enhanced status code of the same class (RFC 3463 3.1)."""
    match = _REFUSAL.fullmatch(text)
    if match is None:
        raise ValueError('is not a refusal; one is written like "550 5.7.1 not accepted here", in ASCII')
    code = int(match["code"])
    if code == 421:
        raise ValueError("would close the session, which a refusal of one recipient must not; use 450 or 451")
    enhanced = match["enhanced"] or f"{code // 100}.7.1"
    if enhanced[0] != match["code"][0] or _LIKE_ENHANCED.match(match["text"] or ""):
        raise ValueError(f"has an enhanced status code that does not begin with {code // 100}, as its reply code does")
    return Reply(code, enhanced, (match["text"] or "not accepted here",))
