"""Manners: how a listener treats its clients, and what it offers to each kind of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from mta.policy.access import Network
from mta.smtp import extensions, replies
from mta.smtp.reply import Reply
from mta.smtp.settings import ServerSettings

DAY = 86400
LONGEST_HOLD = 30 * DAY  # seconds that a client may have a message held for it (RFC 4865)


class Standing(NamedTuple):
    """What a client is to us, as far as it decides what it is offered.

    mechanisms: those that it may log in by. etrn, xclient: it may. day: since 1970, for what changes with time.
    """

    may_relay: bool
    tls: bool = False
    logged_in: bool = False
    mechanisms: tuple[str, ...] = ()
    etrn: bool = False
    xclient: bool = False
    day: int = 0


@dataclass(frozen=True)
class Manners:
    """How a listener treats its clients. Each field is a key of its entry in `listen`, but these:

    tls: "none", "offered", "required" or "implicit", and no certificate makes "none" of "offered". message_size
    (octets, 0 for any), recipients: as in `limits`. trusted: its clients may send anywhere, whoever they are.
    """

    tls: str = "none"
    auth: str = "none"
    plaintext_auth: tuple[Network, ...] = ()
    auth_equals: bool = False
    bare_lf: str = "refuse"
    source_routes: str = "strip"
    vrfy: str = "relaying"
    etrn: tuple[Network, ...] = ()
    proxy_protocol: tuple[Network, ...] = ()
    xclient: tuple[Network, ...] = ()
    message_size: int = 0
    recipients: int = 1000
    trusted: bool = False
    settings: Callable[..., ServerSettings] = field(init=False, compare=False)  # of the fields of a `Standing`

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", lru_cache(maxsize=64)(self._settings))

    def _settings(self, *of: Any) -> ServerSettings:
        """What a client of such a standing is offered, and what is demanded of it."""
        standing = Standing(*of)
        offered = [*extensions.EXTENSIONS, extensions.limits(self.recipients)]
        if self.vrfy == "off":
            offered.remove(extensions.VRFY)
        else:
            offered.append(extensions.EXPN)
        if standing.etrn:
            offered.append(extensions.ETRN)
        if self._starts_tls and not standing.tls:
            offered.append(extensions.STARTTLS)
        if standing.tls:
            offered.append(extensions.REQUIRETLS)
        mechanisms = self._mechanisms(standing)
        if mechanisms:
            offered += extensions.auth(mechanisms, self.auth_equals)
        if standing.may_relay:
            latest = datetime.fromtimestamp(standing.day * DAY + LONGEST_HOLD, UTC)
            offered += [
                extensions.MT_PRIORITY,
                extensions.future_release(LONGEST_HOLD, latest.strftime("%Y-%m-%dT%H:%M:%SZ")),
            ]
        if standing.xclient:
            offered.append(extensions.XCLIENT)
        return ServerSettings(
            self.message_size,
            self.bare_lf,
            lenient=standing.may_relay,
            extensions=tuple(offered),
            demand=self._demand(standing),
            instead=self._instead(standing),
        )

    @property
    def _starts_tls(self) -> bool:
        return self.tls in ("offered", "required")

    def _mechanisms(self, standing: Standing) -> tuple[str, ...]:
        """Those that are offered: none in the clear where nothing else is taken there either (RFC 3207 4)."""
        return standing.mechanisms if standing.tls or self.tls != "required" else ()

    def _demand(self, standing: Standing) -> Reply | None:
        if self.tls == "required" and not standing.tls:
            return replies.TLS_FIRST
        return replies.LOGIN_FIRST if self.auth == "required" and not standing.logged_in else None

    def _instead(self, standing: Standing) -> dict[bytes, Reply]:
        instead = {}
        if standing.tls:
            instead[b"STARTTLS"] = replies.TLS_ALREADY
        if standing.logged_in:
            instead[b"AUTH"] = replies.LOGGED_IN_ALREADY
        elif self.auth != "none" and not self._mechanisms(standing) and self._starts_tls and not standing.tls:
            instead[b"AUTH"] = replies.LOGIN_NEEDS_TLS
        return instead
