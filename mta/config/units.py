"""Units: durations, sizes, networks and socket addresses as people write them. Each parser raises `ValueError`.

The texts of the errors are made to stand behind the name of a key: "retry.warn: is not a duration; …".
"""

import re
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Final, NamedTuple

from mta.policy.access import Network

SECONDS: Final = 1.0
MINUTES: Final = 60 * SECONDS
HOURS: Final = 60 * MINUTES
DAYS: Final = 24 * HOURS

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

_DURATIONS: Final = {"d": DAYS, "h": HOURS, "m": MINUTES, "s": SECONDS}
_SIZES: Final = {"GiB": GIB, "MiB": MIB, "KiB": KIB, "GB": 10**9, "MB": 10**6, "KB": 10**3, "kB": 10**3, "B": 1}
_DURATION = re.compile(r"([0-9]{1,9}) ?([a-z]*)")
_SIZE = re.compile(r"([0-9]{1,18}) ?([A-Za-z]*)")
_SOCKET_NAME = re.compile(r"[!-9;-~]{1,255}")  # as systemd.socket(5) has it, without a space
_HOST_AND_PORT = re.compile(r"(?:\[(?P<bracketed>[^\]]*)\]|(?P<plain>[^:]*)):(?P<port>[0-9]{1,5})")


def parse_duration(value: object) -> float:
    """Seconds, from a whole number with its unit: s, m, h or d."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    unit = _DURATIONS.get(match[2]) if match else None
    if match is None or unit is None:
        is_number = isinstance(value, int) or (match is not None and not match[2])
        wrong = "lacks its unit" if is_number and not isinstance(value, bool) else "is not a duration"
        raise ValueError(f"{wrong}; durations are written 90s, 5m, 4h or 5d")
    return int(match[1]) * unit


def format_duration(seconds: float) -> str:
    """A duration as it would be written, in the largest unit that fits."""
    letter, unit = next(((letter, unit) for letter, unit in _DURATIONS.items() if not seconds % unit), ("s", SECONDS))
    return f"{seconds / unit:.15g}{letter}" if seconds else "0s"


def parse_size(value: object) -> int:
    """Octets, from a whole number with or without a unit. 0 stands for no limit."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a size; sizes are written 512KiB, 50MiB or in octets")
    unit = _SIZES.get(match[2] or "B")
    if unit is None:
        likely = next((known for known in _SIZES if known[0] == match[2][0].upper()), "MiB")
        raise ValueError(f"has a unit that is not known; did you mean {match[1]}{likely}?")
    return int(match[1]) * unit


def format_size(octets: int) -> str:
    """A size as it would be written, in the largest binary unit that fits."""
    for letter, unit in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if octets and not octets % unit:
            return f"{octets // unit}{letter}"
    return str(octets)


def parse_network(value: object) -> Network:
    """An address or a network in CIDR form. What IPv6 maps to IPv4 becomes IPv4, as clients' addresses do."""
    if not isinstance(value, str):
        raise ValueError('must be a network in quotes, like "192.0.2.0/24" or "2001:db8::/32"')
    try:
        interface = ip_interface(value.strip())
    except ValueError:
        raise ValueError("is not a network; one is written 192.0.2.0/24 or 2001:db8::/32") from None
    network: Network = interface.network
    address: IPv4Address | IPv6Address = interface.ip
    if address != network.network_address:
        raise ValueError(f"is an address inside a network; the network is {network}, the address alone {address}")
    if isinstance(address, IPv6Address) and address.ipv4_mapped and network.prefixlen >= 96:
        return parse_network(f"{address.ipv4_mapped}/{network.prefixlen - 96}")
    return network


class SocketAddress(NamedTuple):
    """Where a server listens: an IP address and a port; the path of a Unix socket; or what systemd calls sockets that
    it listens on itself and hands over. What it is not is "" or 0.
    """

    host: str
    port: int
    path: str = ""
    systemd: str = ""

    def __str__(self) -> str:
        if self.systemd:
            return f"systemd:{self.systemd}"
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_socket_address(value: object) -> SocketAddress:
    """HOST:PORT, "[IPV6]:PORT", unix:PATH or systemd:NAME, as a listener is given. HOST is one of this machine's."""
    if not isinstance(value, str):
        raise ValueError('must be HOST:PORT, in quotes where HOST is an IPv6 address: "[::]:25"')
    scheme, _, rest = value.partition(":")
    if scheme == "unix":
        if not rest:
            raise ValueError("names no socket; write unix:PATH")
        return SocketAddress("", 0, rest)
    if scheme == "systemd":
        if not _SOCKET_NAME.fullmatch(rest):
            raise ValueError("names no socket; write systemd:NAME, with the FileDescriptorName= of the socket unit")
        return SocketAddress("", 0, systemd=rest)
    match = _HOST_AND_PORT.fullmatch(value)
    if match is None:
        raise ValueError(_not_host_and_port(value))
    host = match["bracketed"] if match["bracketed"] is not None else match["plain"]
    return SocketAddress(_parse_host(host), _parse_port(match["port"]))


def parse_server(value: object, default_port: int) -> SocketAddress:
    """HOST or HOST:PORT of a server that is asked. HOST is an IP address, in brackets if it is IPv6 with a port."""
    if not isinstance(value, str):
        raise ValueError("must be an address in quotes, with or without a port")
    match = _HOST_AND_PORT.fullmatch(value)
    if match is None:
        return SocketAddress(_parse_host(value.removeprefix("[").removesuffix("]")), default_port)
    host = match["bracketed"] if match["bracketed"] is not None else match["plain"]
    port = _parse_port(match["port"])
    if port == 0:
        raise ValueError("has a port that is not one of 1 to 65535")
    return SocketAddress(_parse_host(host), port)


def _parse_host(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    if host in ("", "*"):
        raise ValueError("must name a host: 0.0.0.0 for all IPv4 addresses, [::] for all of IPv6")
    try:
        return str(ip_address(host))
    except ValueError:
        raise ValueError("must have an IP address for its host") from None


def _parse_port(digits: str) -> int:
    port = int(digits)
    if port > 65535:
        raise ValueError("has a port that is not one of 0 to 65535")
    return port


def _not_host_and_port(value: str) -> str:
    near = get_close_matches(value.partition(":")[0], ["unix", "systemd"], n=1)
    if near and ":" in value:
        return f'must be HOST:PORT, unix:PATH or systemd:NAME; did you mean "{near[0]}:"?'
    if value.isascii() and value.isdigit():
        return f"lacks its host; write 127.0.0.1:{value}, or 0.0.0.0:{value} for all addresses"
    host, _, port = value.rpartition(":")
    if ":" in host:
        return f'must be HOST:PORT; an IPv6 address stands in brackets: "[{host}]:{port}"'
    return "must be HOST:PORT, unix:PATH or systemd:NAME"
