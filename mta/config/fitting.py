"""Fitting: what in a configuration does not fit together, though each value may be right by itself.

It is looked for in the document and not in the model: there is no model while any value is wrong, and whoever mends a
configuration wants to be told all that is wrong with it at once.
"""

from collections.abc import Iterator
from typing import Any

from mta.config.document import Document, Key


def unfit(document: Document) -> Iterator[tuple[Key, str]]:
    """What does not fit, each with its place. Values that are wrong by themselves are passed over."""
    yield from _unfit_listeners(document.mapping)
    yield from _unfit_routes(document.mapping)


def _unfit_listeners(mapping: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    has_accounts = mapping.get("accounts") not in (None, [])
    has_certificate = _has_certificate(mapping.get("tls"))
    for number, listener in _entries(mapping.get("listen")):
        if listener.get("auth") in ("offered", "required") and not has_accounts:
            text = "needs accounts, a file of those who may log in (`mta account` writes it)"
            yield ("listen", number, "auth"), text
        if listener.get("tls") in ("required", "implicit") and not has_certificate:
            yield ("listen", number, "tls"), "needs a certificate; name one in tls"
        if listener.get("client_ca") is not None and not has_certificate:
            yield ("listen", number, "client_ca"), "needs TLS; name a certificate in tls"


def _unfit_routes(mapping: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    logins = mapping.get("logins") or {}
    if not isinstance(logins, dict):
        return
    there = f"there are {', '.join(logins)}" if logins else "there is none"
    for number, route in _entries(mapping.get("routes")):
        login = route.get("login")
        if isinstance(login, str) and login not in logins:
            yield ("routes", number, "login"), f"is not an entry of logins; {there}"


def _has_certificate(tls: object) -> bool:
    """Is one named, or what names it so wrong that nobody can tell?"""
    return tls is not None and (not isinstance(tls, dict) or tls.get("certificate") is not None)


def _entries(value: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries of a list, those of them that are mappings."""
    for number, entry in enumerate(value if isinstance(value, list) else []):
        if isinstance(entry, dict):
            yield number, entry
