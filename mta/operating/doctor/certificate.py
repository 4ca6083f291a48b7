"""Certificate: is what listeners show good for this host, for long enough, and for those who verify?"""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.x509 import Certificate
from OpenSSL import crypto

from mta.net.certificates import why_not_for
from mta.operating.doctor.finding import Finding, Teller
from mta.operating.words import count

_SOON: Final = 7  # days left, below which it is going to be a problem
_LATE: Final = 21  # days left, by which most renew


def judge_certificate(
    file: str, chain: Sequence[Certificate], hosts: Sequence[str], distrust: str, now: float
) -> list[Finding]:
    """The certificate in a file, the host's own first. hosts: that it has to be for. distrust: why it does not lead to
    an authority that is trusted; "" where it does. now: seconds since 1970."""
    teller = Teller("certificate", file)
    found = [
        teller.warning(f"{why}; those who verify refuse it", f"get one that is for {host}, too")
        for host in hosts
        if (why := why_not_for(chain[0], host))
    ]
    left = chain[0].not_valid_after_utc - datetime.fromtimestamp(now, UTC)
    begins = chain[0].not_valid_before_utc
    expires = chain[0].not_valid_after_utc.date()
    if left.total_seconds() <= 0:
        found.append(teller.problem(f"it has expired on {expires}", "renew it"))
    elif begins > datetime.fromtimestamp(now, UTC):
        found.append(teller.problem(f"it is valid from {begins.date()} on alone", "wait, or set the clock right"))
    elif left.days < _SOON:
        found.append(teller.problem(f"it expires on {expires}, in {count(left.days, 'day')}", "renew it now"))
    elif left.days < _LATE:
        found.append(
            teller.warning(f"it expires on {expires}, in {count(left.days, 'day')}", "see whether its renewal works")
        )
    if distrust and left.total_seconds() > 0:
        found.append(
            teller.warning(
                f"it does not lead to an authority that this machine trusts: {distrust}; those who verify refuse it",
                "put the certificates of its authorities behind it in the file (fullchain.pem), or get one from an "
                "authority that everybody trusts",
            )
        )
    if not found:
        found.append(teller.ok(f"it is for {', '.join(hosts)}, complete, and good until {expires} ({left.days} days)"))
    return found


def distrust_of(chain: Sequence[Certificate], trust: Path | None, now: float) -> str:
    """Why a chain does not lead to an authority that is trusted, in OpenSSL's words; "" where it does.

    trust: a file with those authorities; None for those of this machine. An end of the certificate itself does not
    count. now: seconds since 1970.
    """
    paths = ssl.get_default_verify_paths()
    file, folder = (str(trust), None) if trust is not None else (paths.cafile, paths.capath)
    if not (file or folder):
        return "this machine knows no authorities (ca-certificates)"
    store = crypto.X509Store()
    latest = chain[0].not_valid_after_utc - timedelta(seconds=1)
    store.set_time(min(datetime.fromtimestamp(now, UTC), latest).replace(tzinfo=None))
    try:
        store.load_locations(file, folder)
        certificate, *others = (crypto.X509.from_cryptography(one) for one in chain)
        crypto.X509StoreContext(store, certificate, others).verify_certificate()
    except crypto.X509StoreContextError as error:
        return str(error)
    except crypto.Error:
        return "the authorities of this machine cannot be read"
    return ""
