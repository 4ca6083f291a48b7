"""Asking: what the checks want to know from the DNS; `mta.dns.inquirer.Inquirer` knows it."""

from typing import Protocol

from mta.dns.inquirer import Tlsa
from mta.policy.exchangers import Answer, Exchanger


class Names(Protocol):
    """Who asks the DNS. Never raises; equal questions have equal answers. May be used by several threads."""

    def exchangers(self, domain: str) -> Answer[Exchanger]:
        """MX."""

    def addresses(self, host: str) -> Answer[str]:
        """A and AAAA."""

    def texts(self, name: str) -> Answer[str]:
        """TXT."""

    def names(self, address: str) -> Answer[str]:
        """PTR of an IP address."""

    def alias(self, name: str) -> Answer[str]:
        """CNAME."""

    def associations(self, name: str) -> Answer[Tlsa]:
        """TLSA."""
