"""Settings: what a session offers to its client, and what it demands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mta.smtp import limits, replies
from mta.smtp.extensions import EXTENSIONS, Extension, mail_parameters, rcpt_parameters
from mta.smtp.limits import SessionLimits
from mta.smtp.parser import LONG_LINES, Dialect
from mta.smtp.reply import Reply
from mta.smtp.states import ROWS, Row, State, Step

# Verbs that are there only where their extension is on.
_VERBS = {"STARTTLS": b"STARTTLS", "AUTH": b"AUTH", "EXPN": b"EXPN", "CHUNKING": b"BDAT", "XCLIENT": b"XCLIENT"}
# What a client may say before it has met a demand (RFC 3207 4, RFC 4954 4).
_ALWAYS = frozenset({b"HELO", b"EHLO", b"NOOP", b"RSET", b"HELP", b"QUIT", b"STARTTLS", b"AUTH", b"XCLIENT"})


@dataclass(frozen=True)
class ServerSettings:
    """What a session offers and takes; sessions with the same kind of client share one.

    message_size: the largest content in octets, 0 for any. bare_lf: "refuse" or "fix", for commands and content.
    lenient: see `Dialect`. demand: the reply to whatever needs something first that the client has not done, such as
    STARTTLS; None for no demand. instead: replies to verbs that are off for now, by verb.
    """

    message_size: int = 0
    bare_lf: str = "refuse"
    lenient: bool = False
    extensions: tuple[Extension, ...] = EXTENSIONS
    limits: SessionLimits = field(default_factory=SessionLimits)
    demand: Reply | None = None
    instead: Mapping[bytes, Reply] = field(default_factory=dict)

    @cached_property
    def keywords(self) -> tuple[str, ...]:
        """The extensions as the answer to EHLO lists them."""
        return tuple(extension.announcement(self.message_size) for extension in self.extensions)

    @cached_property
    def dialect(self) -> Dialect:
        """What command lines are read by."""
        mail = mail_parameters(self.extensions)
        return Dialect(mail, rcpt_parameters(self.extensions), self.lenient, utf8="SMTPUTF8" in mail)

    @cached_property
    def off(self) -> Mapping[bytes, Reply]:
        """The verbs that are known, and not in use for this client."""
        on = {extension.keyword for extension in self.extensions}
        off = {verb: replies.NOT_IMPLEMENTED for keyword, verb in _VERBS.items() if keyword not in on}
        return off | dict(self.instead)

    @cached_property
    def longest_line(self) -> int:
        """Octets of the longest line that may make sense."""
        return max([limits.ACCEPTED_COMMAND_LINE, *(size for verb, size in LONG_LINES.items() if verb not in self.off)])

    @cached_property
    def rows(self) -> Mapping[State, Row]:
        """The table of states as it is for this client: what is off, and what must wait for something else."""
        return {state: {verb: self._cell(verb, cell) for verb, cell in row.items()} for state, row in ROWS.items()}

    def _cell(self, verb: bytes, cell: Step | Reply) -> Step | Reply:
        if verb in self.off:
            return self.off[verb]
        return cell if self.demand is None or verb in _ALWAYS else self.demand
