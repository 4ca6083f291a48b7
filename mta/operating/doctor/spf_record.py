"""SPF record: its terms, read (RFC 7208 4.6, 5, 6, 7)."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from mta.operating.doctor.finding import quoted
from mta.policy.exchangers import is_host_name

LONGEST: Final = 4096  # characters of a record that is read
_QUALIFIERS: Final = "+-~?"
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)", re.ASCII)
_MECHANISM = re.compile(r"([A-Za-z0-9]+)(?::([^/]*))?(?:/([0-9]{1,3}))?(?://([0-9]{1,3}))?", re.ASCII)
_MACRO = re.compile(r"%(?:\{([slodiphv])([0-9]{0,3})(r?)([.+,/_=-]*)\}|([%_-]))", re.ASCII | re.IGNORECASE)
_ESCAPES: Final = {"%": "%", "_": " ", "-": "%20"}
_ASKING: Final = frozenset({"include", "a", "mx", "ptr", "exists"})


class BadRecord(Exception):
    """The record is wrong: a permanent error for whoever checks it. The text says why."""


class Term(NamedTuple):
    """A mechanism. qualifier: + - ~ or ?. domain: its domain-spec with macros, "" for the domain itself. network: of
    ip4 and ip6. bits4, bits6: how long a prefix of an address has to match."""

    qualifier: str
    name: str
    domain: str = ""
    network: IPv4Network | IPv6Network | None = None
    bits4: int = 32
    bits6: int = 128

    @property
    def asks(self) -> bool:
        """Does it count as a look-up (RFC 7208 4.6.4)?"""
        return self.name in _ASKING


class SpfRecord(NamedTuple):
    """The mechanisms in their order, and the domain whose record counts where none of them matches; "" for none."""

    terms: tuple[Term, ...]
    redirect: str = ""

    @property
    def ending(self) -> str:
        """What becomes of all others: the qualifier of "all"; "" without it."""
        return next((term.qualifier for term in self.terms if term.name == "all"), "")


class Subject(NamedTuple):
    """Whose mail macros speak of: the client's address, its name in HELO, and the domain of the sender."""

    address: str
    helo: str
    sender_domain: str


def is_spf(text: str) -> bool:
    """Is a TXT record one of SPF (RFC 7208 4.5)?"""
    return text.lower() == "v=spf1" or text[:7].lower() == "v=spf1 "


def parse_spf(text: str) -> SpfRecord:
    """The record that is written so. Raises `BadRecord`."""
    if len(text) > LONGEST:
        raise BadRecord("it is too long")
    if not (text.isascii() and text.isprintable()):
        raise BadRecord("it has characters that are not printable ASCII")
    terms: list[Term] = []
    modifiers: dict[str, str] = {}
    for word in text.split(" ")[1:]:
        if not word:
            continue
        modifier = _MODIFIER.fullmatch(word)
        if modifier is None:
            terms.append(_mechanism(word))
            continue
        name = modifier[1].lower()
        if name in ("redirect", "exp"):
            if name in modifiers:
                raise BadRecord(f"it has {name}= twice")
            modifiers[name] = _domain_spec(modifier[2], word)
    return SpfRecord(tuple(terms), modifiers.get("redirect", ""))


def expand(domain_spec: str, domain: str, subject: Subject) -> str:
    """A domain-spec with its macros filled in (RFC 7208 7). domain: the one whose record it stands in."""

    def fill(match: re.Match[str]) -> str:
        letter, digits, reverse, delimiters, escape = match.groups()
        if escape:
            return _ESCAPES[escape]
        parts = re.split(f"[{re.escape(delimiters or '.')}]", _value(letter.lower(), domain, subject))
        if reverse:
            parts.reverse()
        return ".".join(parts[-int(digits) :] if digits and int(digits) else parts)

    filled = _MACRO.sub(fill, domain_spec)
    while len(filled) > 253:  # RFC 7208 7.3: labels on the left go
        filled = filled.partition(".")[2]
    return filled.lower().removesuffix(".")


def _mechanism(word: str) -> Term:
    qualifier, rest = (word[0], word[1:]) if word[0] in _QUALIFIERS else ("+", word)
    name = re.match(r"[A-Za-z0-9]*", rest)[0].lower()  # type: ignore[index]  # matches always
    if name in ("ip4", "ip6"):
        return _network(qualifier, name, rest, word)
    match = _MECHANISM.fullmatch(rest)
    if match is None and "%{" in rest:  # a macro may hold slashes
        match = re.fullmatch(r"([A-Za-z0-9]+):(\S+)()()", rest, re.ASCII)
    if match is None:
        raise BadRecord(f"{quoted(word)} is not a term of SPF")
    _, domain, bits4, bits6 = match.groups()
    wants = {"all": (False, False), "include": (True, False), "exists": (True, False), "ptr": (None, False)}
    needs_domain, takes_bits = wants.get(name, (None, True) if name in ("a", "mx") else (False, None))
    if takes_bits is None:
        raise BadRecord(f"{quoted(word)} is a mechanism that nobody knows")
    if needs_domain is not None and needs_domain != bool(domain):
        raise BadRecord(f"{quoted(word)} {'needs' if needs_domain else 'takes no'} domain")
    if not takes_bits and (bits4 or bits6):
        raise BadRecord(f"{quoted(word)} takes no length of a prefix")
    if int(bits4 or 32) > 32 or int(bits6 or 128) > 128:
        raise BadRecord(f"{quoted(word)} has a prefix that is too long")
    spec = _domain_spec(domain, word) if domain is not None else ""
    return Term(qualifier, name, spec, None, int(bits4 or 32), int(bits6 or 128))


def _network(qualifier: str, name: str, rest: str, word: str) -> Term:
    address = rest[len(name) + 1 :].partition("/")[0]
    try:
        network = ip_network(rest[len(name) + 1 :], strict=False)
        written_well = rest[len(name)] == ":" and ip_address(address).version == int(name[2])
    except (ValueError, IndexError):
        written_well = False
    if not written_well:
        raise BadRecord(f"{quoted(word)} has no IPv{name[2]} address or network")
    return Term(qualifier, name, network=network)


def _domain_spec(text: str, word: str) -> str:
    plain = _MACRO.sub("x", text)
    if "%" in plain or not is_host_name(plain.removesuffix(".")):
        raise BadRecord(f"{quoted(word)} does not name a domain")
    return text


def _value(letter: str, domain: str, subject: Subject) -> str:
    address = ip_address(subject.address)
    dotted = str(address) if address.version == 4 else ".".join(address.exploded.replace(":", ""))
    values = {
        "s": f"postmaster@{subject.sender_domain}",
        "l": "postmaster",
        "o": subject.sender_domain,
        "d": domain,
        "i": dotted,
        "p": "unknown",
        "v": "in-addr" if address.version == 4 else "ip6",
        "h": subject.helo,
    }
    return values[letter]
