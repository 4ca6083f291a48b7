"""XCLIENT: what a proxy that we trust says of the client it speaks for, in the form that Postfix gave this command."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from mta.smtp import limits
from mta.smtp.ip import unmapped
from mta.smtp.xtext import decode

# The address of a client that the proxy does not know: it is in no network. (The empty one is a Unix socket's.)
UNKNOWN = "unknown"

_KEYWORDS = frozenset({"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"})
_ATTRIBUTE = re.compile(r"([A-Za-z]+)=([^= ]*)")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_UNAVAILABLE = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})


class ClientAttributes(NamedTuple):
    """What holds from now on. None: it was not said, so it stays what it was. "": it is not known, or there is none.

    name: of the client's host. address: as everywhere, IPv6 without a prefix; `UNKNOWN`, never "". port: 0 for not
    known. protocol: "SMTP" or "ESMTP". helo: what it called itself. login: the account that it has logged in with.
    """

    name: str | None = None
    address: str | None = None
    port: int | None = None
    protocol: str | None = None
    helo: str | None = None
    login: str | None = None


def parse_xclient(text: str) -> ClientAttributes:
    """The attributes behind the verb. Raises `ValueError` with the reason, for people (501).

    DESTADDR and DESTPORT, where the client had connected to, must be well formed; nothing depends on them.
    """
    said: dict[str, str] = {}
    for word in text.split():
        match = _ATTRIBUTE.fullmatch(word)
        if match is None:
            raise ValueError(f"an attribute looks like NAME=value, not {_shown(word)}")
        keyword = match[1].upper()
        if keyword not in _KEYWORDS:
            raise ValueError(f"there is no attribute {_shown(keyword)}")
        if keyword in said:
            raise ValueError(f"{keyword} is given twice")
        said[keyword] = _decode(keyword, match[2])
    if not said:
        raise ValueError("attributes are needed, such as ADDR=192.0.2.1")
    _address(said.get("DESTADDR", ""))
    _port(said.get("DESTPORT", ""))
    return ClientAttributes(
        name=said.get("NAME"),
        address=_address(said["ADDR"]) if "ADDR" in said else None,
        port=_port(said["PORT"]) if "PORT" in said else None,
        protocol=_protocol(said["PROTO"]) if "PROTO" in said else None,
        helo=said.get("HELO"),
        login=said.get("LOGIN"),
    )


def _decode(keyword: str, value: str) -> str:
    """The value of an attribute, "" where it is not known."""
    if value.upper() in _UNAVAILABLE:
        return ""
    try:
        decoded = decode(value, utf8=True)
    except ValueError as error:
        raise ValueError(f"{keyword}: {error}") from None
    if not decoded:
        raise ValueError(f"{keyword} has no value; one that is not known is [UNAVAILABLE]")
    # It ends in logs and trace fields, which a line end in it would let its client write.
    if not decoded.isprintable() or len(decoded) > limits.DOMAIN:
        raise ValueError(f"{keyword} is longer than {limits.DOMAIN} letters, or has some that cannot be printed")
    return decoded


def _address(value: str) -> str:
    if not value:
        return UNKNOWN
    try:
        if value[:5].upper() != "IPV6:":
            return str(IPv4Address(value))
        address = IPv6Address(value[5:])
        if address.scope_id is None:
            return str(unmapped(address))
    except AddressValueError:
        pass
    raise ValueError(f'an address is 192.0.2.1 or IPV6:2001:db8::1, not "{_shown(value)}"')


def _port(value: str) -> int:
    if not value:
        return 0
    if not _PORT.fullmatch(value) or int(value) > 65535:
        raise ValueError(f'a port is a number up to 65535, not "{_shown(value)}"')
    return int(value)


def _protocol(value: str) -> str:
    if value.upper() not in ("", "SMTP", "ESMTP"):
        raise ValueError(f'PROTO is SMTP or ESMTP, not "{_shown(value)}"')
    return value.upper()


def _shown(text: str) -> str:
    """How it is quoted in a reply, whose lines are short (RFC 5321 4.5.3.1.5) and in ASCII (RFC 6531 3.7.4)."""
    return text[:40].encode("ascii", "backslashreplace").decode()
