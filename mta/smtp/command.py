"""Commands: what a client can say, as values. `mta.smtp.parser` reads them from lines.

RFC 5321 4.1.1 has most of them; the others name their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from mta.smtp.address import Path
from mta.smtp.xclient import ClientAttributes


class Helo(NamedTuple):
    """HELO or EHLO (`extended`), with what the client calls itself."""

    domain: str
    extended: bool


class Mail(NamedTuple):
    """MAIL. parameters: by keyword in upper case, in the normal form of their extension."""

    reverse_path: Path
    parameters: Mapping[str, str]

    @property
    def size(self) -> int:
        """SIZE= in octets, 0 where it was not given (RFC 1870)."""
        return int(self.parameters.get("SIZE", "0"))

    @property
    def body(self) -> str:
        """BODY=, "7BIT", "8BITMIME" or "BINARYMIME"; "" where it was not given (RFC 6152, 3030)."""
        return self.parameters.get("BODY", "")

    @property
    def smtputf8(self) -> bool:
        """SMTPUTF8: addresses and header fields may be in UTF-8 (RFC 6531 3.4)."""
        return "SMTPUTF8" in self.parameters


class Rcpt(NamedTuple):
    """RCPT. parameters: as with `Mail`."""

    forward_path: Path
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """DATA."""


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT (RFC 3030 2). size: octets of the chunk, which follow the line at once."""

    size: int
    last: bool


@dataclass(frozen=True, slots=True)
class Rset:
    """RSET."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP, whatever came with it."""


@dataclass(frozen=True, slots=True)
class Help:
    """HELP. topic: "" where none was given."""

    topic: str


@dataclass(frozen=True, slots=True)
class Vrfy:
    """VRFY. argument: as it was given, a user name or a mailbox. utf8: the answer may be (RFC 6531 3.7.4.2)."""

    argument: str
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Expn:
    """EXPN. argument: as it was given, the name of a mailing list. utf8: as with `Vrfy`."""

    argument: str
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Etrn:
    """ETRN (RFC 1985 5.1). node: a domain, "@domain" with its subdomains, or "#name"."""

    node: str


@dataclass(frozen=True, slots=True)
class Starttls:
    """STARTTLS (RFC 3207)."""


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH (RFC 4954 4). mechanism: in upper case. initial: the initial response, decoded; None without one."""

    mechanism: str
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class Xclient:
    """XCLIENT: what a proxy says of the client it speaks for."""

    attributes: ClientAttributes


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT."""


Command: TypeAlias = (
    Helo | Mail | Rcpt | Data | Bdat | Rset | Noop | Help | Vrfy | Expn | Etrn | Starttls | Auth | Xclient | Quit
)
