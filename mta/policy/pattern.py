"""Pattern: which addresses a route is for, in the words of the configuration's `to` and `from`."""

from enum import StrEnum
from typing import NamedTuple

from mta.policy.idn import in_a_labels
from mta.smtp.address import AddressError, domain_of, is_address_literal, is_domain, parse_mailbox


class Kind(StrEnum):
    """What a pattern compares."""

    ANY = "any"
    NULL = "null"
    DOMAIN = "domain"
    BELOW = "below"
    ADDRESS = "address"


class Pattern(NamedTuple):
    """Addresses, as a route names them. Upper and lower case are the same, in the local part too.

    kind       written as                    matches
    ANY        *                             every address, the null path too
    NULL       <>                            the null reverse-path
    DOMAIN     example.org, *@example.org    addresses in that domain, not below it
    BELOW      .example.org                  addresses in its subdomains
    ADDRESS    user@example.org              that one

    name: the domain, with its leading dot for BELOW, or the address; "*" and "<>" stand for themselves.
    """

    kind: Kind
    name: str

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """The pattern that is written so. Raises `ValueError` with what is wrong, for people."""
        text = text.strip()
        if text == "*":
            return EVERYBODY
        if text == "<>":
            return cls(Kind.NULL, text)
        local, at, domain = text.rpartition("@")
        if at and local != "*":
            if not local:
                raise ValueError(f"names no mailbox; all of the domain is {domain}")
            if "*" in local:
                raise ValueError("has a * for part of a name; it can only stand for all of it")
            try:
                return cls(Kind.ADDRESS, str(parse_mailbox(f"{local}@{parse_domain(domain)}")).lower())
            except AddressError as error:
                raise ValueError(f"is not an address: {error.reason}") from None
        if domain.startswith("*."):
            raise ValueError(f"is not a pattern; the subdomains are {domain[1:]}")
        if domain.startswith("."):
            return cls(Kind.BELOW, f".{parse_domain(domain[1:])}")
        return cls(Kind.DOMAIN, parse_domain(domain))

    def matches(self, address: str, domain: str) -> bool:
        """Is it for this address ("" for the null path), in this domain? Both in lower case."""
        match self.kind:
            case Kind.DOMAIN:
                return domain == self.name
            case Kind.BELOW:
                return domain.endswith(self.name)
            case Kind.ADDRESS:
                return address == self.name
            case Kind.NULL:
                return not address
            case Kind.ANY:
                return True

    def covers(self, other: "Pattern") -> bool:
        """Does every address that the other one matches match this one as well?"""
        if self.kind is Kind.ANY or self == other:
            return True
        domain = domain_of(other.name) if other.kind is Kind.ADDRESS else other.name
        if self.kind is Kind.BELOW:
            return domain.endswith(self.name)
        return self.kind is Kind.DOMAIN and other.kind is Kind.ADDRESS and domain == self.name

    @property
    def needs_local_part(self) -> bool:
        """The domain of an address is not enough to tell whether it matches."""
        return self.kind in (Kind.ADDRESS, Kind.NULL)


EVERYBODY = Pattern(Kind.ANY, "*")


def parse_domain(text: str) -> str:
    """A domain, or an address literal in brackets, in lower case and without a final dot.

    Raises `ValueError` with what is wrong, for people.
    """
    domain = text.lower().removesuffix(".")
    if not domain.isascii():
        in_ascii = in_a_labels(domain)
        raise ValueError(f"must be written in ASCII: {in_ascii}" if in_ascii.isascii() else "is not a domain")
    if not (is_domain(domain) or is_address_literal(domain)):
        raise ValueError("is not a domain" if domain else "has no domain")
    return domain
