"""Explained: an explanation in words and as JSON."""

from typing import Any, Final

from mta.message.printable import printable
from mta.operating.explain import DEFERRED, DISCARDED, FAILED, TRIED, Explanation, Host, NextHop, Schedule, Step, Way
from mta.operating.words import Line, count, moment, path, size, span
from mta.policy.addressing import Expanded
from mta.spool.listing import Outlook

_MOST_NAMED: Final = 5  # recipients that one line names
_MOST_WAYS: Final = 20  # that are told in full
_MOST_TRIES: Final = 12  # that one line names
_STYLES: Final = {TRIED: "green", DISCARDED: "yellow", FAILED: "red", DEFERRED: "yellow"}
_EXPANDED: Final = {
    Expanded.FORWARD: "it is forwarded to another address",
    Expanded.ALIAS: "it is an alias",
    Expanded.LIST: "it is a mailing list",
}


def explanation_to_lines(told: Explanation, now: float) -> list[Line]:
    """An explanation for people. now: what paused destinations are told by, in seconds since 1970."""
    question = told.question
    style = "green" if told.is_accepted else "red"
    lines = [
        Line("mail", f"from {path(question.sender)} for {path(question.address)}"),
        *map(_line_of, told.steps),
        Line(
            "accepted" if told.is_accepted else "refused", f"at {told.command}: {printable(str(told.reply))}", (), style
        ),
    ]
    if told.expanded:
        lines.append(Line("expanded", f"{_EXPANDED[told.expanded]}: {_whom(told)}"))
    for way in told.ways[:_MOST_WAYS]:
        lines += _lines_of(way, question.sender, now)
    if len(told.ways) > _MOST_WAYS:
        lines.append(Line("…", f"and {count(len(told.ways) - _MOST_WAYS, 'other way')}; --json has all of them"))
    if told.is_accepted:
        most = f"{size(told.message_size)} ({told.message_size:,} octets)" if told.message_size else "of any size"
        lines.append(
            Line("limits", f"a message {'up to ' if told.message_size else ''}{most}, {told.recipients:,} recipients")
        )
    if told.schedule is not None:
        lines += _plan(told.schedule, told.at, question.sender)
    return lines


def explanation_to_json(told: Explanation) -> dict[str, Any]:
    """An explanation for programs; times as in `moment`."""
    question = told.question
    return {
        "question": {
            "address": question.address,
            "sender": question.sender,
            "client": question.client,
            "account": question.account.name if question.account else "",
            "listener": told.listener,
        },
        "time": moment(told.at),
        "accepted": told.is_accepted,
        "command": told.command,
        "reply": str(told.reply),
        "steps": [step._asdict() for step in told.steps],
        "expanded": str(told.expanded),
        "ways": [_way_to_json(way) for way in told.ways],
        "limits": {"message_size": told.message_size, "recipients": told.recipients},
        "retry": _schedule_to_json(told.schedule),
    }


def _line_of(step: Step) -> Line:
    return Line(step.what, _placed(step))


def _placed(step: Step) -> str:
    """What a step says, and where that stands."""
    return f"{printable(step.text)}{f'  ({printable(step.where)})' if step.where else ''}"


def _whom(told: Explanation) -> str:
    return _named(list(dict.fromkeys(one.address for way in told.ways for one in way.recipients)))


def _named(addresses: list[str]) -> str:
    """Addresses, the first of them by name."""
    left = len(addresses) - _MOST_NAMED
    return ", ".join([*map(path, addresses[:_MOST_NAMED]), *([count(left, "other")] if left > 0 else [])])


def _lines_of(way: Way, sender: str, now: float) -> list[Line]:
    as_whom = f", from {path(way.reverse_path)}" if way.reverse_path != sender else ""
    recipients = _named([one.address for one in way.recipients])
    lines = [
        Line("to", f"{recipients}{as_whom}: {_end(way)}", (), _STYLES[way.end]),
        Line("  route", _placed(way.route)),
    ]
    return lines + (_lines_of_hop(way.hop, now) if way.hop is not None else [])


def _end(way: Way) -> str:
    if way.end == TRIED:
        assert way.hop is not None, "it is tried somewhere"
        return f"tried at {printable(way.hop.destination)}"
    if way.end == DISCARDED:
        return "discarded; nobody gets it, and nobody is told"
    whom = path(way.reverse_path) if way.reverse_path else "nobody"
    how = f"fails, and {whom} is told" if way.end == FAILED else "is deferred"
    return f"{how}: {printable(str(way.reply))}"


def _lines_of_hop(hop: NextHop, now: float) -> list[Line]:
    lines = []
    if not hop.searched:
        lines.append(Line("  hosts", "not looked up, as so many others were before"))
    elif hop.hosts:
        lines.append(Line("  hosts", printable(hop.found) or "as the route says", tuple(map(_host, hop.hosts))))
    elif hop.found:
        lines.append(Line("  hosts", printable(hop.found)))
    lines += [Line("  left out", printable(one)) for one in hop.left_out]
    if hop.hosts or not hop.searched:
        lines.append(Line("  tls", _placed(hop.tls)))
        lines += [Line("  login", _placed(hop.login))] if hop.login is not None else []
        lines.append(Line("  eight_bit", _placed(hop.eight_bit)))
    if hop.outlook is not None:
        lines.append(Line("  queue", _queue(hop.outlook, now), (), "red" if hop.outlook.paused_until > now else ""))
    return lines


def _host(host: Host) -> str:
    if not host.port:
        return f"unix:{printable(host.addresses[0])}"
    where = ", ".join(f"[{one}]:{host.port}" for one in host.addresses)
    return printable(f"{host.name} {where}".strip())


def _queue(outlook: Outlook, now: float) -> str:
    """How things stand with a destination."""
    parts = [f"{outlook.waiting:,} waiting"] if outlook.waiting else ["nothing waits for it"]
    parts += [f"{outlook.held:,} held"] if outlook.held else []
    if outlook.paused_until > now:
        parts.append(f"paused until {moment(outlook.paused_until)} (for {span(outlook.paused_until - now)})")
    if outlook.failures:
        parts.append(f"not reached {count(outlook.failures, 'time')} in a row")
    if outlook.last_reply:
        parts.append(f"last reply: {printable(outlook.last_reply)}")
    return ", ".join(parts)


def _plan(schedule: Schedule, at: float, sender: str) -> list[Line]:
    """When it is tried."""
    others = [span(one - at) for one in schedule.tries[1:]]
    more = len(others) > _MOST_TRIES or not schedule.all_of_them
    listed = ", ".join(others[:_MOST_TRIES])
    tried = f"at once, then after {listed}{', …' if more else ''}; a wait may be a tenth longer" if others else "once"
    warned = "nobody, since the reverse-path is null"
    if sender:
        late = None if schedule.warned is None else _when(schedule.warned, at)
        warned = f"its sender is told of the delay {late}" if late else "nobody, as retry.warn says"
    return [
        Line("tried", f"{tried}, as long as no try succeeds"),
        Line("warned", warned),
        Line("given up", f"{_when(schedule.given_up, at)}, with the last try"),
    ]


def _when(then: float, at: float) -> str:
    return f"after {span(then - at)}, at {moment(then)}"


def _way_to_json(way: Way) -> dict[str, Any]:
    return {
        "recipients": [one.address for one in way.recipients],
        "reverse_path": way.reverse_path,
        "end": way.end,
        "reply": str(way.reply) if way.reply is not None else "",
        "route": way.route._asdict(),
        "next_hop": _hop_to_json(way.hop) if way.hop is not None else None,
    }


def _hop_to_json(hop: NextHop) -> dict[str, Any]:
    return {
        "destination": hop.destination,
        "via": hop.via,
        "searched": hop.searched,
        "hosts": [{"name": one.name, "addresses": list(one.addresses), "port": one.port} for one in hop.hosts],
        "found": hop.found,
        "left_out": list(hop.left_out),
        "tls": hop.tls._asdict(),
        "login": hop.login._asdict() if hop.login is not None else None,
        "eight_bit": hop.eight_bit._asdict(),
        "queue": _outlook_to_json(hop.outlook),
    }


def _outlook_to_json(outlook: Outlook | None) -> dict[str, Any] | None:
    if outlook is None:
        return None
    return {**outlook._asdict(), "paused_until": moment(outlook.paused_until) if outlook.paused_until else None}


def _schedule_to_json(schedule: Schedule | None) -> dict[str, Any] | None:
    if schedule is None:
        return None
    return {
        "tries": [moment(one) for one in schedule.tries],
        "all_of_them": schedule.all_of_them,
        "warned": None if schedule.warned is None else moment(schedule.warned),
        "given_up": moment(schedule.given_up),
    }
