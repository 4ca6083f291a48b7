"""Story: what has become of a message, its recipients and its tries, told for a person from what the spool knows.

Everything here is a pure function of the timeline.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mta.message.envelope import DROP
from mta.message.printable import printable
from mta.message.timeline import Detail, Event
from mta.operating.words import Line, count, moment, path, span

ENDS: Final = frozenset({"delivered", "failed", "discarded", "expanded", "dropped"})
_STYLES: Final = {"delivered": "green", "deferred": "yellow", "failed": "red", "held": "magenta", "unknown": "red"}
_NOTICES: Final = {"failed": "failure", "delayed": "delay", "delivered": "delivery", "expanded": "expansion"}
_RECEIVED: Final = frozenset({"client", "helo", "protocol", "sender", "recipients", "size", "login", "tls"})
_MOST_NAMED: Final = 5  # recipients that one line names


class End(NamedTuple):
    """How a recipient ended: a word of `ENDS`, when, the reply that decided, and why or by whom; "" for none."""

    word: str
    at: float
    reply: str
    why: str

    def __str__(self) -> str:
        because = self.reply or self.why
        return f"{self.word} {moment(self.at)}{f': {because}' if because else ''}"


def ends_of(events: Sequence[Event]) -> dict[str, End]:
    """The recipients that nothing more is to be done for, by address."""
    ended: dict[str, End] = {}
    for at, kind, detail in events:
        if kind in ENDS:
            end = End(kind, at, _text(detail, "reply"), _text(detail, "why") or _text(detail, "by"))
            ended |= dict.fromkeys(_list(detail, "recipients"), end)
    return ended


def accepted(events: Sequence[Event]) -> tuple[list[str], int]:
    """The recipients that it was received for, and its size in octets."""
    detail = next((event.detail for event in events if event.kind == "received"), {})
    return _list(detail, "recipients"), int(_number(detail, "size"))


def tell(event: Event) -> Line:
    """One event. A kind that is not known here is told by its details."""
    sentence = _SENTENCES.get(event.kind, _anything)
    dialogue = tuple(printable(line) for line in _list(event.detail, "dialogue"))
    return Line(moment(event.at), printable(sentence(event)), dialogue, _STYLES.get(event.kind, ""))


def _received(event: Event) -> str:
    detail = event.detail
    size = f"{_number(detail, 'size'):,.0f} octets"
    sender = f"from {path(_text(detail, 'sender'))} for {_whom(detail)}"
    if "about" in detail:
        return f"made here as a notice about {_text(detail, 'about')}: {size} {sender}"
    address = _text(detail, "client")
    if address == DROP:
        user = f"{_text(detail, 'login')} ({_text(detail, 'helo')})"
        return f"taken out of the drop folder, where {user} had left it: {size} {sender}"
    client = f"{_text(detail, 'helo')} [{address}]" if address else f"{_text(detail, 'helo')} over a Unix socket"
    tls, login = _text(detail, "tls"), _text(detail, "login")
    how = f"{_text(detail, 'protocol')}{f', {tls}' if tls else ''}{f', login {login}' if login else ''}"
    asked = "".join(f"; {name} {value}" for name, value in detail.items() if name not in _RECEIVED)
    return f"received from {client} by {how}: {size} {sender}{asked}"


def _routed(event: Event) -> str:
    return f"routed to {_text(event.detail, 'to')} for {_whom(event.detail)}: {_text(event.detail, 'why')}"


def _attempt(event: Event) -> str:
    detail = event.detail
    tls = _text(detail, "tls") or "without TLS"
    host = _text(detail, "host") or _text(detail, "destination")
    took = f"{_number(detail, 'seconds'):.3g} s"
    notes = "".join(f"; {note}" for note in _list(detail, "notes"))
    return f"try {_number(detail, 'try'):.0f} at {host}, {tls}, {took}: {_text(detail, 'reply')}{notes}"


def _delivered(event: Event) -> str:
    return f"delivered to {_whom(event.detail)}{_by_host(event)}: {_text(event.detail, 'reply')}"


def _deferred(event: Event) -> str:
    at = event.detail.get("next")
    when = f"; next try {moment(at)}, after {span(at - event.at)}" if isinstance(at, (int, float)) else ""
    return f"deferred for {_whom(event.detail)}{_by_host(event)}: {_text(event.detail, 'reply')}{when}"


def _failed(event: Event) -> str:
    detail = event.detail
    how = "given up for its age" if detail.get("why") == "expired" else "failed"
    return f"{how} for {_whom(detail)}{_by_host(event)}: {_text(detail, 'reply')}"


def _discarded(event: Event) -> str:
    return f"discarded for {_whom(event.detail)}: {_text(event.detail, 'why')}"


def _expanded(event: Event) -> str:
    into = _whom(event.detail, "into")
    return f"{_whom(event.detail)} expanded{f' into {into}' if into else ''}"


def _notice(event: Event) -> str:
    about, number = _text(event.detail, "about"), _text(event.detail, "id")
    notice = f"notice of {_NOTICES.get(about, about)}"
    return f"{notice}: message {number}" if number else f"no {notice}: {_text(event.detail, 'why')}"


def _by_somebody(event: Event) -> str:
    """An operator's verb, or what the relay did for a reason."""
    by, why = _text(event.detail, "by"), _text(event.detail, "why")
    return f"{event.kind} for {_whom(event.detail)}{f' by {by}' if by else ''}{f': {why}' if why else ''}"


def _unknown(event: Event) -> str:
    return f"last result unknown for {_whom(event.detail)}: it was taken up for delivery, and no final reply recorded"


def _ended(_: Event) -> str:
    return "ended: nothing is left to do"


def _anything(event: Event) -> str:
    return " ".join([event.kind, *(f"{name}={value}" for name, value in event.detail.items())])


_SENTENCES: Final[dict[str, Callable[[Event], str]]] = {
    "received": _received,
    "routed": _routed,
    "attempt": _attempt,
    "delivered": _delivered,
    "deferred": _deferred,
    "failed": _failed,
    "discarded": _discarded,
    "expanded": _expanded,
    "dropped": _by_somebody,
    "notice": _notice,
    "held": _by_somebody,
    "released": _by_somebody,
    "retried": _by_somebody,
    "unknown": _unknown,
    "ended": _ended,
}


def _by_host(event: Event) -> str:
    host = _text(event.detail, "host")
    return f" by {host}" if host else ""


def _whom(detail: dict[str, Detail], name: str = "recipients") -> str:
    """Addresses, the first of them by name."""
    addresses = _list(detail, name)
    left = len(addresses) - _MOST_NAMED
    named = [path(one) for one in addresses[:_MOST_NAMED]] + ([count(left, "other")] if left > 0 else [])
    return ", ".join(named)


def _text(detail: dict[str, Detail], name: str) -> str:
    value = detail.get(name)
    return value if isinstance(value, str) else ""


def _number(detail: dict[str, Detail], name: str) -> float:
    value = detail.get(name)
    return value if isinstance(value, (int, float)) else 0


def _list(detail: dict[str, Detail], name: str) -> list[str]:
    value = detail.get(name)
    return value if isinstance(value, list) else []
