"""Matching: which recipients and reverse-paths an operator means, exactly, and as a condition that finds them in SQL.

The condition may find too many, never too few; what it finds is looked at again here.
"""

import json
from typing import NamedTuple

from mta.message.envelope import recipients_from_json


class Selection(NamedTuple):
    """Deliveries that an operator means; those that all of it is true of. Without anything: all of them.

    ids: queue ids. to: a destination, a domain or an address of recipients. sender: an address or a domain of
    reverse-paths, "<>" for the null one: the message's sender, or whom its delivery goes on from.
    """

    ids: frozenset[int] | None = None
    to: str | None = None
    sender: str | None = None

    def condition(self) -> tuple[str, dict[str, str]]:
        """A condition on rows of `delivery`, and its values. The ids are not part of it."""
        parts = ["1"]
        values: dict[str, str] = {}
        if self.to is not None and self.to.isascii():  # SQLite's lower() knows nothing else
            values |= {"to": self.to, "part": json.dumps(self._to_part)[1:-1]}
            parts.append("(delivery.destination = :to OR instr(lower(recipients), :part))")
        if self.sender is not None and self.sender.isascii():
            values["sender"] = self._sender_part
            found = "instr(lower({0}), :sender)" if values["sender"] else "{0} = :sender"
            parts.append(f"({found.format('sender')} OR {found.format('reverse_path')})")
        return " AND ".join(parts), values

    def has_sender(self, sender: str, reverse_path: str | None = None) -> bool:
        """Is mail meant that came from this sender and goes on from this reverse-path? None: from the sender's."""
        if self.sender is None:
            return True
        wanted = self._sender_part
        paths = [sender.lower()] if reverse_path is None else [sender.lower(), reverse_path.lower()]
        return any(path.endswith(wanted) if wanted.startswith("@") else path == wanted for path in paths)

    def has_recipient(self, destination: str, address: str) -> bool:
        """Is this recipient meant, who waits for this destination?"""
        if self.to is None or self.to == destination:
            return True
        wanted, address = self._to_part, address.lower()
        return address.endswith(wanted) if wanted.startswith("@") else address == wanted

    def has_any(self, destination: str, packed: str) -> bool:
        """Is any recipient of a delivery meant? packed: as `delivery.recipients` has them."""
        return self.to is None or any(
            self.has_recipient(destination, one.address) for one in recipients_from_json(packed)
        )

    @property
    def _to_part(self) -> str:
        return _part(self.to or "")

    @property
    def _sender_part(self) -> str:
        return _part((self.sender or "").strip("<>"))


EVERYTHING = Selection()


def _part(wanted: str) -> str:
    """An address in lower case, or "@" and a domain."""
    wanted = wanted.lower().removeprefix("*")
    return wanted if "@" in wanted or not wanted else f"@{wanted}"
