"""IP: the addresses of machines, of which each has one form here, whatever way it came in."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

IPAddress = IPv4Address | IPv6Address

_SNUM = re.compile(r"[0-9]{1,3}", re.ASCII)


def is_ip_address(text: str) -> bool:
    """Is it an IP address, and not a name?"""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def dotted_decimal(text: str) -> IPv4Address:
    """An IPv4 address as a literal may have it (RFC 5321 4.1.3): up to three digits for each octet, "192.0.002.001",
    and always decimal. Raises `AddressValueError`."""
    return IPv4Address(".".join(part.lstrip("0") or "0" if _SNUM.fullmatch(part) else "" for part in text.split(".")))


def unmapped(address: IPAddress) -> IPAddress:
    """The address; IPv4 that is seen through an IPv6 socket (::ffff:192.0.2.1, RFC 4291 2.5.5.2) as IPv4."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def plain_address(text: str) -> str:
    """An address as it is known everywhere: `unmapped`. What is no IP address is as it was."""
    if ":" not in text:
        return text
    try:
        return str(unmapped(ip_address(text)))
    except ValueError:
        return text
