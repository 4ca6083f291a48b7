"""xtext: how octets that a parameter's value cannot hold travel in it, as "+" and two digits (RFC 3461 4)."""

import re

# xchar is what may stand for itself: the printable letters of ASCII but "+" and "=". A hexchar's digits are capitals.
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", re.ASCII)
_HEXCHAR = re.compile(rb"\+([0-9A-F]{2})")
_OCTETS = {b"%02X" % number: bytes((number,)) for number in range(256)}
_SPECIAL = re.compile(rb"[^!-*,-<>-~]")


def decode(text: str, utf8: bool = False) -> str:
    """What an xtext stands for; without `utf8` it must be ASCII. Raises `ValueError` for what is no xtext."""
    if not _XTEXT.fullmatch(text):
        raise ValueError('this is no xtext: "+" is written "+2B", "=" is "+3D", a blank is "+20"')
    octets = text.encode()
    if b"+" not in octets:
        return text
    octets = _HEXCHAR.sub(lambda pair: _OCTETS[pair[1]], octets)
    try:
        return octets.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError:
        raise ValueError("what it stands for has octets that cannot be here") from None


def encode(text: str) -> str:
    """A text as an xtext; letters beyond ASCII by the octets of their UTF-8 form."""
    return _SPECIAL.sub(lambda octet: b"+%02X" % octet[0][0], text.encode()).decode("ascii")
