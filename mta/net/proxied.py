"""Proxied: the header that a proxy puts before a connection to say whose it is (PROXY protocol, versions 1 and 2).

It is a line of text or a binary block, and precedes everything else, a TLS handshake too. Additions to it (TLVs) are
skipped. See "The PROXY protocol", HAProxy's doc/proxy-protocol.txt, sections 2.1 and 2.2.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from mta.smtp.ip import IPAddress, unmapped

# Octets of a header in text, with its line end, and of all that a binary one may have behind its first 16.
LONGEST_LINE = 107
LONGEST_BLOCK = 4096

_TEXT = b"PROXY "
_BINARY = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = len(_BINARY) + 4
_PORT = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)

# Version 2 and what the proxy speaks for: itself, or a client.
_LOCAL, _PROXY = 0x20, 0x21
# Octet 13: address family and protocol. The octets of one address, and of both with their ports.
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_WIDTHS = {_TCP4: (4, 12), _TCP6: (16, 36), _UNIX: (108, 216)}


class Proxied(NamedTuple):
    """What a header says. address: the client's, IPv4 in its own form even where it was written as IPv6.

    None: the connection is to be taken as it comes: it is the proxy's own (to see whether we are there), or the proxy
    does not know, or its client came over a Unix socket, which says nothing of the network. length: of the header, in
    octets.
    """

    address: str | None
    length: int


def read_header(octets: bytes) -> Proxied | None:
    """What the header says that a connection begins with; None while more of it must come.

    Raises `ValueError` with the reason as soon as this cannot become a header any more.
    """
    if _TEXT.startswith(octets[: len(_TEXT)]):
        return _read_line(octets)
    if _BINARY.startswith(octets[: len(_BINARY)]):
        return _read_block(octets)
    raise ValueError("it does not begin with a PROXY header")


def _read_line(octets: bytes) -> Proxied | None:
    end = octets.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(octets) >= LONGEST_LINE:
            raise ValueError(f"its PROXY line is longer than {LONGEST_LINE} octets")
        return None
    # Whatever follows UNKNOWN is no matter, so says the specification.
    _, family, *rest = octets[:end].decode("latin-1").split(" ")
    if family == "UNKNOWN":
        return Proxied(None, end + 2)
    if family not in ("TCP4", "TCP6") or len(rest) != 4:
        raise ValueError("its PROXY line is not TCP4 or TCP6 with two addresses and two ports, nor UNKNOWN")
    kind = IPv4Address if family == "TCP4" else IPv6Address
    try:
        source, _destination = (kind(address) for address in rest[:2])
    except AddressValueError:
        raise ValueError(f"its PROXY line has something that is no address of {family}") from None
    if not all(_PORT.fullmatch(port) and int(port) < 1 << 16 for port in rest[2:]):
        raise ValueError("its PROXY line has something that is no port")
    return Proxied(_plain(source), end + 2)


def _read_block(octets: bytes) -> Proxied | None:
    if len(octets) < _FIXED:
        return None
    command, family = octets[12], octets[13]
    length = int.from_bytes(octets[14:16])
    if command not in (_LOCAL, _PROXY):
        raise ValueError("its PROXY header is of a version or a command that does not exist")
    if length > LONGEST_BLOCK:
        raise ValueError(f"its PROXY header is longer than {_FIXED + LONGEST_BLOCK} octets")
    if len(octets) < _FIXED + length:
        return None
    address = _source(family, octets[_FIXED : _FIXED + length]) if command == _PROXY else None
    return Proxied(address, _FIXED + length)


def _source(family: int, block: bytes) -> str | None:
    """The client's address, from source, destination, two ports and additions."""
    if family == _UNSPECIFIED:
        return None
    one, needed = _WIDTHS.get(family, (0, 0))
    if not 0 < needed <= len(block):
        raise ValueError("its PROXY header has no addresses of TCP, or not all of them")
    return None if family == _UNIX else _plain(ip_address(block[:one]))


def _plain(address: IPAddress) -> str:
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError("its PROXY line has an address that means something on one machine only")
    return str(unmapped(address))
