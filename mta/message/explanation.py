"""Explanation: the part of a notice that a person understands: what happened, who said so, and what can be done."""

from collections.abc import Sequence
from functools import lru_cache
from textwrap import wrap
from typing import Final, NamedTuple

from mta.message.lines import LONGEST_ADDRESS, LONGEST_TEXT, WIDTH, quoted
from mta.message.outcome import Outcome
from mta.message.printable import visible
from mta.message.statusfields import Action, Fate

_MOST_REPLY_LINES: Final = 20
# Characters of all replies together that a text quotes: where many recipients were each told something else, a few of
# each. What a server says at length for a thousand of them would make a notice larger than any message may be.
_MOST_QUOTED: Final = 65_536
_LEAST_QUOTED: Final = 120

# What a person can do about it, by the subject and the detail of the status code (RFC 3463, and the IANA registry).
_HINTS: Final = {
    "1.1": "There is no such mailbox. Check what stands before the @ in the address.",
    "1.2": "There is no such mail domain. Check what stands after the @ in the address.",
    "1.3": "The address is not written as an address should be.",
    "1.6": "The recipient has moved. Ask for the new address.",
    "1.10": "The domain declares that it takes no mail at all. Check what stands after the @ in the address.",
    "2.1": "The mailbox has been closed or blocked.",
    "2.2": "The mailbox is full. The recipient has to make room before you send it again.",
    "2.3": "The message is too big for the mailbox. Send less at once, or a link to it.",
    "3.4": "The message is too big for the mail server. Send less at once, or a link to it.",
    "4.1": "The mail server of the recipient could not be reached.",
    "4.2": "The connection to the mail server of the recipient broke.",
    "4.3": "The name servers of the recipient's domain could not be asked.",
    "4.4": "Nobody could find out where mail for this domain goes. Its administrators have to correct that.",
    "4.6": "The mail servers handed the message round in a circle. Their administrators have to correct that.",
    "4.7": "You had asked for it to be delivered within a certain time, which is over.",
    "5.3": "There are too many recipients. Send it to fewer at once.",
    "6.3": "The message cannot be changed into a form that the next mail server takes.",
    "6.7": "The recipient's mail server does not take addresses or header fields beyond ASCII.",
    "7.1": "It was refused by a rule of a mail server. Ask the recipient, by other means, to have you allowed.",
    "7.30": "You had asked for an encrypted way only, and the recipient's mail server does not promise one.",
}
_HINTS_BY_SUBJECT: Final = {
    "7": "It was refused for reasons of security. Its administrators, or those of your own mail, may know more.",
}


class Section(NamedTuple):
    """Recipients of whom the same is to be said, in the opening sentences."""

    opening: str
    fates: Sequence[Fate]


def explanation(hostname: str, sections: Sequence[Section], age: float, closing: Sequence[str]) -> str:
    """The text. age: how long it has been in the queue, in seconds. closing: the last lines, which are believed."""
    lines = [f"This is the mail relay {hostname}.", ""]
    different = len({fate.outcome for section in sections for fate in section.fates})
    room = max(_MOST_QUOTED // different, _LEAST_QUOTED)
    for opening, fates in sections:
        lines += [*wrap(opening, WIDTH), ""]
        alike: dict[Outcome, list[Fate]] = {}
        for fate in fates:
            alike.setdefault(fate.outcome, []).append(fate)
        for outcome, group in alike.items():
            lines += [f"  <{visible(fate.recipient.address)[:LONGEST_ADDRESS]}>" for fate in group]
            lines += [*_reason(outcome, room), *_advice(group[0], age), ""]
    return "\n".join([*lines, *closing]) + "\n"


def text_part(text: str) -> bytes:
    """A text as a body part, its header included."""
    if text.isascii():
        return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + text.replace("\n", "\r\n").encode()
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head + quoted(text.encode().split(b"\n"))


def span(seconds: float) -> str:
    """A duration, roughly."""
    for size, unit in (86400, "day"), (3600, "hour"), (60, "minute"):
        number = round(seconds / size)
        if number >= 1 and seconds >= 0.95 * size:
            return f"{number} {unit}s" if number > 1 else f"1 {unit}"
    return "less than a minute"


def _reason(outcome: Outcome, room: int) -> list[str]:
    """Who said what. The reply of a remote server stands there line by line as it came, in up to so many characters."""
    host = visible(outcome.host)[:LONGEST_ADDRESS]
    reply = outcome.reply
    if not outcome.remote:
        text = visible(reply.text[: min(room, LONGEST_TEXT)])
        return [f"    {line}" for line in wrap(f"{host}: {text}" if host else text, WIDTH - 4)]
    prefix = " ".join(part for part in (str(reply.code), reply.enhanced) if part)
    said = []
    for line in reply.lines[:_MOST_REPLY_LINES] or ("",):
        said.append(visible(f"      {prefix} {line[:room]}"[:LONGEST_TEXT]))
        room -= len(line)
        if room <= 0:
            break
    return [f"    {host or 'The mail server'} said:", *said]


def _advice(fate: Fate, age: float) -> list[str]:
    if fate.action not in (Action.FAILED, Action.DELAYED):
        return []
    kind, subject, detail = fate.code.split(".")
    advice = _HINTS.get(f"{subject}.{detail}") or _HINTS_BY_SUBJECT.get(subject, "")
    if fate.action is Action.FAILED and kind == "4":
        tried = f"This was tried for {span(age)}. You may send it again when the trouble is over."
        advice = f"{advice} {tried}" if advice else tried
    return _indented(advice)


@lru_cache(maxsize=64)
def _indented(text: str) -> list[str]:
    """Remembered, since a thousand recipients may be told the same."""
    return [f"    {line}" for line in wrap(text, WIDTH - 4)]
