"""Internationalized domains: how they are written where only ASCII goes (RFC 5890), in the DNS and to older servers."""

from functools import lru_cache

import idna

_REMEMBERED = 1024


def in_a_labels(domain: str) -> str:
    """A domain with its labels in ASCII ("xn--…"); as it is where it has no such form."""
    return domain if domain.isascii() else _encoded(domain)


def comparable(address: str) -> str:
    """A "local@domain" in lower case, its domain in A-labels: one form for all ways to write an address of ours."""
    address = address.lower()
    if address.isascii():
        return address
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{in_a_labels(domain)}"


def within_ascii(path: str) -> str:
    """A "local@domain" that older servers take (RFC 6531 3.2); as it is where its local part is not in ASCII either."""
    if path.isascii():
        return path
    local, at, domain = path.rpartition("@")
    return f"{local}@{in_a_labels(domain)}" if at and local.isascii() else path


@lru_cache(maxsize=_REMEMBERED)
def _encoded(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return domain
