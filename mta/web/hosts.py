"""Hosts: the names that a request may call us by. Any other is somebody's page that has had its name point to us."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,255}))(?::([0-9]{1,5}))?")
_LOOPBACK: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


class Hosts:
    """names: ours, and addresses that we listen on, beside those of the loopback interface.

    any_address: we listen on all of this machine's, so any address can be ours; a page cannot make a browser send an
    address that is not the one it connects to.
    """

    def __init__(self, names: Iterable[str], any_address: bool = False) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        self._any_address = any_address

    def are_ours(self, header: str) -> bool:
        """Does a Host field (RFC 9110 7.2) name us? The port is not looked at: a proxy may have another one."""
        found = _HOST.fullmatch(header)
        if found is None:
            return False
        host = (found[1] or found[2]).lower().rstrip(".")
        if host in self._names or host in _LOOPBACK:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or self._any_address or str(address) in self._names


def host_of(origin: str) -> str:
    """Host and port of an Origin field (RFC 6454 7), as a Host field would have them; "" for none that can be told."""
    return origin.partition("://")[2] if origin.startswith(("http://", "https://")) else ""
