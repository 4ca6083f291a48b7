"""Events: what a server session tells its owner; commands are events too."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

from mta.smtp.command import Command
from mta.smtp.reply import Reply


class Content(NamedTuple):
    """Some of the content, without transparency."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class EndOfChunk:
    """A chunk of BDAT, but not the last one, has arrived (RFC 3030 2): it is to be answered.

    size: its octets. fault: the content cannot be taken; answer with this reply, which ends the transaction.
    """

    size: int
    fault: Reply | None = None


class EndOfContent(NamedTuple):
    """All of the content has arrived. size, eight_bit, dotted: as `ContentReader` says.

    fault: the content cannot be taken (nor was all of it given out); answer with this reply.
    """

    size: int
    eight_bit: bool
    dotted: bool
    fault: Reply | None = None


@dataclass(frozen=True, slots=True)
class AuthResponse:
    """The client's next word in an AUTH exchange, decoded (RFC 4954 4)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was no command, wrong or out of order, and the reply that it has been given. For logs.

    line: as it came, so not to be shown without care; b"" where it was too long to be kept, or could be a secret.
    """

    line: bytes
    reply: Reply


class NeedOctets(Enum):
    """Nothing can be said until more octets arrive, or until `reply`."""

    NEED_OCTETS = "need octets"


NEED_OCTETS = NeedOctets.NEED_OCTETS
Question: TypeAlias = Command | EndOfChunk | EndOfContent | AuthResponse  # what is owed a reply; but not BDAT itself
Event: TypeAlias = Question | Content | Rejected | NeedOctets
