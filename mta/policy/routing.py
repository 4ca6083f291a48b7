"""Routing: where the mail for a forward-path goes next. The first route that matches wins; else it goes by MX."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from mta.smtp.reply import Reply


class Via(StrEnum):
    """The ways onward: the words of a route's `via`."""

    MX = "mx"
    SMTP = "smtp"
    SMTPS = "smtps"
    LMTP = "lmtp"
    LMTP_UNIX = "lmtp+unix"
    DISCARD = "discard"


@dataclass(frozen=True)
class Hop:
    """A next hop: how to reach it, and how to behave there.

    host: for MX the domain of the forward-path (or an address literal "[192.0.2.1]"), else the host of the URL, a
    name or an address without brackets. path: of the Unix socket. tls, login, eight_bit: as in the route.
    """

    via: Via
    host: str = ""
    port: int = 25
    path: str = ""
    tls: str = "may"
    login: str | None = None
    eight_bit: str = "convert"

    @cached_property
    def destination(self) -> str:
        """The name that queue, windows and listings know this hop by. Equal names share sessions and pauses."""
        if self.via is Via.MX:
            name = self.host
        elif self.via is Via.LMTP_UNIX:
            name = f"lmtp+unix:{self.path}"
        elif self.via is Via.DISCARD:
            name = "discard"
        else:
            host = f"[{self.host}]" if ":" in self.host else self.host
            name = f"{self.via}://{host}:{self.port}"
        asked = [f"login={self.login}"] if self.login else []
        asked += [f"tls={self.tls}"] if self.tls != "may" else []
        asked += [f"eight_bit={self.eight_bit}"] if self.eight_bit != "convert" else []
        return f"{name}?{'&'.join(asked)}" if asked else name


@dataclass(frozen=True)
class Decision:
    """Where a recipient's mail goes: a hop, or a fixed refusal to be given at RCPT. why: for people."""

    hop: Hop | None
    refusal: Reply | None
    why: str
    route: str = ""
