"""Addresses: mailboxes and paths as the envelope has them (RFC 5321 4.1.2 and 4.1.3), read and written.

Where the world is wider than the grammar, so are we: an underscore may stand in a domain, and a domain may be a single
label. Where it is narrower, so are we: of the address literals only IPv4 and IPv6 can be reached.

Letters beyond ASCII may stand in a local part and in a domain (RFC 6531 3.3). The scanning functions take them, since
a session knows whether they were agreed on; the parsing functions do so only where they are told to.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from mta.smtp import limits
from mta.smtp.ip import dotted_decimal

# atext of RFC 5322 3.2.3, sub-domain of RFC 5321 4.1.2 with the underscore; for wide strings with UTF8-non-ascii.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_WIDE = r"\x80-\U0010ffff"
_WIDE_ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_WIDE}-]+"
_DOT_STRING = re.compile(rf"{_WIDE_ATOM}(?:\.{_WIDE_ATOM})*")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DOMAIN_LETTERS = re.compile(rf"[A-Za-z0-9_.{_WIDE}-]*")
_QUOTED_STRING = re.compile(rf'"((?:[ !#-\[\]-~{_WIDE}]|\\[ -~])*)"')
_QUOTED_PAIR = re.compile(r"\\(.)")
_LITERAL = re.compile(r"\[([!-Z^-~]*)\]")
# What nearly every path looks like. Whatever it matches the grammar below reads the same way.
_ORDINARY_PATH = re.compile(rf"<({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)>")


class AddressError(ValueError):
    """What was read is no address. position: where, counted from 0; reason: why, for a person."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"{reason} (at position {position + 1})")
        self.position = position
        self.reason = reason


class Mailbox(NamedTuple):
    """A mailbox. local: in its shortest form, quoted only where it must be; domain: as it was written.

    domain is "" for the bare <postmaster> alone, which every host has (RFC 5321 4.5.1).
    """

    local: str
    domain: str

    @property
    def canonical(self) -> "Mailbox":
        """With its domain in lower case, for comparing. Upper and lower case of a local part are its owner's matter."""
        return Mailbox(self.local, self.domain.lower())

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local


class Path(NamedTuple):
    """A reverse-path or a forward-path. mailbox: None for the null reverse-path.

    route: the hosts of a source route, in order; known, but not followed (RFC 5321 appendix C).
    """

    mailbox: Mailbox | None
    route: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The mailbox as "local@domain", "" for the null path: what an envelope keeps."""
        return str(self.mailbox) if self.mailbox else ""

    def __str__(self) -> str:
        """On the wire, without the source route."""
        return f"<{self.address}>"


NULL_PATH = Path(None)
_POSTMASTER = Path(Mailbox("postmaster", ""))


def domain_of(address: str) -> str:
    """The domain of a "local@domain" in lower case, "" where it has none. An @ in a quoted local part is no matter."""
    _, at, domain = address.rpartition("@")
    return domain.lower() if at else ""


def parse_path(text: str, utf8: bool = False) -> Path:
    """A path with its angle brackets and nothing else; `utf8`: not only in ASCII. Raises `AddressError`."""
    _check_letters(text, utf8)
    path, end = scan_path(text, 0)
    if end != len(text):
        raise AddressError(end, 'nothing may follow the ">"')
    return path


def parse_mailbox(text: str, utf8: bool = False) -> Mailbox:
    """A mailbox without angle brackets and nothing else; `utf8`: not only in ASCII. Raises `AddressError`."""
    _check_letters(text, utf8)
    mailbox, end = scan_mailbox(text, 0)
    if end != len(text):
        raise AddressError(end, "this cannot stand in an address")
    return mailbox


def is_domain(text: str) -> bool:
    """Is this a domain name as an address or a HELO may have it?"""
    return len(text) <= limits.DOMAIN and _DOMAIN.fullmatch(text) is not None


def is_address_literal(text: str) -> bool:
    """Is this an address literal, brackets included?"""
    try:
        return _scan_literal(text, 0) == len(text)
    except AddressError:
        return False


def scan_path(text: str, at: int, unqualified: bool = False) -> tuple[Path, int]:
    """The path that begins at a position, and where it ends. Raises `AddressError`.

    unqualified: a mailbox may lack its domain, which is "" then.
    """
    ordinary = _ORDINARY_PATH.match(text, at)
    if ordinary is not None:
        local, domain = ordinary.groups()
        end = ordinary.end()
        if len(local) <= limits.LOCAL_PART and len(domain) <= limits.DOMAIN and end - at <= limits.PATH:
            return Path(Mailbox(local, domain)), end
    if not text.startswith("<", at):
        raise AddressError(at, 'a path begins with "<"')
    start = at + 1
    if text.startswith(">", start):
        return NULL_PATH, start + 1
    if text[start : start + 11].lower() == "postmaster>":
        return _POSTMASTER, start + 11
    route, start = _scan_route(text, start)
    mailbox, end = scan_mailbox(text, start, unqualified)
    if not text.startswith(">", end):
        raise AddressError(end, 'the ">" is missing' if end == len(text) else "this cannot stand in an address")
    return Path(mailbox, route), end + 1


def scan_mailbox(text: str, at: int, unqualified: bool = False) -> tuple[Mailbox, int]:
    """The mailbox that begins at a position, and where it ends; `unqualified` as in `scan_path`. Raises
    `AddressError`."""
    local, end = _scan_local_part(text, at)
    if _octets(local) > limits.LOCAL_PART:
        raise AddressError(at, f"the part before the @ is longer than {limits.LOCAL_PART} octets")
    if not text.startswith("@", end):
        if unqualified and (end == len(text) or text[end] in "> "):
            return Mailbox(local, ""), end
        if end == len(text) or text[end] == ">":
            raise AddressError(end, "the @ and the domain are missing")
        if text[end] == " ":
            raise AddressError(end, "a blank cuts the address off before its @")
        raise AddressError(end, "this cannot stand in an address unless it is quoted")
    start = end + 1
    end = _scan_literal(text, start) if text.startswith("[", start) else _scan_domain(text, start)
    mailbox = Mailbox(local, text[start:end])
    if _octets(local) + 1 + _octets(mailbox.domain) > limits.PATH - 2:
        raise AddressError(at, f"the address is longer than {limits.PATH - 2} octets")
    return mailbox, end


def _scan_route(text: str, at: int) -> tuple[tuple[str, ...], int]:
    """The hosts of "@one,@two:", and where the colon's right side begins. No route: none, and `at` itself."""
    hosts = []
    while text.startswith("@", at):
        end = _scan_domain(text, at + 1)
        hosts.append(text[at + 1 : end])
        if text.startswith(":", end):
            return tuple(hosts), end + 1
        if not text.startswith(",", end):
            raise AddressError(end, 'a source route goes on with ",@" or ends with ":"')
        at = end + 1
    if hosts:
        raise AddressError(at, 'a host of a source route begins with "@"')
    return (), at


def _scan_local_part(text: str, at: int) -> tuple[str, int]:
    """The local part in its shortest form, and where it ends."""
    if text.startswith('"', at):
        quoted = _QUOTED_STRING.match(text, at)
        if quoted is None:
            raise AddressError(at, "the quoted string has no end, or something in it that cannot be quoted")
        return _shortest_form(_QUOTED_PAIR.sub(r"\1", quoted[1])), quoted.end()
    dot_string = _DOT_STRING.match(text, at)
    if dot_string is None:
        raise AddressError(at, "the part before the @ is missing or begins with something that must be quoted")
    end = dot_string.end()
    if text.startswith(".", end):
        raise AddressError(end, "the part before the @ has a dot at its end or two in a row, and is not quoted")
    return dot_string[0], end


def _shortest_form(local: str) -> str:
    """A local part with quotes only where the grammar asks for them, and backslashes likewise."""
    if _DOT_STRING.fullmatch(local):
        return local
    escaped = local.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _scan_domain(text: str, at: int) -> int:
    """Where the domain that begins at a position ends."""
    letters = _DOMAIN_LETTERS.match(text, at)
    end = letters.end() if letters else at
    if _octets(text[at:end]) > limits.DOMAIN:
        raise AddressError(at, f"the domain is longer than {limits.DOMAIN} octets")
    start = at
    for label in text[at:end].split("."):
        if not label:
            raise AddressError(start, "the domain is missing" if start == end == at else "a dot too many in the domain")
        if label.startswith("-") or label.endswith("-"):
            raise AddressError(start, "a part of the domain begins or ends with a hyphen")
        if label.isascii() and len(label) > limits.LABEL:
            raise AddressError(start, f"a part of the domain is longer than {limits.LABEL} octets")
        start += len(label) + 1
    return end


def _octets(text: str) -> int:
    """How long it is on the wire."""
    return len(text) if text.isascii() else len(text.encode())


def _check_letters(text: str, utf8: bool) -> None:
    """Refuse letters that were not agreed on, and what is no letter."""
    if not utf8 and not text.isascii():
        position = next(index for index, letter in enumerate(text) if ord(letter) > 127)
        raise AddressError(position, "letters beyond ASCII cannot stand here")


def _scan_literal(text: str, at: int) -> int:
    """Where the address literal that begins at a position ends (RFC 5321 4.1.3)."""
    literal = _LITERAL.match(text, at)
    if literal is None:
        raise AddressError(at, 'an address literal looks like "[192.0.2.1]" or "[IPv6:2001:db8::1]"')
    inside = literal[1]
    try:
        if inside[:5].lower() != "ipv6:":
            dotted_decimal(inside)
        elif "%" in inside:  # a zone means something on one machine only
            raise AddressError(at, "an IPv6 address literal has no zone")
        else:
            IPv6Address(inside[5:])
    except AddressValueError:
        raise AddressError(at, 'an address literal holds an IPv4 address, or "IPv6:" and an IPv6 address') from None
    return literal.end()
