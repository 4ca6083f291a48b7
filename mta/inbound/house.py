"""House: what all conversations share, whichever listener they came in by."""

from collections.abc import Sequence
from dataclasses import dataclass

from mta.inbound.reception import Keeping
from mta.interfaces import IAuthentication, ICheck
from mta.maillog import MailLog
from mta.policy.access import Access
from mta.policy.addressing import Addressing
from mta.policy.directory import Directory
from mta.policy.routing import Routing


@dataclass(frozen=True, slots=True)
class House:
    """What all conversations share. authentication: None where nobody can log in."""

    hostname: str
    postmaster: str
    keeping: Keeping
    access: Access
    routing: Routing
    directory: Directory
    addressing: Addressing
    authentication: IAuthentication | None
    checks: Sequence[ICheck]

    @property
    def log(self) -> MailLog:
        """Where events are told."""
        return self.keeping.log
