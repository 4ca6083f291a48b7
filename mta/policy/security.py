"""Security: what TLS a next hop must have, and what follows when it has none."""

from typing import Final, NamedTuple

from mta.policy.routing import Hop, Via
from mta.smtp.opening import IN_THE_CLEAR, Security

_VERIFIED: Final = "and a certificate that is verified"
_ASKED: Final = {
    "none": "TLS is not asked for",
    "may": "TLS where the host offers it, whatever its certificate",
    "require": "TLS or no delivery, whatever the certificate",
    "verify": f"TLS or no delivery, {_VERIFIED}",
}


class Protection(NamedTuple):
    """What a session has to have, whether mail may go in the clear where TLS is offered and fails, and why."""

    security: Security
    falls_back: bool
    why: str


def protection(hop: Hop) -> Protection:
    """What a session with a host of this hop has to have.

    `smtps://` is TLS from the first octet (RFC 8314 3.3), so that `may` comes to `require` there. A Unix socket does
    not leave this machine. Where we log in nothing falls back: who can break a handshake would learn what depends on
    the password.
    """
    if hop.via is Via.LMTP_UNIX:
        return Protection(IN_THE_CLEAR, not hop.login, "no TLS: a Unix socket does not leave this machine")
    verified = hop.tls == "verify"
    if hop.via is Via.SMTPS:
        why = f"smtps: TLS from the first octet, {_VERIFIED if verified else 'whatever the certificate'}"
        return Protection(Security(implicit=True, required=True, verified=verified), False, why)
    required = hop.tls in ("require", "verify")
    falls_back = not (required or hop.login)
    why = f"{hop.tls}: {_ASKED[hop.tls]}"
    if hop.tls == "may":
        why += (
            "; in the clear where that fails" if falls_back else "; not in the clear where that fails, since we log in"
        )
    return Protection(Security(wanted=hop.tls != "none", required=required, verified=verified), falls_back, why)


def security(hop: Hop) -> Security:
    """What a session with a host of this hop has to have."""
    return protection(hop).security


def may_fall_back(hop: Hop) -> bool:
    """May mail go in the clear to a host that offers TLS and fails at it?"""
    return protection(hop).falls_back
