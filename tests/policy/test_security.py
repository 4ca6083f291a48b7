"""What TLS a next hop must have, as a table."""

import pytest

from mta.policy.routing import Hop, Via
from mta.policy.security import may_fall_back, protection, security
from mta.smtp.opening import IN_THE_CLEAR, Security

MAY = Security(wanted=True)
REQUIRE = Security(wanted=True, required=True)
VERIFY = Security(wanted=True, required=True, verified=True)
IMPLICIT = Security(implicit=True, required=True)


@pytest.mark.parametrize(
    ("hop", "wanted", "falls_back"),
    [
        (Hop(Via.MX, "example.net"), MAY, True),
        (Hop(Via.MX, "example.net", tls="none"), IN_THE_CLEAR, True),
        (Hop(Via.MX, "example.net", tls="require"), REQUIRE, False),
        (Hop(Via.SMTP, "mx.example", tls="verify"), VERIFY, False),
        (Hop(Via.SMTP, "mx.example", login="provider"), MAY, False),
        (Hop(Via.SMTPS, "mx.example", 465), IMPLICIT, False),
        (Hop(Via.SMTPS, "mx.example", 465, tls="require"), IMPLICIT, False),
        (Hop(Via.SMTPS, "mx.example", 465, tls="verify"), IMPLICIT._replace(verified=True), False),
        (Hop(Via.LMTP, "store.example", 24), MAY, True),
        (Hop(Via.LMTP, "store.example", 24, tls="verify"), VERIFY, False),
        (Hop(Via.LMTP_UNIX, path="/run/lmtp", tls="verify"), IN_THE_CLEAR, True),
    ],
)
def test_security(hop: Hop, wanted: Security, falls_back: bool) -> None:
    assert security(hop) == wanted
    assert may_fall_back(hop) is falls_back


@pytest.mark.parametrize(
    ("hop", "why"),
    [
        (Hop(Via.MX, tls="none"), "none: TLS is not asked for"),
        (Hop(Via.MX), "may: TLS where the host offers it, whatever its certificate; in the clear where that fails"),
        (
            Hop(Via.SMTP, login="provider"),
            "may: TLS where the host offers it, whatever its certificate; not in the clear where that fails, since we "
            "log in",
        ),
        (Hop(Via.MX, tls="require"), "require: TLS or no delivery, whatever the certificate"),
        (Hop(Via.MX, tls="verify"), "verify: TLS or no delivery, and a certificate that is verified"),
        (Hop(Via.SMTPS), "smtps: TLS from the first octet, whatever the certificate"),
        (Hop(Via.SMTPS, tls="verify"), "smtps: TLS from the first octet, and a certificate that is verified"),
        (Hop(Via.LMTP_UNIX, tls="verify"), "no TLS: a Unix socket does not leave this machine"),
    ],
)
def test_what_is_told_of_it(hop: Hop, why: str) -> None:
    assert protection(hop).why == why
