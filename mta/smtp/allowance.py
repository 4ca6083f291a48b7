"""Allowance: how much a server lets one session do (RFC 9422), as the side that asks keeps count of it."""

import re
from collections.abc import Sequence
from math import inf

from mta.smtp.address import domain_of

RECIPIENTS_LIMIT = 100  # of one transaction: every server takes as many (RFC 5321 4.5.3.1.8)

_LIMIT = re.compile(r"(MAILMAX|RCPTMAX|RCPTDOMAINMAX)=([1-9][0-9]{0,5})", re.ASCII | re.IGNORECASE)


class Allowance:
    """What a peer lets one session do (RFC 9422 4), and what is left of it.

    mails: transactions that may still be begun. What is no limit that we know is passed over (RFC 9422 3).
    """

    __slots__ = ("_domains", "_domains_limit", "_recipients", "mails")

    def __init__(self, announced: str) -> None:
        matches = (_LIMIT.fullmatch(word) for word in announced.split())
        limits = {match[1].upper(): int(match[2]) for match in matches if match}
        self.mails = limits.get("MAILMAX", inf)
        self._recipients = min(limits.get("RCPTMAX", RECIPIENTS_LIMIT), RECIPIENTS_LIMIT)
        self._domains_limit = limits.get("RCPTDOMAINMAX", inf)
        self._domains: set[str] = set()

    def take(self, forward_paths: Sequence[str], waiting: list[int]) -> tuple[list[int], list[int]]:
        """Of the recipients that wait, by index, those for the next transaction, and the others.

        Nobody is for the next one where the session has to end first.
        """
        if self.mails <= 0:
            return [], waiting
        taken: list[int] = []
        others: list[int] = []
        for index in waiting:
            domain = domain_of(forward_paths[index])
            fits = domain in self._domains or len(self._domains) < self._domains_limit
            if fits and len(taken) < self._recipients:
                self._domains.add(domain)
                taken.append(index)
            else:
                others.append(index)
        self.mails -= bool(taken)
        return taken, others
