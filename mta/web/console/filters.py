"""Filters: what of the queue a query or a form asks for, and the address of that page."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from mta.message.envelope import format_queue_id, parse_queue_id
from mta.web.seams import STATES, Chosen, Unusable

Fields = Mapping[str, Sequence[str]]
_LONGEST = 400  # characters of an address, a domain, a text to look for


def one(fields: Fields, name: str) -> str:
    """A field that is there once; "" where it is not. Raises `Unusable` for what is longer than anything real."""
    values = fields.get(name, ())
    text = values[0].strip() if values else ""
    if len(text) > _LONGEST:
        raise Unusable(f"{name} may have {_LONGEST} characters")
    return text


class Filter(NamedTuple):
    """Which page of the queue. Texts are "" for any; after: the number of the message that it begins behind."""

    sender: str = ""
    to: str = ""
    state: str = ""
    after: int = 0
    selected: tuple[str, ...] = ()

    @classmethod
    def of(cls, fields: Fields) -> "Filter":
        """As a query or a form has it. Raises `Unusable`."""
        state = one(fields, "state")
        if state and state not in STATES:
            raise Unusable(f"state: one of {', '.join(STATES)}")
        after = one(fields, "after")
        number = parse_queue_id(after) if after not in ("", "0") else 0
        if number is None:
            raise Unusable("after: a queue id, as the address of the next page has it")
        return cls(one(fields, "from"), one(fields, "to"), state, number, tuple(fields.get("id", ())))

    @property
    def any(self) -> bool:
        """Does it leave anything out?"""
        return bool(self.sender or self.to or self.state)

    def chosen(self) -> Chosen:
        """What it means, apart from the state."""
        return Chosen(to=self.to or None, sender=self.sender or None)

    def address(self, after: int | None = None, **more: str) -> str:
        """Where this page is, or the one behind a message."""
        start = self.after if after is None else after
        named = {"from": self.sender, "to": self.to, "state": self.state, "after": _name(start), **more}
        query = urlencode({name: value for name, value in named.items() if value})
        return f"/queue?{query}" if query else "/queue"


def _name(number: int) -> str:
    return format_queue_id(number) if number else ""
