"""Security: what TLS a next hop must have, and what follows when it has none."""

from mta.policy.routing import Hop, Via
from mta.smtp.opening import IN_THE_CLEAR, Security


def security(hop: Hop) -> Security:
    """What a session with a host of this hop has to have.

    `smtps://` is TLS from the first octet (RFC 8314 3.3), so that `may` comes to `require` there. A Unix socket does
    not leave this machine.
    """
    if hop.via is Via.LMTP_UNIX:
        return IN_THE_CLEAR
    if hop.via is Via.SMTPS:
        return Security(implicit=True, required=True, verified=hop.tls == "verify")
    return Security(wanted=hop.tls != "none", required=hop.tls in ("require", "verify"), verified=hop.tls == "verify")


def may_fall_back(hop: Hop) -> bool:
    """May mail go in the clear to a host that offers TLS and fails at it?

    Not where we log in: who can break a handshake would learn what depends on the password.
    """
    return not (security(hop).required or hop.login)
