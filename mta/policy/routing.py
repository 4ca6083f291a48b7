"""Routing: where the mail for a forward-path goes next. The first route that matches wins; else it goes by MX."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, lru_cache

from mta.policy.idn import in_a_labels
from mta.policy.pattern import EVERYBODY, Pattern
from mta.policy.sourceroute import mailbox_of, next_host
from mta.smtp.address import domain_of
from mta.smtp.reply import Reply

_REMEMBERED = 4096


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
    """Where a recipient's mail goes: a hop, or a fixed refusal to be given at RCPT. why: for people.

    route: its name. number: which entry of `routes` it is, from 0; None where none matches.
    """

    hop: Hop | None
    refusal: Reply | None
    why: str
    route: str = ""
    number: int | None = field(default=None, compare=False)


def destination_of(decision: Decision, recipient: str) -> str:
    """The destination that a recipient waits for. Where it is refused any will do: it is routed again, and refused,
    when it is tried."""
    return (decision.hop or Hop(Via.MX, domain_of(recipient))).destination


@dataclass(frozen=True)
class Route:
    """One entry of `routes`: mail from `sender` to `to` goes `onward`, to a hop or nowhere, with a reply at RCPT.

    The host of a hop by MX is left empty, since it is each recipient's own domain.
    """

    onward: Hop | Reply
    to: Pattern = EVERYBODY
    sender: Pattern = EVERYBODY
    name: str = ""

    def covers(self, other: "Route") -> bool:
        """Does it take all the mail that the other would, so that the other never matches behind it?"""
        return self.to.covers(other.to) and self.sender.covers(other.sender)

    @property
    def whom(self) -> str:
        """Whose mail it is for, in words."""
        sender = f"from {self.sender.name}" if self.sender != EVERYBODY else ""
        to = f"to {self.to.name}" if self.to != EVERYBODY or not sender else ""
        return " ".join(part for part in (to, sender) if part)


class Routing:
    """The routes in force. Decisions are remembered, by as much of the addresses as the routes look at."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self.routes = tuple(routes)
        senders = [route.sender for route in self.routes if route.sender != EVERYBODY]
        self._heeds_sender = bool(senders)
        self._whole_sender = any(pattern.needs_local_part for pattern in senders)
        self._whole_recipient = any(route.to.needs_local_part for route in self.routes)
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._decide)

    def decide(self, sender: str, recipient: str) -> Decision:
        """Where mail from a reverse-path ("" for the null one) to a forward-path goes.

        Of a forward-path with a source route, "@one,@two:user@three", the first host decides.
        """
        if not self._heeds_sender:
            sender = ""
        elif not self._whole_sender:
            sender = "@" + domain_of(sender)
        else:
            sender = mailbox_of(sender)
        if recipient.startswith("@"):
            recipient = "@" + next_host(recipient)
        elif not self._whole_recipient:
            recipient = "@" + domain_of(recipient)
        return self._remembered(sender, recipient)

    def _decide(self, sender: str, recipient: str) -> Decision:
        sender, sender_domain = _comparable(sender)
        recipient, domain = _comparable(recipient)
        for number, route in enumerate(self.routes):
            if route.to.matches(recipient, domain) and route.sender.matches(sender, sender_domain):
                name = f" ({route.name})" if route.name else ""
                why = f"routes[{number}]{name}: {route.whom}"
                if isinstance(route.onward, Reply):
                    return Decision(None, route.onward, why, route.name, number)
                hop = replace(route.onward, host=domain) if route.onward.via is Via.MX else route.onward
                return Decision(hop, None, why, route.name, number)
        return Decision(Hop(Via.MX, domain), None, f"no route matches: by MX of {domain}")


def _comparable(address: str) -> tuple[str, str]:
    """An address and its domain as patterns have them: in lower case, the domain in A-labels (RFC 5890 2.3.2.1)."""
    domain = in_a_labels(domain_of(address))
    return f"{address.rpartition('@')[0].lower()}@{domain}" if domain else address.lower(), domain
